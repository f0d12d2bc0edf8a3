"""What a call looks like, given the documents of its function and its arguments.

As many arguments as fit stand beside the function, and the rest on a line each; but where all would fit on
one line if one argument were broken, that one is hugged, the last such first.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

from ectools.nixlang.documents import Gap, Group, Item, Style, flatten, nest

if TYPE_CHECKING:
    from collections.abc import Sequence

CallItems: TypeAlias = list[Item]


class CallKind(StrEnum):
    """Arguments with a layout of their own."""

    LIST = "list"  # two in a row break together
    SELECTION = "selection"  # never hugged: only what follows its dot would move


@dataclass(frozen=True)
class Argument:
    """An argument as it looks before the last one; ``kind`` is None for most."""

    items: CallItems
    kind: CallKind | None


def build_call(
    function: CallItems,
    arguments: Sequence[Argument],
    *,
    last: CallItems,
    before: CallItems,
    after: CallItems,
    is_simple: bool,
) -> CallItems:
    """The document of a call. ``last`` is the last argument as it looks in its place.

    ``before`` and ``after`` are gaps that break with the call. A simple call is not broken before its last
    argument.
    """
    if _end_with_two_lists(arguments):
        head = Group(_build_head(function, arguments[:-2]), style=Style.CLEAR)
        pair = [item for each in arguments[-2:] for item in (Gap.SPACE, *nest([Group(each.items)]))]
        return [Group([*before, head, *pair, *after])]
    items = [*before, Group(_build_head(function, arguments[:-1]), style=Style.CLEAR)]
    flat = flatten(items) if is_simple else None
    if flat is not None:
        space: CallItems = [Gap.GLUE] if before else []
        return [Group([*space, flat.lstrip(" "), Gap.GLUE, *last])]
    return [Group([*items, Gap.SPACE, *last, *after])]


def _build_head(function: CallItems, arguments: Sequence[Argument]) -> CallItems:
    """The function and the arguments before the last."""
    if not arguments:
        return function
    if _end_with_two_lists(arguments):
        inner = Group(_build_head(function, arguments[:-2]), style=Style.CLEAR)
        first, second = (Group(each.items) for each in arguments[-2:])
        pair = Group([Gap.SPACE, first, Gap.SPACE, second])
        return [Group([inner, *nest([pair])], style=Style.CLEAR)]
    inner = Group(_build_head(function, arguments[:-1]), style=Style.CLEAR)
    style = Style.PLAIN if arguments[-1].kind is CallKind.SELECTION else Style.HUG
    return [inner, Gap.SPACE, *nest([Group(arguments[-1].items, style=style)])]


def _end_with_two_lists(arguments: Sequence[Argument]) -> bool:
    return len(arguments) > 1 and all(each.kind is CallKind.LIST for each in arguments[-2:])
