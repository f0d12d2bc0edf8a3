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
from ectools.nixlang.scalars import RenderError

MAX_DEPTH = 200
"""Deeper data is refused: Python's stack and Nix's parser end somewhere too, and with worse words."""


def is_data(value: Any) -> bool:
    """Whether the value is data all through: JSON's types, and a tuple for a list."""
    match value:
        case None | str() | int() | float():
            return True
        case dict():
            return all(map(is_data, value.values()))
        case list() | tuple():
            return all(map(is_data, value))
        case _:
            return False


def write_data(value: Any) -> str:
    """The text of a value that ``is_data``. Raises RenderError for what Nix has no words for."""
    if value is None or isinstance(value, (int, float)):
        return _write_atom(value) or ""
    out: list[str] = []
    _put_item(value, "", out)
    return "".join(out)


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
    if not value:
        return "{ }" if isinstance(value, dict) else "[ ]"
    return None


def _write_term(value: Any) -> str | None:
    """The same as a list's item, where a sign or a call needs parentheses."""
    atom = _write_atom(value)
    if atom is not None and isinstance(value, (int, float)) and atom[0] in "-b" and atom[:2] != "fa":
        return f"({atom})"
    return atom


def _write_item(value: Any, room: int) -> str | None:
    """A list's item on one line of at most ``room`` columns; None where it takes more."""
    if room < 0 or (isinstance(value, str) and scalars.split_indented(value) is not None):
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
    """A binding on one line; None where its value is a set, or takes more than ``room`` columns."""
    if isinstance(value, dict) and value:
        return None
    if isinstance(value, (list, tuple)):
        line = _write_item(value, room - len(name) - 4)
    elif isinstance(value, str) and scalars.split_indented(value) is not None:
        line = None
    else:
        line = _write_atom(value)
    return None if line is None else f"{name} = {line};"


def _put_item(value: Any, margin: str, out: list[str]) -> None:
    """A list's item at the start of a line."""
    line = _write_item(value, WIDTH)
    if line is not None:
        out.append(line)
    elif (lines := _split(value)) is not None or isinstance(value, (dict, list, tuple)):
        _put_block(value, lines, margin, out)
    else:
        out.append(_write_term(value) or "")  # a long string: nothing breaks it


def _split(value: Any) -> list[str] | None:
    return scalars.split_indented(value) if isinstance(value, str) else None


def _put_block(value: Any, lines: list[str] | None, margin: str, out: list[str]) -> None:
    """What opens on the current line and closes on one of its own: an indented string, a set, a list."""
    if len(margin) >= 2 * MAX_DEPTH:
        raise RenderError(f"nested deeper than {MAX_DEPTH} levels")
    inner = f"{margin}  "
    if lines is not None:
        out.append("''\n")
        out.append("\n".join([f"{inner}{line}" if line else "" for line in lines]))
        out.append("''" if lines[-1] else f"{margin}''")
    elif isinstance(value, dict):
        out.append("{\n")
        for name, item in value.items():
            out.append(inner)
            _put_binding(scalars.attribute_name(name), item, inner, out)
            out.append("\n")
        out.append(f"{margin}}}")
    else:
        out.append("[\n")
        for item in value:
            out.append(inner)
            _put_item(item, inner, out)
            out.append("\n")
        out.append(f"{margin}]")


def _put_binding(name: str, value: Any, margin: str, out: list[str]) -> None:
    bare = name[0] != '"'
    lines = _split(value)
    line = _write_atom(value) if lines is None else None
    if line is not None:
        # A bare name keeps its string beside it, however long; a quoted one lets it start a line.
        stays = bare and (isinstance(value, str) or line.startswith(scalars.FROM_JSON))
        if stays or len(name) + len(line) + 4 <= WIDTH:
            out.append(f"{name} = {line};")
        else:
            out.append(f"{name} =\n{margin}  {line};")
        return
    line = None if lines is not None or isinstance(value, dict) else _write_item(value, WIDTH - len(name) - 4)
    if line is not None:
        out.append(f"{name} = {line};")
        return
    first, last = (2, len(lines[-1]) + 2) if lines is not None else (1, 1)
    if bare or (len(name) + 3 + first <= WIDTH and last + 1 <= WIDTH):
        out.append(f"{name} = ")
        _put_block(value, lines, margin, out)
    else:
        out.append(f"{name} =\n{margin}  ")
        line = None if lines is not None or isinstance(value, dict) else _write_item(value, WIDTH - 1)
        if line is not None:
            out.append(line)
        else:
            _put_block(value, lines, f"{margin}  ", out)
    out.append(";")
