"""TOML with positions: ``tomllib`` reads the values and finds the errors, a scanner finds the places.

The scanner walks text that tomllib has accepted, so it only needs to know where keys and values start and
end. Dates and times are named errors (JSON and Nix have none), and so are ``nan`` and ``inf``.
"""

from __future__ import annotations

import math
import re
import tomllib
from typing import Any

from ectools.host.located import MAX_DEPTH, Lines, Located, Place, Position, SyntaxProblem

_BLANK = re.compile(r"[ \t]*")
_FILLER = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_ATOM = re.compile(r"[^,\]}#\r\n]+")
_STRING = re.compile(
    "|".join(
        (
            r'"""(?:[^\\]|\\.)*?"{3,5}(?!")',
            r"'''.*?'{3,5}(?!')",
            r'"(?:[^"\\\n]|\\.)*"',
            r"'[^'\n]*'",
        )
    ),
    re.DOTALL,
)
_AT = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


def parse_toml(text: str) -> Located:
    """Parse ``text``. Raises SyntaxProblem for what is not TOML, and for what JSON has no words for."""
    try:
        value = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _find_repeated(text) or _explain(str(error), text) from None
    except RecursionError:
        raise SyntaxProblem(f"nested deeper than {MAX_DEPTH} levels", None) from None
    scanner = _Scanner(text)
    scanner.scan_document()
    located = Located(value, scanner.keys, scanner.values)
    _refuse_foreign(located, value, ())
    return located


def _find_repeated(text: str) -> SyntaxProblem | None:
    """The key that stands twice, where that is what is wrong: tomllib says neither which nor where."""
    try:
        _Scanner(text).scan_document()
    except SyntaxProblem as problem:
        return problem
    except (IndexError, AssertionError, tomllib.TOMLDecodeError, RecursionError):
        # The scanner is made for valid text; whatever else is wrong, tomllib says.
        return None
    return None


def _explain(message: str, text: str) -> SyntaxProblem:
    at = _AT.search(message)
    message = _AT.sub("", message)
    if at is None or at.group(1) is None:
        position = Lines(text).find_position(len(text))
    else:
        position = Position(int(at.group(1)), int(at.group(2)))
    return SyntaxProblem(f"not TOML: {message[:1].lower()}{message[1:]}", position)


def _refuse_foreign(located: Located, value: Any, place: Place) -> None:
    if len(place) > MAX_DEPTH:
        raise SyntaxProblem(f"nested deeper than {MAX_DEPTH} levels", located.find_position(place))
    if isinstance(value, dict):
        for key, inner in value.items():
            _refuse_foreign(located, inner, (*place, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _refuse_foreign(located, inner, (*place, index))
    elif isinstance(value, float):
        if not math.isfinite(value):
            message = f"{value} is no number of JSON or Nix: every number there is finite"
            raise SyntaxProblem(message, located.find_position(place), place=place)
    elif not isinstance(value, (str, int)):
        message = f"{value} is a TOML date or time, and JSON and Nix have none: put it in quotes"
        raise SyntaxProblem(message, located.find_position(place), place=place)


class _Scanner:
    def __init__(self, text: str) -> None:
        # tomllib reads \r\n as \n in the same way; here only offsets matter, and \r counts as a blank.
        self.text = text
        self.offset = 0
        self.lines = Lines(text)
        self.keys: dict[Place, Position] = {}
        self.values: dict[Place, Position] = {(): Position(1, 1)}
        self.lengths: dict[Place, int] = {}
        self.set: dict[Place, Position] = {}

    def here(self) -> Position:
        return self.lines.find_position(self.offset)

    def skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self.text, self.offset)
        self.offset = match.end() if match else self.offset

    def set_once(self, place: Place, position: Position, what: str) -> None:
        first = self.set.setdefault(place, position)
        if first is not position:
            message = f"the {what} {place[-1]!r} stands twice, first in line {first.line}"
            raise SyntaxProblem(message, position, place=place)

    def scan_document(self) -> None:
        table: Place = ()
        self.skip(_FILLER)
        while self.offset < len(self.text):
            if self.text[self.offset] == "[":
                table = self.scan_header()
            else:
                self.scan_pair(table)
            self.skip(_FILLER)

    def scan_header(self) -> Place:
        start = self.here()
        is_array = self.text.startswith("[[", self.offset)
        self.offset += 2 if is_array else 1
        place: Place = ()
        steps = self.scan_key()
        for index, (step, position) in enumerate(steps):
            place = (*place, step)
            self.keys.setdefault(place, position)
            last = index == len(steps) - 1
            if last and is_array:
                self.values.setdefault(place, start)
                self.lengths[place] = self.lengths.get(place, 0) + 1
            else:
                self.values.setdefault(place, start if last else position)
            if place in self.lengths:
                place = (*place, self.lengths[place] - 1)
                self.values.setdefault(place, start)
            elif last:
                self.set_once(place, position, "table")
        self.offset += 2 if is_array else 1
        return place

    def scan_key(self) -> list[tuple[str, Position]]:
        steps: list[tuple[str, Position]] = []
        while True:
            self.skip(_BLANK)
            position = self.here()
            if self.text[self.offset] in "\"'":
                steps.append((self.scan_quoted_key(), position))
            else:
                bare = _BARE_KEY.match(self.text, self.offset)
                assert bare is not None  # noqa: S101 - tomllib has accepted the text
                self.offset = bare.end()
                steps.append((bare.group(), position))
            self.skip(_BLANK)
            if self.text[self.offset] != ".":
                return steps
            self.offset += 1

    def scan_quoted_key(self) -> str:
        start = self.offset
        self.skip(_STRING)
        return next(iter(tomllib.loads(f"{self.text[start : self.offset]} = 1")))

    def scan_pair(self, table: Place) -> None:
        place = table
        for step, position in self.scan_key():
            place = (*place, step)
            self.keys.setdefault(place, position)
            self.values.setdefault(place, position)
        self.set_once(place, position, "key")
        self.offset += 1  # the equals sign
        self.skip(_BLANK)
        self.scan_value(place)

    def scan_value(self, place: Place) -> None:
        start = self.offset
        self.values[place] = self.here()
        character = self.text[self.offset]
        if character == "[":
            self.offset += 1
            self.scan_items(place)
        elif character == "{":
            self.offset += 1
            self.scan_inline_table(place)
        else:
            self.skip(_STRING if character in "\"'" else _ATOM)
        assert self.offset > start  # noqa: S101 - tomllib has accepted the text

    def scan_items(self, place: Place) -> None:
        index = 0
        while True:
            self.skip(_FILLER)
            if self.text[self.offset] == "]":
                self.offset += 1
                return
            self.scan_value((*place, index))
            index += 1
            self.skip(_FILLER)
            if self.text[self.offset] == ",":
                self.offset += 1

    def scan_inline_table(self, place: Place) -> None:
        while True:
            self.skip(_FILLER)
            if self.text[self.offset] == "}":
                self.offset += 1
                return
            self.scan_pair(place)
            self.skip(_FILLER)
            if self.text[self.offset] == ",":
                self.offset += 1
