"""Where the keys and values of a TOML text stand.

The scanner walks text that tomllib has accepted, so it only needs to know where keys and values start and
end.
"""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING

from ectools.documents.source_map import Lines, Position, SourceMap, SyntaxProblem

if TYPE_CHECKING:
    from ectools.documents.source_map import Place

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


def find_spans(text: str) -> SourceMap:
    """The place of each key and value of a text that is TOML."""
    scanner = _Scanner(text)
    scanner.scan_document()
    return SourceMap(scanner.keys, scanner.values)


def find_repeated(text: str) -> SyntaxProblem | None:
    """The key that stands twice, where that is what is wrong with a text that is not TOML."""
    try:
        _Scanner(text).scan_document()
    except SyntaxProblem as problem:
        return problem
    except (IndexError, AssertionError, tomllib.TOMLDecodeError, RecursionError):
        # The scanner is made for valid text; whatever else is wrong, tomllib says.
        return None
    return None


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
