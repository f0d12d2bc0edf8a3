r"""The texts that cannot be broken: strings, numbers and names as Nix's lexer reads them back.

Nix has no escape but ``\n``, ``\r``, ``\t`` and a backslash before the character itself, so every other
control character stands as it is, and NUL cannot be said at all. Its numbers are 64-bit signed integers and
doubles, whose literals need a point.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache

from ectools.errors import InputError

KEYWORDS = frozenset({"assert", "else", "if", "in", "inherit", "let", "or", "rec", "then", "with"})
"""Names that are never bare. ``or`` is a keyword only in places, which differ between versions of Nix."""

FROM_JSON = "builtins.fromJSON"
"""What yields the numbers that no literal does."""

INT_MAX = 2**63 - 1
INT_MIN = -(2**63)

_BARE_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_'-]*\Z")
_NEEDS_CARE = re.compile('[\\\\"\n\r\t\0\ud800-\udfff]|\\$\\{')
_UNSAYABLE = re.compile("[\0\ud800-\udfff]")
_ESCAPES = str.maketrans({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"})
_SMALLEST_NORMAL = 2.2250738585072014e-308


class RenderError(InputError):
    """A value or a name that Nix has no words for; the message holds its path in the value."""


def quote(text: str) -> str:
    """``text`` between double quotes, on one line. Raises RenderError for NUL and lone surrogates."""
    if not _NEEDS_CARE.search(text):
        return f'"{text}"'
    bad = _UNSAYABLE.search(text)
    if bad is not None:
        raise RenderError(_describe_unrepresentable(bad.group()))
    return f'"{text.translate(_ESCAPES).replace("${", chr(92) + "${")}"'


def escape_nix_string(text: str) -> str:
    """``text`` as it stands between double quotes, without them."""
    return quote(text)[1:-1]


def comment_lines(text: str | None) -> list[str]:
    """The lines of a comment; whatever any reader takes for a line's end begins a new one."""
    if text is not None and _UNSAYABLE.search(text):
        raise RenderError("a comment holds a NUL character or a lone surrogate")
    return [f"# {line}".rstrip() for line in (text or "").splitlines()]


def _describe_unrepresentable(character: str) -> str:
    if character == "\0":
        return "the string holds a NUL character, and no Nix string can"
    return (
        f"the string holds the lone surrogate U+{ord(character):04X}, which is no character and has no UTF-8"
    )


def split_indented(text: str) -> list[str] | None:
    """The lines of ``text`` as they stand between ``''`` and ``''``, or None where ``"…"`` is safer.

    The last line is empty where the text ends with a newline. Nix strips the indentation that all lines
    share, and the blanks of a line that has nothing else; such texts take ``"…"``. So do those where a quote
    meets another quote, a dollar sign or the end, whose escapes few people can read.
    """
    if "\n" not in text or "\r" in text or "''" in text or "'$" in text or text[-1] == "'":
        return None
    if _UNSAYABLE.search(text):
        return None
    lines = text.split("\n")
    at_margin = False
    for line in lines:
        if not line:
            continue
        if line.isspace() or line[0] == "\t":
            return None
        at_margin = at_margin or line[0] != " "
    return text.replace("${", "''${").split("\n") if at_margin else None


@lru_cache(maxsize=4096)
def attribute_name(name: str) -> str:
    """``name`` as an attribute name: bare where it can be, else quoted."""
    if not isinstance(name, str):
        raise RenderError(f"{name!r} is no attribute name: names are strings")
    if _BARE_NAME.match(name) and name not in KEYWORDS:
        return name
    return quote(name)


def number(value: float) -> str:
    """The expression of a number, with its sign: a literal, or where there is none a call of ``fromJSON``.

    There is none for the least integer, whose absolute value is out of range for Nix's lexer, for
    subnormal numbers, which it rejects, and for minus zero, which it takes for zero.
    """
    if isinstance(value, int):
        if not INT_MIN <= value <= INT_MAX:
            message = f"the integer {_shorten(value)} is out of Nix's range, {INT_MIN} to {INT_MAX}"
            raise RenderError(message)
        return str(value) if value != INT_MIN else f'{FROM_JSON} "{value}"'
    if not math.isfinite(value):
        raise RenderError(f"the number {value} is not in JSON, and Nix has no literal for it")
    text = repr(float(value))
    if 0 < abs(value) < _SMALLEST_NORMAL or text == "-0.0":
        return f'{FROM_JSON} "{text}"'
    mantissa, e, exponent = text.partition("e")
    if not e:
        return text
    point = "" if "." in mantissa else ".0"
    return f"{mantissa}{point}e{exponent[0]}{exponent[1:].lstrip('0')}"


def _shorten(value: int) -> str:
    # Turning a huge integer into decimal text is quadratic, and Python refuses it past 4,300 digits.
    return str(value) if value.bit_length() < 256 else f"of {value.bit_length()} bits"
