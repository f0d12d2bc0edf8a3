"""Text for nix to read: data as JSON in a string literal, the caller's code apart from the shim's.

No value is ever spliced into Nix. A value becomes JSON in printable ASCII without ``$``, so that inside
``"…"`` only the backslash and the quote are left to escape, and ``builtins.fromJSON`` makes a value of it
again.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from pynix_eval_shim.errors import DataError, EvaluationError, NixSyntaxError

INT_MIN, INT_MAX = -(2**63), 2**63 - 1

ARGUMENT_BYTES = 96 << 10
"""The longest text that goes into argv: Linux rejects an argument of 128 KiB (execve(2), E2BIG)."""

STRING_LABEL = "«string»"
STDIN_LABEL = "«stdin»"

# Code within a text that the shim composes stands on lines of its own, so that its positions can be told.
_OPEN, _CLOSE = "(\n", "\n)"


@dataclass(frozen=True, kw_only=True)
class PositionMap:
    """Which of nix's positions mean the caller's code, and where in it.

    ``composed`` is text that the shim wrote, which nix calls ``label``; ``regions`` are the (first, last)
    lines of the caller's code within it. ``strings`` are texts that were handed over as they are. Nix 2.8
    names a text by its content, newer ones by a label.
    """

    label: str = STDIN_LABEL
    composed: str = ""
    regions: tuple[tuple[int, int], ...] = ()
    strings: frozenset[str] = frozenset()

    def place(self, file: str, line: int, column: int) -> tuple[str, int, int] | None:
        """The position as the caller knows it; None where it lies in the shim's own text."""
        if (self.composed or self.regions) and file in (self.label, self.composed):
            for first, last in self.regions:
                # At the bracket behind the code the parser sees that it ends too soon.
                if first <= line <= last or (line, column) == (last + 1, 1):
                    return STRING_LABEL, line - first + 1, column
            return None
        if file in self.strings or file in (STRING_LABEL, "(string)") or "\n" in file:
            return STRING_LABEL, line, column
        return file, line, column


def check_code(code: str) -> str:
    """The code, if it can be written down for nix at all. Raises NixSyntaxError."""
    if "\0" in code:
        raise NixSyntaxError("the expression contains a NUL character")
    try:
        code.encode()
    except UnicodeEncodeError as error:
        raise NixSyntaxError(f"the expression is not Unicode text: {error.reason}") from error
    return code


def fits_argument(*codes: str | None) -> bool:
    """Whether each of ``codes`` may go into argv."""
    return all(code is None or len(code.encode()) <= ARGUMENT_BYTES for code in codes)


def enclose(prefix: str, code: str) -> tuple[str, tuple[int, int]]:
    """``prefix`` with ``code`` behind it in brackets on lines of its own, and the lines that it takes up."""
    first = prefix.count("\n") + 2
    return f"{prefix}{_OPEN}{code}{_CLOSE}", (first, first + code.count("\n"))


def from_json(value: Any) -> str:
    """A Nix expression that yields ``value``. Raises DataError where nix could not yield that very value."""
    text = to_json(value).replace("$", "\\u0024").replace("\\", "\\\\").replace('"', '\\"')
    return f'(builtins.fromJSON "{text}")'


def to_json(value: Any) -> str:
    """``value`` as JSON in printable ASCII. Raises DataError, with the path of what nix would not keep."""
    try:
        text = json.dumps(value, default=_plain, skipkeys=True, separators=(",", ":"))
    except RecursionError as error:
        raise DataError("data: nested too deeply") from error
    except ValueError as error:
        # The other reason is an integer too long for Python to print, which is found below with its path.
        if "Circular" in str(error):
            raise DataError("data: a list or a set that contains itself") from error
        text = ""
    # Only now is the value known to be finite, so that it can be walked.
    _check(value)
    return text


def _plain(value: Any) -> Any:
    """A mapping as a dict; None for anything else, which ``_check`` then reports with its path."""
    return dict(value) if isinstance(value, Mapping) else None


def _check(value: Any) -> None:
    """Raise DataError for what is not JSON, or what nix would wrap, round or cut short without a word."""
    pending: list[tuple[str, Any]] = [("data", value)]
    while pending:
        path, item = pending.pop()
        if isinstance(item, str):
            _check_text(path, item)
        elif isinstance(item, bool) or item is None:
            continue
        elif isinstance(item, int):
            if not INT_MIN <= item <= INT_MAX:
                shown = str(item) if item.bit_length() <= 128 else f"an integer of {item.bit_length()} bits"
                raise DataError(
                    f"{path}: {shown} does not fit nix's integers", hint="they have 64 bits; use a string"
                )
        elif isinstance(item, float):
            if not math.isfinite(item):
                raise DataError(f"{path}: {item} is not a JSON number")
        elif isinstance(item, (list, tuple)):
            pending += ((f"{path}[{index}]", each) for index, each in enumerate(item))
        elif isinstance(item, Mapping):
            for key, each in item.items():
                if not isinstance(key, str):
                    raise DataError(f"{path}: the key {key!r} is not a string")
                _check_text(f"a key of {path}", key)
                pending.append((f"{path}.{key}", each))
        else:
            raise DataError(f"{path}: a {type(item).__name__} is not JSON")


def _check_text(path: str, text: str) -> None:
    if "\0" in text:
        raise DataError(f"{path}: a string with a NUL character: nix strings cannot hold one")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise DataError(f"{path}: a string that is not Unicode text: {error.reason}") from error


def encoder() -> str:
    """The Nix function ``tag: value: …`` that makes a value ready for nix's JSON writer (see encode.nix)."""
    return resources.files(__package__).joinpath("encode.nix").read_text(encoding="utf-8").strip()


def decode_json(output: bytes, *, tag: str) -> Any:
    """The value that nix wrote as JSON, floats exact. Raises EvaluationError where it is no JSON text."""

    def untag(found: dict[str, Any]) -> Any:
        if tag not in found:
            return found
        number = found[tag]
        return float(number) if isinstance(number, str) else math.ldexp(*number)

    try:
        text = output.decode()
        return json.loads(text, object_hook=untag if tag in text else None)
    except UnicodeDecodeError as error:
        raise EvaluationError(f"the result holds a string that is not UTF-8: {error.reason}") from error
    except (ValueError, RecursionError) as error:
        raise EvaluationError(f"nix wrote a result that cannot be read as JSON: {error}") from error
