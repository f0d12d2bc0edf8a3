"""What nodes say, and times, as text for people: bounded, with what cannot be seen made visible.

Escaping is the templates' part. What is done here keeps a text from looking like another: control characters
(Unicode's category C: NUL, escape sequences, and those that turn the direction of a line) are written out.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime

MAX_LINE = 200
"""Characters of one line: a name, a store path, a reason."""
MAX_JOURNAL = 32 << 10
"""Characters of a journal's end."""

_ID_LENGTH = 12
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_NUMBER = re.compile(r"([0-9]+)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """A time as it is shown: ``age`` in one unit, ``exact`` in full, ``machine`` for the script."""

    age: str
    exact: str
    machine: str


def show_line(text: str, limit: int = MAX_LINE) -> str:
    """A text of one line, at most ``limit`` characters of it and a mark where there was more."""
    cut = text[:limit]
    shown = cut if cut.isprintable() else "".join(_show_character(each) for each in cut)
    return shown if len(text) <= limit else f"{shown}…"


def show_journal(text: str) -> str:
    """A text of many lines: its end, where it is longer than ``MAX_JOURNAL``."""
    lines = text[-MAX_JOURNAL:].replace("\r\n", "\n").split("\n")
    shown = "\n".join("\t".join(show_line(part, MAX_JOURNAL) for part in line.split("\t")) for line in lines)
    return shown if len(text) <= MAX_JOURNAL else f"…{shown}"


def _show_character(character: str) -> str:
    if unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"):
        return character
    code = ord(character)
    # U+2400 and following: SYMBOL FOR NULL and those of the other control codes (Unicode, Control Pictures).
    return chr(0x2400 + code) if code < 0x20 else f"<U+{code:04X}>"


def write_age(seconds: float) -> str:
    """How long something is so, in its largest whole unit: ``12 s``, ``5 min``, ``3 h``, ``4 d``."""
    whole = max(int(seconds), 0)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min"
    return f"{whole // _HOUR} h" if whole < 2 * _DAY else f"{whole // _DAY} d"


def write_duration(seconds: float) -> str:
    """How long something took: ``0.4 s``, ``12.3 s``, ``3 min 20 s``, ``1 h 5 min``."""
    if seconds < _MINUTE - 0.05:
        return f"{max(seconds, 0.0):.1f} s"
    whole = round(seconds)
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE} s"
    return f"{whole // _HOUR} h {whole % _HOUR // _MINUTE} min"


def write_moment(unix: float) -> str:
    """``2026-11-29 11:07:03 UTC``."""
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def write_datetime(unix: float) -> str:
    """The same for a ``datetime`` attribute (HTML, valid date string): ``2026-11-29T11:07:03Z``."""
    return datetime.fromtimestamp(unix, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def write_release_name(release_id: str, tag: str | None) -> str:
    """A release's tag, or the beginning of its id."""
    return show_line(tag, 60) if tag else show_line(release_id, _ID_LENGTH)


def write_since(unix: float, now: float) -> Moment:
    """A time that has passed."""
    return Moment(age=write_age(now - unix), exact=write_moment(unix), machine=write_datetime(unix))


def order_naturally(name: str) -> tuple[tuple[int, int, str], ...]:
    """A key by which ``nuc-2`` comes before ``nuc-10``."""
    return tuple(_order_part(part) for part in _NUMBER.split(name) if part)


def _order_part(part: str) -> tuple[int, int, str]:
    if part[0] not in "0123456789":
        return (1, 0, part)
    digits = part.lstrip("0")
    return (0, len(digits), digits)  # by value; Python refuses to read very long numbers
