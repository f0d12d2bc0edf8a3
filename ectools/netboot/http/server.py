"""The server: settings and a listening socket → answers, until it is asked to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections import Counter
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from aiohttp import web

from ectools import log
from ectools.errors import EcError
from ectools.netboot.http.access_log import AccessLog, log_rejection
from ectools.netboot.http.admission import Admission, Standing
from ectools.netboot.http.aiohttp_log import make_aiohttp_log
from ectools.netboot.http.connection import LINGER_SECONDS, Connection, ConnectionState, Hooks
from ectools.netboot.http.descriptors import ACCEPTS_PER_TURN, reserve_descriptors
from ectools.netboot.http.garbage import settle_memory
from ectools.netboot.http.handler import AccessCheck, Receiver, RequestHandler, Router
from ectools.netboot.http.responses import MemoryReply
from ectools.netboot.http.self_check import ask_health
from ectools.netboot.http.sendfile import Abort, SendfileScheduler
from ectools.timers import Guard, Periodic, report_unseen_failures

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping

    from ectools.netboot.http.responses import FileReply
    from ectools.netboot.http.settings import HttpSettings
    from ectools.timers import CountsFailures

_log = log.Log(__name__)

LOBBY_HEADER_SECONDS = 2.0
"""Time for a connection in the lobby to send its request."""
DRAIN_GRACE_SECONDS = 1.0
"""Time for a client that has connected to send its first request while the server drains."""
_ACCEPT_RETRY_SECONDS = 0.5
# While slots are short, a download has to get along, or make room for who needs one.
_SLOW_SECONDS = 10.0
_LEAST_BYTES_PER_SECOND = 32 << 10
_SELF_CHECK_SECONDS = 10.0
_DEADLINES_SECONDS = 0.05
_EXPIRED_PER_TURN = 16
_SILENT_SECONDS = 0.25


class HttpServer:
    """A server of one directory on one listening socket, on a running loop: ``start``, ``drain``, ``close``.

    Raises EcError on a loop that is not asyncio's own, InputError where the root cannot be served.
    """

    def __init__(
        self,
        settings: HttpSettings,
        *,
        listener: socket.socket,
        access_check: AccessCheck | None = None,
        router: Router | None = None,
        classify: Callable[[str], Standing] = lambda _: Standing.CLIENT,
        receiver: Receiver | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        if not isinstance(self._loop, asyncio.SelectorEventLoop):
            raise EcError(
                f"the boot HTTP server needs asyncio's own event loop, not {type(self._loop).__module__}",
                hint="run it without uvloop, which has no sendfile and is many times slower here",
            )
        self._settings = settings = replace(
            settings, max_connections=reserve_descriptors(settings.max_connections)
        )
        self.admission = Admission(settings.max_connections, classify=classify, clock=self._loop.time)
        self._requests_guard = Guard("requests", clock=self._loop.time)
        self._handler = RequestHandler(
            settings,
            access_check=access_check,
            router=router,
            receiver=receiver,
            report=self.describe,
            guard=self._requests_guard,
        )
        self._handler.check()
        self._listener = listener
        self._scheduler = SendfileScheduler()
        self._hooks = Hooks(
            scheduler=self._scheduler,
            admission=self.admission,
            choose_retry_after=settings.choose_retry_after,
            lost=self._forget,
            rejected=log_rejection,
        )
        self._http = web.Server(
            self._handle,
            access_log_class=AccessLog,
            access_log=logging.getLogger(__name__),
            logger=make_aiohttp_log(__name__),
            lingering_time=LINGER_SECONDS,
            auto_decompress=False,
            # Connection keeps the time; this one must not come first.
            keepalive_timeout=settings.header_seconds + 3600,
        )
        self._connections: set[Connection] = set()
        self._opening: set[asyncio.Task[object]] = set()
        self._accepts_again: float | None = None
        self._guard = Guard("connections", clock=self._loop.time)
        self._draining = False
        self._dropped = 0
        self.answers: Counter[int] = Counter()
        """How many, by their status."""
        self.sent_bytes = 0
        """Of bodies, handed to the network."""
        self.other_guards: list[CountsFailures] = []
        """Of what belongs to this server, and is not made here: their failures are counted as its own."""
        self._empty = asyncio.Event()
        self._deadlines = Periodic(
            self._enforce_deadlines, seconds=_DEADLINES_SECONDS, name="deadlines of connections"
        )
        self._upkeep = Periodic(
            self._keep_up, seconds=min(1.0, settings.stall_seconds / 4), name="upkeep of connections"
        )

    def start(self) -> tuple[str, int]:
        """Accept connections from now on. Returns the address and port that the socket is bound to."""
        self._listener.setblocking(False)
        self._loop.add_reader(self._listener.fileno(), self._accept)
        self._deadlines.start()
        self._upkeep.start()
        ip, port = self._listener.getsockname()[:2]
        return ip, port

    async def check_itself(self, *, seconds: float = _SELF_CHECK_SECONDS) -> str | None:
        """Ask this server over HTTP, through its own socket, whether it serves: None, or why not.

        What a watchdog wants to know: that connections are accepted, requests answered, and deadlines kept.
        """
        for timer in (self._deadlines, self._upkeep):
            if timer.is_late():
                return f"late: {timer.guard.name}"
        return await ask_health(self._listener, self.admission, seconds=seconds)

    def faults(self) -> int:
        """How many exceptions were caught where none may get through."""
        timers = (self._deadlines.guard, self._upkeep.guard)
        own = (self._guard, self._requests_guard, self._scheduler.guard, *timers)
        return sum(each.failures for each in (*own, *self.other_guards))

    async def drain(self) -> int:
        """Accept no more, let what is in flight end, and drop what takes longer than ``drain_seconds``.

        Returns how many answers were dropped. The listening socket is closed here; where a parent holds
        it too, connections go on queueing there for the next server.
        """
        self._draining = True
        self._loop.remove_reader(self._listener.fileno())
        self._listener.close()
        grace = self._loop.time() + min(DRAIN_GRACE_SECONDS, self._settings.drain_seconds)
        for connection in list(self._connections):
            connection.drain(grace)
        if self._connections:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.drain_seconds):
                    await self._empty.wait()
            self.abort()
        return self._dropped

    def abort(self) -> None:
        """Drop every connection; ``drain`` returns how many of them were being answered."""
        for connection in list(self._connections):
            self._dropped += connection.state is ConnectionState.BUSY
            connection.abort(Abort.SHUTDOWN)

    async def close(self) -> None:
        """Release everything; for after ``drain``."""
        self._deadlines.stop()
        self._upkeep.stop()
        await self._http.shutdown(timeout=1.0)
        self._scheduler.close()
        self._handler.close()

    async def _handle(self, request: web.BaseRequest) -> MemoryReply | FileReply:
        connection = request.transport.get_protocol() if request.transport else None
        if not isinstance(connection, Connection):
            # The client has gone between its request and our turn: there is nobody to answer.
            reply = MemoryReply(status=HTTPStatus.REQUEST_TIMEOUT)
            reply.aborted = Abort.CLIENT_GONE
            return reply
        served = self.admission.is_served(connection)
        wanted_bytes = self._handler.count_wanted(request)
        connection.begin(has_body=request.can_read_body, wanted_bytes=wanted_bytes)
        try:
            answer = await self._handler.answer(request, overload=not served)
            if not request.can_read_body:
                connection.end_body()
            try:
                if connection.close_after or request.can_read_body or not served:
                    answer.force_close()
                await answer.send(request, connection, stall_seconds=self._settings.stall_seconds)
            except Exception as error:
                self._requests_guard.report(error)
                answer.aborted = Abort.FAULT
                connection.abort(Abort.FAULT)
            finally:
                self.answers[answer.status] += 1
                self.sent_bytes += answer.sent
                self._requests_guard.call(answer.report)
        finally:
            connection.finish()
        return answer

    def _accept(self) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            try:
                client, address = self._listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                # Out of descriptors or memory: the queue stays readable, so looking again at once would spin.
                _log.error("connections cannot be accepted", reason=error.strerror)
                self._loop.remove_reader(self._listener.fileno())
                self._accepts_again = self._loop.time() + _ACCEPT_RETRY_SECONDS
                return
            if not self._guard.call(self._open, client, address):
                client.close()

    def _open(self, client: socket.socket, address: tuple[str, int]) -> None:
        slot = self.admission.find_slot(*address[:2])
        if slot is None:
            client.close()
            return
        seconds = self._settings.header_seconds
        if slot.room is self.admission.lobby:
            seconds = min(seconds, LOBBY_HEADER_SECONDS)
        client.setblocking(False)
        connection = Connection(self._http, self._hooks, header_seconds=seconds)
        task = self._loop.create_task(self._loop.connect_accepted_socket(lambda: connection, client))
        self._connections.add(connection)
        self.admission.enter(connection, slot)
        self._opening.add(task)
        task.add_done_callback(lambda done: self._opened(done, connection))

    def _opened(self, task: asyncio.Task[object], connection: Connection) -> None:
        self._opening.discard(task)
        if task.cancelled() or task.exception() is not None:
            self._forget(connection)

    def _forget(self, connection: Connection) -> None:
        self.admission.leave(connection)
        self._connections.discard(connection)
        self._scheduler.waiting.discard(connection)
        if self._draining and not self._connections:
            self._empty.set()

    def _enforce_deadlines(self) -> None:
        """Not all at once where a crowd's deadlines have passed together: in between, others are served."""
        now = self._loop.time()
        due = [each for each in self._connections if each.deadline is not None and each.deadline <= now]
        for connection in due[: max(_EXPIRED_PER_TURN, len(due) // 16)]:
            self._guarded(connection.expire, connection)

    def _keep_up(self) -> None:
        """What is to be looked at now and then, and need not be at once."""
        now = self._loop.time()
        for connection in list(self._connections):
            self._guarded(connection.rest, connection, now, _SILENT_SECONDS)
        if self.admission.slots.short:
            for connection in list(self._connections):
                self._guarded(connection.mark_slow, connection, now, _SLOW_SECONDS, _LEAST_BYTES_PER_SECOND)
        self._scheduler.stop_stalled(self._settings.stall_seconds)
        self.admission.report()
        if self._accepts_again is not None and self._accepts_again <= now and not self._draining:
            self._accepts_again = None
            self._loop.add_reader(self._listener.fileno(), self._accept)

    def _guarded(self, work: Callable[..., None], connection: Connection, *arguments: object) -> None:
        """Work for one connection: where it fails, that one is dropped, and the others get their turn."""
        if not self._guard.call(work, *arguments):
            self._guard.call(connection.abort, Abort.FAULT)

    async def is_root_there(self) -> bool:
        """Whether the root can be served now."""
        return await self._handler.is_root_there()

    def describe(self) -> Mapping[str, Any]:
        """Fields of the health report."""
        slots = self.admission.slots
        return {
            "connections": len(slots),
            "max_connections": slots.capacity,
            "turned_away": self.admission.describe(),
            "faults": self.faults(),
        }


async def serve(
    settings: HttpSettings,
    *,
    listener: socket.socket,
    on_ready: Callable[[str, int], None] | None = None,
    access_check: AccessCheck | None = None,
    router: Router | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, then drain; a second signal drops everything.

    ``listener`` is bound and listening, and is closed here. ``on_ready`` is called once with the bound
    address and port. Raises InputError where the root cannot be served.
    """
    loop = asyncio.get_running_loop()
    report_unseen_failures(loop)
    with contextlib.closing(listener):
        server = HttpServer(settings, listener=listener, access_check=access_check, router=router)
        stop = asyncio.Event()

        def on_signal() -> None:
            if stop.is_set():
                server.abort()
            stop.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, on_signal)
        ip, port = server.start()
        settle_memory()
        _log.info("boot HTTP server is ready", ip=ip, port=port, root=str(settings.root))
        if on_ready is not None:
            on_ready(ip, port)
        await stop.wait()
        _log.info(
            "stopping: downloads in flight may end; a second signal drops them",
            drain_seconds=settings.drain_seconds,
        )
        dropped = await server.drain()
        await server.close()
        _log.info("boot HTTP server has stopped", dropped=dropped)
