"""How often each of many may do something: a burst, and so many a second after that."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class RateLimit:
    """So many at once, and so many a second after that, for each of the keys that came last."""

    def __init__(
        self, *, burst: float, per_second: float, clock: Callable[[], float], max_keys: int = 4096
    ) -> None:
        self._burst = burst
        self._per_second = per_second
        self._clock = clock
        self._max_keys = max_keys
        # key → what is left of it, and when that was so
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key: str) -> bool:
        """Whether there is one left for ``key``, which is taken."""
        now = self._clock()
        left, at = self._left.pop(key, (self._burst, now))
        left = min(self._burst, left + (now - at) * self._per_second)
        taken = left >= 1
        self._left[key] = (left - taken, now)
        if len(self._left) > self._max_keys:
            self._left.popitem(last=False)
        return taken
