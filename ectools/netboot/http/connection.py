"""One client's connection: aiohttp's protocol, and around it the limits that aiohttp has not.

aiohttp parses and answers; this sees the bytes pass and keeps the time. It bounds how long a header may
take, how large it may be and what may be sent ahead, and it tells a download that its client has gone.

aiohttp's protocol is made when the first header is there: a crowd that never sends one must be cheap. From
then on it gets each byte as it comes, because it may hold a part of the next request already.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from dataclasses import dataclass
from enum import Enum, auto
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

from ectools.netboot.http.admission import Loss
from ectools.netboot.http.listen import plain_address
from ectools.netboot.http.sendfile import Abort
from ectools.netboot.http.slots import Use

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from ectools.netboot.http.admission import Admission
    from ectools.netboot.http.sendfile import SendfileScheduler, Transfer
    from ectools.netboot.http.webroot import OpenedFile

MAX_HEADER_BYTES = 16 << 10
"""Of one request's line and fields together. aiohttp itself allows 8190 bytes for each of them."""
MAX_AHEAD_BYTES = 64 << 10
"""What may come while a request is being answered; more is thrown away, and the connection closed."""
MAX_REST_BYTES = 16 << 20
"""What is read, and thrown away, of a body that nobody wants. A client that sends it whole before it reads
gets its answer; a longer one has to read while it sends, or loses the answer to a reset."""
LINGER_SECONDS = 2.0
"""How long the rest of a rejected request is read, so that the response arrives (RFC 9112, section 9.6)."""
# The field lines' end, also as one that is about to be rejected writes it. Empty lines may come before a
# request (RFC 9112, section 2.2), and end nothing.
_HEADER_END = re.compile(rb"[^\r\n]\r*\n\r?\n")
_LONGEST_HEADER_END = 5


class ConnectionState(Enum):
    """The state of a connection, by what it waits for.

    HEADER → ANSWER where a header is complete, → BUSY by ``begin``, → HEADER again by ``finish``, or REST
    where the request has a body. From HEADER to LINGER where the request is rejected (408, 431), and from
    HEADER, ANSWER and REST where the connection makes room. It may end in any of them.
    """

    HEADER = auto()  # a request's header to be complete; nothing of it has come where ``header_bytes`` is 0
    ANSWER = auto()  # aiohttp, to hand the request on
    BUSY = auto()  # the response to be sent
    REST = auto()  # the rest of a body that nobody wants, before it closes
    LINGER = auto()  # the client, to close


@dataclass(frozen=True, kw_only=True)
class Hooks:
    """What all connections of a server share.

    ``lost`` is called when one has ended, ``rejected`` when one was given a status by ``Connection`` itself
    and not by aiohttp.
    """

    scheduler: SendfileScheduler
    admission: Admission
    choose_retry_after: Callable[[], int]
    lost: Callable[[Connection], None]
    rejected: Callable[[Connection, HTTPStatus], None]


class Connection(asyncio.Protocol):
    """The protocol between a client's transport and aiohttp's protocol, which ``make_inner`` makes.

    ``transport.get_protocol()`` finds it from a request.
    """

    def __init__(
        self, make_inner: Callable[[], asyncio.Protocol], hooks: Hooks, *, header_seconds: float
    ) -> None:
        self._make_inner = make_inner
        self._inner: asyncio.Protocol | None = None
        self._first = b""
        self._hooks = hooks
        self._header_seconds = header_seconds
        self._loop = asyncio.get_running_loop()
        self._tail = b""
        self._ahead = 0
        self._transfer: Transfer | None = None
        self.transport: asyncio.Transport | None = None
        self.state = ConnectionState.HEADER
        self.header_bytes = 0
        self.served = 0
        self.close_after = False
        self._has_body = False
        self.since = self._loop.time()
        self.deadline: float | None = self.since + header_seconds
        hooks.scheduler.waiting.add(self)

    @property
    def peer(self) -> str | None:
        """The client's address."""
        name = self.transport.get_extra_info("peername") if self.transport else None
        return plain_address(name[0]) if name else None

    # What the server calls

    def begin(self, *, has_body: bool, wanted_bytes: int = 0) -> None:
        """A request is being answered: its client is no longer waited for.

        So many bytes of its body may be wanted, and do not count as sent ahead.
        """
        self._turn_to(ConnectionState.BUSY, Use.WORK)
        if has_body:
            # What a node says is answered when it is kept: the disk decides when, and short turns of the loop
            # would only cost the downloads of others meanwhile (bench/fleet).
            self._hooks.scheduler.waiting.discard(self)
        self.deadline = None
        self._ahead = -wanted_bytes
        self._has_body = has_body

    def end_body(self) -> None:
        """The request's body has been read to its end: nothing is to be read before the connection closes."""
        self._has_body = False

    def finish(self) -> None:
        """The answer has been sent, or given up."""
        self._hooks.scheduler.waiting.discard(self)
        self.served += 1
        self.header_bytes = self._ahead = 0
        self._tail = b""
        if self._has_body:
            # aiohttp reads it for a while and closes, as the answer has told the client.
            self._turn_to(ConnectionState.REST, Use.REST)
            self.deadline = self.since + LINGER_SECONDS
            return
        self._turn_to(ConnectionState.HEADER, Use.REST)
        self.deadline = self.since + self._header_seconds
        if self.close_after and self.transport is not None:
            self.transport.close()

    async def send_file(self, file: OpenedFile, *, offset: int, count: int) -> tuple[int, Abort | None]:
        """Send ``count`` bytes of ``file``. Returns how many went, and why not all of them; None when all."""
        if self.transport is None or self.transport.is_closing():
            return 0, Abort.CLIENT_GONE
        sock = cast("socket.socket", self.transport.get_extra_info("socket"))
        self._hooks.scheduler.waiting.discard(self)
        transfer = self._transfer = self._hooks.scheduler.start(
            sock.fileno(), file, offset=offset, count=count
        )
        try:
            # Shielded, because a future that was cancelled with its waiter would count as an end: ``stop``
            # would release nothing.
            reason = await asyncio.shield(transfer.on_complete)
            return transfer.sent, reason
        finally:
            self._hooks.scheduler.stop(transfer, Abort.SHUTDOWN)
            self._transfer = None

    def drain(self, grace: float) -> None:
        """Take no request after the current one; a client that has just connected may send it until ``grace``
        (the loop's time).
        """
        self.close_after = True
        if self.state is not ConnectionState.HEADER:
            return
        if self.served and not self.header_bytes and self.transport is not None:
            self.transport.close()
        elif self.deadline is not None:
            self.deadline = min(self.deadline, grace)

    def abort(self, reason: Abort) -> None:
        """Drop the connection, and a download on it."""
        if self._transfer is not None:
            self._hooks.scheduler.stop(self._transfer, reason)
        if self.transport is not None:
            self.transport.abort()

    def make_room(self, loss: Loss) -> None:
        """End for another's sake. Who was never answered, or has begun a request, is told to come again."""
        if self.transport is None:
            return
        if loss is not Loss.RESTING:
            self.abort(Abort.MADE_ROOM)
            return
        begun = self.state is ConnectionState.HEADER and (self.header_bytes or not self.served)
        if begun or self.state is ConnectionState.ANSWER:
            # Not by ``_reject``, which writes a line in the log: a crowd would fill it.
            self._write_status(HTTPStatus.SERVICE_UNAVAILABLE)
        self.state = ConnectionState.LINGER
        self.transport.close()

    def mark_slow(self, now: float, seconds: float, least_rate: float) -> None:
        """Mark its slot as slow where a response has taken ``seconds`` and goes at less than ``least_rate``.

        ``now`` is the loop's time, the rate in bytes per second. One that is faster again is at work again.
        """
        if self.state is not ConnectionState.BUSY or now - self.since < seconds:
            return
        if self._transfer is None:
            slow = True  # an answer from memory, which takes no time
        else:
            rate = self._hooks.scheduler.measure_rate(self._transfer, seconds)
            slow = rate is not None and rate < least_rate
        self._hooks.admission.use(self, Use.SLOW if slow else Use.WORK)

    def rest(self, now: float, seconds: float) -> None:
        """No download of another's is hurried for a client that has had so long to send its request.

        ``now`` is the loop's time. With the next byte it is waited for again.
        """
        if self.state is ConnectionState.HEADER and now - self.since >= seconds:
            self._hooks.scheduler.waiting.discard(self)

    def expire(self) -> None:
        """Act on a deadline that has passed: 408 to a request that was begun, else the connection's end."""
        if self.transport is None:
            return
        if self.state is ConnectionState.LINGER or self.transport.is_closing():
            # Nor does a client that takes not even the last bytes keep its place.
            self.transport.abort()
        elif self.header_bytes:
            self._reject(HTTPStatus.REQUEST_TIMEOUT)
        else:
            self.transport.close()

    # What the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        # So that a drained writer means that every byte has left the process, and a file may follow it.
        self.transport.set_write_buffer_limits(high=0)

    def data_received(self, data: bytes) -> None:
        if self.state is ConnectionState.LINGER:
            return
        if self.state is ConnectionState.HEADER:
            self._hooks.scheduler.waiting.add(self)
            complete = self._scan_header(data)
            if self.header_bytes > MAX_HEADER_BYTES:
                self._reject(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
                return
            if self._inner is None:
                self._first += data
                if not complete:
                    return
                data, self._first = self._first, b""
        elif self.state is ConnectionState.BUSY:
            self._ahead += len(data)
            if self._ahead > MAX_AHEAD_BYTES:
                self.close_after = True
                return
        elif self.state is ConnectionState.REST:
            self._ahead += len(data)
            if self._ahead > MAX_REST_BYTES and self.transport is not None:
                # No more of it: the client has until the deadline to read its answer. aiohttp would read on.
                self.transport.pause_reading()
                return
        if self._inner is None:
            assert self.transport is not None  # noqa: S101 - data comes to open connections only
            self._inner = self._make_inner()
            self._inner.connection_made(self.transport)
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        if self.state in (ConnectionState.ANSWER, ConnectionState.BUSY):
            # The client has no more requests, and yet it may read its answer (RFC 9112, section 9.6).
            self.close_after = True
            return True
        if self._inner is not None:
            self._inner.eof_received()
        return None

    def pause_writing(self) -> None:
        if self._inner is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        if self._inner is not None:
            self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        # Whatever fails on the way, the slot is given back.
        with contextlib.ExitStack() as at_end:
            at_end.callback(setattr, self, "transport", None)
            at_end.callback(self._hooks.lost, self)
            if self._inner is not None:
                at_end.callback(self._inner.connection_lost, exc)
            if self._transfer is not None:
                self._hooks.scheduler.stop(self._transfer, Abort.CLIENT_GONE)

    def _scan_header(self, data: bytes) -> bool:
        """Whether a header is complete with ``data``."""
        seen = self._tail + data[: MAX_HEADER_BYTES - self.header_bytes]
        if _HEADER_END.search(seen):
            self.state = ConnectionState.ANSWER
            return True
        self.header_bytes += len(data)
        self._tail = seen[1 - _LONGEST_HEADER_END :]
        return False

    def _turn_to(self, state: ConnectionState, use: Use) -> None:
        self.state = state
        self.since = self._loop.time()
        self._hooks.admission.use(self, use)

    def _reject(self, status: HTTPStatus) -> None:
        assert self.transport is not None  # noqa: S101 - data and deadlines come to open connections only
        self._turn_to(ConnectionState.LINGER, Use.REST)
        self._hooks.scheduler.waiting.discard(self)
        self.deadline = self.since + LINGER_SECONDS
        self._write_status(status)
        try:
            self.transport.write_eof()
        except OSError:
            # The client hung up at this very moment (shutdown(2): ENOTCONN): there is nobody to linger for.
            self.transport.abort()
        self._hooks.rejected(self, status)

    def _write_status(self, status: HTTPStatus) -> None:
        assert self.transport is not None  # noqa: S101 - as above
        fields = ["Content-Length: 0", "Connection: close"]
        if status is HTTPStatus.SERVICE_UNAVAILABLE:
            fields.append(f"Retry-After: {self._hooks.choose_retry_after()}")
        lines = [f"HTTP/1.1 {status.value} {status.phrase}", *fields]
        self.transport.write(("\r\n".join(lines) + "\r\n\r\n").encode())
