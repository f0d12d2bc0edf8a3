"""``ectools fleet`` with a server that answers: what is drawn, and with which status it ends."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import click
import pytest
from support import golden
from support.fleet_api import CURRENT, NOW, PREVIOUS, Api, control_socket, make_boot, make_host

from ectools.cli import fleet_history, fleet_looks, fleet_nodes, fleet_socket, fleet_text
from ectools.cli.fleet import COMMAND
from ectools.netboot.api.client import FleetClient
from ectools.netboot.boots.model import BootState, NodeReport, NodeStage
from ectools.netboot.fleet.override import ONCE_TARGETS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from conftest import Program

STAGES = {
    NodeStage.OFFER: NOW - 100.0,
    NodeStage.FIRST_STAGE: NOW - 99.2,
    NodeStage.SCRIPT: NOW - 99.0,
    NodeStage.KERNEL: NOW - 97.8,
    NodeStage.INITRD: NOW - 88.7,
    NodeStage.LOADED: NOW - 88.6,
    NodeStage.RUNNING: NOW - 84.0,
    NodeStage.UP: NOW - 63.1,
}
HEALTHY = make_boot(id="b-healthy", stages=STAGES, state=BootState.HEALTHY, ended=NOW - 63.1)


def prepare(api: Api) -> None:
    """Nodes of each kind."""
    for name in ("failed", "held", "never", "odd"):
        node = {"group": "runners", "match": {"serial": f"S-{name}"}}
        api.document = {**api.document, "nodes": {**api.document["nodes"], name: node}}
    api.rebase()
    api.boots.note(
        make_boot(
            id="b-old",
            release=PREVIOUS.id,
            tag=PREVIOUS.tag,
            stages={NodeStage.SCRIPT: NOW - 90_000, NodeStage.KERNEL: NOW - 89_990},
            state=BootState.ABANDONED,
            why="asked for another boot before it reported on this one",
            ended=NOW - 100,
        )
    )
    api.boots.note(HEALTHY)
    api.boots.note(make_boot("nuc-08", id="b-2"))
    report = NodeReport(healthy=False, failed=("a.service", "b\x1b[2J.service"))
    api.boots.note(
        make_boot(
            "failed",
            id="b-3",
            stages={**STAGES, NodeStage.SCRIPT: NOW - 4000},
            state=BootState.UNHEALTHY,
            why="units have failed: a.service, b\x1b[2J.service",
            report=report,
            ended=NOW - 3700,
        )
    )
    api.boots.note(
        make_boot("odd", id="b-4", release=PREVIOUS.id, tag=None, stages=STAGES, state=BootState.HEALTHY)
    )
    api.boots.note(make_boot(None, id="b-5", machine="mac 02:00:00:00:00:99"))


@pytest.fixture
def sock(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "control.sock"
    with control_socket(path, prepare):
        yield path


def test_status(program: Program, sock: Path) -> None:
    me = {"SUDO_USER": "alice"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in me.items():
            patch.setenv(name, value)
        assert program(COMMAND, "hold", "held", "--why", "memory", "--socket", sock)[0] == 0
        assert program(COMMAND, "boot-once", "on-disk", "--release", "boot-v1", "--socket", sock)[0] == 0
    status, out, err = program(COMMAND, "status", "--socket", sock)
    assert status == 1
    who = "alice, as root" if os.geteuid() == 0 else "somebody"
    golden.compare("fleet/status.txt", out.replace(who, "WHO"))
    assert err == (
        "7 nodes: 1 on their release and healthy, 1 booting, 2 not seen yet, 1 on another release, "
        "1 unhealthy; of 1 nothing is expected; 1 machine without a name\n"
    )
    status, out, _ = program(COMMAND, "status", "--socket", sock, "--json", "--group", "installed")
    assert [row["name"] for row in json.loads(out)] == ["on-disk"]
    status, out, err = program(COMMAND, "status", "--socket", sock, "--group", "nobody")
    assert (status, out) == (1, "NODE  RELEASE  SINCE  STATE\n")
    assert "no node is of the group nobody" in err


def test_what_is_not_in_force_is_said_beside_the_rows(program: Program, tmp_path: Path) -> None:
    """A node that was added to a group is left out once its fleet file has that no more."""
    path = tmp_path / "other.sock"
    with control_socket(path, lambda _: None) as api:
        add = ("add", "x1", "--group", "runners", "--serial", "S9", "--socket", path)
        assert program(COMMAND, *add)[0] == 0
        api.document = {"groups": {"racers": {}}, "nodes": {}}
        api.rebase()
        api.reload_error = "fleet.toml: cannot be read"
        status, _, err = program(COMMAND, "status", "--socket", path)
        told = [line for line in err.splitlines() if not line.startswith("warning: ")]
        assert (status, told) == (
            0,
            [
                "0 nodes: 0 on their release and healthy",
                f"the settings of before are in force: {api.reload_error} (the boot server's log says more)",
                f"left out: x1: {api.fleet.left_out['x1']} (`ectools fleet remove x1` forgets it)",
            ],
        )
        _, _, err = program(COMMAND, "status", "--group", "racers", "--socket", path)
        assert "left out" not in err
        status, _, err = program(COMMAND, "show", "x1", "--socket", path)
        assert (status, "x1: was added, and is left out: runners" in err) == (2, True)
        assert program(COMMAND, "remove", "x1", "--socket", path)[0] == 0
        _, _, err = program(COMMAND, "status", "--socket", path)
        assert "left out" not in err


def test_status_is_0_where_all_are_well(program: Program, tmp_path: Path) -> None:
    path = tmp_path / "control.sock"

    def well(api: Api) -> None:
        api.boots.note(HEALTHY)
        api.boots.note(replace(HEALTHY, node="nuc-08"))

    with control_socket(path, well):
        status, _, err = program(COMMAND, "status", "--wait", "--socket", path)
        assert (status, err) == (
            0,
            "3 nodes: 2 on their release and healthy; of 1 nothing is expected\n",
        )


def test_waiting_ends_when_all_are_well_or_the_time_is_over(
    program: Program, sock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter((0.0, 1.0, 1.0, 9.0, 9.0))
    time = SimpleNamespace(monotonic=lambda: next(clock, 99.0), sleep=lambda _: None)
    monkeypatch.setattr(fleet_looks, "time", time)
    status, out, err = program(COMMAND, "status", "--wait", "--timeout", "5", "--socket", sock)
    assert status == 1
    assert "NODE" in out
    assert err.count("7 nodes:") == 2  # once as it begins, and once at the end
    assert program(COMMAND, "status", "--timeout", "1", "--socket", sock)[0] == 2


def test_boots(program: Program, sock: Path) -> None:
    status, out, _ = program(COMMAND, "boots", "nuc-07", "--socket", sock)
    assert status == 0
    golden.compare("fleet/boots.txt", out)
    _, out, _ = program(COMMAND, "boots", "failed", "--socket", sock)
    assert "\x1b" not in out
    assert "failed units: a.service, b\\x1b[2J.service" in out
    _, out, _ = program(COMMAND, "boots", "nuc-07", "--socket", sock, "--json", "--limit", "1")
    assert [each["id"] for each in json.loads(out)] == ["b-healthy"]
    _, out, _ = program(COMMAND, "boots", "mac 02:00:00:00:00:99", "--socket", sock)
    assert "booting: kernel" in out
    status, out, err = program(COMMAND, "boots", "never", "--socket", sock)
    assert (status, out, err) == (0, "", "never: has not booted yet\n")


def test_why_a_node_would_wait_is_shown_with_what_it_boots() -> None:
    row: dict[str, Any] = {"boot_once": None, "hold": None, "known": True, "state": "healthy", "why": None}
    row |= {"name": "n", "since": NOW, "release": {"id": CURRENT.id, "tag": "boot-v2"}}
    row["next"] = {"boot": "network", "release": row["release"], "waits": "boot-v2 has no system x"}
    (_, line) = fleet_text.draw_rows([row], now=NOW, colour=False)
    assert line.endswith("healthy; next: boot-v2, and would wait: boot-v2 has no system x")
    row["next"] = {"boot": "network", "release": row["release"]}  # of a boot server of before
    (_, line) = fleet_text.draw_rows([row], now=NOW, colour=False)
    assert line.endswith("  healthy")


def test_a_strip_in_colour() -> None:
    from ectools.netboot.api.rows import describe_boot

    lines = list(fleet_text.draw_boot(describe_boot(HEALTHY), colour=True))
    assert "\x1b[32mhealthy, up in 35.9 s\x1b[0m" in lines[0]
    assert "\x1b[34m█" in lines[1]


def test_a_store_that_is_fetched_is_shown_with_how_much_of_it() -> None:
    from ectools.netboot.api.page.rows import describe_progress
    from ectools.netboot.api.rows import describe_boot

    stages = {NodeStage.SCRIPT: NOW - 9.0, NodeStage.STORE: NOW - 4.0}
    boot = make_boot(id="b-store", stages=stages, store_percent=40)
    (first, *_) = fleet_text.draw_boot(describe_boot(boot), colour=False)
    assert "booting: store 40 %" in first
    assert describe_progress(boot) == "fetches its store: 40 %"


def test_changes_and_the_log(program: Program, sock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "")

    def say(*arguments: object) -> str:
        status, out, err = program(COMMAND, *arguments, "--socket", sock)
        assert (status, out) == (0, ""), err
        return err

    assert say("hold", "nuc-07") == "nuc-07: held\n"
    assert say("boot-once", "nuc-07", "--disk") == "nuc-07: boots once: from its disk\n"
    assert say("release", "nuc-07") == "nuc-07: released; it boots: boot-v2\n"
    added = say(
        *("add", "nuc-09", "--group", "runners", "--mac", "02:00:00:00:00:0a", "--mac", "02:00:00:00:00:0b"),
        *("--uuid", "6f1c2d3e-0000-4000-8000-020000123456", "--serial", "S9", "--asset", "A9"),
        *("--kernel-argument", "quiet"),
    )
    assert added == "nuc-09: added; it boots: boot-v2\n"
    by_id = ("boot-once", "nuc-09", "--release", PREVIOUS.id)
    assert say(*by_id) == "nuc-09: boots once: boot-v1\n"
    _, out, _ = program(COMMAND, "show", "nuc-09", "--socket", sock)
    assert f"release          boot-v1, {PREVIOUS.id}   (boot once by " in out
    _, out, _ = program(COMMAND, "show", "nuc-09", "--socket", sock, "--json")
    assert json.loads(out)["release"] == PREVIOUS.id
    _, out, _ = program(COMMAND, "show", "nuc-09", "--socket", sock)
    assert "match            mac 02:00:00:00:00:0b\n" in out
    assert "kernelArguments  console=ttyS0 quiet" in out
    assert say("remove", "nuc-09") == "nuc-09: removed\n"
    _, out, _ = program(COMMAND, "log", "--socket", sock)
    lines = out.splitlines()
    node = lines[3].partition("  node=")[2]
    assert json.loads(node)["match"]["mac"] == ["02:00:00:00:00:0a", "02:00:00:00:00:0b"]
    assert [line.split("  ")[2] for line in lines] == [
        *("node-held", "node-boot-once", "node-released", "node-added", "node-boot-once", "node-removed"),
    ]
    assert lines[1].startswith("2  2027-01-15T08:00:00Z  node-boot-once  nuc-07  by ")
    assert lines[1].endswith("  boot=disk")
    _, out, _ = program(COMMAND, "log", "--after", "5", "--json", "--socket", sock)
    assert json.loads(out)["kind"] == "node-removed"


def test_the_boot_hosts_are_shown(program: Program, sock: Path) -> None:
    status, out, _ = program(COMMAND, "hosts", "--socket", sock)
    assert status == 1  # one of them is down
    title, here, other = out.splitlines()
    assert title.split() == ["HOST", "ADDRESS", "VERSION", "RELEASE", "STAGED", "SEEN", "CLOCK", "BEHIND"]
    assert here.split() == ["boot-1", "http://boot-1:8080", "0.1.0", "boot-v2", "1", "now", "right", "0"]
    assert other.startswith("boot-2  ")
    assert "ago: down" in other
    assert other.endswith("15 min behind  0")
    status, out, _ = program(COMMAND, "hosts", "--json", "--socket", sock)
    assert [each["name"] for each in json.loads(out)] == ["boot-1", "boot-2"]


def test_what_a_boot_host_lacks_is_a_line_and_no_success(
    program: Program, sock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lacks = [{"release": CURRENT.id, "groups": ["lab", "runners"]}, {"release": "boot-\x1b", "groups": ["x"]}]
    rows = [make_host("boot-1", here=True), make_host("boot-2", lacks=lacks)]
    answer: dict[str, Any] = {"hosts": rows, "now": NOW}
    monkeypatch.setattr(FleetClient, "get", lambda *_, **__: answer)
    status, out, _ = program(COMMAND, "hosts", "--socket", sock)
    assert status == 1
    assert out.splitlines()[3:] == [
        "boot-2 has not staged boot-v2, which is for lab, runners",
        "boot-2 has not staged boot-\\x1b, which is for x",
    ]
    for each in rows:
        each["lacks"] = []
    assert program(COMMAND, "hosts", "--socket", sock)[0] == 0
    for each in rows:
        del each["lacks"], each["left_out"]  # of a boot server of before
    assert program(COMMAND, "hosts", "--socket", sock)[0] == 0


def test_the_log_goes_on(program: Program, sock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    waited = []

    def wait(seconds: float) -> None:
        waited.append(seconds)
        if len(waited) == 2:
            raise KeyboardInterrupt
        assert program(COMMAND, "hold", "nuc-07", "--socket", sock)[0] == 0

    monkeypatch.setattr(fleet_looks, "time", SimpleNamespace(sleep=wait))
    monkeypatch.setattr(fleet_history, "_AT_ONCE", 1)
    status, out, _ = program(COMMAND, "log", "--follow", "--socket", sock)
    assert status == 130
    assert "node-held" in out


def test_who_follows_is_told_of_what_was_forgotten_meanwhile(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not of what was forgotten before it asked first: that is no gap."""
    path, turns = tmp_path / "control.sock", [["hold"], ["release", "hold", "release", "hold"]]

    def do(changes: Sequence[str]) -> None:
        for change in changes:
            fleet_socket.open_client(path).post("nodes", "nuc-07", change, body={})

    def wait(_: float) -> None:
        if not turns:
            raise KeyboardInterrupt
        do(turns.pop(0))

    monkeypatch.setattr(fleet_looks, "time", SimpleNamespace(sleep=wait))
    with control_socket(path, prepare) as api:
        api.store.max_events = 2
        do(["hold", "release", "hold", "release"])
        _, out, err = program(COMMAND, "log", "--follow", "--socket", path)
    assert [line.split("  ")[0] for line in out.splitlines()] == ["3", "4", "5", "8", "9"]
    assert [line for line in err.splitlines() if "numbers" in line] == [
        "numbers 6 to 7 are remembered no more"
    ]


def test_what_is_wrong_is_said(program: Program, sock: Path, tmp_path: Path) -> None:
    cases: list[tuple[tuple[Any, ...], int, str]] = [
        (("hold", "nuc-7"), 2, "did you mean nuc-07?"),
        (("boots", "nuc-7"), 2, "did you mean nuc-07?"),
        (("boots", "\udcff"), 2, "'\\udcff': is no name of anything: a name is UTF-8"),
        (("boots", ""), 2, "a name was expected, and an empty one was given"),
        (("show", "nuc-7"), 2, "did you mean nuc-07?"),
        (("release", "nuc-07"), 2, "is not held"),
        (("hold", "nuc-07", "--why", "x" * 70_000), 2, "why: is not one line of at most 200 characters"),
        (("add", "nuc-09", "--serial", "x" * 70_000), 2, "what was sent is larger than 64 KiB"),
        (("status", "--wait", "--timeout", "nan"), 2, "nan is no time in seconds"),
        (("boot-once", "nuc-07", "--release", "boot-v9"), 2, "is not staged here"),
        (("boot-once", "nuc-07", "--release", "boot-v1", "--disk"), 2, "exclude each other"),
        (("boot-once", "nuc-07", "install", "--disk"), 2, "--disk and install exclude each other"),
        (("boot-once", "nuc-07", "hold"), 2, "'hold' is not one of"),
        (("boot-once", "nuc-07", "install"), 2, "nuc-07 would wait: boot-v2 has no system to install"),
        (("add", "nuc-09"), 2, "says nothing that the machine is known by"),
        (("add", "nuc-09", "--mac", "x"), 2, "fleet.nodes.nuc-09.match.mac"),
        (("remove", "nuc-07"), 2, "stands in fleet.toml"),
    ]
    for arguments, expected, words in cases:
        status, _, err = program(COMMAND, *arguments, "--socket", sock)
        assert (status, words in err) == (expected, True), err
    for command in (("status",), ("hold", "n"), ("show", "n"), ("log",)):
        status, _, err = program(COMMAND, *command, "--socket", tmp_path / "absent")
        assert (status, "no boot server answers there" in err) == (1, True), err


def test_show_says_who_holds_a_machine_and_what_one_without_a_name_boots(
    program: Program, sock: Path
) -> None:
    assert program(COMMAND, "hold", "nuc-07", "--socket", sock)[0] == 0
    _, out, _ = program(COMMAND, "show", "nuc-07", "--socket", sock)
    assert "boot             hold   (held by " in out
    status, out, _ = program(COMMAND, "show", "mac 02:00:00:00:00:99", "--socket", sock)
    assert (status, "what a machine boots that no node is" in out) == (0, True)


@pytest.mark.parametrize(
    ("seconds", "text"), [(-3, "0 s"), (59.9, "59 s"), (60, "1 min"), (7200, "2 h"), (1e6, "11 d")]
)
def test_a_time_that_has_passed(seconds: float, text: str) -> None:
    assert fleet_text.show_seconds(seconds) == text


def test_what_is_next_in_words() -> None:
    plain = {"next": {"boot": "hold", "release": None, "wanted": None}, "hold": None}
    assert fleet_text.describe_next(plain) == "nothing, it is held by the fleet"
    wanted = {"next": {"boot": "network", "release": None, "wanted": "boot-v9"}, "hold": None}
    assert fleet_text.describe_next(wanted) == "boot-v9, which is not staged"
    held = {"next": plain["next"], "hold": {"by": None, "why": None, "at": 1}}
    assert fleet_text.describe_next(held) == "nothing, it is held"
    named = {"next": {"boot": "network", "release": {"id": CURRENT.id, "tag": None}}, "hold": None}
    assert fleet_text.describe_next(named) == "sha256-aaaaaaaaaaaa"


def test_what_is_booted_once_is_what_the_fleet_knows() -> None:
    (target,) = (each for each in fleet_nodes.boot_once.params if each.name == "target")
    assert isinstance(target.type, click.Choice)
    assert list(target.type.choices) == list(ONCE_TARGETS)


def test_a_boot_by_kexec_is_called_so() -> None:
    from ectools.netboot.api.rows import describe_boot

    first = next(iter(fleet_text.draw_boot(describe_boot(replace(HEALTHY, after="1-before")), colour=False)))
    assert "by kexec" in first
    assert "by kexec" not in next(iter(fleet_text.draw_boot(describe_boot(HEALTHY), colour=False)))
