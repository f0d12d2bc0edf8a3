"""Plain data: both ways to its text yield one layout, and what Nix cannot say is refused by name."""

from __future__ import annotations

import enum
from typing import Any

import pytest
from hypothesis import given
from support import nix_values

from ectools.nixlang import RenderError, render
from ectools.nixlang.data import MAX_DATA_DEPTH, write_data
from ectools.nixlang.layout import build_document
from ectools.nixlang.printing import lay_out


@given(nix_values.data)
def test_both_ways_yield_the_same_text(value: Any) -> None:
    assert write_data(value) == lay_out(build_document(value))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (-7, "-7"),
        ([-7], "[ (-7) ]"),
        (2**63 - 1, "9223372036854775807"),
        (-(2**63), 'builtins.fromJSON "-9223372036854775808"'),
        ([-(2**63)], '[ (builtins.fromJSON "-9223372036854775808") ]'),
        (1.0, "1.0"),
        (0.5, "0.5"),
        (1e22, "1.0e+22"),
        (1.5e300, "1.5e+300"),
        (1e-7, "1.0e-7"),
        ([-0.5], "[ (-0.5) ]"),
        (5e-324, 'builtins.fromJSON "5e-324"'),
        (-0.0, 'builtins.fromJSON "-0.0"'),
        ("", '""'),
        ("a\nb", "''\n  a\n  b''"),
        ([], "[ ]"),
        ({}, "{ }"),
        ([[]], "[ [ ] ]"),
        ([[[1]]], "[ [ [ 1 ] ] ]"),
        ([1, 2], "[\n  1\n  2\n]"),
        ((1, 2), "[\n  1\n  2\n]"),
        ({"a": 1}, "{ a = 1; }"),
        ({"a": {}}, "{ a = { }; }"),
        ({"a": {"b": 1}}, "{\n  a = {\n    b = 1;\n  };\n}"),
        ([{"a": 1}], "[ { a = 1; } ]"),
        ({"if": 1}, '{ "if" = 1; }'),
        ({"or": 1}, '{ "or" = 1; }'),
        ({"": 1}, '{ "" = 1; }'),
        ({"1a": 1}, '{ "1a" = 1; }'),
        ({"a.b": 1}, '{ "a.b" = 1; }'),
        ({"${x}": 1}, '{ "\\${x}" = 1; }'),
        ({"a'-b": 1}, "{ a'-b = 1; }"),
        ("./a", '"./a"'),
        ("http://x", '"http://x"'),
        ("<nixpkgs>", '"<nixpkgs>"'),
    ],
)
def test_text(value: Any, text: str) -> None:
    assert render(value) == text


@pytest.mark.parametrize(
    ("columns", "text"),
    [(94, '[ "{}" ]'), (95, '[\n  "{}"\n]')],
)
def test_a_single_item_stays_on_its_line_up_to_100_columns(columns: int, text: str) -> None:
    assert render(["x" * columns]) == text.format("x" * columns)


def test_indentation_does_not_count_towards_the_width() -> None:
    item: Any = ["x" * 94]
    rendered = render({"a": [item, item]})
    assert f'  [ "{"x" * 94}" ]' in rendered
    assert max(map(len, rendered.splitlines())) == 104


class Colour(enum.StrEnum):
    RED = "red"


class Number(enum.IntEnum):
    ONE = 1


def test_subclasses_of_the_types_are_their_values() -> None:
    assert render([Colour.RED, Number.ONE]) == '[\n  "red"\n  1\n]'


_ITSELF: list[Any] = []
_ITSELF.append(_ITSELF)

_LONG: Any = None
for _ in range(100_000):
    _LONG = [_LONG]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"a": [1, {"b c": "x\0y"}]}, r'^a\[1\]\."b c": .*NUL'),
        ({"a": {"x\0": 1}}, r'^a\."x\\u0000": .*NUL'),
        ("\ud800", "lone surrogate U\\+D800"),
        ({"a": "\udfff\n"}, "^a: .*U\\+DFFF"),
        ([2**63], r"^\[0\]: the integer 9223372036854775808 is out of Nix's range"),
        (-(2**63) - 1, "out of Nix's range"),
        ([10**10_000], "of 33220 bits is out of Nix's range"),
        ({"x": float("nan")}, "^x: the number nan"),
        (float("inf"), "the number inf"),
        ([-float("inf")], "the number -inf"),
        ({"a": {5: 1}}, "^a.*: 5 is no attribute name"),
        ({"a": b"x"}, "^a: a Python bytes has no form in Nix"),
        ([{1, 2}], "Python set"),
        (_LONG, "nested too deep"),
        (_ITSELF, "nested too deep, or holds itself"),
    ],
)
def test_refused_with_its_place(value: Any, words: str) -> None:
    with pytest.raises(RenderError, match=words):
        render(value)


def test_the_depth_has_a_limit_with_a_name() -> None:
    value: Any = 1
    for _ in range(MAX_DATA_DEPTH):
        value = {"a": value, "b": 2}
    assert render(value).count("{") == MAX_DATA_DEPTH
    with pytest.raises(RenderError, match="nested too deep"):
        render({"a": value})
