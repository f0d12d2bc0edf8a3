"""What the boot server takes from aiohttp that its documentation does not promise: a release may change it.

``ectools.netboot.http.connection`` stands between the transport and aiohttp's protocol, and ``responses``
sends files past it. Here a protocol that only passes on does that, so that what fails is aiohttp's doing.
``./dev test --full`` runs it with the oldest aiohttp that pyproject.toml allows, and with the newest.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from aiohttp.abc import AbstractAccessLogger
from aiohttp.http import HttpProcessingError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
    Client = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

GET = b"GET /%d HTTP/1.1\r\nHost: boot\r\n\r\n"
NEVER = 3600.0
"""Seconds: a timer of aiohttp that must not end before the test has."""


class Outer(asyncio.Protocol):
    """Passes all on to a protocol that ``server`` makes when the first bytes are passed to it."""

    def __init__(self, server: web.Server) -> None:
        self.server = server
        self.inner: asyncio.Protocol | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        transport.set_write_buffer_limits(high=0)

    def data_received(self, data: bytes) -> None:
        if self.inner is None:
            self.inner = self.server()
            self.inner.connection_made(self.transport)
        self.inner.data_received(data)

    def pause_writing(self) -> None:
        if self.inner is not None:
            self.inner.pause_writing()

    def resume_writing(self) -> None:
        if self.inner is not None:
            self.inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.inner is not None:
            self.inner.connection_lost(exc)


def exchange(handle: Handler, client: Client, **options: Any) -> None:
    """Run a client against ``web.Server(handle, **options)``; neither may take longer than a minute."""

    async def scenario() -> None:
        server = web.Server(handle, **{"keepalive_timeout": NEVER, "lingering_time": NEVER, **options})
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        loop = asyncio.get_running_loop()
        await loop.connect_accepted_socket(lambda: Outer(server), ours)
        reader, writer = await asyncio.open_connection(sock=theirs, limit=1 << 24)
        async with asyncio.timeout(60):
            await client(reader, writer)
        writer.close()
        await server.shutdown(1.0)

    asyncio.run(scenario())


async def read_answer(reader: asyncio.StreamReader) -> bytes:
    """The body of the next answer, which has a length."""
    header = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = next(line for line in header.split(b"\r\n") if line.startswith(b"content-length:"))
    return await reader.readexactly(int(length.partition(b":")[2]))


async def tell_path(request: web.BaseRequest) -> web.Response:
    return web.Response(body=request.raw_path.encode())


def test_a_protocol_made_late_takes_what_has_come_so_far_in_any_pieces() -> None:
    """Of a crowd that never sends a header, no one has a protocol of aiohttp's."""
    found: list[object] = []

    async def handle(request: web.BaseRequest) -> web.Response:
        assert request.transport is not None
        found.append(request.transport.get_protocol())
        return await tell_path(request)

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        first, second = GET % 1, GET % 2
        writer.write(first + second[:9])
        assert await read_answer(reader) == b"/1"
        for byte in second[9:]:
            writer.write(bytes([byte]))
            await asyncio.sleep(0)
        assert await read_answer(reader) == b"/2"

    exchange(handle, client)
    # The transport's protocol stays the outer one: by it a request finds its connection.
    assert [type(each) for each in found] == [Outer, Outer]


def test_a_header_leaves_when_it_is_prepared_and_a_drained_writer_has_kept_nothing_back() -> None:
    """A file that is sent past aiohttp must not overtake its header."""
    arrived = asyncio.Event()
    waiting: list[int] = []

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        transport = request.transport
        assert transport is not None
        while not transport.get_write_buffer_size():
            transport.write(b"x" * 1000)  # until the socket is full, and a little waits in the process
        response = web.StreamResponse()
        response.content_length = 4
        writer = await response.prepare(request)
        assert writer is not None
        waiting.append(transport.get_write_buffer_size())
        await writer.drain()
        waiting.append(transport.get_write_buffer_size())
        await arrived.wait()
        transport.write(b"file")
        await response.write_eof()
        return response

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(GET % 1)
        await reader.readuntil(b"HTTP/1.1 200 OK\r\n")
        await reader.readuntil(b"\r\n\r\n")
        arrived.set()
        assert await reader.readexactly(4) == b"file"

    exchange(handle, client)
    before, after = waiting
    assert before > 0
    assert after == 0


def test_an_answer_whose_body_went_past_aiohttp_ends_with_nothing_and_the_next_is_served() -> None:
    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        assert request.transport is not None
        response = web.StreamResponse()
        response.content_length = 4
        writer = await response.prepare(request)
        assert writer is not None
        await writer.drain()
        request.transport.write(b"file")
        await response.write_eof()
        return response

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(3):
            writer.write(GET % 1)
            assert await read_answer(reader) == b"file"

    exchange(handle, client)


def test_requests_that_were_sent_ahead_are_handed_on_one_after_another() -> None:
    running = 0
    most = 0

    async def handle(request: web.BaseRequest) -> web.Response:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return await tell_path(request)

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"".join(GET % number for number in range(20)))
        assert [await read_answer(reader) for _ in range(20)] == [b"/%d" % number for number in range(20)]

    exchange(handle, client)
    assert most == 1


@pytest.mark.parametrize(("lingering_time", "rest"), [(NEVER, b"rest"), (0.05, b"")])
def test_a_request_is_handed_on_before_its_body_which_is_then_read_for_so_long_and_no_longer(
    lingering_time: float, rest: bytes
) -> None:
    async def handle(request: web.BaseRequest) -> web.Response:
        assert request.can_read_body
        response = await tell_path(request)
        response.force_close()
        return response

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"POST /1 HTTP/1.1\r\nHost: boot\r\nContent-Length: 8\r\n\r\nbody")
        assert await read_answer(reader) == b"/1"
        writer.write(rest)
        assert await reader.read() == b""

    exchange(handle, client, lingering_time=lingering_time)


def test_a_connection_at_rest_is_closed_after_the_time_that_the_server_was_given() -> None:
    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(GET % 1)
        assert await read_answer(reader) == b"/1"
        assert await reader.read() == b""

    exchange(tell_path, client, keepalive_timeout=0.05)


def test_what_cannot_be_parsed_is_answered_without_us_and_told_to_both_logs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The access log gets an answer that is not one of ours; the other one the error itself."""
    answered: list[tuple[type, int]] = []

    class AccessLog(AbstractAccessLogger):
        def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
            answered.append((type(response), response.status))
            assert request.remote is None or isinstance(request.remote, str)
            assert "Range" not in request.headers

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"GET / HTTP/1.1\r\nno field\r\n\r\n")
        assert (await reader.read()).startswith(b"HTTP/1.0 400 ")

    caplog.set_level(logging.DEBUG)
    exchange(
        tell_path,
        client,
        access_log_class=AccessLog,
        access_log=logging.getLogger("access"),
        logger=logging.getLogger(),
    )
    assert answered == [(web.Response, 400)]
    errors = [record.exc_info[1] for record in caplog.records if record.exc_info]
    assert all(isinstance(error, HttpProcessingError) for error in errors)
