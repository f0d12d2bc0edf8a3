"""The boot HTTP server as a child: waited for, listened to, and restarted where it dies.

The runner binds the socket and keeps it. A port that is taken is an error before anything starts, and while
a new server starts, connections queue instead of being refused.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
from typing import TYPE_CHECKING

from ectools import log
from ectools.capabilities import Capability, has_capability
from ectools.errors import EcError
from ectools.netboot.http.settings import HEALTH_PATH
from ectools.outputs import Outputs, Tail
from ectools.processes import describe_exit, start_async
from ectools.vm.confine import child_environment

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator
    from pathlib import Path

_log = log.Log(__name__)

_READY_SECONDS = 60.0
_STOP_SECONDS = 5.0
_MAX_RESTARTS = 5
_FIRST_PAUSE_SECONDS = 0.2
# A server that ran for so long was not dead on arrival: the restarts are counted anew.
_HEALTHY_SECONDS = 60.0


class BootServerError(EcError):
    """The boot HTTP server cannot be started, or not kept alive."""


class BootServer:
    """``requested`` is set at a guest's first request, ``gave_up`` once no server can be kept running."""

    def __init__(self, listener: socket.socket, root: Path) -> None:
        self._listener = listener
        self._root = root
        self._pid: int | None = None
        self._tail = Tail()
        self.requested = asyncio.Event()
        self.gave_up: asyncio.Future[BootServerError] = asyncio.get_running_loop().create_future()

    @property
    def pid(self) -> int | None:
        """The running server's process; None while there is none."""
        return self._pid

    async def run(self, ready: asyncio.Event) -> None:
        """Keep a server running until cancelled; sets ``ready`` when the first one answers."""
        pause, restarts = _FIRST_PAUSE_SECONDS, 0
        loop = asyncio.get_running_loop()
        while True:
            started = loop.time()
            try:
                how = await self._run_once(ready)
            except EcError as error:
                how = error.message
            if not ready.is_set():
                self.gave_up.set_result(
                    BootServerError(self._report(f"the boot HTTP server did not start: {how}"))
                )
                return
            if loop.time() - started > _HEALTHY_SECONDS:
                pause, restarts = _FIRST_PAUSE_SECONDS, 0
            restarts += 1
            if restarts > _MAX_RESTARTS:
                text = f"the boot HTTP server died {restarts} times in a row: {how}"
                self.gave_up.set_result(BootServerError(self._report(text)))
                return
            _log.error("the boot HTTP server died; it is started again", how=how, pause_seconds=pause)
            await asyncio.sleep(pause)
            pause *= 2

    async def _run_once(self, ready: asyncio.Event) -> str:
        """One server, to its end; returns how it ended."""
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
                return await self._watch(child, outputs, ready)
        finally:
            self._pid = None
            await outputs.finish(seconds=_STOP_SECONDS)

    async def _watch(self, child: asyncio.subprocess.Process, outputs: Outputs, ready: asyncio.Event) -> str:
        ended = asyncio.create_task(child.wait())
        answers = asyncio.create_task(self._wait_healthy())
        try:
            first = asyncio.FIRST_COMPLETED
            await asyncio.wait({ended, answers}, timeout=_READY_SECONDS, return_when=first)
            if ended.done() or not answers.done() or not answers.result():
                return await self._describe_failed_start(child, outputs)
            self._pid = child.pid
            ready.set()
            returncode = await ended
            await outputs.finish(seconds=_STOP_SECONDS)
            return describe_exit(returncode)
        finally:
            answers.cancel()
            ended.cancel()

    async def _describe_failed_start(self, child: asyncio.subprocess.Process, outputs: Outputs) -> str:
        if child.returncode is None:
            return f"no answer on {HEALTH_PATH} within {_READY_SECONDS:g} s"
        await outputs.finish(seconds=_STOP_SECONDS)
        return describe_exit(child.returncode)

    async def _wait_healthy(self) -> bool:
        """Ask once: the connection waits in the socket's queue until the server takes it."""
        ip, port = self._listener.getsockname()[:2]
        ip = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(ip, ip)  # noqa: S104 - read, not bound
        try:
            reader, writer = await asyncio.open_connection(ip, port)
            writer.write(
                f"GET {HEALTH_PATH} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode()
            )
            status = await reader.readline()
            writer.close()
        except OSError:
            return False
        return status.split(b" ")[1:2] == [b"200"]

    def _on_line(self, line: str) -> None:
        """A line of the server's log, passed on with its fields; it redacts the requests itself."""
        try:
            entry = json.loads(line)
            event, level = entry.pop("event"), entry.pop("level")
        except (ValueError, AttributeError, KeyError, TypeError):
            self._tail.add(line)
            _log.warning("boot-http", line=line)
            return
        entry.pop("time", None)
        if event == "request":
            if entry.get("path") == HEALTH_PATH:
                return
            self.requested.set()
        if level in {"error", "warning", "critical"}:
            self._tail.add(f"{event} {entry}")
        talk = {"error": _log.error, "critical": _log.error, "warning": _log.warning, "debug": _log.debug}
        talk.get(level, _log.info)(event, **{"source": "boot-http", **entry})

    def _report(self, text: str) -> str:
        return text + "".join(f"\n  boot-http: {line}" for line in self._tail.lines())


@contextlib.asynccontextmanager
async def start_boot_server(
    listener: socket.socket, root: Path, *, unless: asyncio.Event
) -> AsyncIterator[BootServer]:
    """A server that answers, for the length of the block. Raises BootServerError where none does.

    The block is entered at once, without an answer, when ``unless`` is set meanwhile.
    """
    server = BootServer(listener, root)
    ready = asyncio.Event()
    running = asyncio.create_task(server.run(ready))
    waiting = [asyncio.create_task(event.wait()) for event in (ready, unless)]
    try:
        await asyncio.wait({*waiting, running}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
            raise server.gave_up.result()
        yield server
    finally:
        for task in (*waiting, running):
            task.cancel()
        await asyncio.gather(*waiting, running, return_exceptions=True)
