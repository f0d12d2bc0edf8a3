"""TOML with positions: ``tomllib`` reads the values and finds the errors, a scanner finds the places.

tomllib is tomli (https://github.com/hukkin/tomli), in pure Python. Where the compiled tomli is installed, it
reads what both read alike, in less than half the time. Since 2.4 it takes TOML 1.1 too, which neither tomllib
nor Nix does: that must not depend on what is installed.

Dates and times are named errors (JSON and Nix have none), and so are ``nan`` and ``inf``.
"""

from __future__ import annotations

import math
import re
import tomllib
import types
from typing import TYPE_CHECKING, Any

from ectools.documents.json_source import keep_sane
from ectools.documents.source_map import (
    MAX_NESTING,
    FaultList,
    Lines,
    Place,
    Position,
    SourceMap,
    SourceMapped,
    SyntaxProblem,
)

if TYPE_CHECKING:
    from collections.abc import Callable

# What TOML 1.1 has changed: inline tables, and the escapes of strings. Its times without seconds are no
# values here as no times are.
_CHANGED = ("{", "\\")
_DIGITS = re.compile(r"[+-]?[0-9](?:_?[0-9]){4299}")
_AT = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


def parse_toml(text: str) -> SourceMapped:
    """Parse ``text``. Raises SyntaxProblem for what is not TOML, and for what JSON has no words for."""
    try:
        value = _read_values(text)
    except tomllib.TOMLDecodeError as error:
        from ectools.documents.toml_spans import find_repeated

        # Of a key that stands twice, tomllib says neither which it is nor where it starts.
        raise find_repeated(text) or _explain(str(error), text) from None
    except ValueError:
        # Python converts no longer text to a number; tomllib does not say where it stands.
        raise SyntaxProblem("a number is too large for a double", _find_digits(text)) from None
    except RecursionError:
        raise SyntaxProblem(f"nested deeper than {MAX_NESTING} levels", None) from None
    mapped = SourceMapped(value, lambda: _find_spans(text))
    faults = FaultList()
    _find_foreign(mapped, value, (), faults)
    faults.finish()
    return mapped


def _read_values(text: str) -> dict[str, Any]:
    """What ``tomllib.loads`` gives and raises."""
    fast = _find_compiled()
    if fast is not None and not any(each in text for each in _CHANGED):
        try:
            return fast(text)
        except (ValueError, RecursionError):
            pass  # tomllib says why not: its words and its places are the same everywhere
    return tomllib.loads(text)


def _find_compiled() -> Callable[[str], dict[str, Any]] | None:
    """The compiled tomli's ``loads``; None where it is not installed, or in Python as tomllib is."""
    try:
        import tomli
    except ImportError:
        return None
    return None if isinstance(tomli.loads, types.FunctionType) else tomli.loads


def _find_spans(text: str) -> SourceMap:
    # Imported and called only when something is wrong: then alone does anyone ask where it stands.
    from ectools.documents.toml_spans import find_spans

    return find_spans(text)


def _find_digits(text: str) -> Position | None:
    found = _DIGITS.search(text)
    return None if found is None else Lines(text).find_position(found.start())


def _explain(message: str, text: str) -> SyntaxProblem:
    at = _AT.search(message)
    message = _AT.sub("", message)
    if at is None or at.group(1) is None:
        position = Lines(text).find_position(len(text))
    else:
        position = Position(int(at.group(1)), int(at.group(2)))
    return SyntaxProblem(f"not TOML: {message[:1].lower()}{message[1:]}", position)


def _find_foreign(mapped: SourceMapped, value: Any, place: Place, faults: FaultList) -> None:
    """Put every value that JSON has no words for into ``faults``."""
    if len(place) > MAX_NESTING:
        raise SyntaxProblem(f"nested deeper than {MAX_NESTING} levels", mapped.find_position(place))
    if isinstance(value, dict):
        for key, inner in value.items():
            _find_foreign(mapped, inner, (*place, key), faults)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _find_foreign(mapped, inner, (*place, index), faults)
    elif isinstance(value, int):
        if keep_sane(value) is None:
            message = "the number is too large for a double"
            faults.add(SyntaxProblem(message, mapped.find_position(place), place=place))
    elif isinstance(value, float):
        if not math.isfinite(value):
            message = f"{value} is no number of JSON or Nix: every number there is finite"
            faults.add(SyntaxProblem(message, mapped.find_position(place), place=place))
    elif not isinstance(value, str):
        message = f"{value} is a TOML date or time, and JSON and Nix have none: put it in quotes"
        faults.add(SyntaxProblem(message, mapped.find_position(place), place=place))
