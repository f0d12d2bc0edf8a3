"""The rollouts that a store keeps: one a group, changed by comparing revisions, and known here as it stands.

A group's rollout stands in the store as ``rollouts/<group>``. Whoever else writes there is noticed by the
revision: then it is read anew, and changed anew.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ectools.netboot.rollout.encode import decode_rollout, encode_rollout
from ectools.netboot.state.interface import StateConflictError, StateEntry, StateError
from ectools.netboot.state.unreadable import UnreadableLog

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ectools.netboot.rollout.model import Rollout
    from ectools.netboot.state.interface import StateStore

ROLLOUTS = "rollouts/"
"""What keys of the store begin with; a group's name is the rest."""
_MAX_TRIES = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class RolloutChange:
    """What this program has made of a rollout: ``before`` is what others had made of it until then."""

    before: Rollout | None
    after: Rollout


class KeptRollouts:
    """The rollouts of a store. ``on_change`` is called with each, and the one before it or None."""

    def __init__(self, store: StateStore, *, on_change: Callable[[Rollout, Rollout | None], None]) -> None:
        self._store = store
        self._on_change = on_change
        self._rollouts: dict[str, Rollout] = {}
        self._revisions: dict[str, int] = {}
        self._changing = asyncio.Lock()
        self._unreadable = UnreadableLog()
        self._unread: set[str] = set()
        self._is_loaded = False

    @property
    def by_group(self) -> Mapping[str, Rollout]:
        """Group → its rollout, ended or not."""
        return MappingProxyType(self._rollouts)

    @property
    def is_whole(self) -> bool:
        """Whether all that the store has is known: it was read, and no rollout of it could not be."""
        return self._is_loaded and not self._unread

    async def load(self) -> None:
        """Take over what the store has. Raises StateError."""
        async with self._changing:
            for entry in await self._store.list(ROLLOUTS):
                if entry.revision != self._revisions.get(_name_group(entry)):
                    self._adopt(_name_group(entry), entry.value, entry.revision)
            self._is_loaded = True

    async def follow(self) -> None:
        """Take over what others write, until cancelled. Raises StateError."""
        changes = self._store.watch(ROLLOUTS)
        await self.load()
        async for entry in changes:
            async with self._changing:  # what is being written here is known once it is
                if isinstance(entry, StateEntry) and entry.revision > self._revisions.get(
                    _name_group(entry), 0
                ):
                    self._adopt(_name_group(entry), entry.value, entry.revision)

    async def change(self, group: str, change: Callable[[Rollout | None], Rollout]) -> RolloutChange:
        """The rollout after ``change``, kept, and the one that it was made of; called again where somebody
        else has written meanwhile.

        Raises StateError, and what ``change`` raises.
        """
        async with self._changing:
            for _ in range(_MAX_TRIES):
                now = self._rollouts.get(group)
                changed = change(now)
                if changed is now:
                    return RolloutChange(before=now, after=changed)
                try:
                    revision = await self._store.put(
                        ROLLOUTS + group, encode_rollout(changed), expected=self._revisions.get(group, 0)
                    )
                except StateConflictError:
                    entry = await self._store.get(ROLLOUTS + group, fresh=True)
                    if entry is None:  # somebody has taken it away
                        self._rollouts.pop(group, None)
                        self._revisions.pop(group, None)
                        self._unread.discard(group)
                    else:
                        self._adopt(group, entry.value, entry.revision)
                    continue
                self._put(group, changed, revision)
                return RolloutChange(before=now, after=changed)
        raise StateError(f"{group}: its rollout is changed by others all the time", hint="try again")

    def _adopt(self, group: str, value: Mapping[str, Any], revision: int) -> None:
        try:
            rollout = decode_rollout(value)
            if rollout.plan.group != group:
                raise ValueError("no rollout: it is another group's")
        except ValueError as error:
            # What was known stands, and is written over this at its next change.
            self._revisions[group] = revision
            self._unread.add(group)
            self._unreadable.tell(ROLLOUTS + group, error)
        else:
            self._put(group, rollout, revision)

    def _put(self, group: str, rollout: Rollout, revision: int) -> None:
        before = self._rollouts.get(group)
        self._rollouts[group], self._revisions[group] = rollout, revision
        self._unread.discard(group)
        self._on_change(rollout, before)


def _name_group(entry: StateEntry) -> str:
    return entry.key.removeprefix(ROLLOUTS)
