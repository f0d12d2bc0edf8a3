"""Strings → documents, and what is interpolated in them. ``layout`` builds what is in their braces."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ectools.nixlang import scalars
from ectools.nixlang.documents import Block, Gap, Group, Item, flatten, indent, nest
from ectools.nixlang.forms import is_absorbable_term, is_simple, to_expression

if TYPE_CHECKING:
    from collections.abc import Callable

    from ectools.nixlang.nodes import Expr, Interpolated

_INLINE_INTERPOLATION = 30  # columns up to which an interpolation stays on its line


@dataclass(frozen=True)
class InnerBuilders:
    """The documents of an expression by itself, as a term, and alone between braces (``layout``)."""

    document: Callable[[Expr], list[Item]]
    term: Callable[[Expr], list[Item]]
    enclosed: Callable[[Expr], list[Item]]


def build_string(text: str) -> list[Item]:
    """A string without interpolations: quoted, or indented where it has several lines."""
    lines = scalars.split_indented(text)
    if lines is None:
        return [scalars.quote(text)]
    return [Group(["''", Gap.TIGHT, Block(tuple(lines), level=1), "''"])]


def build_interpolated(expr: Interpolated, inner: InnerBuilders) -> list[Item]:
    """A quoted string with interpolations."""
    parts = [part for part in expr.parts if part != ""]
    if not parts:
        return ['""']
    blanks = scalars.escape_nix_string(parts[0]) if isinstance(parts[0], str) else ""
    if (
        _count_blanks(blanks) == len(blanks)
        and len(parts) == (2 if blanks else 1)
        and not isinstance(parts[-1], str)
    ):
        braces = indent(
            [Group(["${", *nest(inner.enclosed(to_expression(parts[-1]))), "}"])], columns=len(blanks)
        )
        return [Group(['"', blanks, *braces, '"'])]
    items: list[Item] = ['"']
    for part in parts:
        items += (
            [scalars.escape_nix_string(part)]
            if isinstance(part, str)
            else _build_interpolation(to_expression(part), inner)
        )
    if isinstance(parts[0], str):
        # What an interpolation continues on lines of its own stands below the string's first character.
        items[2:] = indent(items[2:], columns=_count_blanks(scalars.escape_nix_string(parts[0])))
    return [Group([*items, '"'])]


def _count_blanks(text: str) -> int:
    return next((index for index, each in enumerate(text) if not _is_blank(each)), len(text))


def _is_blank(character: str) -> bool:
    return character in " \t\n\r\f\v" or unicodedata.category(character) == "Zs"


def _build_interpolation(expr: Expr, inner: InnerBuilders) -> list[Item]:
    if is_absorbable_term(expr):
        return [Group(["${", *inner.term(expr), "}"])]
    document = inner.document(expr)
    flat = flatten(document)
    if flat is not None and (is_simple(expr) or len(flat) <= _INLINE_INTERPOLATION):
        return [f"${{{flat}}}"]
    if is_simple(expr):
        return ["${", *document, "}"]
    return [Group(["${", Gap.TIGHT, *nest([Group(document)]), Gap.TIGHT, "}"])]
