"""The one clock of hosts that share a state: the NATS server's, by which all of them stamp and judge.

It is measured when a link is made, and each minute. In between it goes on with the kernel's time since the
machine's start, suspended or not (``CLOCK_BOOTTIME``): a step of the host's own clock moves nothing.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ectools import log

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_log = log.Log(__name__)

MEASURE_SECONDS = 60.0
"""Between two measurings."""
FAR_SECONDS = 5.0
"""By which a host's clock may differ before somebody is told."""
_NOISE_SECONDS = 1.0
_MAX_TRIES = 5


def read_boot_time() -> float:
    """Seconds since the machine's start; they only grow."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class SharedClock:
    """Called, it gives Unix seconds: the shared clock's, and the host's own until that ``is_known``.

    ``own`` gives the host's Unix seconds, ``ticks`` seconds that only grow.
    """

    def __init__(
        self, *, own: Callable[[], float] = time.time, ticks: Callable[[], float] = read_boot_time
    ) -> None:
        self._own = own
        self._ticks = ticks
        self._base: float | None = None  # Unix seconds where the ticks are 0
        self._told: float | None = None

    def __call__(self) -> float:
        return self._own() if self._base is None else self._base + self._ticks()

    @property
    def is_known(self) -> bool:
        """Whether it has been measured."""
        return self._base is not None

    @property
    def ahead(self) -> float | None:
        """Seconds by which the host's own clock is ahead of it; None: it has not been measured."""
        return None if self._base is None else self._own() - self()

    async def measure(self, ask: Callable[[], Awaitable[float | None]]) -> float:
        """Set it by what ``ask`` answers: the server's Unix seconds at a moment within the call; None: try
        again. Returns by how many seconds it was moved: 0 where the difference is noise.

        Raises what ``ask`` does.
        """
        for _ in range(_MAX_TRIES):
            before = self._ticks()
            theirs = await ask()
            after = self._ticks()
            if theirs is not None:
                moved = self._set(theirs, at=(before + after) / 2, noise=(after - before) / 2)
                self._tell()
                return moved
        return 0.0

    def _set(self, theirs: float, *, at: float, noise: float) -> float:
        base = self._own() - self._ticks() if self._base is None else self._base
        moved = theirs - at - base
        if abs(moved) < max(_NOISE_SECONDS, noise):
            moved = 0.0
        self._base = base + moved
        return moved

    def _tell(self) -> None:
        """One line, until it is another difference."""
        ahead = self.ahead
        assert ahead is not None  # noqa: S101 - it has just been measured
        if abs(ahead) <= FAR_SECONDS:
            if self._told is not None:
                _log.info("the clock of this host agrees with that of NATS again")
            self._told = None
        elif self._told is None or abs(ahead - self._told) > FAR_SECONDS:
            self._told = ahead
            _log.warning(
                "the clock of this host differs from that of NATS, by which the boot hosts go",
                ahead=round(ahead, 1),
                hint="have both set by NTP: `timedatectl` tells whether one is",
            )
