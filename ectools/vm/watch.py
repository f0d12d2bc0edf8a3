"""While a guest runs: the first thing that ends its run, and what is done about it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ectools import log
from ectools.vm.argv import Accelerator
from ectools.vm.guest import GuestError, explain_end
from ectools.vm.kvm import KvmFailure, classify_death, watch_first_boot
from ectools.vm.stop import Step, stop_guest

if TYPE_CHECKING:
    from ectools.notify import Notifier
    from ectools.vm.boot_server import BootServer
    from ectools.vm.guest import Guest
    from ectools.vm.kvm import FirstBoot
    from ectools.vm.settings import Settings
    from ectools.vm.stop import StopRequest

_log = log.Log(__name__)


async def watch_guest(
    guest: Guest, *, settings: Settings, server: BootServer | None, stop: StopRequest, notifier: Notifier
) -> KvmFailure | None:
    """Wait for the end of a guest that runs, or bring it about.

    None: it ended in order. A failure: KVM does not carry this guest (QEMU may still run). Anything else
    raises.
    """
    watch = _Watch(guest, settings, server, stop, notifier)
    tasks = watch.start()
    try:
        return await watch.wait(tasks)
    finally:
        for task in (tasks.ended, tasks.stopping, tasks.first_boot, tasks.broken):
            task.cancel()
        await asyncio.gather(
            tasks.ended, tasks.stopping, tasks.first_boot, tasks.broken, return_exceptions=True
        )


@dataclass(frozen=True)
class _Tasks:
    ended: asyncio.Task[int]
    stopping: asyncio.Task[bool]
    first_boot: asyncio.Task[KvmFailure | None]
    broken: asyncio.Task[str]


@dataclass(frozen=True)
class _Watch:
    guest: Guest
    settings: Settings
    server: BootServer | None
    stop: StopRequest
    notifier: Notifier

    def start(self) -> _Tasks:
        return _Tasks(
            ended=asyncio.create_task(self.guest.process.wait()),
            stopping=asyncio.create_task(self.stop.requested.wait()),
            first_boot=asyncio.create_task(self._watch_first_boot()),
            broken=asyncio.create_task(self.guest.wait_broken()),
        )

    async def wait(self, tasks: _Tasks) -> KvmFailure | None:
        waited: set[asyncio.Future[Any]] = {tasks.ended, tasks.stopping, tasks.first_boot}
        if self.server is not None:
            waited.add(self.server.gave_up)
        while True:
            await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            if tasks.ended.done():
                return await self._conclude(booting=not tasks.first_boot.done())
            if tasks.stopping.done():
                await self._end()
                return None
            if self.server is not None and self.server.gave_up.done():
                _log.error("the guest is stopped, because the boot HTTP server cannot be kept running")
                await self._end()
                raise self.server.gave_up.result()
            if tasks.first_boot in waited:
                if (failure := tasks.first_boot.result()) is not None:
                    return failure
                # Until here, a guest that stops is KVM's failure; from here on it is an end.
                waited = {*waited - {tasks.first_boot}, tasks.broken}
            elif tasks.broken.done():
                raise GuestError(
                    f"the guest cannot go on: {tasks.broken.result()}{self.guest.said.last_words()}"
                )

    async def _watch_first_boot(self) -> KvmFailure | None:
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
            said=self.guest.said.wait_kvm_error,
        )
        if isinstance(result, KvmFailure):
            return result
        _log.info("KVM carries the guest", progress=result)
        return None

    async def _conclude(self, *, booting: bool) -> KvmFailure | None:
        returncode = await self.guest.wait()
        if booting and self.guest.accelerator is Accelerator.KVM:
            failure = classify_death(returncode, self.guest.said.stderr.lines())
            if failure is not None:
                return failure
        _log.info(explain_end(self.guest, returncode))
        return None

    async def _end(self) -> None:
        self.notifier.stopping()
        self.notifier.status("stopping the guest")
        step = await stop_guest(self.guest, self.settings.shutdown, self.stop)
        talk = _log.info if step is Step.POWERDOWN else _log.warning
        talk("the guest has ended", how=step)
