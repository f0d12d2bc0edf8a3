"""How long a boot has had, by a clock that only grows: the wall's may be set forward, or have gone on alone.

Who was booting while this program was not there had nobody to tell, and has all of its time once more.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from ectools.netboot.boots.memory import LiveBoot


class ElapsedTime:
    """Of one register, from its start on. ``ticks``: seconds that only grow; None: the wall's is right."""

    def __init__(self, ticks: Callable[[], float] | None) -> None:
        self._ticks = ticks
        self._opened = self.now()

    def open(self) -> None:
        """The start is now: until now nobody could be heard of."""
        self._opened = self.now()

    def measure(self) -> float | None:
        """Seconds since the start; None: there is no such clock."""
        return None if self._ticks is None or self._opened is None else self._ticks() - self._opened

    def now(self) -> float | None:
        """For ``LiveBoot.begun``."""
        return None if self._ticks is None else self._ticks()

    def exceeds(self, live: LiveBoot, seconds: float, *, since_start: bool = True) -> bool:
        """Whether so long has passed since a boot was begun here; of any other since the start, or always."""
        since = live.begun if live.begun is not None or not since_start else self._opened
        return since is None or self._ticks is None or self._ticks() - since > seconds
