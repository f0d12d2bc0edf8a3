"""What is written down for nix, and what is rejected before nix is asked."""

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
def test_data_that_nix_would_not_keep_is_rejected(data: Any, says: str) -> None:
    with pytest.raises(DataError) as caught:
        source.from_json(data)
    assert says in caught.value.message


def test_data_nested_too_deeply_is_rejected() -> None:
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

    def test_code_that_ends_too_soon_is_noticed_nowhere_else(self) -> None:
        assert self.MAP.place(source.STDIN_LABEL, 4, 2) is None
        assert self.MAP.place(source.STDIN_LABEL, 3, 9) == (source.STRING_LABEL, 2, 9)

    def test_several_regions_each_count_for_themselves(self) -> None:
        places = source.PositionMap(composed="x", regions=((2, 3), (6, 6)))
        assert places.place("x", 3, 1) == (source.STRING_LABEL, 2, 1)
        assert places.place("x", 6, 2) == (source.STRING_LABEL, 1, 2)
        assert places.place("x", 5, 1) is None
        assert places.place("x", 7, 1) == (source.STRING_LABEL, 2, 1)

    @pytest.mark.parametrize("file", ["«string»", "(string)", "a = 1;\nb"])
    def test_what_nix_calls_a_text(self, file: str) -> None:
        assert source.PositionMap().place(file, 5, 6) == (source.STRING_LABEL, 5, 6)

    def test_without_a_composed_text_its_label_is_a_file_like_any(self) -> None:
        assert source.PositionMap().place(source.STDIN_LABEL, 1, 2) == (source.STDIN_LABEL, 1, 2)
        only = source.PositionMap(regions=((1, 1),))
        assert only.place(source.STDIN_LABEL, 1, 2) == (source.STRING_LABEL, 1, 2)
        assert source.PositionMap(composed="x").place(source.STDIN_LABEL, 1, 2) is None
        labelled = source.PositionMap(label="«string»", composed="x", regions=((2, 2),))
        assert labelled.place("«string»", 1, 2) is None
        assert labelled.place("«stdin»", 1, 2) == ("«stdin»", 1, 2)


def test_bounds_of_nixs_integers_are_met_exactly() -> None:
    assert source.to_json([2**63 - 1, -(2**63), True]) == "[9223372036854775807,-9223372036854775808,true]"


@pytest.mark.parametrize(
    ("number", "shown"),
    [
        (2**128 - 1, str(2**128 - 1)),
        (2**128, "an integer of 129 bits"),
        (-(2**128), "an integer of 129 bits"),
    ],
)
def test_a_number_of_more_than_128_bits_is_not_written_out(number: int, shown: str) -> None:
    with pytest.raises(DataError) as caught:
        source.to_json(number)
    assert caught.value.message == f"data: {shown} does not fit nix's integers"
    assert "64 bits" in str(caught.value.hint)


def test_an_argument_has_at_most_96_kib() -> None:
    assert source.fits_argument("x" * (96 << 10), None, "")
    assert not source.fits_argument("x" * ((96 << 10) + 1))
    assert not source.fits_argument("", "é" * (48 << 10) + "x")
    assert source.fits_argument("é" * (48 << 10))
    assert source.fits_argument()


@pytest.mark.parametrize(
    ("prefix", "code", "text", "lines"),
    [
        ("f ", "x", "f (\nx\n)", (2, 2)),
        ("", "a\nb", "(\na\nb\n)", (2, 3)),
        ("one\ntwo\nf ", "", "one\ntwo\nf (\n\n)", (4, 4)),
    ],
)
def test_code_in_brackets_has_lines_of_its_own(
    prefix: str, code: str, text: str, lines: tuple[int, int]
) -> None:
    assert source.enclose(prefix, code) == (text, lines)


def test_code_that_can_be_written_down_is_itself() -> None:
    assert source.check_code("é") == "é"
    for code, says in (("a\0", "NUL"), ("\ud800", "not Unicode")):
        with pytest.raises(NixSyntaxError, match=says):
            source.check_code(code)


@pytest.mark.parametrize(
    ("output", "value"),
    [
        (b'{"t":[3,-1]}', 1.5),
        (b'{"t":"-inf"}', float("-inf")),
        (b'[1,{"a":{"t":[1,2]}}]', [1, {"a": 4.0}]),
        ('"é"'.encode(), "é"),
        (b'{"a":1}', {"a": 1}),
    ],
)
def test_a_result_is_read(output: bytes, value: Any) -> None:
    assert source.decode_json(output, tag="t") == value


def test_the_encoder_is_an_expression_without_a_line_break_behind_it() -> None:
    text = source.encoder()
    assert text == text.strip()
    assert "tag:" in text
