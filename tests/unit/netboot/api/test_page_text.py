"""Texts of nodes made visible and bounded; times in words; an order of names as people count."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ectools.netboot.api.page import text


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("every-channel-node.service", "every-channel-node.service"),
        ("größer 東京", "größer 東京"),
        ("a\x1b[31mred", "a␛[31mred"),
        ("a\x00b\x7f", "a␀b<U+007F>"),
        ("a\nb", "a␊b"),
        ("gpj\u202eexe", "gpj<U+202E>exe"),
        ("zero\u200bwidth", "zero<U+200B>width"),
        ("a\u2028b", "a<U+2028>b"),
        ("\ud800", "<U+D800>"),
        ("x" * 300, "x" * 200 + "…"),
    ],
)
def test_a_line(said: str, shown: str) -> None:
    assert text.show_line(said) == shown


def test_a_journal_keeps_its_lines_and_tabs_and_its_end() -> None:
    assert text.show_journal("a\tb\r\nc\x1b\n") == "a\tb\nc␛\n"
    long = "old line\n" * 8000 + "the end\n"
    shown = text.show_journal(long)
    assert shown.startswith("…")
    assert shown.endswith("the end\n")
    assert len(shown) == text.MAX_JOURNAL + 1


@given(st.text(st.characters(), max_size=300))
def test_nothing_that_is_shown_is_invisible(said: str) -> None:
    shown = text.show_line(said)
    assert not {unicodedata.category(each) for each in shown} & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    shown.encode()
    assert len(shown) <= text.MAX_LINE * len("<U+10FFFF>") + 1
    assert text.show_line(shown, len(shown)) == shown


@pytest.mark.parametrize(
    ("seconds", "age"),
    [
        (-3, "0 s"),
        (59.9, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1 h"),
        (172_799, "47 h"),
        (172_800, "2 d"),
    ],
)
def test_an_age(seconds: float, age: str) -> None:
    assert text.write_age(seconds) == age


@pytest.mark.parametrize(
    ("seconds", "duration"),
    [
        (-1, "0.0 s"),
        (0.44, "0.4 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 0 s"),
        (200.4, "3 min 20 s"),
        (3599.6, "1 h 0 min"),
        (3900, "1 h 5 min"),
    ],
)
def test_a_duration(seconds: float, duration: str) -> None:
    assert text.write_duration(seconds) == duration


def test_a_moment() -> None:
    assert text.write_moment(1_796_000_000) == "2026-11-30 00:53:20 UTC"
    assert text.write_datetime(1_796_000_000) == "2026-11-30T00:53:20Z"


def test_names_are_ordered_as_people_count() -> None:
    names = ["nuc-10", "nuc-9", "nuc-1b", "Nuc-2", "nuc-010", "nuc", "7", "a" + "9" * 5000]
    ordered = ["7", "Nuc-2", "a" + "9" * 5000, "nuc", "nuc-1b", "nuc-9", "nuc-10", "nuc-010"]
    assert sorted(names, key=text.order_naturally) == ordered
