"""Strings, names and numbers as Nix reads them back, and those that it cannot."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ectools.nixlang.scalars import (
    INT_MAX,
    INT_MIN,
    KEYWORDS,
    RenderError,
    attribute_name,
    comment_lines,
    escape_nix_string,
    number,
    quote,
    split_indented,
)


def unquote(text: str) -> str:
    """What Nix's lexer makes of a quoted text without interpolation (Nix manual, String literals)."""
    assert text[0] == text[-1] == '"'
    result, rest = "", text[1:-1]
    while rest:
        assert not rest.startswith(("${", '"'))
        if rest[0] == "\\":
            result += {"n": "\n", "r": "\r", "t": "\t"}.get(rest[1], rest[1])
            rest = rest[2:]
        else:
            result, rest = result + rest[0], rest[1:]
    return result


@given(
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]) | st.sampled_from('${}\\"\n'))
)
def test_what_is_quoted_is_read_back(text: str) -> None:
    quoted = quote(text)
    assert unquote(quoted) == text
    assert not set("\n\r\t") & set(quoted)
    assert escape_nix_string(text) == quoted[1:-1]


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("a", '"a"'),
        ("$a $$ $", '"$a $$ $"'),
        ("$${x}", '"$\\${x}"'),
        ("\\${", '"\\\\\\${"'),
        ("\x1b", '"\x1b"'),
    ],
)
def test_only_what_must_be_is_escaped(text: str, quoted: str) -> None:
    assert quote(text) == quoted


@pytest.mark.parametrize(
    ("text", "says"), [("a\0b", "NUL character"), ("a\udc80", r"lone surrogate U\+DC80"), ("\0\ud800", "NUL")]
)
def test_strings_that_nix_has_not(text: str, says: str) -> None:
    for write in (quote, escape_nix_string, attribute_name):
        with pytest.raises(RenderError, match=says) as caught:
            write(text)
        assert caught.value.exit_code == 2
    with pytest.raises(RenderError, match="a comment holds a NUL character or a lone surrogate"):
        comment_lines(text)


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (None, []),
        ("", []),
        ("a", ["# a"]),
        ("a \n\nb", ["# a", "#", "# b"]),
        ("a\rb\u2028c\x0bd\x85e", ["# a", "# b", "# c", "# d", "# e"]),
    ],
)
def test_a_comment_cannot_be_left(text: str | None, lines: list[str]) -> None:
    assert comment_lines(text) == lines


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("a\nb", ["a", "b"]),
        ("a\n", ["a", ""]),
        ("\n\na", ["", "", "a"]),
        (" a\nb", [" a", "b"]),
        ("a ${b} $c\n", ["a ''${b} $c", ""]),
        ("a 'b' c\nd\\n", ["a 'b' c", "d\\n"]),
        ("a\tb\nc", ["a\tb", "c"]),
        ("a", None),
        ("a\r\nb", None),
        ("a''\nb", None),
        ("a'$\nb", None),
        ("a\nb'", None),
        ("a\n \nb", None),
        ("a\n\tb", None),
        (" a\n b", None),
        ("\n", None),
        ("a\0\nb", None),
        ("a\ud800\nb", None),
    ],
)
def test_lines_of_an_indented_string(text: str, lines: list[str] | None) -> None:
    assert split_indented(text) == lines


@pytest.mark.parametrize("name", ["a", "_", "a'-B9", "or-else", "IF"])
def test_bare_names(name: str) -> None:
    assert attribute_name(name) == name


@pytest.mark.parametrize("name", ["", "1a", "-a", "a.b", "é", "a\n", " a", *sorted(KEYWORDS)])
def test_quoted_names(name: str) -> None:
    assert attribute_name(name) == quote(name)


def test_a_name_is_a_string() -> None:
    name: Any = 3
    with pytest.raises(RenderError, match="3 is no attribute name"):
        attribute_name(name)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (INT_MAX, "9223372036854775807"),
        (INT_MIN + 1, "-9223372036854775807"),
        (INT_MIN, 'builtins.fromJSON "-9223372036854775808"'),
        (0.0, "0.0"),
        (-1.5, "-1.5"),
        (1e16, "1.0e+16"),
        (-2.5e-7, "-2.5e-7"),
        (1e100, "1.0e+100"),
        (2.2250738585072014e-308, "2.2250738585072014e-308"),
        (2.225073858507201e-308, 'builtins.fromJSON "2.225073858507201e-308"'),
        (-5e-324, 'builtins.fromJSON "-5e-324"'),
        (-0.0, 'builtins.fromJSON "-0.0"'),
    ],
)
def test_numbers(value: float, text: str) -> None:
    assert number(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_keeps_its_value_and_has_a_point(value: float) -> None:
    text = number(value)
    literal = text.removeprefix('builtins.fromJSON "').rstrip('"')
    assert float(literal).hex() == value.hex()
    assert literal != text or "." in literal


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (INT_MAX + 1, "the integer 9223372036854775808 is out of Nix's range, -9223372036854775808 to"),
        (INT_MIN - 1, "the integer -9223372036854775809 is out of Nix's range"),
        (1 << 255, "the integer of 256 bits is out of Nix's range"),
        # More digits than Python writes.
        pytest.param(1 << 20000, "the integer of 20001 bits is out", id="huge"),
        (math.inf, "the number inf is not in JSON"),
        (math.nan, "the number nan is not in JSON"),
    ],
)
def test_numbers_that_nix_has_not(value: float, says: str) -> None:
    with pytest.raises(RenderError) as caught:
        number(value)
    assert says in caught.value.message
