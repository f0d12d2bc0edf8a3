"""The server on a clock that stands still: accepting, deadlines, upkeep, draining, limits."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import io
import json
import logging
import os
import resource
import signal
import socket
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp.http import HttpProcessingError
from support.still_loop import advance, run_still, turns

from ectools import log
from ectools.errors import EcError
from ectools.netboot.http import server as module
from ectools.netboot.http.admission import LOBBY_CONNECTIONS, Loss, Standing
from ectools.netboot.http.connection import Connection
from ectools.netboot.http.listen import bind_listener
from ectools.netboot.http.sendfile import Abort
from ectools.netboot.http.server import HttpServer, reserve_descriptors, serve
from ectools.netboot.http.settings import HttpSettings

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from pathlib import Path

BIG = 64 << 20


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "netboot.ipxe").write_bytes(b"#!ipxe\n")
    with (tmp_path / "initrd").open("wb") as file:
        file.truncate(BIG)
    return tmp_path


@pytest.fixture
def lines() -> Iterator[Callable[[str], list[dict[str, Any]]]]:
    """The log's lines whose event holds a word."""
    stream = io.StringIO()
    log.set_up(json_lines=True, stream=stream)
    yield lambda word: [
        line for line in map(json.loads, stream.getvalue().splitlines()) if word in line["event"]
    ]
    log.set_up()


class Listener(socket.socket):
    """A listening socket whose accept(2) fails as often as a test wants."""

    errors: list[OSError]

    def accept(self) -> tuple[socket.socket, Any]:
        if self.errors:
            raise self.errors.pop(0)
        return super().accept()


class House:
    """A server and its clients."""

    def __init__(
        self, root: Path, *, classify: Callable[[str], Standing] | None = None, **options: Any
    ) -> None:
        self.listener = Listener(fileno=bind_listener("127.0.0.1", 0).detach())
        self.listener.errors = []
        more = {} if classify is None else {"classify": classify}
        self.server = HttpServer(HttpSettings(root=root, **options), listener=self.listener, **more)
        self.address = self.listener.getsockname()
        self.clients: list[socket.socket] = []

    def connect(self, count: int = 1) -> list[socket.socket]:
        """Connections that wait to be accepted."""
        made = []
        for _ in range(count):
            client = socket.create_connection(self.address)
            client.setblocking(False)
            made.append(client)
        self.clients += made
        return made

    async def ask(self, path: str, *, more: str = "", client: socket.socket | None = None) -> socket.socket:
        """A client that has asked for something."""
        client = client or self.connect()[0]
        client.send(f"GET {path} HTTP/1.1\r\nHost: b\r\n{more}\r\n".encode())
        await turns()
        return client

    async def get(self, path: str, *, more: str = "") -> bytes:
        """The first of an answer."""
        return await receive(await self.ask(path, more=more))


async def receive(client: socket.socket) -> bytes:
    """What comes next; empty at the end. It takes no time by the loop's clock."""
    return await asyncio.get_running_loop().sock_recv(client, 1 << 16)


def run(
    root: Path, scenario: Callable[[House], Coroutine[Any, Any, None]], *, start: bool = True, **options: Any
) -> None:
    async def inside() -> None:
        house = House(root, **options)
        if start:
            assert house.server.start() == house.address
        try:
            await scenario(house)
        finally:
            for client in house.clients:
                client.close()
            if house.listener.fileno() >= 0:
                await pass_time(house.server.drain())
            await pass_time(house.server.close())

    run_still(inside())


async def pass_time(work: Coroutine[Any, Any, object]) -> None:
    """Let the seconds go by until it is done."""
    task = asyncio.create_task(work)
    while not task.done():
        await advance(1)
    await task


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop, and threads, come to it."""
    for _ in range(100_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it has not come to it")


# --- Accepting


def test_a_crowd_is_taken_in_a_few_at_a_time(root: Path) -> None:
    async def scenario(house: House) -> None:
        house.connect(40)
        house.server.start()
        counts = []
        while house.server.admission.accepted < 40:
            await asyncio.sleep(0)
            counts.append(house.server.admission.accepted)
        assert [count for count in dict.fromkeys(counts) if count] == [16, 32, 40]

    run(root, scenario, start=False)


@pytest.mark.parametrize("error", [BlockingIOError(), InterruptedError(), ConnectionAbortedError()])
def test_a_connection_that_is_gone_before_it_is_accepted_is_nothing(
    root: Path, error: OSError, lines: Callable[[str], list[dict[str, Any]]]
) -> None:
    async def scenario(house: House) -> None:
        house.listener.errors = [error]
        house.connect()
        await until(lambda: len(house.server.admission) == 1)

    run(root, scenario)
    assert lines("cannot be accepted") == []


def test_without_descriptors_the_server_waits_a_while_and_accepts_again(
    root: Path, lines: Callable[[str], list[dict[str, Any]]]
) -> None:
    async def scenario(house: House) -> None:
        house.listener.errors = [OSError(errno.EMFILE, "Too many open files")]
        house.connect()
        await turns()
        assert house.server.admission.accepted == 0
        (line,) = lines("connections cannot be accepted")
        assert (line["level"], line["reason"]) == ("error", "Too many open files")
        await advance(0.4)
        assert house.server.admission.accepted == 0
        await advance(0.6)  # the turn of the upkeep
        await until(lambda: house.server.admission.accepted == 1)
        assert house.server.faults() == 0

    run(root, scenario)


def test_a_server_that_drains_does_not_accept_again(root: Path) -> None:
    async def scenario(house: House) -> None:
        house.listener.errors = [OSError(errno.EMFILE, "Too many open files")]
        house.connect()
        await turns()
        assert await house.server.drain() == 0
        await advance(2)
        assert house.server.faults() == 0

    run(root, scenario)


def test_who_has_no_place_is_closed_at_once(root: Path) -> None:
    async def scenario(house: House) -> None:
        clients = house.connect(9)  # the ninth stranger of one address
        await until(lambda: house.server.admission.accepted == 9)
        assert await receive(clients[8]) == b""
        assert len(house.server.admission.lobby) == 8

    run(root, scenario, classify=lambda _: Standing.STRANGER)


def test_who_waits_in_the_lobby_has_little_time(root: Path) -> None:
    async def scenario(house: House) -> None:
        (client,) = house.connect()
        await until(lambda: len(house.server.admission) == 1)
        await advance(1.9)
        assert len(house.server.admission) == 1
        await advance(0.2)
        assert await receive(client) == b""
        assert len(house.server.admission) == 0

    run(root, scenario, classify=lambda _: Standing.STRANGER)


@pytest.mark.parametrize("seconds", [1.0, 5.0])
def test_a_header_has_its_time_from_the_beginning(root: Path, seconds: float) -> None:
    async def scenario(house: House) -> None:
        client = await house.ask("/", client=house.connect()[0], more="X: y")  # no end
        await advance(seconds - 0.1)
        client.send(b"z")
        await turns()
        assert len(house.server.admission.slots) == 1
        await advance(0.1)
        assert (await receive(client)).startswith(b"HTTP/1.1 408 ")

    run(root, scenario, header_seconds=seconds)


@pytest.mark.parametrize(("crowd", "at_once"), [(40, 16), (288, 18)])
def test_a_crowds_deadlines_are_enforced_a_few_at_a_time(root: Path, crowd: int, at_once: int) -> None:
    async def scenario(house: House) -> None:
        house.connect(crowd)
        await until(lambda: len(house.server.admission) == crowd)
        await turns(50)
        await advance(10)
        assert len(house.server.admission) == crowd - at_once
        await advance(0.05)
        left = crowd - at_once
        assert len(house.server.admission) == left - max(16, left // 16)

    run(root, scenario)


# --- Answering


def test_answers_and_bytes_are_counted(root: Path) -> None:
    async def scenario(house: House) -> None:
        answer = await house.get("/netboot.ipxe")
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert b"Connection: close" not in answer
        await house.get("/none")
        assert house.server.answers == {200: 1, 404: 1}
        assert house.server.sent_bytes == 7 + len(b"not found\n")
        assert house.server.admission.accepted == 2
        assert dict(house.server.describe()) == {
            "connections": 2,
            "max_connections": 100,
            "turned_away": {"overload": 0, "stranger": 0, "resting": 0, "slow": 0, "share": 0},
            "faults": 0,
        }

    run(root, scenario, max_connections=100)


def test_after_a_body_the_connection_ends(root: Path) -> None:
    async def scenario(house: House) -> None:
        answer = await house.get("/netboot.ipxe", more="Content-Length: 5\r\n")
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b"\r\nConnection: close\r\n" in answer

    run(root, scenario)


def test_who_has_no_slot_is_answered_and_let_go(root: Path) -> None:
    async def scenario(house: House) -> None:
        answer = await house.get("/netboot.ipxe")
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nConnection: close\r\n" in answer
        assert b"\r\nRetry-After: 5\r\n" in answer
        health = await house.get("/healthz")
        assert health.startswith(b"HTTP/1.1 200 ")
        assert b"\r\nConnection: close\r\n" in health

    run(root, scenario, classify=lambda _: Standing.STRANGER)


def test_a_request_whose_client_has_gone_is_answered_to_nobody(root: Path) -> None:
    class Request:
        transport = None

    async def scenario(house: House) -> None:
        reply = await house.server._handle(Request())  # type: ignore[arg-type]
        assert (reply.status, reply.aborted) == (408, Abort.CLIENT_GONE)
        assert house.server.answers == {}

    run(root, scenario)


def test_a_fault_while_sending_drops_the_connection_and_is_counted(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    async def scenario(house: House) -> None:
        monkeypatch.setattr("ectools.netboot.http.responses.MemoryReply.send", fail)
        client = await house.ask("/netboot.ipxe")
        with contextlib.suppress(ConnectionResetError):
            assert await receive(client) == b""
        await turns()
        assert house.server.faults() == 1
        assert house.server.answers == {200: 1}
        assert len(house.server.admission) == 0

    run(root, scenario)


def test_every_kind_of_fault_is_counted(root: Path) -> None:
    async def scenario(house: House) -> None:
        server = house.server
        guards = (
            server._guard,
            server._requests_guard,
            server._scheduler.guard,
            server._deadlines.guard,
            server._upkeep.guard,
        )
        for number, guard in enumerate(guards):
            guard.failures += 10**number
        assert server.faults() == 11111
        server.other_guards.append(guards[0])
        assert server.faults() == 11112
        assert server.describe()["faults"] == 11112

    run(root, scenario)


# --- Upkeep


def test_a_client_that_takes_nothing_is_dropped_after_a_while(root: Path) -> None:
    async def scenario(house: House) -> None:
        await house.ask("/initrd")
        await until(lambda: bool(house.server._scheduler._transfers))
        (transfer,) = house.server._scheduler._transfers.values()
        await until(lambda: transfer.watched)
        for _ in range(9):  # the first look says that it has taken something
            await advance(1)
        assert len(house.server.admission) == 1
        for _ in range(12):
            await advance(1)
        assert len(house.server.admission) == 0
        assert house.server.answers == {200: 1}

    run(root, scenario, stall_seconds=8)


@pytest.mark.parametrize(("stall", "period"), [(60, 1.0), (4, 1.0), (2, 0.5)])
def test_how_often_is_looked(root: Path, stall: float, period: float) -> None:
    looks: list[float] = []

    async def scenario(house: House) -> None:
        house.server._scheduler.stop_stalled = looks.append  # type: ignore[method-assign]
        house.server.start()
        for expected in (1, 2, 3):
            assert looks == [stall] * expected
            await advance(period * 0.9)
            assert looks == [stall] * expected
            await advance(period * 0.1 + 1e-6)

    run(root, scenario, start=False, stall_seconds=stall)


def test_who_is_slow_makes_room_while_slots_are_short(root: Path) -> None:
    async def scenario(house: House) -> None:
        clients = [await house.ask("/initrd") for _ in range(2)]
        await until(lambda: len(house.server._scheduler._transfers) == 2)
        await until(lambda: all(each.watched for each in house.server._scheduler._transfers.values()))
        for _ in range(23):  # ten seconds until it is measured, and ten that are measured
            await advance(1)
        (newcomer,) = house.connect()
        await until(lambda: house.server.admission.accepted == 3)
        assert house.server.admission.losses == {Loss.SLOW: 1}
        assert len(clients) == 2
        assert newcomer

    run(root, scenario, max_connections=2)


def test_nobody_is_slow_while_there_are_slots(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    marked: list[tuple[float, ...]] = []
    monkeypatch.setattr(Connection, "mark_slow", lambda _, *arguments: marked.append(arguments))

    async def scenario(house: House) -> None:
        house.connect(6)
        await until(lambda: len(house.server.admission) == 6)
        await advance(1)
        assert marked == []
        house.connect(1)
        await until(lambda: len(house.server.admission) == 7)
        await advance(1)
        now = asyncio.get_running_loop().time()
        assert marked == [(now, 10.0, 32768)] * 7

    run(root, scenario, max_connections=8)


def test_who_was_turned_away_is_told_by_the_upkeep(
    root: Path, lines: Callable[[str], list[dict[str, Any]]]
) -> None:
    async def scenario(house: House) -> None:
        house.connect()
        await until(lambda: house.server.admission.accepted == 1)
        await advance(1)
        assert [line["count"] for line in lines("turned away")] == [1]

    run(root, scenario, classify=lambda _: Standing.STRANGER)


def test_a_fault_at_one_connection_drops_that_one(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    async def scenario(house: House) -> None:
        house.connect()
        await until(lambda: len(house.server.admission) == 1)
        await turns(50)
        monkeypatch.setattr(Connection, "mark_slow", fail)
        await advance(1)
        await turns()
        assert house.server.faults() == 1
        assert len(house.server.admission) == 0

    run(root, scenario, max_connections=1)


def test_which_timer_is_late(root: Path) -> None:
    async def scenario(house: House) -> None:
        for timer, name in (
            (house.server._upkeep, "upkeep of connections"),
            (house.server._deadlines, "deadlines of connections"),
        ):
            timer.stop()
            assert await house.server.check_itself() == f"late: {name}"

    run(root, scenario)


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
    lines: Callable[[str], list[dict[str, Any]]],
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
    (ready,) = lines("is ready")
    assert (ready["ip"], ready["port"], ready["root"]) == (ip, port, str(root))
    assert [line["drain_seconds"] for line in lines("stopping")] == [30.0]
    assert [line["dropped"] for line in lines("has stopped")] == [0]


def test_a_second_signal_drops_everything(
    root: Path, monkeypatch: pytest.MonkeyPatch, lines: Callable[[str], list[dict[str, Any]]]
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
        await until(lambda: bool(lines("stopping")))
        await turns()
        assert not serving.done()
        os.kill(os.getpid(), signal.SIGTERM)
        await serving
        client.close()

    asyncio.run(asyncio.wait_for(scenario(), 60))
    assert [line["dropped"] for line in lines("has stopped")] == [1]


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
    lines: Callable[[str], list[dict[str, Any]]],
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
    warned = [(line["wanted"], line["allowed"]) for line in lines("allows fewer connections")]
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


# --- aiohttp's own log


def test_aiohttp_tells_of_its_faults_and_not_of_what_it_could_not_parse(
    lines: Callable[[str], list[dict[str, Any]]],
) -> None:
    logger = module._aiohttp_log()
    for error, event in ((HttpProcessingError(code=400, message="bad"), "parse"), (ValueError("x"), "fault")):
        try:
            raise error
        except Exception:
            logger.exception(event)
    logger.error("plain")
    assert lines("parse") == []
    assert len(lines("fault")) == len(lines("plain")) == 1
    assert len(module._aiohttp_log().filters) == 1
    assert isinstance(logger, logging.Logger)
