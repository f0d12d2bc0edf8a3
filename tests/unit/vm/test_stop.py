"""What a step of a stop may raise, with a QEMU that ends when it is told to."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any, cast

import pytest
from support.qmp_server import guest_without_qemu

from ectools.vm.stop import StopRequest, StopStep, stop_guest

if TYPE_CHECKING:
    from collections.abc import Callable

    from ectools.vm.settings import GuestSettings


class Process:
    """QEMU's, as far as a stop looks at it."""

    pid = 1

    def __init__(self) -> None:
        self.ended = asyncio.Event()

    async def wait(self) -> int:
        await self.ended.wait()
        return 0

    def terminate(self) -> None:
        self.ended.set()


def test_a_fault_of_a_step_is_reported_and_the_next_one_taken(
    settings_of: Callable[..., GuestSettings], monkeypatch: pytest.MonkeyPatch
) -> None:
    times = settings_of(
        {"shutdown": {"powerdownSeconds": 0, "quitSeconds": 1, "terminateSeconds": 60}}
    ).shutdown
    unseen: list[object] = []

    async def scenario() -> StopStep:
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: unseen.append(type(context["exception"]))
        )
        async with guest_without_qemu() as (guest, _):
            guest.process = cast("asyncio.subprocess.Process", Process())

            async def fail(*_: Any, **__: Any) -> None:
                raise LookupError("a fault")

            monkeypatch.setattr(guest.qmp, "execute", fail)
            step = await stop_guest(guest, times, StopRequest())
            gc.collect()
            return step

    assert asyncio.run(scenario()) is StopStep.TERMINATE
    assert unseen == [LookupError]
