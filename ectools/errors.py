"""The one error root. A library raises; only the command line exits (1: it failed, 2: bad usage or input)."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from ectools.redact import redact_urls

if TYPE_CHECKING:
    from collections.abc import Collection

UNSET: Any = object()
"""Marks a problem that has no value to show (``None`` is a value: JSON's null)."""


MAX_SHOWN = 8
"""How many items of a list a message names."""

MAX_SHOWN_CHARS = 200
"""How much of a foreign text a message holds."""


def cut(text: str) -> str:
    """A foreign text for a message: whole where it is short, else its beginning and how long it is."""
    return text if len(text) <= MAX_SHOWN_CHARS else f"{text[:MAX_SHOWN_CHARS]}… ({len(text)} characters)"


def show_list(items: Collection[str], *, nothing: str = "nothing", joint: str = ", ") -> str:
    """Items for a message: the first MAX_SHOWN of them, each cut, and how many more there are."""
    shown = joint.join(cut(item) for item in itertools.islice(items, MAX_SHOWN))
    more = len(items) - MAX_SHOWN
    return f"{shown}{joint}and {more} more" if more > 0 else shown or nothing


class EcError(Exception):
    """Something failed. ``message`` says what and where, ``hint`` what to do about it.

    Neither holds a secret: both are printed and logged, and what somebody wrote into a URL is taken out here.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        self.message = redact_urls(message)
        self.hint = None if hint is None else redact_urls(hint)
        super().__init__(self.message)

    def render(self) -> str:
        """What a person reads, without a trailing newline."""
        return self.message if self.hint is None else f"{self.message}\n  hint: {self.hint}"


class InputError(EcError):
    """What the user gave is wrong (exit status 2): an argument, a file, a value."""

    exit_code: ClassVar[int] = 2


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One bad field.

    ``option`` is its dotted path as users write it (``boot.http.port``); ``line`` and ``column`` count
    from 1. ``value`` is as it was written: who prints it takes ``ectools.redact.redact_value`` of it.
    """

    option: str
    message: str
    value: Any = field(default=UNSET, repr=False)
    expected: str | None = None
    hint: str | None = None
    file: str | None = None
    line: int | None = None
    column: int | None = None

    def __post_init__(self) -> None:
        for name in ("message", "expected", "hint"):
            text = getattr(self, name)
            if text is not None:
                object.__setattr__(self, name, redact_urls(text))

    def render(self) -> str:
        where = ""
        if self.file is not None:
            where = self.file
            if self.line is not None:
                where += f":{self.line}"
                if self.column is not None:
                    where += f":{self.column}"
            where += ": "
        text = f"{where}{self.option}: {self.message}"
        if self.expected is not None:
            text += f"\n  expected: {self.expected}"
        if self.hint is not None:
            text += f"\n  hint: {self.hint}"
        return text


class ProblemsError(InputError):
    """Every bad field of one input, reported together, in the order in which they stand in it."""

    def __init__(self, message: str, problems: list[Problem], *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.problems = problems

    def render(self) -> str:
        return "\n".join([self.message, *(problem.render() for problem in self.problems)]) + (
            f"\n  hint: {self.hint}" if self.hint else ""
        )
