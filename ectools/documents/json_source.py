"""JSON with positions, as RFC 8259 has it: no duplicate keys, no NaN, no comments, no trailing commas."""

from __future__ import annotations

import json
import re
from json import JSONDecodeError, decoder
from typing import TYPE_CHECKING, Any

from ectools.documents.source_map import MAX_NESTING, Lines, Place, SourceMap, SourceMapped, SyntaxProblem

if TYPE_CHECKING:
    from collections.abc import Callable

_BLANK = re.compile(r"[ \t\r\n]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_MAX_DIGITS = 100  # no configuration has an integer of so many
_WORD = re.compile(r"[-+.\w]+")
# The standard library's scanner: (text, offset, strict) → (string, offset). typeshed does not know it.
_scan_string: Callable[[str, int, bool], tuple[str, int]] = decoder.scanstring  # type: ignore[attr-defined]

_CONSTANTS = {"true": True, "false": False, "null": None}
_NOT_JSON = {
    "NaN": "NaN is not JSON: no JSON number is not a number",
    "Infinity": "Infinity is not JSON: every JSON number is finite",
    "-Infinity": "-Infinity is not JSON: every JSON number is finite",
    "True": "True is Python's word; JSON has true",
    "False": "False is Python's word; JSON has false",
    "None": "None is Python's word; JSON has null",
}


def parse_json_source(text: str) -> SourceMapped:
    """Parse ``text``. Raises SyntaxProblem for the first thing that is not JSON.

    The standard library's parser, many times as fast, reads what is right. Where something is wrong, or
    someone asks for a place, the parser below reads the text.
    """
    try:
        value = json.loads(
            text,
            object_pairs_hook=_reject_repeated,
            parse_constant=_reject,
            parse_float=_parse,
            parse_int=_parse,
        )
    except (ValueError, RecursionError):
        return _Parser(text).parse()
    if text.count("[") + text.count("{") > MAX_NESTING:
        return _Parser(text).parse()
    return SourceMapped(value, lambda: _Parser(text).parse().source_map)


def _reject_repeated(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise ValueError
    return value


def _reject(word: str) -> None:
    raise ValueError(word)


def _parse(word: str) -> float:
    number = parse_number(word, is_integer=word.lstrip("-").isdigit())
    if number is None:
        raise ValueError(word)
    return number


class _Parser:
    def __init__(self, text: str) -> None:
        self.text = text
        self.offset = 0
        self.lines = Lines(text)
        self.found = SourceMap()

    def parse(self) -> SourceMapped:
        self.skip_blank()
        value = self.parse_value(())
        self.skip_blank()
        if self.offset < len(self.text):
            raise self.problem("there is more text after the document's end")
        return SourceMapped(value, lambda: self.found)

    def problem(self, message: str, *, place: Place = (), offset: int | None = None) -> SyntaxProblem:
        at = self.offset if offset is None else offset
        return SyntaxProblem(message, self.lines.find_position(at), place=place)

    def skip_blank(self) -> None:
        match = _BLANK.match(self.text, self.offset)
        self.offset = match.end() if match else self.offset
        if self.text.startswith(("//", "/*", "#"), self.offset):
            raise self.problem("JSON has no comments; YAML and TOML do")

    def peek(self) -> str:
        return self.text[self.offset : self.offset + 1]

    def parse_value(self, place: Place) -> Any:
        self.found.values[place] = self.lines.find_position(self.offset)
        if len(place) > MAX_NESTING:
            raise self.problem(f"nested deeper than {MAX_NESTING} levels")
        match self.peek():
            case "{":
                return self.parse_object(place)
            case "[":
                return self.parse_array(place)
            case '"':
                return self.parse_string(place)
            case "":
                raise self.problem("the file ends where a value was expected", place=place)
            case _:
                return self.parse_word(place)

    def parse_object(self, place: Place) -> dict[str, Any]:
        value: dict[str, Any] = {}
        self.offset += 1
        self.skip_blank()
        if self.take("}"):
            return value
        while True:
            start = self.offset
            if self.peek() != '"':
                after_comma = bool(value) and self.peek() == "}"
                raise self.problem(
                    "a comma stands before the closing }"
                    if after_comma
                    else "a key in double quotes was expected",
                    place=place,
                )
            key = self.parse_string(place)
            inner = (*place, key)
            position = self.lines.find_position(start)
            if key in value:
                first = self.found.keys[inner]
                raise self.problem(
                    f"the key {key!r} stands twice in this object, first in line {first.line}",
                    place=inner,
                    offset=start,
                )
            self.found.keys[inner] = position
            self.skip_blank()
            if not self.take(":"):
                raise self.problem(f"a colon was expected after the key {key!r}", place=inner)
            self.skip_blank()
            value[key] = self.parse_value(inner)
            self.skip_blank()
            if self.take("}"):
                return value
            self.expect_comma("}", place)

    def parse_array(self, place: Place) -> list[Any]:
        value: list[Any] = []
        self.offset += 1
        self.skip_blank()
        if self.take("]"):
            return value
        while True:
            if value and self.peek() == "]":
                raise self.problem("a comma stands before the closing ]", place=place)
            value.append(self.parse_value((*place, len(value))))
            self.skip_blank()
            if self.take("]"):
                return value
            self.expect_comma("]", place)

    def take(self, character: str) -> bool:
        if self.peek() != character:
            return False
        self.offset += 1
        return True

    def expect_comma(self, closing: str, place: Place) -> None:
        if not self.take(","):
            if not self.peek():
                raise self.problem(f"the file ends where a comma or {closing} was expected", place=place)
            raise self.problem(f"a comma or {closing} was expected", place=place)
        self.skip_blank()

    def parse_string(self, place: Place) -> str:
        try:
            text, self.offset = _scan_string(self.text, self.offset + 1, True)
        except JSONDecodeError as error:
            what = {
                "Unterminated string starting at": "the string that starts here has no closing quote",
                "Invalid control character at": "a control character or line break stands in a string; "
                "write it as \\n, \\t or \\u00XX",
            }
            message = what.get(error.msg, f"bad escape in a string ({error.msg.lower()})")
            raise self.problem(message, place=place, offset=error.pos) from None
        return text

    def parse_word(self, place: Place) -> Any:
        match = _WORD.match(self.text, self.offset)
        word = match.group() if match else self.peek()
        if word in _CONSTANTS:
            self.offset += len(word)
            return _CONSTANTS[word]
        number = _NUMBER.fullmatch(word)
        if number is None:
            raise self.problem(_NOT_JSON.get(word) or f"{word!r} is not a JSON value", place=place)
        value = parse_number(word, is_integer=number.group(1) is None and number.group(2) is None)
        if value is None:
            raise self.problem(f"the number {word[:20]} is too large for a double", place=place)
        self.offset += len(word)
        return value


def keep_sane(number: int) -> int | None:
    """An integer, however it was written; None for one that no configuration has."""
    return number if abs(number) < 10**_MAX_DIGITS else None


def parse_number(word: str, *, is_integer: bool) -> int | float | None:
    """The number that a decimal literal names; None where no double or no integer in use is as large."""
    if is_integer:
        # Python refuses decimal texts past 4,300 digits.
        return int(word) if len(word) <= _MAX_DIGITS else None
    value = float(word)
    return None if value in {float("inf"), float("-inf")} else value
