"""dnsmasq's file of the machines that get another boot binary."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from support.fleet_api import MemoryStore
from support.fleets import make_fleet

from ectools import log
from ectools.files import FileError
from ectools.netboot.dnsmasq import hosts
from ectools.netboot.dnsmasq.hosts import HostsKeeper, find_hosts_file, follow_hosts, write_hosts
from ectools.netboot.fleet.live import LiveFleet
from ectools.netboot.fleet.roster import Roster
from ectools.netboot.settings.load import load_netboot_settings

if TYPE_CHECKING:
    from pathlib import Path

    from support.log_lines import LogLines

    from ectools.netboot.fleet.model import Fleet
    from ectools.netboot.settings.model import NetbootSettings

MAC = "02:00:00:00:00:01"
NODES = {"n": {"group": "g", "match": {"mac": [MAC]}}}
FLEET = make_fleet(groups={"g": {"bootBinary": "snponly"}}, nodes=NODES)
NOBODYS = make_fleet(groups={"g": {}}, nodes=NODES)


def settings_of(directory: Path, **flags: Any) -> NetbootSettings:
    (directory / "fleet").mkdir(exist_ok=True)
    given = {"stateDir": str(directory), "proxyDhcp.subnet": "192.0.2.0/24", **flags}
    return load_netboot_settings(None, flags=given, environment={})


def test_it_is_there_where_a_group_needs_it(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    file = find_hosts_file(settings)
    write_hosts(settings, NOBODYS)
    assert not file.exists()
    write_hosts(settings, FLEET)
    assert (file.read_text(), file.stat().st_mode & 0o777) == (f"{MAC}\n", 0o640)
    before = file.stat()
    write_hosts(settings, FLEET)
    assert file.stat() == before
    write_hosts(settings, NOBODYS)
    assert file.read_text() == ""


def test_it_is_there_where_the_binary_is(tmp_path: Path) -> None:
    """dnsmasq's configuration names it then."""
    settings = settings_of(tmp_path)
    settings.tftp_dir.mkdir()
    (settings.tftp_dir / "ec-stock-snponly.efi").touch()
    write_hosts(settings, NOBODYS)
    assert find_hosts_file(settings).read_text() == ""


def test_a_binary_that_is_not_there_is_told(tmp_path: Path, log_lines: LogLines) -> None:
    write_hosts(settings_of(tmp_path), FLEET)
    assert log_lines.having("the boot binary of a group is not there")


def test_nodes_that_are_added_are_in_it(tmp_path: Path) -> None:
    """A disk that has no room is told once, and tried again."""
    told = io.StringIO()
    log.set_up(json_lines=True, stream=told)

    async def main() -> None:
        live = LiveFleet(MemoryStore(), clock=time.time)
        live.set_base(FLEET, Roster(FLEET), where="a test")
        keeper = HostsKeeper(live)
        await keeper.keep(settings)
        assert file.read_text() == f"{MAC}\n"
        file.unlink()
        await keeper.keep(settings)  # nothing is another
        assert not file.exists()
        await live.add("m", {"group": "g", "match": {"mac": ["02:00:00:00:00:02"]}}, by=None)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(hosts, "write_atomic", fail)
            for _ in range(3):
                await keeper.keep(settings)
        await keeper.keep(settings)
        assert file.read_text() == f"{MAC}\n02:00:00:00:00:02\n"
        live.set_base(NOBODYS, Roster(NOBODYS), where="a test")
        await keeper.keep(settings)
        assert file.read_text() == ""

    def fail(*_: Any, **__: Any) -> None:
        raise FileError("no space left")

    settings = settings_of(tmp_path)
    file = find_hosts_file(settings)
    asyncio.run(main())
    log.set_up()
    assert told.getvalue().count("which machines get another boot binary cannot be kept") == 1


@pytest.mark.parametrize("error", [PermissionError(13, "denied"), OSError(5, "I/O error"), ValueError("no")])
def test_whatever_is_wrong_with_it_ends_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log_lines: LogLines, error: Exception
) -> None:
    def fail(*_: Any) -> None:
        raise error

    async def main() -> None:
        live = LiveFleet(MemoryStore(), clock=time.time)
        live.set_base(FLEET, Roster(FLEET), where="a test")
        keeper = HostsKeeper(live)
        with monkeypatch.context() as patch:
            patch.setattr(hosts, "write_hosts", fail)
            await keeper.keep(settings)
        assert len(log_lines.having("which machines get another boot binary cannot be kept")) == 1
        file.write_bytes(b"\xff")  # which is nobody's text
        await keeper.keep(settings)
        assert file.read_text() == f"{MAC}\n"

    settings = settings_of(tmp_path)
    file = find_hosts_file(settings)
    asyncio.run(main())


def test_a_disk_that_hangs_is_waited_for_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, log_lines: LogLines
) -> None:
    monkeypatch.setattr(hosts, "_KEEP_SECONDS", 0.01)
    goes, asked = threading.Event(), 0

    def hang(settings: NetbootSettings, fleet: Fleet) -> None:
        nonlocal asked
        asked += 1
        goes.wait(60)
        write_hosts(settings, fleet)

    async def main() -> None:
        live = LiveFleet(MemoryStore(), clock=time.time)
        live.set_base(FLEET, Roster(FLEET), where="a test")
        keeper = HostsKeeper(live)
        monkeypatch.setattr(hosts, "write_hosts", hang)
        for _ in range(3):
            await keeper.keep(settings)
        assert asked == 1
        (told,) = log_lines.having("which machines get another boot binary cannot be kept")
        assert told["reason"] == "the disk does not answer"
        goes.set()
        async with asyncio.timeout(60):
            while not find_hosts_file(settings).exists():
                await keeper.keep(settings)

    settings = settings_of(tmp_path)
    asyncio.run(main())


def test_dnsmasq_is_told_of_each_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[int, int]] = []
    ends = asyncio.Event()

    async def pause(_: float) -> None:
        """Each look's turn: nothing, the file, the same, another, and the end of the process."""
        step = next(steps)
        if step == "write":
            find_hosts_file(settings).write_text(f"{len(told)}\n" * (len(told) + 1))
        elif step == "end":
            ends.set()
            await asyncio.Event().wait()

    def kill(pid: int, number: int) -> None:
        told.append((pid, number))
        if len(told) == 2:
            raise ProcessLookupError

    async def main() -> None:
        following = asyncio.create_task(follow_hosts(find_hosts_file(settings), 7))
        await asyncio.wait_for(ends.wait(), 30)
        following.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await following

    settings = settings_of(tmp_path)
    steps = iter(["nothing", "write", "nothing", "write", "nothing", "end"])
    monkeypatch.setattr(hosts.asyncio, "sleep", pause)
    monkeypatch.setattr(os, "kill", kill)
    asyncio.run(main())
    assert told == [(7, signal.SIGHUP)] * 2
