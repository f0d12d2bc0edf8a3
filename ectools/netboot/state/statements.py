"""What a SQLite store does with its file, statement by statement, within a transaction of the caller's."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from ectools.netboot.state.decode import MAX_TIME
from ectools.netboot.state.interface import MAX_EVENTS, StateConflictError, StateEntry, StateEvent

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

_ENTRY = "SELECT key, value, revision, changed FROM entries"
# A call: a file from before there was a bound comes to it, and nobody waits for all of that.
_MAKES_ROOM_FOR = 100
_EVENT = "SELECT sequence, at, kind, subject, by, data FROM events"


def get(connection: sqlite3.Connection, key: str) -> StateEntry | None:
    row = connection.execute(f"{_ENTRY} WHERE key = ?", (key,)).fetchone()
    return None if row is None else _build_entry(row)


def put(connection: sqlite3.Connection, key: str, value: str, *, expected: int | None, now: float) -> int:
    """The new revision. Raises StateConflictError, with nothing changed."""
    if expected is not None:
        _check(connection, key, expected)
    # REPLACE is a row of its own: its number is the revision.
    cursor = connection.execute(
        "INSERT OR REPLACE INTO entries (key, changed, value) VALUES (?, ?, ?)", (key, now, value)
    )
    assert cursor.lastrowid is not None  # noqa: S101 - it has inserted a row
    return cursor.lastrowid


def delete(connection: sqlite3.Connection, key: str, *, expected: int | None) -> bool:
    """Whether it was there. Raises StateConflictError, with nothing changed."""
    if expected is not None:
        _check(connection, key, expected)
    return connection.execute("DELETE FROM entries WHERE key = ?", (key,)).rowcount > 0


def list_entries(connection: sqlite3.Connection, prefix: str) -> Sequence[StateEntry]:
    rows = connection.execute(f"{_ENTRY} WHERE key >= ? AND key < ? ORDER BY key", _range(prefix))
    return [_build_entry(row) for row in rows]


def list_ages(
    connection: sqlite3.Connection, prefix: str, *, start: str | None, limit: int
) -> tuple[Sequence[tuple[str, float]], str | None]:
    """Keys of ``prefix`` and when each was changed, so many at most, by key, and where to go on; None: at the
    end. ``start`` is what was told to go on with; None: the first time.

    So many are looked at, however many are wanted of them: nobody's write waits for all.
    """
    first, end = _range(prefix)
    rows = connection.execute(
        "SELECT key, changed FROM entries WHERE key >= ? AND key < ? ORDER BY key LIMIT ?",
        (first if start is None else start, end, limit),
    ).fetchall()
    # NUL is below all that a key may have.
    return rows, f"{rows[-1][0]}\0" if len(rows) == limit else None


def append(connection: sqlite3.Connection, event: tuple[float, str, str, str | None, str]) -> int:
    """The sequence of an event: (at, kind, subject, by, data). The oldest make room for it."""
    cursor = connection.execute(
        "INSERT INTO events (at, kind, subject, by, data) VALUES (?, ?, ?, ?, ?)", event
    )
    sequence = cursor.lastrowid
    assert sequence is not None  # noqa: S101 - it has inserted a row
    connection.execute(
        "DELETE FROM events WHERE sequence IN"
        " (SELECT sequence FROM events WHERE sequence <= ? ORDER BY sequence LIMIT ?)",
        (sequence - MAX_EVENTS, _MAKES_ROOM_FOR),
    )
    return sequence


def move_event(connection: sqlite3.Connection, event: tuple[float, str, str], by: float) -> None:
    """An event, (at, kind, subject), has happened ``by`` seconds later than was thought."""
    connection.execute(
        "UPDATE events SET at = at + ? WHERE at = ? AND kind = ? AND subject = ?", (by, *event)
    )


def list_events(connection: sqlite3.Connection, after: int, limit: int) -> Sequence[StateEvent]:
    # A time beyond all that can be shown was let in once, by an earlier version.
    rows = connection.execute(
        f"{_EVENT} WHERE sequence > ? AND at BETWEEN 0 AND {MAX_TIME} ORDER BY sequence LIMIT ?",
        (after, limit),
    )
    return [
        StateEvent(sequence=sequence, at=at, kind=kind, subject=subject, by=by, data=json.loads(data))
        for sequence, at, kind, subject, by, data in rows
    ]


def prune_entries(
    connection: sqlite3.Connection, prefix: str, *, before: float, start: str | None, limit: int
) -> tuple[Sequence[str], str | None]:
    """Keys of entries that are older, and gone now, and where to go on, as ``list_ages``."""
    rows, following = list_ages(connection, prefix, start=start, limit=limit)
    old = [key for key, changed in rows if changed < before]
    for key in old:
        delete(connection, key, expected=None)
    return old, following


def prune_events(connection: sqlite3.Connection, *, before: float, limit: int) -> int:
    """How many events are older, and gone now: so many at most."""
    return connection.execute(
        "DELETE FROM events WHERE sequence IN (SELECT sequence FROM events WHERE at < ?"
        " ORDER BY sequence LIMIT ?)",
        (before, limit),
    ).rowcount


def _check(connection: sqlite3.Connection, key: str, expected: int) -> None:
    row = connection.execute("SELECT revision FROM entries WHERE key = ?", (key,)).fetchone()
    found = 0 if row is None else row[0]
    if found != expected:
        raise StateConflictError(
            f"{key}: is at revision {found}, not {expected}: it has been changed meanwhile",
            hint="look at it again, and change what is there now",
        )


def _range(prefix: str) -> tuple[str, str]:
    # A key is ASCII, and DEL is above all that it may have.
    return prefix, f"{prefix}\x7f"


def _build_entry(row: tuple[str, str, int, float]) -> StateEntry:
    key, value, revision, changed = row
    return StateEntry(key=key, value=json.loads(value), revision=revision, changed=changed)
