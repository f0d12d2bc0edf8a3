"""What changes, handed to each who listens: bounded for each of them, so that a slow one holds up nobody."""

from __future__ import annotations

import asyncio
import weakref
from collections import deque
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

T = TypeVar("T")

MAX_UNREAD = 1024
"""Items that a listener may be behind; then all of them are dropped for it, and it is told so."""


class Broadcast(Generic[T]):
    """A channel on one event loop, without a memory: a listener gets what is published from ``listen`` on."""

    def __init__(self, *, max_unread: int = MAX_UNREAD) -> None:
        self._max_unread = max_unread
        # Weak: one that was given up without being closed is nobody's any more.
        self._listeners: weakref.WeakSet[_Listener[T]] = weakref.WeakSet()

    def __len__(self) -> int:
        return len(self._listeners)

    def publish(self, item: T | None) -> None:
        """Hand ``item`` to each listener; it waits for none. None, that some were missed, is told once."""
        for listener in list(self._listeners):
            listener.put(item, self._max_unread)

    def listen(self) -> AsyncIterator[T | None]:
        """Each item that is published from this call on; None where some were missed. It has no end."""
        listener: _Listener[T] = _Listener()
        self._listeners.add(listener)
        return _iterate(listener)


class _Listener(Generic[T]):
    def __init__(self) -> None:
        self.unread: deque[T | None] = deque()
        self.there = asyncio.Event()

    def put(self, item: T | None, max_unread: int) -> None:
        if item is None and self.unread and self.unread[-1] is None:
            return  # whoever reads all anew has that, too
        if len(self.unread) >= max_unread:
            self.unread.clear()
            item = None
        self.unread.append(item)
        self.there.set()


async def _iterate(listener: _Listener[T]) -> AsyncIterator[T | None]:
    while True:
        while listener.unread:
            yield listener.unread.popleft()
        listener.there.clear()
        await listener.there.wait()
