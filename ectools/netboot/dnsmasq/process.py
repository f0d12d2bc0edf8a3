"""dnsmasq as a child: unprivileged, its log read, started anew where it dies or has another configuration."""

from __future__ import annotations

import asyncio
import contextlib
import os
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from ectools import log
from ectools.errors import EcError
from ectools.files import FileError
from ectools.netboot.dnsmasq.check import build_environment
from ectools.netboot.dnsmasq.events import DnsmasqLog
from ectools.outputs import Outputs, Tail
from ectools.processes import describe_exit, find_program, start_async

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Sequence
    from pathlib import Path
    from typing import Any

_log = log.Log(__name__)

_START_SECONDS = 60.0
_STOP_SECONDS = 5.0
_MAX_RESTARTS = 5
_FIRST_PAUSE_SECONDS = 0.2
# One that ran for so long was not dead on arrival: the restarts are counted anew.
_HEALTHY_SECONDS = 60.0
_NOBODY = 65534


class DnsmasqError(EcError):
    """dnsmasq cannot be started, or not kept alive; its last words are in the message."""


class DnsmasqState(StrEnum):
    STARTING = "starting"
    RUNNING = "running"
    RESTARTING = "restarting"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class Identity:
    """As whom root starts dnsmasq. ``reads_all``: it may read files whoever they belong to."""

    uid: int
    gid: int
    reads_all: bool


def find_identity(folders: Iterable[Path]) -> Identity:
    """Nobody, who reads what is root's alone; or the owner of the first of ``folders`` that is not root's.

    Whoever owns one of them chooses what is served from it, by a link too: that must not be more than what
    the owner may read. Raises FileError.
    """
    for folder in folders:
        try:
            status = folder.stat()
        except OSError as error:
            raise FileError(f"{folder}: cannot be served: {error.strerror}") from error
        if status.st_uid != 0:
            return Identity(uid=status.st_uid, gid=status.st_gid, reads_all=False)
    return Identity(uid=_NOBODY, gid=_NOBODY, reads_all=True)


def build_argv(program: str, *, proxy: bool, identity: Identity | None) -> list[str]:
    """dnsmasq's command line; the configuration comes on its standard input. ``identity`` None: as it is.

    It needs CAP_NET_BIND_SERVICE for TFTP's and DHCP's ports, and CAP_NET_ADMIN to be a DHCP server at all.
    From root it gets these, the right to read that its identity has, and no more.
    """
    argv = [program, "--conf-file=-"]
    if identity is None:
        return argv
    capabilities = ["net_bind_service"]
    if identity.reads_all:
        capabilities.append("dac_read_search")
    if proxy:
        capabilities.append("net_admin")
    granted = ",".join(["-all", *(f"+{capability}" for capability in capabilities)])
    setpriv = find_program("setpriv", hint="install util-linux: root starts dnsmasq as another user with it")
    return [
        *(setpriv, f"--reuid={identity.uid}", f"--regid={identity.gid}", "--clear-groups", "--no-new-privs"),
        *(f"--inh-caps={granted}", f"--ambient-caps={granted}", f"--bounding-set={granted}"),
        *("--pdeathsig=KILL", "--", *argv),
    ]


class Dnsmasq:
    """``folders`` are those that decide what it serves: root does not serve more than their owner may read.

    ``gave_up`` is set once no dnsmasq can be kept running.
    """

    def __init__(
        self,
        program: str,
        configuration: str,
        *,
        proxy: bool,
        folders: tuple[Path, ...],
        delivered: Callable[[str, str], None],
    ) -> None:
        self._program = program
        self._configuration = configuration
        self._proxy = proxy
        self._folders = folders
        self._delivered = delivered
        self._changed = asyncio.Event()
        self._tail = Tail()
        self.state = DnsmasqState.STARTING
        self.pid: int | None = None
        self.gave_up: asyncio.Future[DnsmasqError] = asyncio.get_running_loop().create_future()

    def reconfigure(self, configuration: str, *, proxy: bool) -> bool:
        """Start it again with another configuration, which it reads only then; whether it is another."""
        if configuration == self._configuration:
            return False
        self._configuration, self._proxy = configuration, proxy
        self._changed.set()
        return True

    async def run(self, ready: asyncio.Event) -> None:
        """Keep it running until cancelled; sets ``ready`` when the first one serves."""
        pause, restarts = _FIRST_PAUSE_SECONDS, 0
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                how = await self._run_once(ready)
            except EcError as error:
                how = error.render()
            except OSError as error:  # no descriptors, no memory
                how = str(error)
            if how is None:
                _log.info("dnsmasq is started again with its new configuration")
                pause, restarts = _FIRST_PAUSE_SECONDS, 0
                continue
            if not ready.is_set():
                self._give_up(f"dnsmasq did not start: {how}")
                return
            if loop.time() - began > _HEALTHY_SECONDS:
                pause, restarts = _FIRST_PAUSE_SECONDS, 0
            restarts += 1
            if restarts > _MAX_RESTARTS:
                self._give_up(f"dnsmasq died {restarts} times in a row: {how}")
                return
            self.state = DnsmasqState.RESTARTING
            _log.error("dnsmasq died; it is started again", how=how, pause_seconds=pause)
            await asyncio.sleep(pause)
            pause *= 2

    def _give_up(self, text: str) -> None:
        self.state = DnsmasqState.FAILED
        lines = "".join(f"\n  {line}" for line in self._tail.lines())
        self.gave_up.set_result(DnsmasqError(text + lines))

    async def _run_once(self, ready: asyncio.Event) -> str | None:
        """One dnsmasq, to its end: how it ended, or None where it was ended for a new configuration."""
        self._changed.clear()
        self._tail = Tail()
        started = asyncio.Event()
        events = DnsmasqLog(started=started.set, delivered=self._delivered)

        def on_line(line: str) -> None:
            if events.feed(line):
                self._tail.add(line)

        outputs = Outputs()
        identity = find_identity(self._folders) if os.geteuid() == 0 else None
        argv = build_argv(self._program, proxy=self._proxy, identity=identity)
        with _readable(self._configuration) as configuration:
            try:
                async with start_async(
                    argv,
                    stdin=configuration,
                    stdout=await outputs.add(on_line),
                    stderr=await outputs.add(on_line),
                    env=build_environment(),
                    term_seconds=_STOP_SECONDS,
                ) as child:
                    outputs.release()
                    return await self._watch(child, started, outputs, ready)
            finally:
                self.pid = None
                await outputs.finish(seconds=_STOP_SECONDS)

    async def _watch(
        self,
        child: asyncio.subprocess.Process,
        started: asyncio.Event,
        outputs: Outputs,
        ready: asyncio.Event,
    ) -> str | None:
        async with _tasks(child.wait(), started.wait(), self._changed.wait()) as (ended, serves, changed):
            first = asyncio.FIRST_COMPLETED
            await asyncio.wait({ended, serves, changed}, timeout=_START_SECONDS, return_when=first)
            if serves.done() and not ended.done():
                self.pid, self.state = child.pid, DnsmasqState.RUNNING
                _log.info("dnsmasq serves", pid=child.pid, proxy_dhcp=self._proxy)
                ready.set()
                await asyncio.wait({ended, changed}, return_when=first)
            if ended.done():
                await outputs.finish(seconds=_STOP_SECONDS)
                assert child.returncode is not None  # noqa: S101 - it has ended
                return ": ".join([describe_exit(child.returncode), *self._tail.lines()[-1:]])
            return None if changed.done() else f"it did not say within {_START_SECONDS:g} s that it serves"


@contextlib.contextmanager
def _readable(text: str) -> Iterator[int]:
    """A descriptor from which ``text`` can be read once."""
    descriptor = os.memfd_create("dnsmasq.conf", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)


@contextlib.asynccontextmanager
async def _tasks(*work: Coroutine[Any, Any, object]) -> AsyncIterator[Sequence[asyncio.Task[object]]]:
    tasks = [asyncio.create_task(each) for each in work]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
