"""One QEMU process: its start, its QMP connection, its output in the log, its end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ectools import log
from ectools.errors import EcError
from ectools.ipxe.urls import FAILURE_MARK
from ectools.log_limit import LogLimit, LogRate
from ectools.outputs import Outputs, Tail
from ectools.processes import describe_exit, start_async, stop_async
from ectools.timers import Guard
from ectools.vm.argv import Accelerator, Tap, build_qemu_argv
from ectools.vm.child_environment import child_environment
from ectools.vm.kvm import RESETS_IN_A_ROW, FirstBoot
from ectools.vm.progress import find_disk_progress, find_network_progress
from ectools.vm.qmp import Qmp, QmpError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from ectools.vm.settings import GuestSettings

_log = log.Log(__name__)

_GREETING_SECONDS = 60.0
STATUS_SECONDS = 20.0
_DRAIN_SECONDS = 3.0
_KVM_ERROR_SECONDS = 1.0
# A QEMU that was broken out of may answer with megabytes.
_STATUS_LENGTH = 64
# A guest can bring about an event of QEMU's as often as it likes.
_EVENT_RATE = LogRate(burst_lines=100, burst_bytes=100_000, lines_per_second=0.2, bytes_per_second=200.0)

# What a guest's power-off, its reboot under -no-reboot, and a `quit` on a monitor look like (RunState,
# ShutdownCause).
_ORDERLY = {
    "guest-shutdown": "the guest powered itself off",
    "guest-reset": "the guest rebooted, which its arguments make an end",
    "host-qmp-quit": "QEMU was told to quit on a monitor",
    "host-ui": "QEMU was told to quit on its console",
}


class GuestError(EcError):
    """The guest ended as it should not have; the message has QEMU's last lines."""


@dataclass(frozen=True, kw_only=True)
class Launch:
    """What it takes to start QEMU: ``program`` is its path; ``secrets`` are kept out of the log.

    ``interactive``: the guest's console is this process's terminal, not the log.
    """

    settings: GuestSettings
    accelerator: Accelerator
    program: str
    tap: Tap | None = None
    secrets: tuple[str, ...] = ()
    interactive: bool = False


class GuestLog:
    """The output of QEMU and of the guest's console: logged within the log's limits, its last lines kept."""

    def __init__(self) -> None:
        self.stderr = Tail()
        self.console = Tail()
        self._stderr_limit = LogLimit("qemu")
        self._console_limit = LogLimit("console")
        self._event_limit = LogLimit("qemu events", rate=_EVENT_RATE)
        self._state_limit = LogLimit("guest state", rate=_EVENT_RATE)
        self._kvm_error = ""
        self._kvm_failed = asyncio.Event()

    def on_console(self, line: str) -> None:
        self.console.add(line)
        if self._console_limit.take(len(line.encode())):
            _log.info("console", line=line)
        if FAILURE_MARK in line:
            self.report("the guest did not boot from the network; its iPXE waits in a shell")

    def report(self, event: str, data: Mapping[str, Any] | None = None) -> None:
        """An error that the guest can bring about: logged, unless there were many of late."""
        fields = {"data": dict(data)} if data else {}
        if self._event_limit.take(len(event) + len(str(fields))):
            _log.error(event, **fields)

    def report_state(self, write: Callable[..., None], event: str, **fields: Any) -> None:
        """How the guest is, which it can change at will: ``write`` logs it, unless it changed much of late.

        Not by the limit of ``report``: a disk that fails again and again does not hide that the guest stands.
        """
        if self._state_limit.take(len(event) + len(str(fields))):
            write(event, **fields)

    def on_stderr(self, line: str) -> None:
        self.stderr.add(line)
        if not self._kvm_error and "KVM internal error" in line:
            self._kvm_error = line
            self._kvm_failed.set()
        if self._stderr_limit.take(len(line.encode())):
            _log.warning("qemu", line=line)

    def close(self) -> None:
        for limit in (self._stderr_limit, self._console_limit, self._event_limit, self._state_limit):
            limit.close()

    async def wait_kvm_error(self) -> str:
        """QEMU's line on why KVM cannot go on, which comes within a second of its event; else empty."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_KVM_ERROR_SECONDS):
                await self._kvm_failed.wait()
        return self._kvm_error

    def output_tail(self) -> str:
        """QEMU's last lines, indented below a message; the console's where it has said nothing."""
        if lines := self.stderr.lines():
            return "".join(f"\n  qemu: {line}" for line in lines)
        return "".join(f"\n  console: {line}" for line in self.console.lines())


@dataclass(kw_only=True)
class Guest:
    """A started QEMU.

    ``changed`` is set at every QMP event, ``state_changed`` when the virtual CPUs were stopped or went on.
    ``resets`` are the last ones' times.
    """

    process: asyncio.subprocess.Process
    accelerator: Accelerator
    channel: socket.socket
    record: GuestLog
    outputs: Outputs
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    state_changed: asyncio.Event = field(default_factory=asyncio.Event)
    resets: deque[float] = field(default_factory=lambda: deque(maxlen=RESETS_IN_A_ROW))
    shutdown_reason: str | None = None

    def __post_init__(self) -> None:
        self.qmp = Qmp(on_event=self._on_event)
        self._guard = Guard("a look at the guest", clock=time.monotonic)

    def _on_event(self, name: str, data: Mapping[str, Any]) -> None:
        match name:
            case "RESET":
                self.resets.append(asyncio.get_running_loop().time())
            case "SHUTDOWN":
                self.shutdown_reason = str(data.get("reason", ""))[:_STATUS_LENGTH]
            case "STOP" | "RESUME" | "SUSPEND" | "WAKEUP":
                self.state_changed.set()
            case "GUEST_PANICKED":
                self.record.report("the guest's kernel panicked", data)
            case "BLOCK_IO_ERROR":
                self.record.report("the guest's disk failed", data)
        self.changed.set()

    async def connect(self) -> None:
        """Speak QMP with the QEMU that was just started. Raises QmpError, also where it dies instead."""
        await self.qmp.connect(self.channel, seconds=_GREETING_SECONDS)

    async def wait(self) -> int:
        """QEMU's exit status, once it has ended and all that it said has been taken in."""
        returncode = await self.process.wait()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_SECONDS):
                await self.qmp.drain()
        await self.outputs.finish(seconds=_DRAIN_SECONDS)
        return returncode

    async def wait_started(self) -> str:
        """The first run state after QEMU has set the machine up: ``running``. Raises QmpError."""
        while True:
            self.changed.clear()
            if (status := await self.status(seconds=_GREETING_SECONDS)) != "prelaunch":
                return status
            await self.changed.wait()  # for RESUME

    async def status(self, *, seconds: float = STATUS_SECONDS) -> str:
        """QMP's run state: ``running``, ``paused``, ``internal-error``, … Raises QmpError."""
        answer = await self.qmp.execute("query-status", seconds=seconds)
        try:
            return str(answer["status"])[:_STATUS_LENGTH]
        except (LookupError, TypeError) as error:
            raise QmpError(f"QMP query-status: {str(answer)[:200]} has no status") from error

    async def look(self) -> FirstBoot:
        """What the first boot has come to, as far as QEMU says it."""
        status, progress = "no answer", None
        try:
            status = await self.status()
            usernet = await self.qmp.execute("human-monitor-command", {"command-line": "info usernet"})
            blockstats = await self.qmp.execute("query-blockstats")
            progress = find_network_progress(usernet) or find_disk_progress(blockstats)
        except QmpError:
            pass
        except Exception as error:
            self._guard.report(error)  # an answer of another shape is no reason to end a guest
        return FirstBoot(status=status, resets=tuple(self.resets), progress=progress)


@contextlib.asynccontextmanager
async def start_guest(launch: Launch, *, term_seconds: float) -> AsyncIterator[Guest]:
    """QEMU for the length of the block; what runs at its end gets SIGTERM, ``term_seconds``, then SIGKILL."""
    ours, theirs = socket.socketpair()
    record, outputs = GuestLog(), Outputs(secrets=launch.secrets)
    with ours, contextlib.closing(record), contextlib.ExitStack() as child_ends:
        child_ends.enter_context(theirs)
        child_ends.callback(outputs.release)
        argv = build_qemu_argv(
            launch.settings,
            accelerator=launch.accelerator,
            qmp_fd=theirs.fileno(),
            tap=launch.tap,
            program=launch.program,
        )
        async with start_async(
            argv,
            stdin=None if launch.interactive else subprocess.DEVNULL,
            stdout=None if launch.interactive else await outputs.add(record.on_console),
            stderr=await outputs.add(record.on_stderr),
            env=child_environment(),
            pass_fds=[theirs.fileno(), *([launch.tap.fd] if launch.tap else [])],
            # On a terminal QEMU must stay in the foreground group, or it cannot read from it.
            new_session=not launch.interactive,
            term_seconds=term_seconds,
        ) as process:
            child_ends.close()  # so that QEMU's death closes the connection and its outputs
            guest = Guest(
                process=process, accelerator=launch.accelerator, channel=ours, record=record, outputs=outputs
            )
            try:
                yield guest
            finally:
                await stop_async(process, term_seconds=term_seconds)
                await guest.wait()
                await guest.qmp.close()


def explain_end(guest: Guest, returncode: int) -> str:
    """The event to log of a guest that ended in order. Raises GuestError where it did not."""
    reason = guest.shutdown_reason
    if returncode == 0 and reason in _ORDERLY:
        return _ORDERLY[reason]
    what = f"QEMU ended: {describe_exit(returncode)}"
    if reason == "guest-panic":
        what = "the guest's kernel panicked"
    elif reason is not None:
        what += f", reason {reason}"
    raise GuestError(what + guest.record.output_tail())
