"""The boots that are in memory: by subject, by id and by token, so many at most.

A subject's newest boot is there, and of those before it the last ones, which may still be reported on. Memory
knows, too, which of them the store does not have as they are.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ectools.netboot.boots.journals import JournalBudget

if TYPE_CHECKING:
    from ectools.netboot.boots.model import NodeBoot

MAX_UNNAMED = 4096
"""Machines without a name in the fleet that are remembered, those that came last; as many others may wait for
the store to forget them.
"""
MAX_SUPERSEDED = 4096
"""Boots that are their subject's newest no more, and yet may be reported on."""


def hash_token(token: str) -> str:
    """What is kept of a token: SHA-256, hexadecimal. It is random: nothing is gained by salt or by time."""
    return hashlib.sha256(token.encode()).hexdigest()


@dataclass(kw_only=True, eq=False)
class LiveBoot:
    """A boot in memory. ``token`` while the same script may be asked for again; ``is_kept``: the store has it
    as it is; ``is_foreign``: another host has begun it; ``begun``: when it was begun here, by a clock that
    only grows.
    """

    boot: NodeBoot
    token: str | None = None
    is_kept: bool = False
    is_foreign: bool = False
    begun: float | None = None


class BootMemory:
    """``newest`` and ``latest``: subject → its newest boot. ``unwritten``: id → what the store has not as it
    is. ``forgotten``: subjects whose boots the store is to forget; ``begun``: how many each has begun.
    """

    def __init__(self) -> None:
        self.newest: OrderedDict[str, LiveBoot] = OrderedDict()
        self.latest: dict[str, NodeBoot] = {}
        self.unwritten: dict[str, LiveBoot] = {}
        self.forgotten: dict[str, None] = {}
        self.begun: dict[str, int] = {}
        self._by_id: dict[str, LiveBoot] = {}
        self._by_token: dict[str, LiveBoot] = {}
        self._unnamed: OrderedDict[str, None] = OrderedDict()
        self._superseded: OrderedDict[str, LiveBoot] = OrderedDict()
        self._journals = JournalBudget()

    def find(self, boot_id: str) -> LiveBoot | None:
        """The boot of an id."""
        return self._by_id.get(boot_id)

    def list_all(self) -> list[LiveBoot]:
        """All that are in memory."""
        return list(self._by_id.values())

    def find_by_token(self, token: str) -> LiveBoot | None:
        """The boot of a token, however long ago it began."""
        return self._by_token.get(hash_token(token))

    def is_newest(self, live: LiveBoot) -> bool:
        """Whether its subject has begun none since."""
        return self.newest.get(live.boot.subject) is live

    def enter(self, live: LiveBoot) -> None:
        """A subject's newest boot from now on."""
        boot = live.boot
        self.newest[boot.subject] = self._by_id[boot.id] = self._by_token[boot.token_hash] = live
        self.latest[boot.subject] = boot
        self.bound_journals(boot)
        if boot.node is None:
            self._unnamed[boot.subject] = None
            self._unnamed.move_to_end(boot.subject)
            if len(self._unnamed) > MAX_UNNAMED:
                self.forget(next(iter(self._unnamed)))

    def supersede(self, live: LiveBoot) -> None:
        """A subject's newest boot that is about to be its newest no more: the store has it as that."""
        live.is_kept = False
        self.unwritten[live.boot.id] = live
        self._superseded[live.boot.id] = live
        if len(self._superseded) > MAX_SUPERSEDED:
            _, oldest = self._superseded.popitem(last=False)
            self._drop(oldest)

    def enter_earlier(self, live: LiveBoot) -> None:
        """A boot of another host's, before its subject's newest one: its machine may still report on it."""
        self._by_id[live.boot.id] = self._by_token[live.boot.token_hash] = live
        self.supersede(live)

    def bring_back(self, live: LiveBoot, *, newest: LiveBoot) -> None:
        """A superseded boot is its subject's newest again, in place of ``newest``."""
        self._superseded.pop(live.boot.id, None)
        self._superseded[newest.boot.id] = newest
        self.enter(live)

    def change(self, live: LiveBoot) -> None:
        """A boot is another than the store has."""
        boot = live.boot
        live.is_kept = False
        self.unwritten[boot.id] = live
        if self.is_newest(live):
            self.latest[boot.subject] = boot

    def note_kept(self, live: LiveBoot) -> None:
        """The store has a boot as it is."""
        live.is_kept = True
        self.unwritten.pop(live.boot.id, None)

    def bound_journals(self, boot: NodeBoot) -> None:
        """Forget journals of others, where there are too many in memory; the store has them still."""
        journal = "" if boot.report is None else boot.report.journal
        for other in self._journals.take(boot.id, journal):
            live = self._by_id[other]
            assert live.boot.report is not None  # noqa: S101 - it has a journal
            live.boot = replace(live.boot, report=replace(live.boot.report, journal=""))
            if self.is_newest(live):
                self.latest[live.boot.subject] = live.boot

    def forget(self, subject: str) -> None:
        """A subject, with all its boots: the store's go when it is written next."""
        self._unnamed.pop(subject, None)
        self.begun.pop(subject, None)
        self.latest.pop(subject, None)
        self._drop(self.newest.pop(subject))
        self.forgotten[subject] = None
        while len(self.forgotten) > MAX_UNNAMED:  # who is left there goes with the next sweep
            del self.forgotten[next(iter(self.forgotten))]

    def _drop(self, live: LiveBoot) -> None:
        self._by_id.pop(live.boot.id, None)
        self._by_token.pop(live.boot.token_hash, None)
        self._journals.forget(live.boot.id)
        self.unwritten.pop(live.boot.id, None)
