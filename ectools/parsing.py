"""A settings document, parsed field by field into types, with every bad field reported at once.

A rule looks at one value. A ``parse_…`` gives it as the type that programs read, a ``check_…`` leaves it as
it is; both raise BadValueError. ``Problems`` applies rules and goes on where one rejects; what would
be made of a rejected value is None, so that nothing is built of a guess.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from ectools.errors import UNSET, Problem, ProblemsError
from ectools.ipxe.urls import expect_url
from ectools.redact import redact_user, redact_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ectools.addresses import Address

_T = TypeVar("_T")
_V = TypeVar("_V")

_STORE = "/nix/store/"


class BadValueError(ValueError):
    """A value that a setting does not take.

    ``message`` says what is wrong with it, ``expected`` what would be right; ``shown`` is what a message may
    hold of it, where that is not all.
    """

    def __init__(self, expected: str, *, message: str = "not usable", shown: Any = UNSET) -> None:
        super().__init__(message)
        self.message = message
        self.expected = expected
        self.shown = shown


class Problems:
    """The bad fields of one document, in the order in which they were found.

    ``prefix`` is the dotted path of the options that the document holds; the methods' ``option`` is below it.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self.found: list[Problem] = []

    def add(self, option: str, value: Any, message: str, expected: str) -> None:
        """Note a bad field."""
        self.found.append(
            Problem(
                option=f"{self._prefix}.{option}",
                message=f"{message}: {json.dumps(redact_value(value))}",
                value=value,
                expected=expected,
            )
        )

    def accepts(self, option: str, value: _V, rule: Callable[[_V], object]) -> bool:
        """Whether ``rule`` takes the value; it is noted where not."""
        try:
            rule(value)
        except BadValueError as error:
            self._add_rejected(option, value, error)
            return False
        return True

    def check(self, option: str, value: _V, rule: Callable[[Any], object]) -> _V:
        """The value as it is; noted where ``rule`` rejects it. None is not given to the rule."""
        if value is not None:
            self.accepts(option, value, rule)
        return value

    def parse(self, option: str, value: _V | None, rule: Callable[[_V], _T]) -> _T | None:
        """What ``rule`` makes of the value; None where there is none, or the rule rejects it."""
        if value is None:
            return None
        try:
            return rule(value)
        except BadValueError as error:
            self._add_rejected(option, value, error)
            return None

    def parse_each(self, option: str, values: Iterable[_V], rule: Callable[[_V], _T]) -> tuple[_T, ...]:
        """What ``rule`` makes of each item of a list, without those that it rejects."""
        parsed = (self.parse(f"{option}[{index}]", value, rule) for index, value in enumerate(values))
        return tuple(each for each in parsed if each is not None)

    def _add_rejected(self, option: str, value: Any, error: BadValueError) -> None:
        self.add(option, value if error.shown is UNSET else error.shown, error.message, error.expected)

    def error(self, where: str) -> ProblemsError:
        """The one error to raise, with all of them; ``where`` names the document."""
        fields = "1 field" if len(self.found) == 1 else f"{len(self.found)} fields"
        return ProblemsError(f"{where}: {fields} cannot be used", self.found)


@dataclass(frozen=True, kw_only=True)
class ListenAddress:
    """An address of this host, and a TCP port; 0 is a free one."""

    ip: Address
    port: int


# --- rules that several documents share ---------------------------------------------------------


def is_text(value: str) -> bool:
    """Whether ``value`` has no control character (Unicode's Cc: U+0000 to U+001F, U+007F to U+009F)."""
    return not any(ord(char) < 0x20 or 0x7F <= ord(char) <= 0x9F for char in value)


def check_path(path: str) -> None:
    """A path that a service can be given: systemd ignores one with ``..``, and nothing could be written."""
    if not (path.startswith("/") and ".." not in path.split("/") and is_text(path)):
        raise BadValueError("an absolute path, without .. or control characters")


def check_secret_path(path: str) -> None:
    """The path of a file that not everybody may read."""
    check_path(path)
    if path.startswith(_STORE):
        raise BadValueError("a path outside of it", message="in the Nix store, which everyone can read")


def check_boot_url(url: str, *, instead: str) -> None:
    """A URL that iPXE can fetch. ``instead`` is the option for what somebody wanted to put before the @."""
    expected = expect_url(url, instead=instead)
    if expected is not None:
        raise BadValueError(expected, shown=redact_user(url))
