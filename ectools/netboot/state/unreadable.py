"""What stands in the state and cannot be read, as the log has it: a line a key, and so many lines at most."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING

from ectools import log
from ectools.errors import cut

if TYPE_CHECKING:
    from collections.abc import Callable

_log = log.Log(__name__)

MAX_KEYS = 1000
"""That are remembered as told."""
MAX_LINES = 10
"""In ``PERIOD_SECONDS``: somebody may write thousands of keys."""
PERIOD_SECONDS = 60.0


class UnreadableLog:
    """The lines of one reader. ``clock`` is monotonic, in seconds."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told: OrderedDict[str, str] = OrderedDict()
        self._began = -PERIOD_SECONDS
        self._lines = 0
        self._unreported = 0

    def tell(self, key: str, reason: object) -> None:
        """What stands at ``key`` is passed over. The same is told once."""
        why = cut(str(reason))
        if self._told.get(key) == why:
            return
        self._told[key] = why
        while len(self._told) > MAX_KEYS:
            self._told.popitem(last=False)
        now = self._clock()
        if now - self._began >= PERIOD_SECONDS:
            self._began, self._lines = now, 0
        if self._lines >= MAX_LINES:
            self._unreported += 1
            return
        self._lines += 1
        _log.warning(
            "what stands in the state cannot be read: it is passed over",
            key=key,
            reason=why,
            unreported=self._unreported,
        )
        self._unreported = 0

    def forget(self, key: str) -> None:
        """It can be read again."""
        self._told.pop(key, None)
