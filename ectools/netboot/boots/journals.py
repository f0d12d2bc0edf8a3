"""How many journals of unhealthy nodes are in memory: a store has them all, and each may be long."""

from __future__ import annotations

import sys
from collections import OrderedDict

MAX_JOURNAL_BYTES = 32 << 20
"""Of all journals in memory together; those that came first go first."""


class JournalBudget:
    """The journals in memory, by the ids of their boots."""

    def __init__(self) -> None:
        self._sizes: OrderedDict[str, int] = OrderedDict()
        self._total = 0

    def take(self, boot_id: str, journal: str) -> list[str]:
        """Note a boot's journal, in place of its former one. Returns the boots whose journals have to go."""
        self.forget(boot_id)
        if journal:
            self._sizes[boot_id] = sys.getsizeof(journal)
            self._total += self._sizes[boot_id]
        gone = []
        while self._total > MAX_JOURNAL_BYTES:
            oldest = next(iter(self._sizes))
            self.forget(oldest)
            gone.append(oldest)
        return gone

    def forget(self, boot_id: str) -> None:
        """A boot's journal is no longer in memory."""
        self._total -= self._sizes.pop(boot_id, 0)
