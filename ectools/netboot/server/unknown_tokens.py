"""Tokens that are nobody's here, and may be of a boot that another boot host has begun, or this one earlier.

What another host has given a node a moment ago may not have been heard of yet; a host that is cut off from
the others hears of nothing, and of a host that is cut off nobody hears. A host whose disk
could not be read at its start does not know its own boots. Such a token is not refused, but answered that it
is to be brought again.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

from ectools.netboot.boots.memory import hash_token

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE_SECONDS = 60.0
"""After which a token that is still unknown is nobody's, where all others are heard of: longer than it takes
to find out that one is not.
"""
MAX_TOKENS = 4096


class UnknownTokens:
    """Those of one boot host. ``is_cut_off``: whether there is another one that it hears nothing of at the
    moment; None: it shares its boots with no other, and knows all. ``has_read``: whether it knows its own.
    ``clock`` gives seconds that only grow.
    """

    def __init__(
        self,
        *,
        is_cut_off: Callable[[], bool] | None,
        clock: Callable[[], float],
        has_read: Callable[[], bool] = lambda: True,
    ) -> None:
        self._has_read = has_read
        self._is_cut_off = is_cut_off
        self._clock = clock
        self._since: OrderedDict[str, float] = OrderedDict()

    def may_be_known_later(self, token: str) -> bool:
        """Whether a token that is unknown is to be brought again."""
        if not self._has_read():
            return True
        if self._is_cut_off is None:
            return False
        now = self._clock()
        since = self._since.setdefault(hash_token(token), now)
        while len(self._since) > MAX_TOKENS:
            self._since.popitem(last=False)
        return self._is_cut_off() or now - since < PATIENCE_SECONDS
