"""How far a host's copy of a shared state has come, and what is in it that the others do not have."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from ectools.netboot.state import statements

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping

PLACE = "m/place"
"""The key of the copy that has its place."""


def make_writer() -> str:
    """Random: no other start of any host has it."""
    return secrets.token_hex(8)


@dataclass(kw_only=True)
class CopyPlace:
    """How far was read. ``writer`` tells this copy's events from all others': another one at each start,
    because the file, or its whole machine, may have been copied or put back. ``number`` is the last event's.

    ``identity`` is the bucket's; ``sequence`` and ``events`` are the last ones read of its streams. The
    server took none of those after ``sequence_taken`` and ``events_taken``; 0: that is not known.
    ``heard``: writer → the number of its last event that was read; ``at``: Unix seconds of the last contact.
    ``is_whole``: whether the copy has all up to ``sequence``; else the others' entries are to be read anew.
    """

    writer: str = field(default_factory=make_writer)
    number: int = 0
    identity: str | None = None
    sequence: int = 0
    events: int = 0
    sequence_taken: float = 0.0
    events_taken: float = 0.0
    heard: dict[str, int] = field(default_factory=dict)
    at: float = 0.0
    is_whole: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class UnsaidEntry:
    """What was written here: ``value`` None: deleted. ``base``: the revision that it was written upon.

    ``is_kept``: it was here before it was to be said, and no room is made at its cost.
    """

    value: Mapping[str, Any] | None
    changed: float
    base: int
    is_kept: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadedCopy:
    """Key → revision; what is unsaid, key → base, in the order in which it is to be said; which of it
    ``is_kept``; numbers of unsaid events.
    """

    revisions: dict[str, int]
    unsaid: dict[str, int]
    kept: set[str]
    events: list[int]


def read_place(connection: sqlite3.Connection) -> CopyPlace | None:
    """None where there is none as yet."""
    found = statements.get(connection, PLACE)
    if found is None:
        return None
    known = {each.name for each in fields(CopyPlace)}  # a later version may have added some
    place = CopyPlace(**{name: value for name, value in found.value.items() if name in known})
    # An earlier version has not kept what was deleted: it is heard of once more.
    place.is_whole = place.is_whole and "is_whole" in found.value
    return place
