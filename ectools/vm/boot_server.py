"""The boot HTTP server as a child: supervised for as long as the guest runs, and its log passed on.

The runner binds the socket and keeps it. A port that is taken is an error before anything starts, and while
a new server starts, connections queue instead of being refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from ectools import log
from ectools.capabilities import Capability, has_capability
from ectools.errors import EcError
from ectools.log_limit import LogLimit
from ectools.netboot.http.settings import HEALTH_PATH
from ectools.outputs import Outputs, Tail
from ectools.processes import describe_exit, start_async
from ectools.supervision import ChildFailedError, RestartPolicy, Supervisor, tasks
from ectools.vm.child_environment import child_environment

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from ectools.supervision import ChildState

_log = log.Log(__name__)

# A loaded machine that is emulated takes more than a minute to start a program of Python. One that ends is
# not waited for, and a service manager has a limit of its own.
_READY_SECONDS = 300.0
_STOP_SECONDS = 5.0
_END_SECONDS = 2.0
# Of one that served before: an error and its hint.
_TAIL_LINES = 2
# A server that does not answer so often in a row, each within its time, serves nobody.
_CHECK_SECONDS = 30.0
_ANSWER_SECONDS = 20.0
_MISSED_CHECKS = 3
# A guest that is up does without it, and one that reboots waits for it: it is never given up.
_POLICY = RestartPolicy(longest_pause=10.0)


class BootServerError(EcError):
    """The boot HTTP server cannot be started."""


class BootServer:
    """The server of one guest. ``requested`` is set at the guest's first request.

    ``changed`` is called with each state of the supervision.
    """

    def __init__(
        self, listener: socket.socket, root: Path, *, changed: Callable[[ChildState], None] = lambda _: None
    ) -> None:
        self._listener = listener
        self._root = root
        self._tail = Tail()
        # Apart, so that requests without end do not keep the server's own lines out of the log.
        self._request_log = LogLimit("boot-http requests")
        self._own_log = LogLimit("boot-http")
        self.requested = asyncio.Event()
        self.supervisor = Supervisor(
            self._run_once, what="the boot HTTP server", policy=_POLICY, changed=changed
        )

    async def _run_once(self, serves: Callable[[], None]) -> str:
        """One server, to its end; returns how it ended."""
        self._tail = Tail()
        descriptor = self._listener.fileno()
        argv = [sys.executable, "-P", "-m", "ectools.cli.main", "netboot", "http"]
        argv += ["--root", str(self._root), "--listen-fd", str(descriptor)]
        argv += ["--log-format", "json", "--drain-seconds", "1"]
        outputs = Outputs()
        try:
            async with start_async(
                argv,
                stdout=subprocess.DEVNULL,
                stderr=await outputs.add(self._on_line),
                env=child_environment(),
                pass_fds=[descriptor],
                term_seconds=_STOP_SECONDS,
                # Until it serves, where only that lets it read its own program (guest_user.py).
                capabilities=(Capability.DAC_READ_SEARCH,)
                if has_capability(Capability.DAC_READ_SEARCH)
                else (),
            ) as child:
                outputs.release()
                return await self._watch(child, outputs, serves)
        finally:
            await outputs.finish(seconds=_STOP_SECONDS)

    async def _watch(
        self, child: asyncio.subprocess.Process, outputs: Outputs, serves: Callable[[], None]
    ) -> str:
        async with tasks(child.wait(), self._answers(seconds=_READY_SECONDS)) as (ended, answers):
            first = asyncio.FIRST_COMPLETED
            await asyncio.wait({ended, answers}, return_when=first)
            if answers.done() and answers.result() and not ended.done():
                serves()
                silent = await self._wait_silent(ended)
            else:
                silent = f"it does not answer on {HEALTH_PATH}"
                # One that dies closes the connection a moment before it has ended.
                await asyncio.wait({ended}, timeout=_END_SECONDS)
            if not ended.done():
                return silent
            await outputs.finish(seconds=_STOP_SECONDS)
            # Where none has served yet, all of its last lines are reported.
            output_tail = self._tail.lines()[-_TAIL_LINES:] if self.supervisor.served.is_set() else []
            return ": ".join([describe_exit(ended.result()), *(line.strip() for line in output_tail)])

    async def _wait_silent(self, ended: asyncio.Task[int]) -> str:
        """The reason to end a server that answers no more; meaningless once the process has ended.

        Checks without an answer are counted in a row: one answer begins anew.
        """
        missed = 0
        while missed < _MISSED_CHECKS:
            await asyncio.wait({ended}, timeout=_CHECK_SECONDS)
            if ended.done():
                break
            # The question of one that dies meanwhile is left to the next one.
            async with tasks(self._answers(seconds=_ANSWER_SECONDS)) as (asking,):
                await asyncio.wait({ended, asking}, return_when=asyncio.FIRST_COMPLETED)
                missed = 0 if asking.done() and asking.result() else missed + 1
        return f"it did not answer on {HEALTH_PATH} {missed} times in a row"

    async def _answers(self, *, seconds: float) -> bool:
        """Whether the server answers a request for HEALTH_PATH with 200 within ``seconds``.

        The connection waits in the socket's queue until the server takes it.
        """
        ip, port = self._listener.getsockname()[:2]
        ip = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(ip, ip)  # noqa: S104 - read, not bound
        request = f"GET {HEALTH_PATH} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        writer = None
        try:
            async with asyncio.timeout(seconds):
                reader, writer = await asyncio.open_connection(ip, port)
                writer.write(request.encode())
                status = await reader.readline()
        except (OSError, ValueError):  # ValueError: a line without end
            return False
        finally:
            if writer is not None:
                writer.close()
        return status.split(b" ")[1:2] == [b"200"]

    def _on_line(self, line: str) -> None:
        """A line of the server's log, passed on with its fields; it redacts the requests itself."""
        try:
            entry = json.loads(line)
            event, level = entry.pop("event"), entry.pop("level")
        except (ValueError, AttributeError, KeyError, TypeError):
            self._tail.add(line)
            if self._own_log.take(len(line.encode())):
                _log.warning("boot-http", line=line)
            return
        entry.pop("time", None)
        limit = self._own_log
        if event == "request":
            if entry.get("path") == HEALTH_PATH:
                return
            self.requested.set()
            limit = self._request_log
        if level in {"error", "warning", "critical"}:
            self._tail.add(f"{event} {entry}")
        if limit.take(len(line.encode())):
            _pass_on(str(event), level, entry)

    def report(self, text: str) -> str:
        """``text`` with the server's last lines below it."""
        return text + "".join(f"\n  boot-http: {line}" for line in self._tail.lines())

    def close(self) -> None:
        self._request_log.close()
        self._own_log.close()


def _pass_on(event: str, level: object, fields: dict[str, Any]) -> None:
    writers = {"error": _log.error, "critical": _log.error, "warning": _log.warning, "debug": _log.debug}
    writers.get(str(level), _log.info)(event, **{"source": "boot-http", **fields})


@contextlib.asynccontextmanager
async def start_boot_server(
    listener: socket.socket, root: Path, *, unless: asyncio.Event, changed: Callable[[ChildState], None]
) -> AsyncIterator[BootServer]:
    """A server that answers, for the length of the block. Raises BootServerError where none does.

    The block is entered at once, without an answer, when ``unless`` is set meanwhile.
    """
    server = BootServer(listener, root, changed=changed)
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(server.close)
        try:
            await stack.enter_async_context(server.supervisor.running(unless=unless))
        except ChildFailedError as error:
            raise BootServerError(server.report(error.message)) from None
        yield server
