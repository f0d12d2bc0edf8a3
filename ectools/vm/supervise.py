"""While the guest runs: the boot HTTP server, QEMU, the acceleration policy, the service manager."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ectools import log
from ectools.notify import Notifier
from ectools.vm.argv import Accelerator
from ectools.vm.boot_server import start_boot_server
from ectools.vm.guest import Launch, explain_end, start_guest
from ectools.vm.kvm import KvmError, classify_death, probe_kvm
from ectools.vm.qemu_errors import raise_for_settings
from ectools.vm.qmp import QmpError
from ectools.vm.watch import watch_guest

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Coroutine

    from ectools.vm.argv import Tap
    from ectools.vm.boot_server import BootServer
    from ectools.vm.guest import Guest
    from ectools.vm.kvm import KvmFailure
    from ectools.vm.settings import Settings
    from ectools.vm.stop import StopRequest

_log = log.Log(__name__)

_STATUS_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What preparation came to. ``secrets`` are kept out of the log."""

    settings: Settings
    program: str
    listener: socket.socket | None
    tap: Tap | None
    secrets: tuple[str, ...]
    interactive: bool


async def supervise(plan: Plan, stop: StopRequest) -> None:
    """Run the guest to its end. Returns where that was orderly, raises EcError where not."""
    notifier = Notifier()
    async with contextlib.AsyncExitStack() as stack:
        server = None
        if plan.listener is not None and plan.settings.boot.http.root is not None:
            notifier.status("starting the boot HTTP server")
            server = await stack.enter_async_context(
                start_boot_server(plan.listener, plan.settings.boot.http.root, unless=stop.requested)
            )
            if stop.requested.is_set():
                return
        accelerator = choose_accelerator(plan.settings)
        while (failure := await _run_guest(plan, accelerator, server, stop, notifier)) is not None:
            fall_back(plan.settings, failure)
            accelerator = Accelerator.TCG
        notifier.status("the guest has ended")


def choose_accelerator(settings: Settings) -> Accelerator:
    """KVM where it is wanted and its device opens. Raises KvmError where it is required and does not."""
    if not settings.enable_kvm:
        return Accelerator.TCG
    failure = probe_kvm()
    if failure is None:
        return Accelerator.KVM
    fall_back(settings, failure)
    return Accelerator.TCG


def fall_back(settings: Settings, failure: KvmFailure) -> None:
    """Say why the guest runs under TCG. Raises KvmError where KVM is required."""
    if settings.require_kvm:
        raise KvmError(failure)
    _log.warning(
        "KVM cannot be used; the guest runs under TCG, many times slower",
        reason=failure.trouble,
        **({"detail": failure.detail} if failure.detail else {}),
    )


async def _run_guest(
    plan: Plan,
    accelerator: Accelerator,
    server: BootServer | None,
    stop: StopRequest,
    notifier: Notifier,
) -> KvmFailure | None:
    """One QEMU, to its end. None: that was in order. A failure: KVM does not carry the guest. Else raises."""
    launch = Launch(
        settings=plan.settings,
        accelerator=accelerator,
        program=plan.program,
        tap=plan.tap,
        secrets=plan.secrets,
        interactive=plan.interactive,
    )
    notifier.status(f"starting the guest ({accelerator})")
    term_seconds = plan.settings.shutdown.terminate_seconds
    async with start_guest(launch, term_seconds=term_seconds) as guest:
        _log.info("QEMU started", pid=guest.process.pid, accelerator=accelerator)
        try:
            status = await _wait_started(guest, stop)
        except QmpError as error:
            return await _explain_failed_start(guest, plan.settings, error)
        if status == "running":
            _log.info("the guest runs", accelerator=accelerator)
            notifier.ready()
            notifier.status(f"the guest runs ({accelerator})")
        async with _background(_keep_alive(guest, server, notifier)):
            return await watch_guest(
                guest, settings=plan.settings, server=server, stop=stop, notifier=notifier
            )


async def _wait_started(guest: Guest, stop: StopRequest) -> str | None:
    """Wait until QMP says how the guest is; None where a stop is requested first. Raises QmpError."""

    async def ask() -> str:
        await guest.connect()
        return await guest.wait_started()

    asking = asyncio.create_task(ask())
    stopping = asyncio.create_task(stop.requested.wait())
    try:
        await asyncio.wait({asking, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return asking.result() if asking.done() else None
    finally:
        for task in (asking, stopping):
            task.cancel()
        await asyncio.gather(asking, stopping, return_exceptions=True)


async def _explain_failed_start(guest: Guest, settings: Settings, error: QmpError) -> KvmFailure | None:
    """QEMU did not come as far as QMP: KVM's failure is returned, any other raised."""
    try:
        async with asyncio.timeout(_STATUS_SECONDS):
            returncode = await guest.wait()
    except TimeoutError:
        raise error from None
    stderr = guest.said.stderr.lines()
    if guest.accelerator is Accelerator.KVM and (failure := classify_death(returncode, stderr)) is not None:
        return failure
    raise_for_settings(settings, stderr)
    explain_end(guest, returncode)
    raise error


@contextlib.asynccontextmanager
async def _background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _keep_alive(guest: Guest, server: BootServer | None, notifier: Notifier) -> None:
    """Feed the service manager's watchdog, as long as QEMU answers and the boot HTTP server lives."""
    if notifier.watchdog_seconds is None:
        return
    while True:
        with contextlib.suppress(QmpError):
            await guest.status()
            if server is None or server.pid is not None:
                notifier.alive()
        await asyncio.sleep(notifier.watchdog_seconds / 2)
