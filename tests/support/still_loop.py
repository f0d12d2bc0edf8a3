"""An event loop whose time stands still until a test moves it: deadlines without waiting."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")


class StillLoop(asyncio.SelectorEventLoop):
    """asyncio's own loop on a clock that only ``advance`` moves. Descriptors are watched as ever."""

    now = 1000.0

    def time(self) -> float:
        return self.now


def run_still(scenario: Coroutine[Any, Any, T]) -> T:
    """``asyncio.run`` on a StillLoop."""
    with asyncio.Runner(loop_factory=StillLoop) as runner:
        return runner.run(scenario)


async def advance(seconds: float) -> None:
    """So much later, and what has become due has been done."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, StillLoop)
    loop.now += seconds
    await turns()


async def turns(count: int = 10) -> None:
    """Let the loop go round a few times."""
    for _ in range(count):
        await asyncio.sleep(0)
