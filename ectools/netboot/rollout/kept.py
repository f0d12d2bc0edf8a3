"""The rollouts that a store keeps: one a group, changed by comparing revisions, and known here as it stands.

A group's rollout stands in the store as ``rollouts/<group>``. Whoever else writes there is noticed by the
revision, which is another one then, and not a higher one: a NATS that has lost everything counts anew. It is
read anew, and changed anew. What was written without an answer may stand there all the same: it is read, too.

One group's rollout is read and changed beside another one's: where others change one all the time, nobody
waits for that who asks for another.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from ectools.netboot.rollout.encode import decode_rollout, encode_rollout
from ectools.netboot.state.interface import (
    StateConflictError,
    StateEntry,
    StateError,
    StateUnreachableError,
)
from ectools.netboot.state.known import KnownEntries
from ectools.netboot.state.unreadable import UnreadableLog

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ectools.netboot.rollout.model import Rollout
    from ectools.netboot.state.interface import StateDeletion, StateStore

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
        self._known = KnownEntries()
        self._changing: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()  # by group
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
        entries = {entry.key: entry for entry in await self._store.list(ROLLOUTS)}
        for key in sorted({*entries, *self._known.list_keys(ROLLOUTS)}):
            if not self._known.is_known(key, entries.get(key)):
                await self._look_at(key)
        self._is_loaded = True

    async def follow(self) -> None:
        """Take over what others write, until cancelled. Raises StateError."""
        changes = self._store.watch(ROLLOUTS)
        await self.load()
        async for change in changes:
            if change is None:
                await self.load()
            else:
                await self._look_at(change.key, heard=change)

    async def _look_at(self, key: str, *, heard: StateEntry | StateDeletion | None = None) -> None:
        """Take over what stands at one key by now: more may have been written since it was ``heard`` of."""
        group = key.removeprefix(ROLLOUTS)
        async with self._lock(group):  # what is being written here is known once it is
            if isinstance(heard, StateEntry) and self._known.is_known(key, heard):
                return
            entry = await self._store.get(key)
            if entry is not None:
                self._adopt(group, entry)
            elif key in self._known:
                # What the others cannot be asked about is not forgotten: a copy that was lost has nothing.
                with contextlib.suppress(StateUnreachableError):
                    await self._read(group)

    async def read_doubtful(self) -> None:
        """Read what was written without an answer: it may have been kept. Raises StateError."""
        for group in sorted(self._doubtful):
            async with self._lock(group):
                await self._read(group)

    async def change(self, group: str, change: Callable[[Rollout | None], Rollout]) -> RolloutChange:
        """The rollout after ``change``, kept, and the one that it was made of; called again where somebody
        else has written meanwhile.

        Raises StateError, and what ``change`` raises.
        """
        loop, pause = asyncio.get_running_loop(), _FIRST_PAUSE
        key = ROLLOUTS + group
        async with self._lock(group):
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
                        key, encode_rollout(changed), expected=self._known.get_revision(key)
                    )
                except StateConflictError:
                    await self._read(group)
                except (StateError, asyncio.CancelledError):
                    self._doubtful.add(group)
                    raise
                else:
                    self._known.note_written(key, revision)
                    self._put(group, changed)
                    return RolloutChange(before=now, after=changed)
                if loop.time() >= until:
                    break
                # Not in step with the other hosts, which try again, too.
                await asyncio.sleep(random.uniform(0, pause))  # noqa: S311 - no secret
                pause = min(2 * pause, _LONGEST_PAUSE)
        raise StateError(f"{group}: its rollout is changed by others all the time", hint="try again")

    def _lock(self, group: str) -> asyncio.Lock:
        """Whoever has it reads and writes the group's rollout alone."""
        return self._changing.setdefault(group, asyncio.Lock())

    async def _read(self, group: str) -> None:
        """Take over what the store has of a group, for all who share it."""
        entry = await self._store.get(ROLLOUTS + group, fresh=True)
        if entry is None:  # somebody has taken it away
            self._rollouts.pop(group, None)
            self._known.note(ROLLOUTS + group, None)
            self._unread.discard(group)
        else:
            self._adopt(group, entry)
        self._doubtful.discard(group)

    def _adopt(self, group: str, entry: StateEntry) -> None:
        """Take over an entry, unless that is what is known."""
        if self._known.is_known(entry.key, entry):
            return
        self._known.note(entry.key, entry)
        try:
            rollout = decode_rollout(entry.value)
            if rollout.plan.group != group:
                raise ValueError("no rollout: it is another group's")
        except ValueError as error:
            # What was known stands, and is written over this at its next change.
            self._unread.add(group)
            self._unreadable.tell(entry.key, error)
        else:
            self._put(group, rollout)

    def _put(self, group: str, rollout: Rollout) -> None:
        before = self._rollouts.get(group)
        self._rollouts[group] = rollout
        self._unread.discard(group)
        self._on_change(rollout, before)
