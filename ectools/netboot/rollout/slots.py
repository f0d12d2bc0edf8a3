"""Slots: so many nodes of a group may be away at a time. Whoever has one keeps it until it gives it back.

A counting semaphore whose holders are named and may ask again, as FleetLock has it. A group's holders stand
in the store as ``slots/<group>``, and are changed by comparing revisions: two servers never give the same
slot.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from ectools.errors import EcError
from ectools.netboot.state.decode import MAX_TIME, need_mapping, need_number, need_text
from ectools.netboot.state.interface import StateConflictError, StateError
from ectools.netboot.state.unreadable import UnreadableLog

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ectools.netboot.state.interface import StateStore

SLOTS = "slots/"
"""What keys of the store begin with; a group's name is the rest."""
_MAX_TRIES = 8

_Holders = dict[str, float]


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

    async def take(self, group: str, holder: str, *, most: int) -> bool:
        """Whether ``holder`` had none before; it has one when this returns.

        Raises SlotsTakenError where ``most`` others have one each, and StateError.
        """

        def change(holders: _Holders) -> _Holders:
            if holder in holders:
                return holders
            if len(holders) >= most:
                names = tuple(sorted(holders, key=lambda each: (holders[each], each)))
                raise SlotsTakenError(f"{group}: {len(names)} of {most} slots are taken", holders=names)
            return {**holders, holder: self._clock()}

        return await self._change(group, change)

    async def free(self, group: str, holder: str) -> bool:
        """Whether ``holder`` had one; it has none when this returns. Raises StateError."""
        return await self._change(
            group, lambda holders: {name: at for name, at in holders.items() if name != holder}
        )

    async def list_holders(self, group: str) -> Mapping[str, float]:
        """Who has a slot → Unix seconds since when. Raises StateError."""
        return (await self._read(group))[0]

    async def _change(self, group: str, change: Callable[[_Holders], _Holders]) -> bool:
        async with self._changing:
            for _ in range(_MAX_TRIES):
                holders, revision = await self._read(group, fresh=True)
                changed = change(holders)
                if changed == holders:
                    return False
                try:
                    await self._store.put(SLOTS + group, {"holders": changed}, expected=revision)
                except StateConflictError:
                    continue
                return True
        raise StateError(f"{group}: its slots are changed by others all the time", hint="try again")

    async def _read(self, group: str, *, fresh: bool = False) -> tuple[_Holders, int]:
        entry = await self._store.get(SLOTS + group, fresh=fresh)
        if entry is None:
            return {}, 0
        try:
            return _decode_holders(entry.value), entry.revision
        except ValueError as error:  # none that this program has written: nobody is kept waiting for it
            self._unreadable.tell(entry.key, error)
            return {}, entry.revision


def _decode_holders(value: Mapping[str, Any]) -> _Holders:
    holders = need_mapping(value.get("holders"), "holders")
    return {
        need_text(name, "holders"): need_number(at, "holders", most=MAX_TIME) for name, at in holders.items()
    }
