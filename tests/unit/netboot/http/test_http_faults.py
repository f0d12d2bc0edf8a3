"""Faults of the server itself, put in by hand: each costs one connection, and no timer."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp.web_protocol import RequestHandler

from ectools.netboot.http.admission import Loss
from ectools.netboot.http.connection import Connection
from ectools.netboot.http.handler import Resource
from ectools.netboot.http.listen import bind_listener
from ectools.netboot.http.sendfile import SLICE_BYTES, Abort, SendfileScheduler, Transfer
from ectools.netboot.http.server import HttpServer
from ectools.netboot.http.settings import HttpSettings
from ectools.netboot.http.webroot import OpenedFile

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from pathlib import Path

    from ectools.netboot.http.handler import RequestInfo, Router
    from ectools.netboot.http.responses import Delivery

SIZE = 8 << 20


def serve(
    root: Path,
    scenario: Callable[[HttpServer, int], Awaitable[None]],
    *,
    site: Router | None = None,
    **options: float,
) -> None:
    async def run() -> None:
        settings = HttpSettings(root=root, **options)
        server = HttpServer(settings, listener=bind_listener("127.0.0.1", 0), router=site)
        _, port = server.start()
        async with asyncio.timeout(60):
            await scenario(server, port)
        server.abort()
        await server.drain()
        await server.close()

    asyncio.run(run())


async def get(port: int, path: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: b\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return answer


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "netboot.ipxe").write_bytes(b"#!ipxe\n")
    (tmp_path / "initrd").write_bytes(bytes(SIZE))
    return tmp_path


def test_a_deadline_that_fails_drops_its_connection_and_the_next_is_enforced(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expire = Connection.expire
    failed: list[Connection] = []

    def fail_once(self: Connection) -> None:
        if not failed:
            failed.append(self)
            raise OSError(107, "Transport endpoint is not connected")
        expire(self)

    monkeypatch.setattr(Connection, "expire", fail_once)

    async def scenario(server: HttpServer, port: int) -> None:
        first = await asyncio.open_connection("127.0.0.1", port)
        assert await first[0].read() == b""
        second = await asyncio.open_connection("127.0.0.1", port)
        assert await second[0].read() == b""
        assert server.faults() == 1
        assert await server.check_itself() is None
        for _, writer in (first, second):
            writer.close()

    serve(root, scenario, header_seconds=0.3)
    assert failed


def test_a_connection_that_cannot_be_opened_is_closed_and_the_next_is_served(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(server: HttpServer, port: int) -> None:
        with monkeypatch.context() as patch:
            patch.setattr("ectools.netboot.http.server.Connection", None)
            assert await get(port, "/netboot.ipxe") == b""
        assert (await get(port, "/netboot.ipxe")).endswith(b"#!ipxe\n")
        assert server.faults() == 1
        assert len(server.admission) == 0

    serve(root, scenario)


def test_a_connections_end_that_fails_gives_its_slot_back(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = RequestHandler.connection_lost

    def fail(self: RequestHandler, exc: BaseException | None) -> None:
        lost(self, exc)
        raise ValueError("fault")

    async def scenario(server: HttpServer, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /initrd HTTP/1.1\r\nHost: b\r\n\r\n")
        await reader.readexactly(1000)
        assert len(server.admission.slots) == 1
        with monkeypatch.context() as patch:
            patch.setattr(RequestHandler, "connection_lost", fail)
            writer.transport.abort()
            while len(server.admission.slots):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert (await get(port, "/netboot.ipxe")).endswith(b"#!ipxe\n")

    serve(root, scenario)


def test_a_download_that_fails_ends_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault in one slice: the other download of the same turn goes on."""
    path = tmp_path / "initrd"
    path.write_bytes(os.urandom(SIZE))
    send = SendfileScheduler._send_slice

    async def scenario() -> tuple[list[Abort | None], int, int]:
        scheduler = SendfileScheduler()
        pairs = [socket.socketpair() for _ in range(2)]
        transfers = []
        for ours, theirs in pairs:
            ours.setblocking(False)
            theirs.setblocking(False)
            descriptor = os.open(path, os.O_RDONLY)
            file = OpenedFile(descriptor=descriptor, status=os.fstat(descriptor))
            transfers.append(scheduler.start(ours.fileno(), file, offset=0, count=SIZE))

        def fail_for_first(self: SendfileScheduler, transfer: object, slice_bytes: int) -> None:
            if transfer is transfers[0]:
                raise ZeroDivisionError
            send(self, transfer, slice_bytes)  # type: ignore[arg-type]

        monkeypatch.setattr(SendfileScheduler, "_send_slice", fail_for_first)
        received = 0
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(60):
            while received < SIZE:
                received += len(await loop.sock_recv(pairs[1][1], 1 << 20))
            reasons = [await transfer.on_complete for transfer in transfers]
        scheduler.close()
        for ours, theirs in pairs:
            ours.close()
            theirs.close()
        return reasons, received, scheduler.guard.failures

    assert asyncio.run(scenario()) == ([Abort.FAULT, None], SIZE, 1)


def test_who_makes_room_before_its_request_is_taken_up_is_told(root: Path) -> None:
    async def scenario(server: HttpServer, _: int) -> None:
        ours, theirs = socket.socketpair()
        connection = Connection(asyncio.Protocol, server._hooks, header_seconds=5)
        await asyncio.get_running_loop().connect_accepted_socket(lambda: connection, ours)
        connection.data_received(b"GET / HTTP/1.1\r\nHost: b\r\n\r\n")
        connection.make_room(Loss.RESTING)
        reader, writer = await asyncio.open_connection(sock=theirs)
        assert (await reader.read()).startswith(b"HTTP/1.1 503 ")
        writer.close()

    serve(root, scenario)


class FaultySite:
    """A fault where an answer is looked for, one where its file is opened, and one where its end is heard."""

    def __init__(self) -> None:
        self.on_complete: list[int] = []

    async def find(self, info: RequestInfo) -> Resource:
        if info.segments == (b"find",):
            raise ZeroDivisionError
        if info.segments == (b"open",):
            return Resource(target=(b"a", "no bytes"), on_complete=self._note)  # type: ignore[arg-type]
        return Resource(target=b"content", on_complete=self._fail)

    async def report(self) -> Mapping[str, Any]:
        return {}

    def _note(self, delivery: Delivery) -> None:
        self.on_complete.append(delivery.status)

    def _fail(self, delivery: Delivery) -> None:
        raise ZeroDivisionError


def test_a_fault_in_an_answer_is_counted_told_once_and_its_end_is_heard(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    site = FaultySite()

    async def scenario(server: HttpServer, port: int) -> None:
        for _ in range(3):
            assert (await get(port, "/find")).startswith(b"HTTP/1.1 500 ")
            assert (await get(port, "/open")).startswith(b"HTTP/1.1 500 ")
            assert (await get(port, "/end")).endswith(b"\r\n\r\ncontent")
        assert server.faults() == 9
        assert server.answers == {500: 6, 200: 3}

    serve(root, scenario, site=site)
    assert site.on_complete == [500] * 3
    assert sum(record.exc_info is not None for record in caplog.records) == 1


def test_a_slice_of_which_only_the_end_is_in_memory_is_read_by_a_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another's range of the same file may have brought the end: the loop would wait for the rest."""
    path = tmp_path / "initrd"
    path.write_bytes(os.urandom(SIZE))
    descriptor = os.open(path, os.O_RDONLY)
    os.fsync(descriptor)
    os.posix_fadvise(descriptor, 0, SIZE, os.POSIX_FADV_DONTNEED)
    os.pread(descriptor, 1, SLICE_BYTES - 1)
    try:
        os.preadv(descriptor, [bytearray(1)], 0, os.RWF_NOWAIT)
    except BlockingIOError:
        pass
    else:
        pytest.skip("this filesystem is in memory as a whole")
    read: list[int] = []
    read_ahead = SendfileScheduler._read_ahead

    def note(self: SendfileScheduler, transfer: Transfer, count: int) -> None:
        read.append(transfer.offset)
        read_ahead(self, transfer, count)

    monkeypatch.setattr(SendfileScheduler, "_read_ahead", note)

    async def scenario() -> None:
        scheduler = SendfileScheduler()
        ours, theirs = socket.socketpair()
        for each in (ours, theirs):
            each.setblocking(False)
        file = OpenedFile(descriptor=descriptor, status=os.fstat(descriptor))
        transfer = scheduler.start(ours.fileno(), file, offset=0, count=SIZE)
        async with asyncio.timeout(60):
            await asyncio.get_running_loop().sock_recv(theirs, 1)
        scheduler.stop(transfer, None)
        scheduler.close()
        ours.close()
        theirs.close()

    asyncio.run(scenario())
    os.close(descriptor)
    assert read[:1] == [0]


def test_what_cannot_be_measured_of_one_download_stops_no_other(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stalled downloads are looked for among all of them: a failure at one must not end the search."""
    calls = 0

    def fail_once(_: int) -> int:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise OSError(9, "Bad file descriptor")
        return 0

    monkeypatch.setattr("ectools.netboot.http.sendfile.count_unread", fail_once)

    async def scenario(server: HttpServer, port: int) -> None:
        clients = [await asyncio.open_connection("127.0.0.1", port, limit=1024) for _ in range(2)]
        for reader, writer in clients:
            writer.write(b"GET /big HTTP/1.1\r\nHost: b\r\n\r\n")
            reader._transport.pause_reading()  # type: ignore[attr-defined]
        while server.faults() < 1 or len(server.admission.slots):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        for _, writer in clients:
            writer.transport.abort()

    with (root / "big").open("wb") as file:
        file.truncate(1 << 30)
    serve(root, scenario, stall_seconds=0.4)


def test_a_download_that_has_just_ended_is_not_measured(tmp_path: Path) -> None:
    """Its connection hears of the end a turn of the loop later, and may be asked for its rate before."""
    path = tmp_path / "initrd"
    path.write_bytes(bytes(SIZE))

    async def scenario() -> None:
        scheduler = SendfileScheduler()
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        descriptor = os.open(path, os.O_RDONLY)
        file = OpenedFile(descriptor=descriptor, status=os.fstat(descriptor))
        transfer = scheduler.start(ours.fileno(), file, offset=0, count=SIZE)
        scheduler.measure_rate(transfer, 60)
        assert transfer.measured is not None
        scheduler.stop(transfer, Abort.MADE_ROOM)
        assert scheduler.measure_rate(transfer, 60) is None
        scheduler.close()
        os.close(descriptor)
        ours.close()
        theirs.close()

    asyncio.run(scenario())


def test_a_server_whose_deadlines_are_late_does_not_pass_its_own_check(root: Path) -> None:
    async def scenario(server: HttpServer, port: int) -> None:
        assert await server.check_itself() is None
        server._deadlines.stop()
        assert await server.check_itself() == "late: deadlines of connections"
        server._deadlines.start()
        assert await server.check_itself() is None
        server._loop.remove_reader(server._listener.fileno())
        assert await server.check_itself(seconds=0.2) == "no answer on /healthz within 0.2 s"
        server._loop.add_reader(server._listener.fileno(), server._accept)

    serve(root, scenario)
