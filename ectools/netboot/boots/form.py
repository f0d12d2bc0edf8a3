"""A form that a node sends, ``application/x-www-form-urlencoded``: its fields within bounds, and as text.

https://url.spec.whatwg.org/#application/x-www-form-urlencoded
"""

from __future__ import annotations

import json
from bisect import bisect_right
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from ectools.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_MAX_FIELDS = 256
_MAX_ENCODED = len(json.dumps("\N{GRINNING FACE}")) - 2


def parse_form(body: bytes) -> dict[str, list[str]]:
    """Name → its values, in order. Raises InputError where there are too many."""
    fields: dict[str, list[str]] = {}
    try:
        pairs = parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    except ValueError as error:
        raise InputError(f"more than {_MAX_FIELDS} fields") from error
    for name, value in pairs:
        fields.setdefault(name, []).append(value)
    return fields


def get_field(form: Mapping[str, Sequence[str]], name: str) -> str | None:
    """The one value of a field; None: there is none. Raises InputError where there are several."""
    values = form.get(name, ())
    if len(values) > 1:
        raise InputError(f"{name}: there are {len(values)} of it")
    return values[0] if values else None


def clean_text(text: str, *, lines: bool = False) -> str:
    """A text without what is not printable; blanks stay, and line breaks where there may be ``lines``."""
    kept = "\n\t" if lines else ""
    return "".join(
        char if char.isprintable() or char in kept else "\N{REPLACEMENT CHARACTER}" for char in text
    )


def cut_kept(text: str, most: int, *, keeps_end: bool = False) -> str:
    """As much of a text as takes ``most`` bytes in the state: its beginning, or its end.

    There it is JSON in ASCII, in which one character takes up to twelve.
    """

    def cut(length: int) -> str:
        return text[len(text) - length :] if keeps_end else text[:length]

    if len(text) * _MAX_ENCODED <= most:
        return text
    length = bisect_right(range(len(text) + 1), most, key=lambda length: len(json.dumps(cut(length))) - 2)
    return cut(length - 1)
