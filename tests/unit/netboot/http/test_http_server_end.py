"""The end of a server: draining, signals; and the open files that it needs."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import socket
from typing import TYPE_CHECKING

import pytest
from support.http_house import BIG, House, receive, run, until
from support.still_loop import advance, run_still, turns

from ectools.errors import EcError
from ectools.netboot.http import server as module
from ectools.netboot.http.admission import LOBBY_CONNECTIONS
from ectools.netboot.http.descriptors import reserve_descriptors
from ectools.netboot.http.listen import bind_listener
from ectools.netboot.http.server import serve
from ectools.netboot.http.settings import HttpSettings

if TYPE_CHECKING:
    from pathlib import Path

    from support.log_lines import LogLines


# --- The end


def test_draining_lets_downloads_end_and_takes_no_more(root: Path) -> None:
    async def scenario(house: House) -> None:
        server = house.server
        busy = await house.ask("/initrd")
        idle = await house.ask("/netboot.ipxe")
        fresh = house.connect()[0]
        await until(lambda: len(server.admission) == 3 and bool(server._scheduler._transfers))
        await turns(50)
        draining = asyncio.create_task(server.drain())
        await turns()
        with pytest.raises(ConnectionRefusedError):
            house.connect()
        assert (await receive(idle)).endswith(b"#!ipxe\n")
        assert await receive(idle) == b""
        assert len(server.admission) == 2
        # A client that has connected may send its first request for a second.
        await advance(0.9)
        assert len(server.admission) == 2
        await advance(0.15)
        assert await receive(fresh) == b""
        assert len(server.admission) == 1
        received = 0
        while data := await receive(busy):
            received += len(data)
        assert received > BIG
        assert await draining == 0

    run(root, scenario)


def test_what_is_not_done_in_time_is_dropped_and_counted(root: Path) -> None:
    async def scenario(house: House) -> None:
        await house.ask("/initrd")
        house.connect()
        await until(lambda: bool(house.server._scheduler._transfers))
        await until(lambda: len(house.server.admission) == 2)
        draining = asyncio.create_task(house.server.drain())
        await turns()
        await advance(0.4)
        assert not draining.done()
        assert len(house.server.admission) == 2
        # The first request has no more time than the drain has.
        await advance(0.1)
        assert await draining == 1
        await turns()
        assert len(house.server.admission) == 0

    run(root, scenario, drain_seconds=0.5)


def test_draining_a_server_without_clients_takes_no_time(root: Path) -> None:
    async def scenario(house: House) -> None:
        assert await house.server.drain() == 0

    run(root, scenario)


def test_closing_releases_every_descriptor(root: Path) -> None:
    async def scenario() -> None:
        for _ in range(2):
            before = len(os.listdir("/proc/self/fd"))
            house = House(root)
            house.server.start()
            await house.get("/netboot.ipxe")
            await house.server.drain()
            await house.server.close()
            for client in house.clients:
                client.close()
            await turns()
            assert len(os.listdir("/proc/self/fd")) <= before
            # Nor does a timer go on.
            assert house.server._deadlines._handle is None
            assert house.server._upkeep._handle is None

    run_still(scenario())


class Signals:
    """Signals to this process, sent as soon as the server is ready."""

    def __init__(self, *numbers: signal.Signals) -> None:
        self.numbers = numbers
        self.ready: list[tuple[str, int]] = []

    def __call__(self, ip: str, port: int) -> None:
        self.ready.append((ip, port))
        for number in self.numbers:
            os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it(
    root: Path,
    number: signal.Signals,
    monkeypatch: pytest.MonkeyPatch,
    log_lines: LogLines,
) -> None:
    settled: list[bool] = []
    monkeypatch.setattr(module, "settle_memory", lambda: settled.append(True))
    listener = bind_listener("127.0.0.1", 0)
    ip, port = listener.getsockname()
    signals = Signals(number)
    asyncio.run(asyncio.wait_for(serve(HttpSettings(root=root), listener=listener, on_ready=signals), 60))
    assert signals.ready == [(ip, port)]
    assert listener.fileno() == -1
    assert settled == [True]
    (ready,) = log_lines.having("is ready")
    assert (ready["ip"], ready["port"], ready["root"]) == (ip, port, str(root))
    assert [line["drain_seconds"] for line in log_lines.having("stopping")] == [30.0]
    assert [line["dropped"] for line in log_lines.having("has stopped")] == [0]


def test_a_second_signal_drops_everything(
    root: Path, monkeypatch: pytest.MonkeyPatch, log_lines: LogLines
) -> None:
    monkeypatch.setattr(module, "settle_memory", lambda: None)

    async def scenario() -> None:
        listener = bind_listener("127.0.0.1", 0)
        client = socket.create_connection(listener.getsockname())
        client.send(b"GET /initrd HTTP/1.1\r\nHost: b\r\n\r\n")
        serving = asyncio.create_task(serve(HttpSettings(root=root, drain_seconds=1000), listener=listener))
        client.setblocking(False)
        await receive(client)
        os.kill(os.getpid(), signal.SIGTERM)
        await until(lambda: bool(log_lines.having("stopping")))
        await turns()
        assert not serving.done()
        os.kill(os.getpid(), signal.SIGTERM)
        await serving
        client.close()

    asyncio.run(asyncio.wait_for(scenario(), 60))
    assert [line["dropped"] for line in log_lines.having("has stopped")] == [1]


# --- Open files


class Limit:
    """getrlimit(2) and setrlimit(2)."""

    def __init__(self, soft: int, hard: int) -> None:
        self.limits = (soft, hard)
        self.was_set = False

    def get(self, what: int) -> tuple[int, int]:
        assert what == resource.RLIMIT_NOFILE
        return self.limits

    def set(self, what: int, limits: tuple[int, int]) -> None:
        assert what == resource.RLIMIT_NOFILE
        self.limits = limits
        self.was_set = True


NEEDED = 3 * 100 + LOBBY_CONNECTIONS + 80
"""For 100 connections."""
ANY = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("soft", "hard", "possible", "after"),
    [
        (NEEDED, NEEDED, 100, None),
        (NEEDED + 1, ANY, 100, None),
        (ANY, ANY, 100, None),
        (NEEDED - 1, NEEDED + 50, 100, NEEDED),
        (1, ANY, 100, NEEDED),
        (1, NEEDED, 100, NEEDED),
        (1, NEEDED - 1, 99, NEEDED - 1),
        (1, NEEDED - 3, 99, NEEDED - 3),
        (1, NEEDED - 4, 98, NEEDED - 4),
        (275, 275, 1, 275),
    ],
)
def test_open_files(
    monkeypatch: pytest.MonkeyPatch,
    log_lines: LogLines,
    soft: int,
    hard: int,
    possible: int,
    after: int | None,
) -> None:
    limit = Limit(soft, hard)
    monkeypatch.setattr(resource, "getrlimit", limit.get)
    monkeypatch.setattr(resource, "setrlimit", limit.set)
    assert reserve_descriptors(100) == possible
    assert limit.limits == (soft if after is None else after, hard)
    warned = [(line["wanted"], line["allowed"]) for line in log_lines.having("allows fewer connections")]
    assert warned == ([] if possible == 100 else [(100, possible)])


def test_too_few_open_files(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = Limit(274, 274)
    monkeypatch.setattr(resource, "getrlimit", limit.get)
    monkeypatch.setattr(resource, "setrlimit", limit.set)
    with pytest.raises(
        EcError, match="at most 274 files may be open, and 572 are needed for 100 connections"
    ):
        reserve_descriptors(100)


def test_the_server_serves_as_many_as_the_limit_allows(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "reserve_descriptors", lambda wanted: wanted - 1)

    async def scenario(house: House) -> None:
        assert house.server.describe()["max_connections"] == 9

    run(root, scenario, max_connections=10)
