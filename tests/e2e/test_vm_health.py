"""What does not end a guest that runs: its boot HTTP server's deaths, a pause; and what is told of them."""

from __future__ import annotations

import json
import os
import signal
import socket
from typing import TYPE_CHECKING, Any

import pytest
from support.guests import (
    Runner,
    ServiceManager,
    argv_of,
    empty_root,
    is_alive,
    settings_for,
    start_runner,
    wait_until,
)
from support.reaper import find_descendants

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.qemu

SHUTDOWN = {"powerdownSeconds": 0, "quitSeconds": 60, "terminateSeconds": 60}


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[ServiceManager]:
    manager = ServiceManager(tmp_path / "notify")
    yield manager
    manager.close()


def environment(manager: ServiceManager, *, watchdog_seconds: float) -> dict[str, str]:
    return {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": str(int(watchdog_seconds * 1e6))}


def find_servers(runner: Runner) -> list[int]:
    return [pid for pid in find_descendants(runner.process.pid) if "netboot" in argv_of(pid)]


def test_a_guest_runs_on_without_its_boot_http_server(tmp_path: Path, manager: ServiceManager) -> None:
    """Its directory is gone for more quick deaths than were once too much; then it is back."""
    root = empty_root(tmp_path / "root")
    settings = settings_for(tmp_path / "state", root, shutdown=SHUTDOWN)
    died = "the boot HTTP server died; it is started again"
    with start_runner(settings, tmp_path, env=environment(manager, watchdog_seconds=2)) as runner:
        qemu = runner.wait_guest_pid()
        root.rename(tmp_path / "elsewhere")
        (server,) = find_servers(runner)
        os.kill(server, signal.SIGKILL)
        runner.wait_for(
            lambda entry: entry["event"] == died and entry["restarts"] == 6, "six deaths", seconds=120
        )
        fed = manager.count("WATCHDOG=1")
        wait_until(lambda: manager.count("WATCHDOG=1") > fed + 3, "the watchdog is fed meanwhile")
        assert is_alive(qemu)
        assert manager.statuses()[-1] == (
            "the guest runs (tcg); the boot HTTP server died and is started again"
        )
        (tmp_path / "elsewhere").rename(root)
        runner.wait_event("the boot HTTP server serves again")
        wait_until(lambda: manager.statuses()[-1] == "the guest runs (tcg)", "the status says so")
        runner.terminate()
        assert runner.wait() == 0
    assert runner.events("QEMU started")[0]["pid"] == qemu
    assert len(runner.events("QEMU started")) == 1
    first, *_, last = runner.events(died)
    assert first["how"] == "killed by SIGKILL"
    assert str(root) in last["how"]


class Monitor:
    """A person at a QMP monitor of QEMU's own."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._file = self._socket.makefile("rw")
        self.do("qmp_capabilities")

    def do(self, command: str) -> Any:
        self._file.write(json.dumps({"execute": command}) + "\n")
        self._file.flush()
        while True:
            answer = json.loads(self._file.readline())
            if "return" in answer:
                return answer["return"]

    def close(self) -> None:
        self._file.close()
        self._socket.close()


def test_a_paused_guest_is_told_of_and_lives(tmp_path: Path, manager: ServiceManager) -> None:
    monitor_path = tmp_path / "monitor"
    settings = settings_for(
        tmp_path / "state",
        empty_root(tmp_path / "root"),
        shutdown=SHUTDOWN,
        extraArgs=["-qmp", f"unix:{monitor_path},server=on,wait=off"],
    )
    with start_runner(settings, tmp_path, env=environment(manager, watchdog_seconds=1)) as runner:
        qemu = runner.wait_guest_pid()
        monitor = Monitor(monitor_path)
        monitor.do("stop")
        told = runner.wait_event("the guest is paused", status="paused")
        assert told["watchdog_seconds_left"] == 24 * 3600
        wait_until(
            lambda: manager.statuses()[-1] == "the guest is paused (paused) for less than a minute",
            "the status says so",
        )
        fed = manager.count("WATCHDOG=1")
        wait_until(lambda: manager.count("WATCHDOG=1") > fed + 5, "the watchdog is fed meanwhile")
        assert monitor.do("query-status")["status"] == "paused"
        monitor.do("cont")
        runner.wait_event("the guest runs again")
        wait_until(lambda: manager.statuses()[-1] == "the guest runs (tcg)", "the status says so")
        monitor.close()
        assert is_alive(qemu)
        runner.terminate()
        assert runner.wait() == 0
    assert len(runner.events("the guest is paused")) == 1


def test_a_guest_that_is_paused_can_be_stopped(tmp_path: Path) -> None:
    monitor_path = tmp_path / "monitor"
    settings = settings_for(
        tmp_path / "state",
        empty_root(tmp_path / "root"),
        extraArgs=["-qmp", f"unix:{monitor_path},server=on,wait=off"],
    )
    with start_runner(settings, tmp_path) as runner:
        runner.wait_guest_pid()
        monitor = Monitor(monitor_path)
        monitor.do("stop")
        runner.wait_event("the guest is paused", status="paused")
        monitor.close()
        runner.terminate()
        assert runner.wait() == 0
    assert runner.events("the guest has ended")[0]["how"] == "told QEMU to quit"


def test_a_console_without_end_is_bounded_in_the_log(tmp_path: Path) -> None:
    """A script that iPXE runs for ever; its guest is asked nothing meanwhile that it does not answer."""
    root = tmp_path / "root"
    root.mkdir()
    line = "x" * 100
    (root / "netboot.ipxe").write_text(
        f"#!ipxe\n:again\necho {line}\n" + f"echo {line}\n" * 20 + "goto again\n"
    )
    settings = settings_for(tmp_path / "state", root, shutdown=SHUTDOWN)
    with start_runner(settings, tmp_path) as runner:
        runner.wait_event("lines left out of the log: more was written than it takes", source="console")
        logged = len(runner.events("console"))
        runner.terminate()
        assert runner.wait() == 0
    assert 1000 < logged <= 20_000


def test_a_disk_that_fails_for_a_while_costs_no_guest_its_life(
    tmp_path: Path, manager: ServiceManager
) -> None:
    """The firmware reads its first sector, and QEMU stops the guest instead of telling it of the error."""
    # Each rule fails one read. QEMU itself takes the first, when it guesses the disk's geometry.
    rule = {"event": "none", "iotype": "read", "errno": 5, "once": True}
    disk = {
        "driver": "blkdebug",
        "node-name": "bad",
        "image": {"driver": "null-co", "size": 1 << 20, "read-zeroes": True},
        "inject-error": [rule] * 3,
    }
    settings = settings_for(
        tmp_path / "state",
        empty_root(tmp_path / "root"),
        shutdown=SHUTDOWN,
        extraArgs=[
            *("-blockdev", json.dumps(disk)),
            *("-device", "virtio-blk-pci,drive=bad,rerror=stop,bootindex=0"),
        ],
    )
    with start_runner(settings, tmp_path, env=environment(manager, watchdog_seconds=60)) as runner:
        qemu = runner.wait_guest_pid()
        runner.wait_event("the guest's disk failed")
        runner.wait_event("the guest is paused", status="io-error")
        runner.wait_event("the guest runs again")
        assert is_alive(qemu)
        runner.terminate()
        assert runner.wait() == 0
