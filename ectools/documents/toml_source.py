"""TOML with positions: ``tomllib`` reads the values and finds the errors, a scanner finds the places.

Dates and times are named errors (JSON and Nix have none), and so are ``nan`` and ``inf``.
"""

from __future__ import annotations

import math
import re
import tomllib
from typing import Any

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

_AT = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)$")


def parse_toml(text: str) -> SourceMapped:
    """Parse ``text``. Raises SyntaxProblem for what is not TOML, and for what JSON has no words for."""
    try:
        value = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        from ectools.documents.toml_spans import find_repeated

        # Of a key that stands twice, tomllib says neither which it is nor where it starts.
        raise find_repeated(text) or _explain(str(error), text) from None
    except RecursionError:
        raise SyntaxProblem(f"nested deeper than {MAX_NESTING} levels", None) from None
    mapped = SourceMapped(value, lambda: _find_spans(text))
    faults = FaultList()
    _find_foreign(mapped, value, (), faults)
    faults.finish()
    return mapped


def _find_spans(text: str) -> SourceMap:
    # Imported and called only when something is wrong: then alone does anyone ask where it stands.
    from ectools.documents.toml_spans import find_spans

    return find_spans(text)


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
    elif isinstance(value, float):
        if not math.isfinite(value):
            message = f"{value} is no number of JSON or Nix: every number there is finite"
            faults.add(SyntaxProblem(message, mapped.find_position(place), place=place))
    elif not isinstance(value, (str, int)):
        message = f"{value} is a TOML date or time, and JSON and Nix have none: put it in quotes"
        faults.add(SyntaxProblem(message, mapped.find_position(place), place=place))
