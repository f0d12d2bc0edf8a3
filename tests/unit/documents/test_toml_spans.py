"""Where keys and values stand in each form of TOML, and which key is said to stand twice."""

from __future__ import annotations

import tomllib

import pytest

from ectools.documents.source_map import Place, Position
from ectools.documents.toml_spans import find_repeated, find_spans


def spans(text: str, place: Place) -> tuple[tuple[int, int] | None, tuple[int, int] | None]:
    """The line and column of a place's key and of its value."""
    tomllib.loads(text)
    found = find_spans(text)
    key, value = found.keys.get(place), found.values.get(place)
    return (key.line, key.column) if key else None, (value.line, value.column) if value else None


@pytest.mark.parametrize(
    ("text", "place", "key", "value"),
    [
        ("", (), None, (1, 1)),
        ("a = 1", ("a",), (1, 1), (1, 5)),
        ("# c\n\n  a=1 # d\r\nb = 2", ("b",), (4, 1), (4, 5)),
        ("a.b . c = 1", ("a", "b"), (1, 3), (1, 3)),
        ("a.b . c = 1", ("a", "b", "c"), (1, 7), (1, 11)),
        ("\"a.b\".'c d' = 1", ("a.b", "c d"), (1, 7), (1, 15)),
        (r'"\u0061" = 1', ("a",), (1, 1), (1, 12)),
        ("[a.b]\nc = 1", ("a",), (1, 2), (1, 2)),
        ("[a.b]\nc = 1", ("a", "b"), (1, 4), (1, 1)),
        ("[a.b]\nc = 1", ("a", "b", "c"), (2, 1), (2, 5)),
        ("[ a . b ] # c\nd = 1", ("a", "b", "d"), (2, 1), (2, 5)),
        ("[[a]]\nx = 1\n[[a]]\nx = 2", ("a",), (1, 3), (1, 1)),
        ("[[a]]\nx = 1\n[[a]]\nx = 2", ("a", 1), None, (3, 1)),
        ("[[a]]\nx = 1\n[[a]]\nx = 2", ("a", 1, "x"), (4, 1), (4, 5)),
        ("[[a]]\n[[a]]\n[a.b]\nx = 1", ("a", 1, "b", "x"), (4, 1), (4, 5)),
        ("[[a]]\n[[a.b]]\n[[a.b]]\nx = 1", ("a", 0, "b", 1, "x"), (4, 1), (4, 5)),
        ("a = [1, # ]\n 2,\n]", ("a", 1), None, (2, 2)),
        ("a = [[1], [2, 3]]", ("a", 1, 1), None, (1, 15)),
        ("a = []\nb = 1", ("b",), (2, 1), (2, 5)),
        ("a = { b = 1, c.d = 2 }", ("a", "c", "d"), (1, 16), (1, 20)),
        ("a = {}\nb = 1", ("b",), (2, 1), (2, 5)),
        ('a = "]}\\"#"\nb = 1', ("b",), (2, 1), (2, 5)),
        ("a = ']}\\'\nb = 1", ("b",), (2, 1), (2, 5)),
        ('a = """\n"b = 2"\n"""""\nb = 1', ("b",), (4, 1), (4, 5)),
        ('a = """\\"""" \nb = 1', ("b",), (2, 1), (2, 5)),
        ("a = '''\n'''''\nb = 1", ("b",), (3, 1), (3, 5)),
        ("a = 1979-05-27 07:32:00\nb = 1", ("b",), (2, 1), (2, 5)),
        ('"é" = "🦀" # x\nb = 1', ("é",), (1, 1), (1, 7)),
    ],
)
def test_places(text: str, place: Place, key: tuple[int, int] | None, value: tuple[int, int] | None) -> None:
    assert spans(text, place) == (key, value)


@pytest.mark.parametrize(
    ("text", "message", "position"),
    [
        ("a = 1\nb = 2\na = 3", "the key 'a' stands twice, first in line 1", Position(3, 1)),
        ("[t]\na.b = 1\na.b = 2", "the key 'b' stands twice, first in line 2", Position(3, 3)),
        ("a = { b = 1, b = 2 }", "the key 'b' stands twice, first in line 1", Position(1, 14)),
        ("[a]\n[b]\n[a]", "the table 'a' stands twice, first in line 1", Position(3, 2)),
        ("[[a]]\n[a.b]\n[a.b]", "the table 'b' stands twice, first in line 2", Position(3, 4)),
        ("a = 1\n'a' = 2", "the key 'a' stands twice, first in line 1", Position(2, 1)),
    ],
)
def test_what_stands_twice(text: str, message: str, position: Position) -> None:
    with pytest.raises(tomllib.TOMLDecodeError):
        tomllib.loads(text)
    problem = find_repeated(text)
    assert problem is not None
    assert (problem.message, problem.position) == (message, position)


def test_the_place_of_what_stands_twice() -> None:
    problem = find_repeated("[[a]]\n[[a]]\nb = 1\nb = 2")
    assert problem is not None
    assert problem.place == ("a", 1, "b")


@pytest.mark.parametrize(
    "text",
    [
        *("", "a = 1", "[[a]]\nx = 1\n[[a]]\nx = 1"),
        *("a", "a =", "[a", "a = [", "a = {b", "= 1", "!", '"\\q" = 1'),
        "a = " + "[" * 100_000,
    ],
)
def test_whatever_else_is_wrong_is_left_to_tomllib(text: str) -> None:
    assert find_repeated(text) is None
