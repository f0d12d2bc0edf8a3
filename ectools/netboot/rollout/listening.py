"""How long a boot server has heard what becomes of boots, without a break: by that it is told who is late.

While it was down, or cut off from the others, nodes have had nobody to ask or to tell, and it has not heard
whom they have told. A clock that is set forward, however late after the start, and a machine that stood still
for a while (suspended, or a guest that was paused) make nobody late either: then it begins anew.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_STEP_SECONDS = 5.0  # less is how a clock is put right, or a turn that came late


class Listening:
    """What one server hears. ``ticks`` gives seconds that only grow; None: it has heard all, always.

    ``is_cut_off``: whether what other servers see is not heard at the moment. ``clock`` gives the Unix
    seconds by which boots are judged; None: they are those of ``ticks``.
    """

    def __init__(
        self,
        ticks: Callable[[], float] | None,
        *,
        is_cut_off: Callable[[], bool],
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._ticks = ticks
        self._is_cut_off = is_cut_off
        self._clock = clock
        self._since = -math.inf if ticks is None else ticks()
        self._ahead = self._measure_ahead()

    @property
    def seconds(self) -> float:
        """For how long, until now."""
        self._notice_step()
        return math.inf if self._ticks is None else self._ticks() - self._since

    def look(self) -> bool:
        """Whether all is heard at the moment; to be called now and then."""
        self._notice_step()
        if not self._is_cut_off():
            return True
        self._since = self._since if self._ticks is None else self._ticks()
        return False

    def _notice_step(self) -> None:
        """Since the last look more time has gone by on the clock than there was."""
        before, self._ahead = self._ahead, self._measure_ahead()
        if self._ticks is not None and self._ahead - before > _STEP_SECONDS:
            self._since = self._ticks()

    def _measure_ahead(self) -> float:
        return 0.0 if self._ticks is None or self._clock is None else self._clock() - self._ticks()
