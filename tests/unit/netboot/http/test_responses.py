"""How replies reach the socket."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING, cast

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from ectools.netboot.http.admission import Admission
from ectools.netboot.http.connection import Connection, Hooks
from ectools.netboot.http.responses import Delivery, FileReply, MemoryReply, Part, Reply
from ectools.netboot.http.sendfile import Abort, SendfileScheduler
from ectools.netboot.http.webroot import OpenedFile

if TYPE_CHECKING:
    from pathlib import Path

FILLER = b"x" * 1000
CONTENT = b"kernel" * 50_000


def test_a_file_does_not_overtake_what_waits_in_the_process(tmp_path: Path) -> None:
    path = tmp_path / "kernel"
    path.write_bytes(CONTENT)

    async def handle(request: web.BaseRequest) -> FileReply:
        assert request.transport is not None
        connection = request.transport.get_protocol()
        assert isinstance(connection, Connection)
        while not request.transport.get_write_buffer_size():
            request.transport.write(FILLER)  # until the socket is full, and a little waits in the process
        descriptor = os.open(path, os.O_RDONLY)
        reply = FileReply(
            status=200,
            headers={},
            file=OpenedFile(descriptor=descriptor, status=os.fstat(descriptor)),
            part=Part(start=0, size=len(CONTENT)),
            count=len(CONTENT),
        )
        await reply.send(request, connection, stall_seconds=60)
        return reply

    async def scenario() -> bytes:
        loop = asyncio.get_running_loop()
        hooks = Hooks(
            scheduler=SendfileScheduler(),
            admission=Admission(1),
            choose_retry_after=lambda: 5,
            lost=lambda _: None,
            rejected=lambda *_: None,
        )
        server = web.Server(handle)
        with socket.create_server(("127.0.0.1", 0)) as listener:
            reader, writer = await asyncio.open_connection(*listener.getsockname())
            accepted, _ = listener.accept()
        await loop.connect_accepted_socket(lambda: Connection(server, hooks, header_seconds=60), accepted)
        writer.write(b"GET /kernel HTTP/1.1\r\nHost: boot\r\nConnection: close\r\n\r\n")
        received = await reader.read()
        writer.close()
        await server.shutdown(1)
        hooks.scheduler.close()
        return received

    received = asyncio.run(scenario())
    header, _, body = received.lstrip(b"x").partition(b"\r\n\r\n")
    assert header.startswith(b"HTTP/1.1 200 OK\r\n")
    assert body == CONTENT


class Client:
    """A connection that notes what is done to it, and sends what a test says."""

    def __init__(self, sent: int = 0, reason: Abort | None = None, error: OSError | None = None) -> None:
        self.aborted: list[Abort] = []
        self.files: list[tuple[OpenedFile, int, int]] = []
        self.sent, self.reason, self.error = sent, reason, error

    async def send_file(self, file: OpenedFile, *, offset: int, count: int) -> tuple[int, Abort | None]:
        self.files.append((file, offset, count))
        if self.error is not None:
            raise self.error
        return self.sent, self.reason

    def abort(self, reason: Abort) -> None:
        self.aborted.append(reason)


class Writer:
    """Where the header goes; ``error`` is raised, or it hangs."""

    def __init__(self, error: Exception | None = None, *, hangs: bool = False) -> None:
        self.error = error
        self.hangs = hangs
        self.done: list[str] = []

    async def write(self) -> None:
        if self.hangs:
            await asyncio.Event().wait()
        if self.error is not None:
            raise self.error

    async def drain(self) -> None:
        self.done.append("drain")
        await self.write()


def on(writer: Writer, reply: Reply) -> None:
    """Have a reply write there."""

    async def prepare(_: web.BaseRequest) -> Writer:
        if isinstance(reply, MemoryReply):
            await writer.write()
        return writer

    async def write_eof(_: bytes = b"") -> None:
        writer.done.append("eof")

    reply.prepare, reply.write_eof = prepare, write_eof  # type: ignore[method-assign, assignment]


def send(reply: MemoryReply | FileReply, client: Client, *, method: str = "GET", seconds: float = 60) -> None:
    request = make_mocked_request(method, "/")
    asyncio.run(reply.send(request, cast("Connection", client), stall_seconds=seconds))


def file_reply(path: Path, *, start: int = 0, count: int = 100) -> tuple[FileReply, OpenedFile]:
    path.write_bytes(bytes(1000))
    descriptor = os.open(path, os.O_RDONLY)
    file = OpenedFile(descriptor=descriptor, status=os.fstat(descriptor))
    part = Part(start=start, size=1000)
    return FileReply(status=206, headers={"X-A": "b"}, file=file, part=part, count=count), file


def is_open(file: OpenedFile) -> bool:
    try:
        os.fstat(file.descriptor)
    except OSError:
        return False
    return True


@pytest.mark.parametrize(("method", "sent"), [("GET", 4), ("HEAD", 0)])
def test_an_answer_from_memory_counts_its_body(method: str, sent: int) -> None:
    reply, writer, client = MemoryReply(body=b"four"), Writer(), Client()
    on(writer, reply)
    send(reply, client, method=method)
    assert (reply.sent, reply.aborted, client.aborted, writer.done) == (sent, None, [], ["eof"])


def test_an_answer_without_a_body_sends_none() -> None:
    reply, client = MemoryReply(status=304), Client()
    on(Writer(), reply)
    send(reply, client)
    assert (reply.sent, reply.aborted) == (0, None)


def test_an_answer_from_memory_that_nobody_takes() -> None:
    gone, client = MemoryReply(body=b"four"), Client()
    on(Writer(ConnectionResetError()), gone)
    send(gone, client)
    assert (gone.sent, gone.aborted, client.aborted) == (0, Abort.CLIENT_GONE, [])
    stalled, client = MemoryReply(body=b"four"), Client()
    on(Writer(hangs=True), stalled)
    send(stalled, client, seconds=0.01)
    assert (stalled.sent, stalled.aborted, client.aborted) == (
        0,
        Abort.CLIENT_STALLED,
        [Abort.CLIENT_STALLED],
    )


def test_a_file_is_sent_after_its_header_and_closed(tmp_path: Path) -> None:
    reply, file = file_reply(tmp_path / "kernel", start=7, count=100)
    assert (reply.content_length, reply.headers["X-A"], reply.status) == (100, "b", 206)
    writer, client = Writer(), Client(sent=100)
    on(writer, reply)
    send(reply, client)
    assert client.files == [(file, 7, 100)]
    assert writer.done == ["drain", "eof"]
    assert (reply.sent, reply.aborted, client.aborted) == (100, None, [])
    assert reply.keep_alive is not False
    assert not is_open(file)


@pytest.mark.parametrize(
    ("writer", "client", "sent", "reason"),
    [
        (Writer(ConnectionResetError()), Client(), 0, Abort.CLIENT_GONE),
        (Writer(hangs=True), Client(), 0, Abort.CLIENT_STALLED),
        (Writer(OSError(24, "Too many open files")), Client(), 0, Abort.NO_DESCRIPTOR),
        (Writer(), Client(error=OSError(24, "Too many open files")), 0, Abort.NO_DESCRIPTOR),
        (Writer(), Client(sent=50, reason=Abort.FILE_CHANGED), 50, Abort.FILE_CHANGED),
    ],
)
def test_a_file_that_is_not_sent_to_its_end_ends_its_connection(
    tmp_path: Path, writer: Writer, client: Client, sent: int, reason: Abort
) -> None:
    reply, file = file_reply(tmp_path / "kernel")
    on(writer, reply)
    send(reply, client, seconds=0.01 if writer.hangs else 60)
    assert (reply.sent, reply.aborted, client.aborted) == (sent, reason, [reason])
    assert reply.keep_alive is False
    assert "eof" not in writer.done
    assert not is_open(file)


def test_a_fault_closes_the_file_too(tmp_path: Path) -> None:
    reply, file = file_reply(tmp_path / "kernel")
    on(Writer(ZeroDivisionError()), reply)
    with pytest.raises(ZeroDivisionError):
        send(reply, Client())
    assert not is_open(file)


@pytest.mark.parametrize(
    ("part", "sent", "aborted", "reached"),
    [
        (Part(start=0, size=10), 10, None, True),
        (Part(start=6, size=10), 4, None, True),
        (Part(start=5, size=10), 4, None, False),
        (Part(start=0, size=10), 10, Abort.CLIENT_GONE, False),
        (Part(start=0, size=10), 4, Abort.CLIENT_GONE, False),
        (Part(start=0, size=0), 0, None, True),
        (None, 0, None, False),
    ],
)
def test_what_is_told_of_an_answer(
    part: Part | None, sent: int, aborted: Abort | None, reached: bool
) -> None:
    reply = MemoryReply(status=206, part=part)
    heard: list[Delivery] = []
    reply.sent, reply.aborted = sent, aborted
    reply.report()
    reply.on_complete = heard.append
    reply.report()
    assert heard == [Delivery(status=206, sent=sent, reached_end=reached)]


@pytest.mark.parametrize(
    ("status", "of_content"), [(200, True), (206, True), (304, False), (404, False), (500, False)]
)
def test_which_bodies_are_of_what_was_asked_for(status: int, of_content: bool) -> None:
    assert Delivery(status=status, sent=1, reached_end=False).of_content is of_content
