"""What is known of a store's keys: at revision 0 too, and which of two values a revision stands for."""

from __future__ import annotations

from ectools.netboot.state.interface import StateEntry
from ectools.netboot.state.known import KnownEntries


def make_entry(revision: int, changed: float = 1.0) -> StateEntry:
    return StateEntry(key="a/b", value={}, revision=revision, changed=changed)


def test_what_nobody_else_has_as_yet_is_there() -> None:
    known = KnownEntries()
    assert known.is_known("a/b", None)
    assert not known.is_known("a/b", make_entry(0))
    known.note("a/b", make_entry(0))
    assert known.is_known("a/b", make_entry(0))
    assert not known.is_known("a/b", None)
    assert (known.list_keys("a/"), known.list_keys("b/")) == (["a/b"], [])
    assert ("a/b" in known, known.get_revision("a/b")) == (True, 0)
    known.note("a/b", None)
    assert "a/b" not in known


def test_one_revision_that_stands_for_another_value_later() -> None:
    known = KnownEntries()
    known.note("a/b", make_entry(7, changed=1.0))
    assert not known.is_known("a/b", make_entry(7, changed=2.0))


def test_what_was_written_here_is_known_by_its_revision() -> None:
    known = KnownEntries()
    known.note_written("a/b", 7)
    assert known.is_known("a/b", make_entry(7, changed=2.0))
    assert not known.is_known("a/b", make_entry(8, changed=2.0))
    assert known.get_revision("a/b") == 7
    known.note_written("a/b", None)
    assert known.get_revision("a/b") == 0
    assert known.is_known("a/b", None)
