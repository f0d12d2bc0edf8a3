"""Bounds of a client that aiohttp does not have: how many there are, how long a request may take to come, and
how long what was answered may wait with nobody reading.

A thin protocol stands between the transport and aiohttp's, and keeps one clock. aiohttp sends an answer after
its handler is done: so the next request is waited for once all of it has gone out, which may take as long as
it likes while something does.
Where there is no place left, an address that has many makes room for one that has few: whoever takes all that
there are keeps nobody else from looking.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from aiohttp import web

from ectools.netboot.http.send_buffer import count_unread
from ectools.netboot.http.slots import Slots, Use, share_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

MAX_CONNECTIONS = 128
"""Of one listener: browsers have up to six each, and one of them is the events'."""
HEADER_SECONDS = 15.0
"""For a request to come, whole, and for the next one."""
PROGRESS_SECONDS = 15.0
"""In which who is answered takes something of what waits to be sent."""
MAX_PENDING_BYTES = 256 << 10
"""What may come before a request is answered: its header, its body, and what was read at once with them."""


class ConnectionPlaces:
    """The connections of one listener, ``capacity`` at most."""

    def __init__(self, capacity: int) -> None:
        self._slots: Slots[BoundedProtocol] = Slots(capacity)
        self._connections: set[BoundedProtocol] = set()

    def admit(self, connection: BoundedProtocol, transport: asyncio.BaseTransport) -> bool:
        """Whether there is a place for a connection, of somebody else's or its address's own if need be."""
        peer = transport.get_extra_info("peername")
        # Over a socket in the file system all are alike.
        share = share_of(str(peer[0])) if isinstance(peer, tuple) else None
        has_room, other = self._slots.find_room(share)
        if not has_room:
            return False
        if other is not None:
            self.leave(other)
            other.abort()
        self._slots.add(connection, share)
        self._connections.add(connection)
        return True

    def note(self, connection: BoundedProtocol, use: Use) -> None:
        """What it does from now on."""
        self._slots.use(connection, use)

    def leave(self, connection: BoundedProtocol) -> None:
        """Its place is free."""
        self._slots.remove(connection)
        self._connections.discard(connection)

    def abort_all(self) -> None:
        """Drop all of them."""
        for connection in list(self._connections):
            connection.abort()


class _CountedTransport:
    """A transport that knows how much of what was written its client has taken."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._written = 0

    @property
    def taken(self) -> int:
        """Bytes, since its beginning. What the kernel has of it is megabytes, and moves on by thirds."""
        waiting = self._transport.get_write_buffer_size()
        return self._written - waiting - count_unread(self._transport.get_extra_info("socket").fileno())

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self._written += len(data)
        self._transport.write(data)

    def writelines(self, parts: Iterable[bytes | bytearray | memoryview]) -> None:
        parts = list(parts)
        self._written += sum(len(each) for each in parts)
        self._transport.writelines(parts)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class BoundedProtocol(asyncio.Protocol):
    """One client's connection. ``transport.get_protocol()`` finds it from a request."""

    def __init__(self, inner: asyncio.Protocol, places: ConnectionPlaces) -> None:
        self._inner = inner
        self._places = places
        self._is_admitted = False
        self._loop = asyncio.get_running_loop()
        self._transport: _CountedTransport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._pending = 0
        self._is_answering = False
        self._is_sending = False
        self.on_lost: Callable[[], None] | None = None
        """Called at its end, while a request is answered: nobody reads the rest."""

    def begin(self) -> None:
        """A request is being answered."""
        self._is_answering = True
        self._places.note(self, Use.WORK)
        if not self._is_sending:
            self._stop_clock()

    def finish(self) -> None:
        """It has been answered: the next one is waited for."""
        self._is_answering = False
        self._pending = 0
        self.on_lost = None
        if not self._is_sending:
            self._rest()

    def abort(self) -> None:
        """Drop the connection."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._is_admitted = self._places.admit(self, transport)
        if not self._is_admitted:
            _reject(cast("asyncio.Transport", transport))
            return
        self._transport = _CountedTransport(cast("asyncio.Transport", transport))
        # So that writing is paused as long as anything waits to be sent, and resumed when nothing does.
        self._transport.set_write_buffer_limits(high=0)
        self._await_request()
        self._inner.connection_made(cast("asyncio.Transport", self._transport))

    def data_received(self, data: bytes) -> None:
        if not self._is_admitted:
            return
        self._pending += len(data)
        if self._pending > MAX_PENDING_BYTES:
            self.abort()
            return
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received() if self._is_admitted else None

    def pause_writing(self) -> None:
        if self._is_admitted and self._transport is not None:
            self._is_sending = True
            # Whoever reads an answer that is finished is not at rest yet.
            self._places.note(self, Use.WORK)
            self._await_progress(self._transport.taken)
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        if self._is_admitted:
            self._is_sending = False
            if self._is_answering:
                self._stop_clock()
            else:
                self._rest()
            self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._is_admitted:
            return
        self._stop_clock()
        self._transport = None
        try:
            self._inner.connection_lost(exc)
        finally:
            self._places.leave(self)
            if self.on_lost is not None:
                self.on_lost()

    def _rest(self) -> None:
        self._places.note(self, Use.REST)
        self._await_request()

    def _await_request(self) -> None:
        self._stop_clock()
        if self._transport is not None:
            self._deadline = self._loop.call_later(HEADER_SECONDS, self.abort)

    def _await_progress(self, taken: int) -> None:
        """More than ``taken`` is to be taken after a while, and so on."""
        self._stop_clock()
        self._deadline = self._loop.call_later(PROGRESS_SECONDS, self._check_progress, taken)

    def _check_progress(self, taken: int) -> None:
        if self._transport is None:
            return
        if self._transport.taken <= taken:
            self.abort()
        else:
            self._await_progress(self._transport.taken)

    def _stop_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class RejectingProtocol(asyncio.Protocol):
    """The connection of a client that nobody answers any more: it is told so, and closed."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        _reject(cast("asyncio.Transport", transport))


def _reject(writer: asyncio.Transport) -> None:
    fields = "Content-Length: 0\r\nConnection: close\r\nRetry-After: 5\r\n\r\n"
    writer.write(f"HTTP/1.1 503 Service Unavailable\r\n{fields}".encode())
    writer.close()


@web.middleware
async def mark_busy(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """A connection is not waited for while its request is answered."""
    protocol = request.transport.get_protocol() if request.transport is not None else None
    if not isinstance(protocol, BoundedProtocol):
        return await handler(request)
    protocol.begin()
    try:
        return await handler(request)
    finally:
        protocol.finish()
