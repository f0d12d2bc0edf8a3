"""What stands in a state that others write too, read within bounds: all else is none.

``parse_object`` is where bytes come in; the readers take one field each of what it gave. All raise
ValueError, which says what is wrong, and with which field. Bounds are far above what this program writes.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from ectools.netboot.state.interface import MAX_VALUE_BYTES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_TIME = 253_402_300_799.0
"""Unix seconds: the end of the year 9999, the last one that can be shown."""
MAX_PERIOD = 10 * 366 * 86400.0
"""Seconds from one thing to another."""
MAX_INTEGER = 1 << 53
"""Above it JSON has no whole numbers (RFC 8259, section 6)."""
MAX_TEXT = 8 << 10
"""Characters of a name, or of a line."""
MAX_LONG_TEXT = 64 << 10
"""Characters of a journal, or of a reason."""
MAX_DEPTH = 32
# The envelope of a value.
_ENVELOPE_BYTES = 256


def parse_object(payload: bytes) -> dict[str, Any]:
    """A JSON object whose numbers are finite, and texts can be written. Raises ValueError."""
    if len(payload) > MAX_VALUE_BYTES + _ENVELOPE_BYTES:
        raise ValueError(f"{len(payload)} bytes, of {MAX_VALUE_BYTES} at most")
    try:
        found = json.loads(payload)
    except RecursionError:
        raise ValueError("nested too deep") from None
    except ValueError:  # whose words have what stands there
        raise ValueError("no JSON") from None
    check_plain(found)
    if not isinstance(found, dict):
        raise ValueError("no JSON object")
    return found


def check_plain(value: Any) -> None:
    """Raises ValueError for what JSON, SQLite or UTF-8 cannot hold, however deep within ``value``."""
    level, depth = [value], 0
    while level:
        if depth > MAX_DEPTH:
            raise ValueError("nested too deep")
        below: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                below += [*each.keys(), *each.values()]
            elif isinstance(each, list):
                below += each
            elif isinstance(each, str):
                _check_text(each)
            elif isinstance(each, int | float):
                _check_number(each)
        level, depth = below, depth + 1


def need_mapping(value: Any, what: str) -> Mapping[str, Any]:
    """``value``, which is a JSON object."""
    if not isinstance(value, dict):
        raise ValueError(f"{what}: no object")
    return value


def need_list(value: Any, what: str, *, most: int = MAX_VALUE_BYTES) -> Sequence[Any]:
    """``value``, which is a JSON array of so many at most."""
    if not isinstance(value, list) or len(value) > most:
        raise ValueError(f"{what}: no list of at most {most}")
    return value


def need_text(value: Any, what: str, *, most: int = MAX_TEXT) -> str:
    """``value``, which is a text of so many characters at most."""
    if not isinstance(value, str) or len(value) > most:
        raise ValueError(f"{what}: no text of at most {most} characters")
    _check_text(value)
    return value


def need_number(value: Any, what: str, *, most: float, least: float = 0.0) -> float:
    """``value``, which is a number between bounds."""
    # Before it is made a float: an integer may be larger than any.
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise ValueError(f"{what}: no number from {least:g} to {most:g}")
    return float(value)


def read_text(raw: Mapping[str, Any], name: str, *, most: int = MAX_TEXT) -> str:
    """A text, which has to be there."""
    return need_text(raw.get(name), name, most=most)


def read_text_if_any(raw: Mapping[str, Any], name: str, *, most: int = MAX_TEXT) -> str | None:
    """A text; None: it is not there, or null."""
    return None if raw.get(name) is None else read_text(raw, name, most=most)


def read_time(raw: Mapping[str, Any], name: str) -> float:
    """Unix seconds, which have to be there."""
    return need_number(raw.get(name), name, most=MAX_TIME)


def read_time_if_any(raw: Mapping[str, Any], name: str) -> float | None:
    """Unix seconds; None: they are not there, or null."""
    return None if raw.get(name) is None else read_time(raw, name)


def read_period(raw: Mapping[str, Any], name: str, *, otherwise: float) -> float:
    """Seconds from one thing to another."""
    return need_number(raw.get(name, otherwise), name, most=MAX_PERIOD)


def read_count(
    raw: Mapping[str, Any],
    name: str,
    *,
    least: int = 0,
    most: int = MAX_INTEGER,
    otherwise: int | None = None,
) -> int:
    """A whole number between bounds."""
    value = raw.get(name, otherwise)
    if type(value) is not int or not least <= value <= most:
        raise ValueError(f"{name}: no whole number from {least} to {most}")
    return value


def read_flag(raw: Mapping[str, Any], name: str, *, otherwise: bool = False) -> bool:
    """A truth value."""
    value = raw.get(name, otherwise)
    if not isinstance(value, bool):
        raise ValueError(f"{name}: neither true nor false")
    return value


def _check_text(text: str) -> None:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError("a text that is no Unicode") from None


def _check_number(number: float) -> None:
    if not math.isfinite(number) if isinstance(number, float) else abs(number) > MAX_INTEGER:
        raise ValueError("a number out of bounds")
