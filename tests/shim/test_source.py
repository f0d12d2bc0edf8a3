"""What is written down for nix, and what is refused before nix is asked."""

from __future__ import annotations

import json
from collections import OrderedDict
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pynix_eval_shim import DataError, EvaluationError, NixSyntaxError, source

SELF: list[Any] = []
SELF.append(SELF)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (2**63, "data: 9223372036854775808 does not fit"),
        ({"a": [0, -(2**63) - 1]}, "data.a[1]: -9223372036854775809 does not fit"),
        ({"a": float("nan")}, "data.a: nan is not a JSON number"),
        ([float("inf")], "data[0]: inf is not a JSON number"),
        ({"a": "b\0c"}, "data.a: a string with a NUL"),
        ({"b\0c": 1}, "a key of data: a string with a NUL"),
        (["\ud800"], "data[0]: a string that is not Unicode text"),
        ({1: 2}, "data: the key 1 is not a string"),
        ({(1, 2): 2}, "data: the key (1, 2) is not a string"),
        ({"a": {1, 2}}, "data.a: a set is not JSON"),
        (b"bytes", "data: a bytes is not JSON"),
        (SELF, "contains itself"),
        ({"a": 10**5000}, "data.a: an integer of 16610 bits does not fit"),
    ],
)
def test_data_that_nix_would_not_keep_is_refused(data: Any, says: str) -> None:
    with pytest.raises(DataError) as caught:
        source.from_json(data)
    assert says in caught.value.message


def test_data_nested_too_deeply_is_refused() -> None:
    deep: list[Any] = []
    for _ in range(200_000):
        deep = [deep]
    with pytest.raises(DataError, match="nested too deeply"):
        source.from_json(deep)


def test_other_mappings_and_tuples_are_data() -> None:
    data = MappingProxyType({"a": (1, OrderedDict(b=2))})
    assert source.from_json(data) == '(builtins.fromJSON "{\\"a\\":[1,{\\"b\\":2}]}")'


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")))
def test_a_literal_ends_only_where_it_should(text: str) -> None:
    literal = source.from_json(text)
    assert literal.isascii()
    assert literal.isprintable()
    assert "$" not in literal
    inner = literal.removeprefix('(builtins.fromJSON "').removesuffix('")')
    # Nix's own rule: a backslash takes the next character with it, and a bare quote ends the string.
    plain, characters = "", iter(inner)
    for character in characters:
        assert character != '"'
        plain += next(characters) if character == "\\" else character
    assert json.loads(plain) == text


@pytest.mark.parametrize("code", ["1 + \0", "\ud800"])
def test_code_that_is_no_text_is_a_syntax_error(code: str) -> None:
    with pytest.raises(NixSyntaxError):
        source.check_code(code)


@pytest.mark.parametrize("output", [b"", b'{"a":', b'"\xff"', b"[" * 100_000])
def test_output_that_is_no_json_is_an_error(output: bytes) -> None:
    with pytest.raises(EvaluationError):
        source.decode_json(output, tag="tag")


def test_only_the_calls_own_tag_marks_a_float() -> None:
    assert source.decode_json(b'[{"tag":[1,-1]},{"tag":"-0"},{"other":[1,-1]}]', tag="tag") == [
        0.5,
        -0.0,
        {"other": [1, -1]},
    ]


class TestSourceMap:
    TEXT = "let expression = (\nfirst\nsecond\n); in expression"
    MAP = source.PositionMap(composed=TEXT, regions=((2, 3),), strings=frozenset({"handed over"}))

    @pytest.mark.parametrize("file", [source.STDIN_LABEL, TEXT])
    def test_lines_of_the_callers_code_count_from_its_first(self, file: str) -> None:
        assert self.MAP.place(file, 2, 4) == (source.STRING_LABEL, 1, 4)
        assert self.MAP.place(file, 3, 1) == (source.STRING_LABEL, 2, 1)

    def test_code_that_ends_too_soon_is_noticed_behind_it(self) -> None:
        assert self.MAP.place(source.STDIN_LABEL, 4, 1) == (source.STRING_LABEL, 3, 1)

    @pytest.mark.parametrize(("line", "column"), [(1, 5), (4, 3), (5, 1)])
    def test_the_shims_own_text_is_no_place(self, line: int, column: int) -> None:
        assert self.MAP.place(source.STDIN_LABEL, line, column) is None

    def test_other_texts_and_files_keep_their_lines(self) -> None:
        assert self.MAP.place("handed over", 1, 2) == (source.STRING_LABEL, 1, 2)
        assert self.MAP.place("/a/file.nix", 3, 4) == ("/a/file.nix", 3, 4)
