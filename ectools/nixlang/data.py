"""Plain data → text, in one pass and without documents: what ``layout`` does, where no expression is
involved.

Data needs few of the layout's rules: a set that is a binding's value and a list of several items
always take lines of their own; a list or a set of one takes one line where that fits; nothing else
can be broken. The tests hold that both ways yield the same text.
"""

from __future__ import annotations

from typing import Any

from ectools.nixlang import scalars
from ectools.nixlang.documents import WIDTH

MAX_DATA_DEPTH = 200
"""Deeper data is refused, because Python's stack and Nix's parser end somewhere as well."""


class NotDataError(Exception):
    """The value holds an expression: ``layout`` is the way to its text."""


def write_data(value: Any) -> str:
    """The text of JSON's types, and of a tuple as a list.

    Raises RenderError for what Nix has no words for, RecursionError past MAX_DEPTH, and NotDataError.
    """
    if value is None or isinstance(value, (int, float)):
        return _write_atom(value) or ""
    out: list[str] = []
    _put_item(value, "", out)
    return "".join(out)[:-1]


def _write_atom(value: Any) -> str | None:
    """The one-line text of a scalar, an empty list or an empty set, as a binding's value; else None."""
    if isinstance(value, str):
        return scalars.quote(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return scalars.number(value)
    if isinstance(value, dict):
        return None if value else "{ }"
    if isinstance(value, (list, tuple)):
        return None if value else "[ ]"
    raise NotDataError


def _write_term(value: Any) -> str | None:
    """The same as a list's item, where a sign or a call needs parentheses."""
    atom = _write_atom(value)
    if isinstance(value, (int, float)) and atom is not None and atom.startswith(("-", scalars.FROM_JSON)):
        return f"({atom})"
    return atom


def _split(value: Any) -> list[str] | None:
    return scalars.split_indented(value) if isinstance(value, str) else None


def _write_item(value: Any, room: int) -> str | None:
    """A list's item on one line of at most ``room`` columns; None where it takes more."""
    if room < 0 or _split(value) is not None:
        return None
    line = _write_term(value)
    if line is None and len(value) == 1:
        if isinstance(value, dict):
            ((name, inner),) = value.items()
            line = _write_binding(scalars.attribute_name(name), inner, room - 4)
            line = None if line is None else f"{{ {line} }}"
        else:
            line = _write_item(value[0], room - 4)
            line = None if line is None else f"[ {line} ]"
    return None if line is None or len(line) > room else line


def _write_binding(name: str, value: Any, room: int) -> str | None:
    """A binding on one line; None where its value takes several, or more than ``room`` columns."""
    if _split(value) is not None or (isinstance(value, dict) and value):
        return None
    line = _write_atom(value) or _write_item(value, room - len(name) - 4)
    return None if line is None else f"{name} = {line};"


def _put_item(value: Any, margin: str, out: list[str]) -> None:
    """A list's item, on lines of its own."""
    lines = _split(value)
    if isinstance(value, str) and lines is None:
        out.append(f"{margin}{scalars.quote(value)}\n")  # however long: nothing breaks a string
        return
    line = _write_item(value, WIDTH) if lines is None else None
    if line is not None:
        out.append(f"{margin}{line}\n")
        return
    out.append(margin)
    _put_block(value, lines, margin, out)
    out.append("\n")


def _put_block(value: Any, lines: list[str] | None, margin: str, out: list[str]) -> None:
    """What opens on the current line and closes on one of its own: an indented string, a set, a list."""
    if len(margin) >= 2 * MAX_DATA_DEPTH:
        raise RecursionError
    inner = f"{margin}  "
    if lines is not None:
        out.append("''\n")
        out.append("\n".join([f"{inner}{line}" if line else "" for line in lines]))
        out.append("''" if lines[-1] else f"{margin}''")
    elif isinstance(value, dict):
        out.append("{\n")
        for name, item in value.items():
            _put_binding(scalars.attribute_name(name), item, inner, out)
        out.append(f"{margin}}}")
    else:
        out.append("[\n")
        for item in value:
            _put_item(item, inner, out)
        out.append(f"{margin}]")


def _put_binding(name: str, value: Any, margin: str, out: list[str]) -> None:
    bare = name[0] != '"'
    lines = _split(value)
    line = _write_atom(value) if lines is None else None
    if line is not None:
        # A bare name keeps its string beside it, however long; a quoted one lets it start a line.
        stays = bare and (isinstance(value, str) or line.startswith(scalars.FROM_JSON))
        if stays or len(name) + len(line) + 4 <= WIDTH:
            out.append(f"{margin}{name} = {line};\n")
        else:
            out.append(f"{margin}{name} =\n{margin}  {line};\n")
        return
    is_list = lines is None and not isinstance(value, dict)
    line = _write_item(value, WIDTH - len(name) - 4) if is_list else None
    if line is not None:
        out.append(f"{margin}{name} = {line};\n")
        return
    first, last = (2, len(lines[-1]) + 2) if lines is not None else (1, 1)
    if bare or (len(name) + 3 + first <= WIDTH and last + 1 <= WIDTH):
        out.append(f"{margin}{name} = ")
        _put_block(value, lines, margin, out)
    else:
        out.append(f"{margin}{name} =\n{margin}  ")
        line = _write_item(value, WIDTH - 1) if is_list else None
        if line is not None:
            out.append(line)
        else:
            _put_block(value, lines, f"{margin}  ", out)
    out.append(";\n")
