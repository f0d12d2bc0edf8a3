"""The way back to the previous release, which withdraws the current one; and forth again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ectools.errors import EcError, show_list
from ectools.netboot.release.activation import activate, recover
from ectools.netboot.release.pins import mark, reinstate
from ectools.netboot.release.verify import find_damage

if TYPE_CHECKING:
    from ectools.netboot.release.manifest import Release
    from ectools.netboot.release.store import ReleaseStore


class RollbackError(EcError):
    """There is nothing to go back to, or it is damaged."""


@dataclass(frozen=True, kw_only=True)
class RolledBack:
    """What is current now, and the id of what was."""

    current: Release
    previous: str


def roll_back(store: ReleaseStore) -> RolledBack:
    """Exchange ``current`` and ``previous``; takes the lock. Raises RollbackError, StoreError, OSError.

    What was current is withdrawn: no staging makes it current again unless it is told to. Going forth, to one
    that was withdrawn, only takes that back.
    """
    with store.lock():
        recover(store)
        # By its link: what is current may be damaged, or gone.
        now, before = store.find_link_id("current"), store.find_previous()
        if now is None or before is None or before.id == now:
            raise RollbackError(
                f"{store.state_dir}: there is no previous release to go back to",
                hint="`ectools netboot releases list` shows what is staged",
            )
        damaged = find_damage(before, store.directory(before.id))
        if damaged:
            faults = show_list([f"{damage.name} {damage.fault}" for damage in damaged], joint="; ")
            raise RollbackError(
                f"the previous release, {before.title}, is damaged: {faults}", hint="stage it again"
            )
        going_forth = before.id in store.list_withdrawn()
        if not going_forth:
            mark(store.withdrawn_dir, now)
        activate(store, current=before.id, previous=now)
        if going_forth:
            reinstate(store, before.id)
        return RolledBack(current=before, previous=now)
