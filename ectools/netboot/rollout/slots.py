"""Slots: so many nodes of a group may be away at a time. Whoever has one keeps it until it gives it back.

A counting semaphore whose holders are named and may ask again, as FleetLock has it. A group's holders stand
in the store as ``slots/<group>``, and are changed by comparing revisions: two servers never give the same
slot. ``nodes`` beside them are those that were nodes of the group when they took theirs: who is none any more
does not keep the others waiting. Of other holders nobody knows what became of them.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ectools.errors import EcError
from ectools.netboot.state.decode import MAX_TIME, need_list, need_mapping, need_number, need_text
from ectools.netboot.state.interface import StateConflictError, StateError
from ectools.netboot.state.unreadable import UnreadableLog

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ectools.netboot.state.interface import StateEntry, StateStore

SLOTS = "slots/"
"""What keys of the store begin with; a group's name is the rest."""
_MAX_TRIES = 8


@dataclass(frozen=True)
class _Held:
    """``holders``: who has a slot → Unix seconds since when; ``nodes``: who of them was a node of it."""

    holders: Mapping[str, float]
    nodes: frozenset[str] = frozenset()

    def encode(self) -> dict[str, Any]:
        return {"holders": dict(self.holders), "nodes": sorted(self.nodes & self.holders.keys())}


class SlotsTakenError(EcError):
    """All slots of a group are taken; ``holders``: by whom, those who have waited longest first."""

    def __init__(self, message: str, *, holders: tuple[str, ...]) -> None:
        super().__init__(message)
        self.holders = holders


class GroupSlots:
    """The slots of one store's groups. ``clock`` gives Unix seconds."""

    def __init__(self, store: StateStore, *, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._changing = asyncio.Lock()
        self._unreadable = UnreadableLog()

    async def take(
        self, group: str, holder: str, *, most: int, find_group: Callable[[str], str | None] = lambda _: None
    ) -> bool:
        """Whether ``holder`` had none before; it has one when this returns.

        ``find_group`` gives the group of a node, empty where it has none; None: it is no node. Who was one of
        this group, and is no more, loses its slot. Raises SlotsTakenError where ``most`` others have one
        each, and StateError.
        """

        def change(held: _Held) -> _Held:
            if holder in held.holders:
                return held
            here = {name: at for name, at in held.holders.items() if not _has_left(name, held)}
            if len(here) >= most:
                names = tuple(sorted(here, key=lambda each: (here[each], each)))
                raise SlotsTakenError(f"{group}: {len(names)} of {most} slots are taken", holders=names)
            nodes = held.nodes | {holder} if find_group(holder) == group else held.nodes
            return _Held({**here, holder: self._clock()}, nodes)

        def _has_left(name: str, held: _Held) -> bool:
            return name in held.nodes and find_group(name) != group

        return await self._change(group, change)

    async def free(self, group: str, holder: str) -> bool:
        """Whether ``holder`` had one; it has none when this returns. Raises StateError."""
        return await self._change(
            group, lambda held: _Held({n: at for n, at in held.holders.items() if n != holder}, held.nodes)
        )

    async def list_groups(self, holder: str) -> list[str]:
        """The groups of which ``holder`` has a slot, by name. Raises StateError."""
        entries = await self._store.list(SLOTS)
        return sorted(
            each.key.removeprefix(SLOTS) for each in entries if holder in self._decode(each).holders
        )

    async def list_holders(self, group: str) -> Mapping[str, float]:
        """Who has a slot → Unix seconds since when. Raises StateError."""
        return (await self._read(group))[0].holders

    async def _change(self, group: str, change: Callable[[_Held], _Held]) -> bool:
        async with self._changing:
            for _ in range(_MAX_TRIES):
                held, revision = await self._read(group, fresh=True)
                changed = change(held)
                if changed.holders == held.holders:
                    return False
                try:
                    await self._store.put(SLOTS + group, changed.encode(), expected=revision)
                except StateConflictError:
                    continue
                return True
        raise StateError(f"{group}: its slots are changed by others all the time", hint="try again")

    async def _read(self, group: str, *, fresh: bool = False) -> tuple[_Held, int]:
        entry = await self._store.get(SLOTS + group, fresh=fresh)
        return (_Held({}), 0) if entry is None else (self._decode(entry), entry.revision)

    def _decode(self, entry: StateEntry) -> _Held:
        try:
            return _decode_held(entry.value)
        except ValueError as error:  # none that this program has written: nobody is kept waiting for it
            self._unreadable.tell(entry.key, error)
            return _Held({})


def _decode_held(value: Mapping[str, Any]) -> _Held:
    holders = need_mapping(value.get("holders"), "holders")
    return _Held(
        {
            need_text(name, "holders"): need_number(at, "holders", most=MAX_TIME)
            for name, at in holders.items()
        },
        frozenset(need_text(name, "nodes") for name in need_list(value.get("nodes", []), "nodes")),
    )
