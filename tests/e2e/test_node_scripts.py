"""nix/modules/node: what a node's programs have of the kernel's arguments, say by curl, write whole."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.needs import require_tool
from support.reports_taken import TOKEN, record_reports

if TYPE_CHECKING:
    from collections.abc import Callable

NODE = Path(__file__).parents[2] / "nix/modules/node"
READ = """\
set -euo pipefail
source "$1/arguments.sh"
for file in "${@:2}"; do read_boot_arguments "$file"; done
printf '%s\\n' "url=$boot_url" "server=$boot_server" "token=$boot_token" "release=$boot_release" \\
  "order=$boot_order" "within=$boot_within" "counter=$boot_counter" "least=$boot_release_counter" \\
  "units=${boot_units[*]}" "stores=${boot_stores[*]}" "words=${boot_words[*]}"
"""
NOTHING = dict.fromkeys(
    ("url", "server", "token", "release", "order", "within", "counter", "least", "units", "stores", "words"),
    "",
)
NIX_SYSTEM = f"/nix/store/{'a' * 32}-nixos-system-x"
REPORT = f"every_channel.report=http://[fd00::1]:80/a/report?boot={TOKEN}"
OF_REPORT = {
    "url": REPORT.partition("=")[2],
    "server": "http://[fd00::1]:80/a",
    "token": TOKEN,
    "words": REPORT,
}


def run(script: str, *arguments: str | Path) -> str:
    done = subprocess.run(
        ["bash", "-c", script, "test", NODE, *arguments],
        env={"PATH": os.environ["PATH"], "LC_ALL": "C"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def read(directory: Path, *texts: str) -> dict[str, str]:
    """What is set by the files with these texts, one after the other, beside what is empty."""
    files = []
    for number, text in enumerate(texts):
        files.append(directory / f"cmdline-{number}")
        files[-1].write_text(text)
    said = dict(line.split("=", 1) for line in run(READ, *files).splitlines())
    assert said.keys() == NOTHING.keys()
    return {name: value for name, value in said.items() if value}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"quiet {REPORT}\n", OF_REPORT),
        (f"{REPORT} every_channel.report=http://h/elsewhere?boot={TOKEN}", OF_REPORT),
        ("every_channel.release=a+b every_channel.release=", {"release": "a+b"}),
        (
            "every_channel.release=one every_channel.release=$(two) every_channel.release=a/b",
            {"release": "one"},
        ),
        ("every_channel.release", {}),
        ("every_channel.install=first", {"order": "first", "words": ""}),
        ("every_channel.install every_channel.install= every_channel.install=a.b", {}),
        ("every_channel.healthy_within=0090.5", {"within": "90"}),
        ("every_channel.healthy_within=-1 every_channel.healthy_within=1e9", {}),
        ("every_channel.channel_counter=12", {"counter": "12"}),
        ("every_channel.channel_counter=7 every_channel.channel_counter=08", {"counter": "7"}),
        ("every_channel.channel_counter=a[$(id)]", {}),
        ("every_channel.release_counter=12", {"least": "12"}),
        ("every_channel.release_counter=7 every_channel.release_counter=08", {"least": "7"}),
        ("every_channel.release_counter=a[$(id)] every_channel.release_counter=123456789012", {}),
        (
            "every_channel.health_units=a.service,--b,,c@d.service every_channel.health_units=e.timer,$(f)",
            {"units": "a.service c@d.service e.timer"},
        ),
        (
            "every_channel.store=http://a/x every_channel.store=http://b/y?z=1,http://c/",
            {"stores": "http://b/y?z=1 http://c/"},
        ),
        ('every_channel.release="one"', {}),
        ('"every_channel.release=one"', {}),
        ("evil.every_channel.release=one every_channelXrelease=one", {}),
    ],
)
def test_what_the_kernels_arguments_say(text: str, found: dict[str, str], tmp_path: Path) -> None:
    said = read(tmp_path, text)
    # A later boot is told what stands there; of a boot server's address and token only good ones.
    words = said.pop("words", "")
    if "words" in found:
        assert words == found["words"]
    assert said == {name: value for name, value in found.items() if name != "words"}


def test_words_are_kept_for_a_later_boot(tmp_path: Path) -> None:
    bad = "every_channel.report=http://h/report?boot=short"
    others = "every_channel.release=x every_channel.healthy_within=later every_channel.new"
    said = read(tmp_path, f"init=/x every_channel.install=first {bad} {REPORT} {others} * quiet\n")
    assert said["words"] == f"{REPORT} {others}"


def test_another_file_goes_on_with_what_one_has_left(tmp_path: Path) -> None:
    first = "every_channel.release=one every_channel.health_units=a.service\n"
    second = f"every_channel.release=$() {REPORT} every_channel.health_units=b.service\n"
    said = read(tmp_path, first, second)
    assert (said["release"], said["units"], said["token"]) == ("one", "a.service b.service", TOKEN)


def test_a_form_says_what_it_was_given() -> None:
    require_tool("curl", "install curl")
    values = ['a "quoted" \\ one\\', "two\nlines", "&x=y;#%41+ä", "@/etc/passwd", "$(id) * `id`"]
    pairs = [word for number, value in enumerate(values) for word in (f"f{number}", value)]
    script = """\
set -euo pipefail
source "$1/requests.sh"
url=$2; shift 2
add_fields "$@"
request "$url" 20 'write-out = "%{http_code}"' "${fields[@]}"
"""
    with record_reports() as told:
        arguments = dict(word.split("=", 1) for word in told.build_arguments("127.0.0.1").split())
        assert run(script, arguments["every_channel.report"], *pairs) == "200"
    (form,) = told.reports
    assert form == {f"f{number}": [value.replace("\n", " ")] for number, value in enumerate(values)}


def test_a_machine_says_by_what_it_is_known(tmp_path: Path) -> None:
    for name, text in {
        "class/net/eth0/device/x": "",
        "class/net/eth0/address": "02:00:00:00:00:01\n",
        # As a bond has them, of which one has no permanent address and each shows the bond's.
        "class/net/eth1/device/x": "",
        "class/net/eth1/address": "02:00:00:00:00:01\n",
        "class/net/eth1/bonding_slave/perm_hwaddr": "02:00:00:00:00:02\n",
        "class/net/eth2/device/x": "",
        "class/net/eth2/address": "02:00:00:00:00:01\n",
        "class/net/eth2/bonding_slave/perm_hwaddr": "",
        "class/net/bond0/address": "02:00:00:00:00:03\n",
        "class/net/lo/address": "00:00:00:00:00:00\n",
        "class/dmi/id/product_serial": "A B\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    script = 'set -eu; source "$1/requests.sh"; list_identity "$2"; printf "%s\\n" "${identity[@]}"'
    cards = ["mac", "02:00:00:00:00:01", "mac", "02:00:00:00:00:02"]
    assert run(script, tmp_path).splitlines() == [*cards, "serial", "A B"]


def test_a_file_is_replaced_whole_and_is_its_owners(tmp_path: Path) -> None:
    file = tmp_path / "kept"
    file.write_text("old\n")
    run('source "$1/files.sh"; umask 022; replace_file "$2" "a %s \\ line"', file)
    assert file.read_text() == "a %s \\ line\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir()] == ["kept"]


def test_what_cannot_be_written_is_left_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "kept"
    file.write_text("old\n")
    (tmp_path / "kept.new").mkdir()
    said = run('source "$1/files.sh"; replace_file "$2" new 2> /dev/null || echo failed', file)
    assert said == "failed\n"
    assert file.read_text() == "old\n"


@pytest.mark.parametrize(
    ("state", "kind", "result", "exited", "is_up"),
    [
        ("active", "simple", "success", 0, True),
        ("active", "oneshot", "success", 5, True),
        # Without RemainAfterExit=; such a service is never active once it has done its work.
        ("inactive", "oneshot", "success", 5, True),
        ("inactive", "oneshot", "success", 0, False),
        ("inactive", "simple", "success", 5, False),
        ("activating", "oneshot", "success", 0, False),
        ("failed", "oneshot", "exit-code", 5, False),
    ],
)
def test_a_system_on_trial_waits_for_units_until_they_are_up(
    state: str, kind: str, result: str, exited: int, is_up: bool, tmp_path: Path
) -> None:
    """settle-update.sh, by the same as the report."""
    shown = {"Id": "x.service", "LoadState": "loaded", "ActiveState": state, "Type": kind, "Result": result}
    lines = [
        *(f"{name}={value}" for name, value in shown.items()),
        f"ExecMainExitTimestampMonotonic={exited}",
    ]
    (tmp_path / "shown").write_text("\n".join(lines) + "\n")
    (tmp_path / "pending").write_text(f"{NIX_SYSTEM} sha256-x b nixos-generation-4.next\n")
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in {
        "systemctl": f"cat {tmp_path}/shown",
        "readlink": f"echo {NIX_SYSTEM}",
        "sleep": "echo waits; kill -TERM $PPID",
    }.items():
        (programs / name).write_text(f"#!/bin/sh\n{text}\n")
        (programs / name).chmod(0o755)
    done = subprocess.run(
        ["bash", NODE.parent / "settle-update.sh", "good"],
        env={
            "PATH": f"{programs}:{os.environ['PATH']}",
            "STATE_DIRECTORY": str(tmp_path),
            "SETTLE_ESP": str(tmp_path),
            "SETTLE_RUNNING": "/run/booted-system",
            "SETTLE_UNITS": "x.service",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert ("waits" not in done.stdout, done.returncode == 0) == (is_up, is_up)


@pytest.mark.parametrize("file", sorted(NODE.iterdir()), ids=lambda file: file.name)
def test_shellcheck_finds_nothing_in_what_is_shared(
    file: Path, require_tool: Callable[[str, str], str]
) -> None:
    check = require_tool("shellcheck", "install shellcheck")
    done = subprocess.run([check, file], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")
