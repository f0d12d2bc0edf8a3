"""An event loop whose clock jumps: a pause has its length by the clock, and takes no time.

For what happens in one thread: where the loop has nothing to do, nothing is on its way to it either. Both
ends of a pipe or of a UNIX socket may be the loop's; the clock would overtake a child, a thread or TCP.
"""

from __future__ import annotations

import asyncio
import selectors
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

_T = TypeVar("_T")


class _Selector(selectors.DefaultSelector):
    """A selector that does not wait: the time that it would have waited is added to ``now``, in seconds."""

    now = 1000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        events = super().select(0)
        # A turn takes some time: a loop calls what is due within its clock's resolution, and so a deadline
        # could stay a moment away for ever.
        self.now += 1e-6
        if not events and timeout is None:
            raise RuntimeError("all tasks wait for something that never happens")
        if not events and timeout is not None:
            self.now += max(timeout, 0.0)
        return events


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Where ``time`` is the selector's ``now``."""

    def __init__(self) -> None:
        self._virtual = _Selector()
        super().__init__(self._virtual)

    def time(self) -> float:
        return self._virtual.now


def run_virtually(scenario: Coroutine[Any, Any, _T]) -> _T:
    """``asyncio.run`` on such a loop. Raises RuntimeError where nothing would ever happen again."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(scenario)
