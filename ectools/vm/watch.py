"""The end of a guest's run: whichever of four things comes first, and what follows from it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ectools import log
from ectools.supervision import tasks
from ectools.vm.argv import Accelerator
from ectools.vm.guest import GuestError, explain_end
from ectools.vm.kvm import KvmFailure, classify_death, watch_first_boot
from ectools.vm.stop import StopStep, stop_guest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ectools.vm.boot_server import BootServer
    from ectools.vm.guest import Guest
    from ectools.vm.health import Health
    from ectools.vm.kvm import FirstBoot
    from ectools.vm.settings import GuestSettings
    from ectools.vm.stop import StopRequest

_log = log.Log(__name__)


async def watch_guest(
    guest: Guest,
    *,
    settings: GuestSettings,
    server: BootServer | None,
    stop: StopRequest,
    health: Health,
) -> KvmFailure | None:
    """The end of a guest that runs, waited for or brought about. A boot server that died is no end.

    None: it ended in order. A failure: KVM does not carry this guest (QEMU may still run). Raises GuestError
    where it ended otherwise, or cannot go on.
    """
    watch = _Watch(guest, settings, server, stop, health)
    async with tasks(
        guest.process.wait(), stop.requested.wait(), watch.watch_first_boot(), health.watch()
    ) as running:
        return await watch.wait(running)


@dataclass(frozen=True)
class _Watch:
    guest: Guest
    settings: GuestSettings
    server: BootServer | None
    stop: StopRequest
    health: Health

    async def wait(self, running: Sequence[asyncio.Task[Any]]) -> KvmFailure | None:
        ended, stopping, first_boot, broken = running
        waited = {ended, stopping, first_boot}
        while True:
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                return await self._conclude(booting=not first_boot.done())
            if stopping.done():
                await self._end()
                return None
            if first_boot in waited:
                failure: KvmFailure | None = first_boot.result()
                if failure is not None:
                    return failure
                # Until here, a guest that stops is KVM's failure; from here on it is an end.
                waited = {ended, stopping, broken}
            elif broken.done():
                raise GuestError(
                    f"the guest cannot go on: {broken.result()}{self.guest.record.output_tail()}"
                )

    async def watch_first_boot(self) -> KvmFailure | None:
        """Under KVM: its failure, or None once the guest has made progress. Under TCG None at once."""
        if self.guest.accelerator is not Accelerator.KVM:
            return None

        async def look() -> FirstBoot:
            boot = await self.guest.look()
            if self.server is not None and self.server.requested.is_set():
                return replace(boot, progress="a request to the boot HTTP server")
            return boot

        result = await watch_first_boot(
            look,
            changed=self.guest.changed,
            seconds=self.settings.boot.progress_seconds,
            kvm_error=self.guest.record.wait_kvm_error,
        )
        if isinstance(result, KvmFailure):
            return result
        _log.info("KVM carries the guest", progress=result)
        return None

    async def _conclude(self, *, booting: bool) -> KvmFailure | None:
        returncode = await self.guest.wait()
        if booting and self.guest.accelerator is Accelerator.KVM:
            failure = classify_death(returncode, self.guest.record.stderr.lines())
            if failure is not None:
                return failure
        _log.info(explain_end(self.guest, returncode))
        return None

    async def _end(self) -> None:
        self.health.end()
        step = await stop_guest(self.guest, self.settings.shutdown, self.stop)
        write = _log.info if step is StopStep.POWERDOWN else _log.warning
        write("the guest has ended", how=step)
