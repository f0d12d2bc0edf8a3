"""A node's reports from a real systemd: the built unit and its script, and a boot and a server for each test.

In a container the kernel's command line is that of its process 1, but for the file that shows it.
"""

from __future__ import annotations

import contextlib
import functools
import json
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.machine import Machine
from support.machine_image import find_image
from support.machine_nspawn import run_container
from support.systems import Systems
from support.unit_files import IN_CONTAINER

pytestmark = [pytest.mark.nix]

UNIT = "every-channel-report.service"
RECORDER = Path(__file__).parents[1] / "support" / "report_recorder.py"
PORT = 8099
TOKEN = "t0ken_of-the-boot-0123456789abcd"
URL = f"http://127.0.0.1:{PORT}/report?boot={TOKEN}"

_SERVER = f"""\
[Unit]
Description=A boot server
[Service]
ExecStart=/usr/bin/python3 /etc/recorder.py {PORT} /run/recorder
"""
_FAILS = """\
[Unit]
Description=A service that fails
[Service]
Type=oneshot
ExecStart=/bin/sh -c 'echo "no luck with http://me:pass@forge.example/?token=s3cret"; test -e /run/mended'
"""
_HANGS = """\
[Unit]
Description=A service that waits
[Service]
Type=oneshot
RemainAfterExit=yes
TimeoutStartSec=infinity
ExecStart=/bin/sh -c 'until test -e /run/mended; do sleep 0.2; done'
"""


@dataclass(frozen=True)
class Node:
    """A machine that has been told where to report."""

    machine: Machine

    def reports(self) -> list[dict[str, Any]]:
        """The fields of what the server was told, in order."""
        text = self.machine.shell("cat /run/recorder/reports 2>/dev/null || true")
        return [json.loads(line)["fields"] for line in text.splitlines()]

    def wait_report(self, count: int = 1, **fields: str) -> dict[str, Any]:
        """The last of that many reports that have these fields."""
        found: list[dict[str, Any]] = []

        def has_come() -> bool:
            found[:] = [
                each
                for each in self.reports()
                if all(each.get(name) == [value] for name, value in fields.items())
            ]
            return len(found) >= count

        self.machine.wait(has_come, f"a report with {fields}", unit=UNIT)
        return found[count - 1]

    def wait_end(self) -> str:
        """What the program has said, once it has ended by itself."""

        def has_ended() -> bool:
            shown = self.machine.show(UNIT, "SubState", "MainPID")
            return shown == {"SubState": "exited", "MainPID": "0"}

        self.machine.wait(has_ended, "the end of the program", unit=UNIT)
        return self.machine.journal(UNIT)


Nodes = Any


@pytest.fixture(scope="module")
def build_unit(systems: Systems) -> Callable[[str], Path]:
    """The unit of a host by its options, as JSON text; each is built once."""

    @functools.cache
    def build(options: str) -> Path:
        config = {"services": {"every-channel": {"report": {"enable": True, **json.loads(options)}}}}
        return systems.build("reportUnit", config) / UNIT

    return build


@pytest.fixture
def boot(build_unit: Callable[[str], Path], tmp_path: Path) -> Nodes:
    """A node that boots, for the length of a block."""

    @contextlib.contextmanager
    def boot_node(
        *arguments: str,
        units: Mapping[str, str] | None = None,
        served: bool = True,
        answers: Sequence[str] = ("200",),
        url: str = URL,
        reporting: bool = True,
        tmpfiles: str = "",
        required: Mapping[str, str] | None = None,
        states: Collection[str] = ("running", "degraded"),
        **options: Any,
    ) -> Iterator[Node]:
        built = build_unit(json.dumps({"holdSeconds": 0, **options}))
        (script,) = set(re.findall(r"ExecStart=(/nix/store/\S+)", built.read_text()))
        given = [until_late(3600), "every_channel.release=boot-v2026.11.29", *arguments]
        if reporting:
            given.append(f"every_channel.report={url}")
        files = {
            f"systemd/system/{UNIT}.d/container.conf": IN_CONTAINER.format(script=script),
            "systemd/system/recorder.service": _SERVER,
            "sysusers.d/report.conf": "u every-channel-report -\n",
            "recorder.py": RECORDER.read_text(),
            "recorder.answers": "\n".join(answers),
            "tmpfiles.d/recorder.conf": f"C /run/recorder/answers - - - - /etc/recorder.answers\n{tmpfiles}",
            "cmdline": " ".join(["BOOT_IMAGE=kernel", *given]) + "\n",
            **{f"systemd/system/{name}": text for name, text in (units or {}).items()},
            **{
                f"systemd/system/{target}.d/required.conf": f"[Unit]\nRequires={name}\n"
                for target, name in (required or {}).items()
            },
        }
        binds = [f"--bind-ro={built}:/etc/systemd/system/{UNIT}"]
        for number, (name, text) in enumerate(files.items()):
            (tmp_path / str(number)).write_text(text)
            binds.append(f"--bind-ro={tmp_path / str(number)}:/etc/{name}")
        wanted = [UNIT, *(["recorder.service"] if served else [])]
        wanted += [name for name in units or {} if name not in (required or {}).values()]
        image = find_image()
        container = [
            *("--boot", "--volatile=overlay", "-D", str(image.tree), "--bind-ro=/nix/store", *binds),
            "systemd.unit=multi-user.target",
            *(f"systemd.wants={name}" for name in wanted),
            *given,
        ]
        with run_container(container, tmp_path / "console", states=states) as machine:
            yield Node(machine)

    return boot_node


def until_late(seconds: int) -> str:
    """The argument with which a boot is late that many seconds from now: counted since the kernel's start."""
    late = int(float(Path("/proc/uptime").read_text().split()[0])) + seconds
    # A quarter of the time, and no more than two minutes, are left for the report.
    return f"every_channel.healthy_within={min(late * 4 // 3, late + 120)}"


def test_a_boot_that_goes_well_is_told_once(boot: Nodes) -> None:
    with boot() as node:
        report = node.wait_report(stage="up")
        said = node.wait_end()
        (up,) = [each for each in node.reports() if each["stage"] == ["up"]]
        assert up == report
        assert (up["healthy"], up["release"]) == (["yes"], ["boot-v2026.11.29"])
        assert abs(float(up["clock"][0]) - time.time()) < 3600
        assert float(up["seconds.userspace"][0]) > 0
        # Debian has no such link, a container no kernel, and nothing is wrong.
        assert not {"system", "seconds.kernel", "failed", "journal"} & up.keys()
        (request, *_) = node.machine.run("cat", "/run/recorder/reports").splitlines()
        assert json.loads(request)["target"] == f"/report?boot={TOKEN}"
        assert json.loads(request)["type"] == "application/x-www-form-urlencoded"
        assert "up, healthy: yes: the boot server knows" in said
        # On the kernel's command line it can be read, and nowhere else.
        assert TOKEN not in node.machine.journal(UNIT)
        assert node.machine.show(UNIT, "ActiveState", "Result") == {
            "ActiveState": "active",
            "Result": "success",
        }
        # A start that is asked for again, as the switch to another system does, is none.
        node.machine.run("systemctl", "start", UNIT)
        assert node.reports().count(up) == 1


def test_without_the_kernel_argument_nothing_runs(boot: Nodes) -> None:
    with boot(reporting=False) as node:
        shown = node.machine.show(UNIT, "ConditionResult", "ActiveState")
        assert shown == {"ConditionResult": "no", "ActiveState": "inactive"}
        assert node.reports() == []


def test_what_an_installation_has_left_is_reported_by_once(boot: Nodes) -> None:
    """From its disk a system has no argument of the boot server's: the installer has left them there."""
    place = "/var/lib/every-channel/report"
    given = f"every_channel.report={URL} every_channel.release=boot-v9 {until_late(3600)}"
    left = f"d {place} 0700 root root\nf {place}/first-boot 0600 root root - {given}\n"
    with boot(reporting=False, tmpfiles=left) as node:
        assert node.wait_report(stage="up", healthy="yes")["release"] == ["boot-v9"]
        assert TOKEN not in node.wait_end()
        node.machine.run("test", "!", "-e", f"{place}/first-boot")


def test_the_kernel_runs_is_said_before_the_boot_is_over(boot: Nodes) -> None:
    with boot(units={"hangs.service": _HANGS}, states=["starting"]) as node:
        assert node.wait_report(stage="running") == {"stage": ["running"]}
        node.machine.write("/run/mended", "")
        node.wait_report(stage="up", healthy="yes")
        node.wait_end()
        assert [each["stage"] for each in node.reports()] == [["running"], ["up"]]


@pytest.mark.full
def test_stage_1_may_have_said_it(boot: Nodes) -> None:
    said = "d /run/every-channel 0755\nf /run/every-channel/running 0644\n"
    with boot(units={"hangs.service": _HANGS}, states=["starting"], tmpfiles=said) as node:
        node.machine.wait_active(UNIT)
        node.machine.write("/run/mended", "")
        node.wait_end()
        assert [each["stage"] for each in node.reports()] == [["up"]]


def test_a_unit_that_has_failed_is_told_with_the_journal_without_secrets(boot: Nodes) -> None:
    with boot(units={"fails.service": _FAILS}) as node:
        report = node.wait_report(stage="up")
        assert (report["healthy"], report["failed"]) == (["no"], ["fails.service"])
        (journal,) = report["journal"]
        assert "no luck with http://***@forge.example/?token=***" in journal
        assert "-- fails.service\n" in journal
        assert "s3cret" not in journal
        assert TOKEN not in journal
        # It recovers, and that is told too.
        node.machine.write("/run/mended", "")
        node.machine.run("systemctl", "start", "fails.service")
        node.wait_report(stage="up", healthy="yes")
        node.wait_end()
        stages = [(each["stage"], each.get("healthy")) for each in node.reports() if each["stage"] == ["up"]]
        assert stages == [(["up"], ["no"]), (["up"], ["yes"])]


def test_any_name_of_a_unit_is_told_as_it_is(boot: Nodes) -> None:
    name = r"dev-disk-by\x2dlabel-x.service"
    with boot(units={"hangs.service": _HANGS}, states=["starting"]) as node:
        node.machine.write(f"/run/systemd/system/{name}", "[Service]\nExecStart=/bin/false\nType=oneshot\n")
        node.machine.run("systemctl", "start", name, check=False)
        node.machine.write("/run/mended", "")
        assert node.wait_report(stage="up")["failed"] == [name]


def test_the_token_is_no_part_of_the_journal_that_is_sent(boot: Nodes) -> None:
    says = f"ExecStart=/bin/sh -c 'echo {URL} and {TOKEN[:9]}{TOKEN[9:]}, ümläut \\t tab; exit 1'\n"
    with boot(units={"fails.service": f"[Service]\nType=oneshot\n{says}"}) as node:
        (journal,) = node.wait_report(stage="up", healthy="no")["journal"]
        assert "/report?boot=*** and ***, ??ml??ut" in journal
        assert TOKEN not in journal


def test_a_boot_that_hangs_is_told_before_its_time_is_over(boot: Nodes) -> None:
    with boot(until_late(6), units={"hangs.service": _HANGS}, states=["starting"]) as node:
        report = node.wait_report(stage="up")
        assert report["healthy"] == ["no"]
        assert "failed" not in report
        assert "seconds.userspace" not in report
        last = report["journal"][0].rpartition("-- still to be done\n")[2]
        assert re.search(r"^\s*\d+ hangs\.service\s+start\s+running$", last, re.MULTILINE)
        node.machine.write("/run/mended", "")
        assert "seconds.userspace" in node.wait_report(stage="up", healthy="yes")
        node.wait_end()


def test_a_server_that_is_away_is_told_once_it_is_back(boot: Nodes) -> None:
    with boot(served=False) as node:
        node.machine.wait_active(UNIT)
        node.machine.run("systemctl", "start", "recorder.service")
        node.wait_report(stage="up", healthy="yes")
        node.wait_end()


def test_a_server_that_cannot_keep_it_is_asked_again_with_the_same(boot: Nodes) -> None:
    with boot(answers=["503 1", "429 1", "500", "200"], units={"fails.service": _FAILS}) as node:
        node.wait_report(4, stage="up", healthy="no")
        said = node.machine.wait(
            lambda: "up, healthy: no: the boot server knows" in node.machine.journal(UNIT) and node.reports(),
            "an answer",
            unit=UNIT,
        )
        assert [each["stage"] for each in said] == [["up"]] * 4
        assert all(each == said[0] for each in said)


def test_a_server_that_has_no_use_for_it_is_left_alone(boot: Nodes) -> None:
    with boot(answers=["403"]) as node:
        assert "has no use for a report on this boot" in node.wait_end()
        assert len(node.reports()) == 1
        assert node.machine.show(UNIT, "Result")["Result"] == "success"


@pytest.mark.parametrize("status", ["400", pytest.param("411", marks=pytest.mark.full)])
def test_a_report_that_is_refused_is_not_sent_again(boot: Nodes, status: str) -> None:
    with boot(answers=[status]) as node:
        assert f"up, healthy: yes: the boot server refuses it ({status})" in node.wait_end()
        assert [each["stage"] for each in node.reports()].count(["up"]) == 1


@pytest.mark.full
def test_a_report_that_is_too_large_goes_without_the_journal(boot: Nodes) -> None:
    with boot(answers=["413", "200"], units={"fails.service": _FAILS}) as node:
        node.wait_report(2, stage="up", healthy="no")
        first, second = node.reports()
        assert "journal" in first
        assert second == {name: value for name, value in first.items() if name != "journal"}


_CHATTY = """[Service]
Type=oneshot
ExecStart=/usr/bin/python3 -c 'for n in range(3000): print("%%%%", n, "\\u2603&=%" * 40)'
ExecStart=/usr/bin/false
"""


@pytest.mark.parametrize("kib", [*(pytest.param(kib, marks=pytest.mark.full) for kib in (0, 2)), 32])
def test_a_report_is_bounded_whatever_the_journal_has(boot: Nodes, kib: int) -> None:
    with boot(units={"chatty.service": _CHATTY}, journalKiB=kib) as node:
        report = node.wait_report(stage="up", healthy="no")
        (request,) = [
            each
            for each in map(json.loads, node.machine.run("cat", "/run/recorder/reports").splitlines())
            if each["fields"]["stage"] == ["up"]
        ]
        assert request["size"] <= 60 << 10
        journal = report.get("journal", [""])[0]
        assert len(journal) <= kib << 10
        assert len(journal) >= min(kib, 8) << 9
        # Each line is whole, but for its length.
        assert all(re.match(r"\[ *\d+\.\d+\] |-- ", line) for line in journal.splitlines())


_ONCE = "[Service]\nType=oneshot\nExecStart=/bin/true\n"
_DAEMON = "[Service]\nExecStart=/bin/sleep infinity\n"


@pytest.mark.full
def test_health_units_are_the_hosts_and_the_servers(boot: Nodes) -> None:
    """One that has done its work is up, and so is one that runs."""
    units = {"once.service": _ONCE, "daemon.service": _DAEMON}
    asked = "every_channel.health_units=daemon.service"
    with boot(asked, units=units, healthUnits=["once.service"]) as node:
        node.wait_report(stage="up", healthy="yes")
        node.wait_end()
        assert [each.get("healthy") for each in node.reports() if each["stage"] == ["up"]] == [["yes"]]


def test_a_health_unit_that_is_not_up_is_named_when_the_time_is_over(boot: Nodes) -> None:
    asked = "every_channel.health_units=late.service,--evil,not-there.service"
    with boot(asked, until_late(8)) as node:
        report = node.wait_report(stage="up")
        assert (report["healthy"], report["failed"]) == (["no"], ["late.service", "not-there.service"])


def test_what_is_required_by_the_completion_of_the_boot_counts(boot: Nodes) -> None:
    check = (
        "[Unit]\nBefore=boot-complete.target\nAfter=multi-user.target\nDefaultDependencies=no\n"
        "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/usr/bin/test -e /run/mended\n"
    )
    with boot(units={"check.service": check}, required={"boot-complete.target": "check.service"}) as node:
        report = node.wait_report(stage="up")
        assert report["healthy"] == ["no"]
        assert set(report["failed"]) == {"check.service", "boot-complete.target"}
        node.machine.write("/run/mended", "")
        node.machine.run("systemctl", "start", "boot-complete.target")
        node.wait_report(stage="up", healthy="yes")


@pytest.mark.full
def test_a_health_unit_that_dies_again_and_again_is_not_up(boot: Nodes) -> None:
    """At each single look it runs; held against its last run it does not."""
    crashes = (
        "[Unit]\nStartLimitIntervalSec=0\n"
        "[Service]\nRestart=always\nRestartSec=100ms\n"
        "ExecStart=/bin/sh -c 'test -e /run/mended && exec sleep infinity; sleep 1.5'\n"
    )
    with boot(until_late(20), units={"c.service": crashes}, healthUnits=["c.service"], holdSeconds=4) as node:
        assert node.wait_report(stage="up")["healthy"] == ["no"]
        node.machine.write("/run/mended", "")
        node.wait_report(stage="up", healthy="yes")


@pytest.mark.parametrize(
    "url",
    [
        f'http://h/r?boot={TOKEN}"%0Aoutput=/etc/x',
        pytest.param("http://h/report", marks=pytest.mark.full),
        pytest.param(f"file:///etc?boot={TOKEN}", marks=pytest.mark.full),
    ],
)
def test_an_address_that_is_none_is_not_asked(boot: Nodes, url: str) -> None:
    with boot(url=url) as node:
        said = node.wait_end()
        assert "every_channel.report is no address of a boot server: nothing is reported" in said
        assert TOKEN not in said
        assert node.reports() == []
