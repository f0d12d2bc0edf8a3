"""A guest's run: the boot HTTP server, then QEMU, under KVM or TCG as the settings' policy allows."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ectools import log
from ectools.notify import Notifier
from ectools.supervision import tasks
from ectools.vm.argv import Accelerator
from ectools.vm.boot_server import start_boot_server
from ectools.vm.guest import Launch, explain_end, start_guest
from ectools.vm.health import ALIVE, Health
from ectools.vm.kvm import KvmError, classify_death, probe_kvm
from ectools.vm.macvtap import is_link_there
from ectools.vm.qemu_errors import raise_for_settings
from ectools.vm.qmp import QmpError
from ectools.vm.settings import KvmPolicy
from ectools.vm.status_line import StatusLine
from ectools.vm.watch import watch_guest

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path

    from ectools.parsing import ListenAddress
    from ectools.vm.argv import Tap
    from ectools.vm.boot_server import BootServer
    from ectools.vm.guest import Guest
    from ectools.vm.kvm import KvmFailure
    from ectools.vm.settings import GuestSettings
    from ectools.vm.stop import StopRequest

_log = log.Log(__name__)

_STATUS_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class BoundHttp:
    """The boot HTTP server's directory, its socket, and the address with the port that it was bound to."""

    listener: socket.socket
    listen: ListenAddress
    root: Path


@dataclass(frozen=True, kw_only=True)
class GuestPlan:
    """The result of the preparation. ``secrets`` are kept out of the log."""

    settings: GuestSettings
    program: str
    http: BoundHttp | None
    tap: Tap | None
    secrets: tuple[str, ...]
    interactive: bool


async def supervise(plan: GuestPlan, stop: StopRequest) -> None:
    """Run the guest to its end. Returns where that was orderly, raises EcError where not.

    The guest starts once the boot HTTP server answers, and runs on where that dies.
    """
    notifier = Notifier()
    status = StatusLine(notifier)
    async with contextlib.AsyncExitStack() as stack:
        server = None
        if (http := plan.http) is not None:
            status.guest("starting the boot HTTP server")
            server = await stack.enter_async_context(
                start_boot_server(http.listener, http.root, unless=stop.requested, changed=status.boot_server)
            )
            if stop.requested.is_set():
                return
        run = _Run(plan, server, stop, notifier, status)
        accelerator = choose_accelerator(plan.settings)
        while (failure := await run.run_guest(accelerator)) is not None:
            fall_back(plan.settings, failure)
            accelerator = Accelerator.TCG
        status.guest("the guest has ended")


def choose_accelerator(settings: GuestSettings) -> Accelerator:
    """KVM where it is wanted and its device opens. Raises KvmError where it is required and does not."""
    if settings.kvm is KvmPolicy.NEVER:
        return Accelerator.TCG
    failure = probe_kvm()
    if failure is None:
        return Accelerator.KVM
    fall_back(settings, failure)
    return Accelerator.TCG


def fall_back(settings: GuestSettings, failure: KvmFailure) -> None:
    """Log why the guest runs under TCG. Raises KvmError where KVM is required."""
    if settings.kvm is KvmPolicy.REQUIRED:
        raise KvmError(failure)
    _log.warning(
        "KVM cannot be used; the guest runs under TCG, many times slower",
        reason=failure.trouble,
        **({"detail": failure.detail} if failure.detail else {}),
    )


@dataclass(frozen=True)
class _Run:
    plan: GuestPlan
    server: BootServer | None
    stop: StopRequest
    notifier: Notifier
    status: StatusLine

    async def run_guest(self, accelerator: Accelerator) -> KvmFailure | None:
        """One QEMU, to its end.

        None: that was in order. A failure: KVM does not carry the guest. Else raises.
        """
        settings = self.plan.settings
        launch = Launch(
            settings=settings,
            accelerator=accelerator,
            program=self.plan.program,
            tap=self.plan.tap,
            secrets=self.plan.secrets,
            interactive=self.plan.interactive,
        )
        self.status.guest(f"starting the guest ({accelerator})")
        async with start_guest(launch, term_seconds=settings.shutdown.terminate_seconds) as guest:
            _log.info("QEMU started", pid=guest.process.pid, accelerator=accelerator)
            try:
                state = await _wait_started(guest, self.stop)
            except QmpError as error:
                return await _explain_failed_start(guest, settings, error)
            runs = f"the guest runs ({accelerator})"
            if state in ALIVE:
                _log.info("the guest runs", accelerator=accelerator)
                self.notifier.ready()
                self.status.guest(runs)
            return await watch_guest(
                guest,
                settings=settings,
                server=self.server,
                stop=self.stop,
                health=Health(
                    guest,
                    notifier=self.notifier,
                    status=self.status,
                    runs=runs,
                    is_linked=_find_link_check(self.plan.tap),
                ),
            )


def _find_link_check(tap: Tap | None) -> Callable[[], bool]:
    return (lambda: True) if tap is None else functools.partial(is_link_there, tap.fd)


async def _wait_started(guest: Guest, stop: StopRequest) -> str | None:
    """Wait until QMP says how the guest is; None where a stop is requested first. Raises QmpError."""

    async def ask() -> str:
        await guest.connect()
        return await guest.wait_started()

    async with tasks(ask(), stop.requested.wait()) as (asking, stopping):
        await asyncio.wait({asking, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return str(asking.result()) if asking.done() else None


async def _explain_failed_start(guest: Guest, settings: GuestSettings, error: QmpError) -> KvmFailure | None:
    """QEMU did not come as far as QMP: KVM's failure is returned, any other raised."""
    try:
        async with asyncio.timeout(_STATUS_SECONDS):
            returncode = await guest.wait()
    except TimeoutError:
        raise error from None
    stderr = guest.record.stderr.lines()
    if guest.accelerator is Accelerator.KVM and (failure := classify_death(returncode, stderr)) is not None:
        return failure
    raise_for_settings(settings, stderr)
    explain_end(guest, returncode)
    raise error
