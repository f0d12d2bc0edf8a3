"""The end of a guest in steps, each with its time: its power button, QMP's ``quit``, SIGTERM, SIGKILL."""

from __future__ import annotations

import asyncio
import contextlib
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from ectools import log
from ectools.supervision import tasks
from ectools.vm.qmp import QmpError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from ectools.vm.guest import Guest
    from ectools.vm.settings import Shutdown

_log = log.Log(__name__)

# A guest that has not loaded its ACPI driver yet does not hear the first press.
_PRESS_AGAIN_SECONDS = 10.0
_STATUS_SECONDS = 2.0


class StopStep(StrEnum):
    """The step that ended the guest; the value is the log's words for it."""

    POWERDOWN = "asked the guest to power itself down"
    QUIT = "told QEMU to quit"
    TERMINATE = "sent QEMU SIGTERM"
    KILL = "sent QEMU SIGKILL"


class StopRequest:
    """The request for a guest's end; each further one skips the rest of the current step's time."""

    def __init__(self) -> None:
        self.requested = asyncio.Event()
        self._hurry = asyncio.Event()

    def ask(self) -> None:
        if self.requested.is_set():
            self._hurry.set()
        self.requested.set()

    async def hurried(self) -> None:
        await self._hurry.wait()
        self._hurry.clear()


async def stop_guest(guest: Guest, times: Shutdown, request: StopRequest) -> StopStep:
    """End the guest; returns the step that did it, once the process has ended.

    A step of 0 seconds is left out.
    """
    steps: list[tuple[StopStep, Callable[[], Coroutine[Any, Any, None]], int]] = [
        (StopStep.POWERDOWN, lambda: _press_power_button(guest), times.powerdown_seconds),
        (StopStep.QUIT, lambda: _command(guest, "quit"), times.quit_seconds),
        (StopStep.TERMINATE, lambda: _terminate(guest), times.terminate_seconds),
    ]
    for step, act, seconds in steps:
        if seconds == 0 or not await _hears(guest, step):
            continue
        _log.info(step, wait_seconds=seconds)
        if await _take(act(), guest=guest, seconds=seconds, request=request):
            return step
    _log.warning(StopStep.KILL, pid=guest.process.pid)
    with contextlib.suppress(ProcessLookupError):
        guest.process.kill()
    await guest.process.wait()
    return StopStep.KILL


async def _take(
    act: Coroutine[Any, Any, None], *, guest: Guest, seconds: float, request: StopRequest
) -> bool:
    """One step: whether QEMU ended within its time."""
    # What the act itself raises does not shorten the guest's time; the loop reports it.
    async with tasks(guest.process.wait(), act, request.hurried()) as (ended, _, hurried):
        await asyncio.wait({ended, hurried}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        return ended.done()


async def _hears(guest: Guest, step: StopStep) -> bool:
    """Whether the step can have an effect: the power button has none on a paused guest.

    True where QEMU does not say how the guest is.
    """
    if step is StopStep.TERMINATE:
        return True
    if not guest.qmp.connected:
        return False
    if step is StopStep.QUIT:
        return True
    try:
        async with asyncio.timeout(_STATUS_SECONDS):
            return await guest.status() == "running"
    except (QmpError, TimeoutError):
        return True


async def _press_power_button(guest: Guest) -> None:
    while True:
        await _command(guest, "system_powerdown")
        await asyncio.sleep(_PRESS_AGAIN_SECONDS)


async def _command(guest: Guest, command: str) -> None:
    # Without an answer QEMU has ended, or hangs: the step waits for either within its time.
    with contextlib.suppress(QmpError):
        await guest.qmp.execute(command)


async def _terminate(guest: Guest) -> None:
    with contextlib.suppress(ProcessLookupError):
        guest.process.terminate()
