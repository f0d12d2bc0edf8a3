"""How long a boot server has heard what becomes of boots, without a break: by that it is told who is late.

While it was down, or cut off from the others, nodes have had nobody to ask or to tell, and it has not heard
whom they have told. A clock that is set forward makes nobody late either: this goes by one that only grows.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Listening:
    """What one server hears. ``ticks`` gives seconds that only grow; None: it has heard all, always.

    ``is_cut_off``: whether what other servers see is not heard at the moment.
    """

    def __init__(self, ticks: Callable[[], float] | None, *, is_cut_off: Callable[[], bool]) -> None:
        self._ticks = ticks
        self._is_cut_off = is_cut_off
        self._since = -math.inf if ticks is None else ticks()

    @property
    def seconds(self) -> float:
        """For how long, until now."""
        return math.inf if self._ticks is None else self._ticks() - self._since

    def look(self) -> bool:
        """Whether all is heard at the moment; to be called now and then."""
        if not self._is_cut_off():
            return True
        self._since = self._since if self._ticks is None else self._ticks()
        return False
