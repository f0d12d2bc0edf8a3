"""The rollouts that a store keeps: one a group, changed by comparing revisions, and known here as it stands.

A group's rollout stands in the store as ``rollouts/<group>``. Whoever else writes there is noticed by the
revision, which is another one then, and not a higher one: a NATS that has lost everything counts anew. It is
read anew, and changed anew. What was written without an answer may stand there all the same: it is read, too.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from ectools.netboot.rollout.encode import decode_rollout, encode_rollout
from ectools.netboot.state.interface import (
    StateConflictError,
    StateEntry,
    StateError,
    StateUnreachableError,
)
from ectools.netboot.state.unreadable import UnreadableLog

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ectools.netboot.rollout.model import Rollout
    from ectools.netboot.state.interface import StateStore

ROLLOUTS = "rollouts/"
"""What keys of the store begin with; a group's name is the rest."""
CHANGE_SECONDS = 2.0
"""For which a change is tried again, where others are always faster."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.005, 0.2


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
        self._doubtful: set[str] = set()  # groups whose last write was not answered
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
            entries = {_name_group(entry): entry for entry in await self._store.list(ROLLOUTS)}
            for group, entry in entries.items():
                if entry.revision != self._revisions.get(group):
                    self._adopt(group, entry.value, entry.revision)
            for group in self._revisions.keys() - entries.keys():
                # What the others cannot be asked about is not forgotten: a copy that was lost has nothing.
                with contextlib.suppress(StateUnreachableError):
                    await self._read(group)
            self._is_loaded = True

    async def follow(self) -> None:
        """Take over what others write, until cancelled. Raises StateError."""
        changes = self._store.watch(ROLLOUTS)
        await self.load()
        async for entry in changes:
            async with self._changing:  # what is being written here is known once it is
                is_known = (
                    isinstance(entry, StateEntry)
                    and self._revisions.get(_name_group(entry)) == entry.revision
                )
            if not is_known:
                # And not what came: it may be older than what was written here since.
                await self.load()

    async def read_doubtful(self) -> None:
        """Read what was written without an answer: it may have been kept. Raises StateError."""
        async with self._changing:
            for group in sorted(self._doubtful):
                await self._read(group)

    async def change(self, group: str, change: Callable[[Rollout | None], Rollout]) -> RolloutChange:
        """The rollout after ``change``, kept, and the one that it was made of; called again where somebody
        else has written meanwhile.

        Raises StateError, and what ``change`` raises.
        """
        loop, pause = asyncio.get_running_loop(), _FIRST_PAUSE
        async with self._changing:
            until = loop.time() + CHANGE_SECONDS
            if group in self._doubtful:
                await self._read(group)
            while True:
                now = self._rollouts.get(group)
                changed = change(now)
                if changed is now:
                    return RolloutChange(before=now, after=changed)
                try:
                    revision = await self._store.put(
                        ROLLOUTS + group, encode_rollout(changed), expected=self._revisions.get(group, 0)
                    )
                except StateConflictError:
                    await self._read(group)
                except (StateError, asyncio.CancelledError):
                    self._doubtful.add(group)
                    raise
                else:
                    self._put(group, changed, revision)
                    return RolloutChange(before=now, after=changed)
                if loop.time() >= until:
                    break
                # Not in step with the other hosts, which try again, too.
                await asyncio.sleep(random.uniform(0, pause))  # noqa: S311 - no secret
                pause = min(2 * pause, _LONGEST_PAUSE)
        raise StateError(f"{group}: its rollout is changed by others all the time", hint="try again")

    async def _read(self, group: str) -> None:
        """Take over what the store has of a group, for all who share it."""
        entry = await self._store.get(ROLLOUTS + group, fresh=True)
        if entry is None:  # somebody has taken it away
            self._rollouts.pop(group, None)
            self._revisions.pop(group, None)
            self._unread.discard(group)
        elif entry.revision != self._revisions.get(group):
            self._adopt(group, entry.value, entry.revision)
        self._doubtful.discard(group)

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
