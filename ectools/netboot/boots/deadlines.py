"""The time that boots have: which of them have failed by silence, and whose token is good no more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ectools import log
from ectools.netboot.boots.judge import describe_silence
from ectools.netboot.boots.model import BootState

if TYPE_CHECKING:
    from collections.abc import Callable

    from ectools.netboot.boots.elapsed import ElapsedTime
    from ectools.netboot.boots.memory import BootMemory, LiveBoot
    from ectools.netboot.boots.progress import BootProgress

_log = log.Log(__name__)

TOKEN_SECONDS = 86400.0
"""After its deadline, for so long, a boot's token is good for a report that is late."""
GRACE_SECONDS = 60.0
"""From the start on, in which no boot fails: nodes may have reported while nobody listened, and try again."""
FOREIGN_SECONDS = 10.0
"""After which a boot of another host's has failed, where that one has not said so."""


class BootDeadlines:
    """Those of one register's boots. ``clock``, ``knows_time`` and ``hears`` are as in ``BootRegister``."""

    def __init__(
        self,
        memory: BootMemory,
        progress: BootProgress,
        *,
        clock: Callable[[], float],
        knows_time: Callable[[], bool],
        hears: Callable[[], bool],
        elapsed: ElapsedTime,
    ) -> None:
        self._memory = memory
        self._progress = progress
        self._clock = clock
        self._knows_time = knows_time
        self._hears = hears
        self._elapsed = elapsed
        self.open()

    def open(self) -> None:
        """The start is now."""
        self._elapsed.open()
        self._no_failure_before = self._clock() + GRACE_SECONDS

    def move(self, seconds: float) -> None:
        """The clock was moved."""
        self._no_failure_before += seconds

    def expire(self) -> None:
        """Boots past their deadline have failed."""
        now = self._clock()
        if self._is_in_grace(now):
            return
        for live in list(self._memory.newest.values()):
            if live.is_foreign and not (self._knows_time() and self._hears()):
                continue
            if live.boot.state is BootState.BOOTING and self._is_late(live, now):
                self._progress.conclude(live, BootState.FAILED, describe_silence(live.boot), now=now)
                boot = live.boot
                _log.warning(
                    "a boot has failed",
                    node=boot.node,
                    machine=boot.machine,
                    boot=boot.id,
                    release=boot.release,
                    reason=boot.why,
                )

    def is_over(self, live: LiveBoot) -> bool:
        """Whether its token's time is."""
        is_judged = self._knows_time() or not live.is_foreign
        is_over = live.begun is not None or self._clock() > live.boot.deadline + TOKEN_SECONDS
        had = live.boot.within + TOKEN_SECONDS
        return is_judged and is_over and self._elapsed.exceeds(live, had, since_start=False)

    def _is_in_grace(self, now: float) -> bool:
        since = self._elapsed.measure()
        return now < self._no_failure_before if since is None else since < GRACE_SECONDS

    def _is_late(self, live: LiveBoot, now: float) -> bool:
        # The wall's clock may have been set back since; of another host's boot it alone tells.
        is_timed = self._elapsed.measure() is not None and not live.is_foreign
        patience = FOREIGN_SECONDS if live.is_foreign else 0.0
        is_past = is_timed or now > live.boot.deadline + patience
        return is_past and self._elapsed.exceeds(live, live.boot.within)
