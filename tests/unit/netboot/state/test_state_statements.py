"""The statements on a schema that was just made: what a call changes, and what a conflict leaves."""

from __future__ import annotations

import sqlite3

import pytest

from ectools.netboot.state import statements
from ectools.netboot.state.database import MIGRATIONS
from ectools.netboot.state.interface import StateConflictError


@pytest.fixture
def connection() -> sqlite3.Connection:
    made = sqlite3.connect(":memory:", isolation_level=None)
    for script in MIGRATIONS:
        made.executescript(script)
    return made


def test_a_revision_is_given_once(connection: sqlite3.Connection) -> None:
    first = statements.put(connection, "a", "{}", expected=0, now=1.0)
    assert statements.delete(connection, "a", expected=first)
    assert statements.put(connection, "a", "{}", expected=0, now=1.0) > first


def test_a_conflict_changes_nothing(connection: sqlite3.Connection) -> None:
    revision = statements.put(connection, "a", '{"n":1}', expected=None, now=1.0)
    with pytest.raises(StateConflictError, match="not 0"):
        statements.put(connection, "a", "{}", expected=0, now=2.0)
    with pytest.raises(StateConflictError, match="is at revision 0"):
        statements.delete(connection, "b", expected=revision)
    entry = statements.get(connection, "a")
    assert entry is not None
    assert (entry.value, entry.revision, entry.changed) == ({"n": 1}, revision, 1.0)


def test_so_many_are_looked_at_at_once_and_pruned_where_they_are_older(
    connection: sqlite3.Connection,
) -> None:
    for number in range(5):
        statements.put(connection, f"a/{number}", "{}", expected=None, now=float(number))
        statements.append(connection, (float(number), "kind", "subject", None, "{}"))
    statements.put(connection, "a/0", "{}", expected=None, now=9.0)
    steps, start = [], None
    while not steps or start is not None:
        keys, start = statements.prune_entries(connection, "a/", before=4.0, start=start, limit=2)
        steps.append(list(keys))
    assert steps == [["a/1"], ["a/2", "a/3"], []]
    assert [each.key for each in statements.list_entries(connection, "a/")] == ["a/0", "a/4"]
    assert statements.prune_events(connection, before=2.0, limit=9) == 2
    assert [each.sequence for each in statements.list_events(connection, 0, 9)] == [3, 4, 5]


def test_the_oldest_events_make_room_and_no_number_is_given_again(
    connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statements, "MAX_EVENTS", 3)
    event = (1.0, "kind", "subject", None, "{}")
    assert [statements.append(connection, event) for _ in range(5)] == [1, 2, 3, 4, 5]
    assert [each.sequence for each in statements.list_events(connection, 0, 9)] == [3, 4, 5]
    assert [each.sequence for each in statements.list_events(connection, 1, 9)] == [3, 4, 5]
    assert statements.prune_events(connection, before=2.0, limit=9) == 3
    assert statements.append(connection, event) == 6


def test_a_log_from_before_there_was_a_bound_comes_to_it_step_by_step(
    connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = (1.0, "kind", "subject", None, "{}")
    for _ in range(20):
        statements.append(connection, event)
    monkeypatch.setattr(statements, "MAX_EVENTS", 5)
    monkeypatch.setattr(statements, "_MAKES_ROOM_FOR", 4)
    counts = []
    for _ in range(7):
        statements.append(connection, event)
        counts.append(len(statements.list_events(connection, 0, 99)))
    assert counts == [17, 14, 11, 8, 5, 5, 5]
