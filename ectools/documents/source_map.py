"""A parsed file that remembers where each value stands."""

from __future__ import annotations

import functools
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from ectools.documents.problem import OptionProblem, ProblemKind
from ectools.errors import Problem, ProblemsError
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


class SyntaxProblem(Exception):  # noqa: N818 - carries Problems to the loader, which raises the error
    """What is wrong with the text itself, and where; the loader adds the file's name.

    ``others`` are further faults of the same text, none of which kept the rest from being read.
    """

    def __init__(
        self,
        message: str,
        position: Position | None,
        *,
        place: Place = (),
        others: tuple[SyntaxProblem, ...] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.position = position
        self.place = place
        self.others = others

    def as_error(self, file: str) -> ProblemsError:
        """The error to raise for ``file``."""
        problems: list[Problem] = [each.as_problem(file) for each in (self, *self.others)]
        return ProblemsError(f"{file}: cannot be read", problems)

    def as_problem(self, file: str) -> OptionProblem:
        """This fault by itself, as one of ``file``."""
        return OptionProblem(
            kind=ProblemKind.SYNTAX,
            option=show_path(self.place) or "(the whole file)",
            message=self.message,
            file=file,
            line=self.position.line if self.position else None,
            column=self.position.column if self.position else None,
        )


class FaultList:
    """The faults of a text that is read on past them, to be told together."""

    MOST = 100
    """More than that are no slips: then the reading ends."""

    def __init__(self) -> None:
        self._found: list[SyntaxProblem] = []

    def add(self, problem: SyntaxProblem) -> None:
        """Keep one more. Raises SyntaxProblem where there are too many."""
        self._found.append(problem)
        if len(self._found) >= self.MOST:
            self.finish()

    def finish(self) -> None:
        """Raises SyntaxProblem with all of them, if there is any."""
        if self._found:
            first, *rest = self._found
            first.others = tuple(rest)
            raise first
