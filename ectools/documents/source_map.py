"""A parsed file that remembers where each value stands."""

from __future__ import annotations

import functools
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from ectools.documents.problem import OptionProblem, ProblemKind
from ectools.errors import ProblemsError
from ectools.names import show_path

if TYPE_CHECKING:
    from collections.abc import Callable

Place: TypeAlias = tuple[str | int, ...]
"""Where a value stands in the document: keys and list indices from the root, ``("services", "a", 0)``."""

MAX_NESTING = 200
"""How deep a file may nest, so that no walk of it comes near the end of Python's stack."""


@dataclass(frozen=True)
class Position:
    """A line and a column, both from 1; the column counts characters."""

    line: int
    column: int


@dataclass(frozen=True)
class SourceMap:
    """Where each key and each value of a document starts."""

    keys: dict[Place, Position] = field(default_factory=dict)
    values: dict[Place, Position] = field(default_factory=dict)


@dataclass(frozen=True)
class SourceMapped:
    """A value of JSON's data model; ``read_source_map`` says where everything in it stands, if asked."""

    value: Any
    read_source_map: Callable[[], SourceMap]

    @functools.cached_property
    def source_map(self) -> SourceMap:
        """Where everything stands."""
        return self.read_source_map()

    def find_position(self, place: Place) -> Position | None:
        """Where the value at ``place`` stands; where the file has none, where its nearest container does."""
        while place not in self.source_map.values:
            if not place:
                return None
            place = place[:-1]
        return self.source_map.values[place]

    def find_key(self, place: Place) -> Position | None:
        """Where the key of ``place`` stands; for a list's item, where the item stands."""
        return self.source_map.keys.get(place) or self.find_position(place)


class Lines:
    """Offsets into a text → positions."""

    def __init__(self, text: str) -> None:
        self._starts = [0]
        start = text.find("\n")
        while start >= 0:
            self._starts.append(start + 1)
            start = text.find("\n", start + 1)

    def find_position(self, offset: int) -> Position:
        line = bisect_right(self._starts, offset)
        return Position(line, offset - self._starts[line - 1] + 1)


class SyntaxProblem(Exception):  # noqa: N818 - carries one Problem to the loader, which raises the error
    """What is wrong with the text itself, and where; the loader adds the file's name."""

    def __init__(self, message: str, position: Position | None, *, place: Place = ()) -> None:
        super().__init__(message)
        self.message = message
        self.position = position
        self.place = place

    def as_error(self, file: str) -> ProblemsError:
        """The error to raise for ``file``."""
        problem = OptionProblem(
            kind=ProblemKind.SYNTAX,
            option=show_path(self.place) or "(the whole file)",
            message=self.message,
            file=file,
            line=self.position.line if self.position else None,
            column=self.position.column if self.position else None,
        )
        return ProblemsError(f"{file}: cannot be read as a host description", [problem])
