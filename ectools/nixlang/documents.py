"""A document with optional line breaks, and the choice of the breaks.

The model is Wadler's (a group stands on one line where it fits, else all its gaps break), with a third
possibility between the two: a group may stand on one line but for one *hugged* child, which alone is
broken::

    f a {
      b = 1;
    } c

Two more particulars of RFC 166. A line's width is counted without its indentation. However many levels are
opened on one line, the next line is indented by one step only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, StrEnum, auto
from typing import TYPE_CHECKING, TypeAlias, assert_never

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

WIDTH = 100


class Gap(Enum):
    """What may stand between two texts."""

    SPACE = auto()  # a space, or a line break in a broken group
    TIGHT = auto()  # nothing, or a line break in a broken group
    SOFT_SPACE = auto()  # a space, or a line break where what follows does not fit
    SOFT_TIGHT = auto()  # nothing, or a line break where what follows does not fit
    GLUE = auto()  # a space, nothing at the start of a line
    HARD = auto()  # a line break


FLAT_GAPS = {Gap.SPACE: " ", Gap.TIGHT: "", Gap.SOFT_SPACE: " ", Gap.SOFT_TIGHT: "", Gap.GLUE: " "}


class Style(StrEnum):
    """How a group that does not fit takes part in its parent's layout."""

    PLAIN = "plain"
    HUG = "hug"  # the parent may break this one alone
    CLEAR = "clear"  # its hugged children count as the parent's


@dataclass(frozen=True, slots=True)
class Text:
    """Text without a line break, ``level`` steps deeper than its group and then ``offset`` columns.

    With ``broken_only`` it vanishes where its group stands on one line. A comment has no width.
    """

    text: str
    level: int = 0
    offset: int = 0
    broken_only: bool = False
    is_comment: bool = False


@dataclass(frozen=True, slots=True)
class Block:
    """Whole lines of an indented string, which keep their blanks; the last one is not ended."""

    lines: tuple[str, ...]
    level: int = 0
    offset: int = 0


class Group:
    """Items that stand on one line together, or not. ``flat`` is that line, where there is one."""

    __slots__ = ("flat", "head", "head_stops", "items", "level", "style")

    def __init__(self, items: Iterable[Item], *, style: Style = Style.PLAIN, level: int = 0) -> None:
        self.items: list[Item] = list(items)
        self.style = style
        self.level = level
        self.flat = flatten(self.items, limit=WIDTH)
        self.head, self.head_stops = measure_head(self.items)

    def shifted(self, by: int) -> Group:
        """The same group ``by`` levels deeper."""
        copy = Group.__new__(Group)
        copy.items, copy.style, copy.level = self.items, self.style, self.level + by
        copy.flat, copy.head, copy.head_stops = self.flat, self.head, self.head_stops
        return copy


Item: TypeAlias = str | Gap | Text | Block | Group


def nest(items: Iterable[Item], *, by: int = 1) -> list[Item]:
    """The items ``by`` levels deeper."""
    return [_shift(item, by) for item in items]


def _shift(item: Item, by: int) -> Item:
    if by == 0:
        return item
    match item:
        case str():
            return Text(item, by)
        case Text():
            return replace(item, level=item.level + by)
        case Block():
            return replace(item, level=item.level + by)
        case Group():
            return item.shifted(by)
        case Gap():
            return item
        case _:
            assert_never(item)


def indent(items: Iterable[Item], *, columns: int) -> list[Item]:
    """The items, where each line that starts in them stands ``columns`` further right."""
    return [_offset(item, columns) for item in items] if columns else list(items)


def _offset(item: Item, columns: int) -> Item:
    match item:
        case str():
            return Text(item, offset=columns)
        case Text() | Block():
            return replace(item, offset=item.offset + columns)
        case Group():
            return Group(indent(item.items, columns=columns), style=item.style, level=item.level)
        case Gap():
            return item
        case _:
            assert_never(item)


def flatten(items: Iterable[Item], *, limit: int | None = None) -> str | None:
    """The items on one line; None where one of them is several lines, or the line exceeds ``limit``."""
    texts: list[str] = []
    for item in items:
        match item:
            case str():
                texts.append(item)
            case Gap():
                if item is Gap.HARD:
                    return None
                texts.append(FLAT_GAPS[item])
            case Text():
                if not item.broken_only:
                    texts.append(item.text)
            case Block():
                return None
            case Group():
                flat = item.flat if limit is not None else flatten(item.items)
                if flat is None:
                    return None
                texts.append(flat)
            case _:
                assert_never(item)
    line = "".join(texts)
    return line if limit is None or len(line) <= limit else None


def measure_head(items: Sequence[Item]) -> tuple[int, bool]:
    """The columns up to the first possible line break, and whether there is one."""
    width = 0
    for item in items:
        columns, stops = measure_item(item)
        width += columns
        if stops:
            return width, True
    return width, False


def measure_item(item: Item) -> tuple[int, bool]:
    match item:
        case str():
            return len(item), False
        case Gap():
            return (1, False) if item is Gap.GLUE else (0, True)
        case Text():
            return (0 if item.is_comment else len(item.text)), False
        case Block():
            return len(item.lines[0]), len(item.lines) > 1
        case Group():
            return item.head, item.head_stops
        case _:
            assert_never(item)


def join_items(gap: Gap, items: Iterable[Item]) -> list[Item]:
    """The items with ``gap`` between each two."""
    joined: list[Item] = []
    for item in items:
        joined += [gap, item] if joined else [item]
    return joined


def put_space_before(items: list[Item]) -> list[Item]:
    """The items after a space, which gives way to a line break where they start with one."""
    first = items[0] if items else None
    if not isinstance(first, Group):
        return [Gap.GLUE, *items]
    if first.items and first.items[0] is Gap.TIGHT:
        return [Group([Gap.SPACE, *first.items[1:]], style=first.style, level=first.level), *items[1:]]
    return [Group(put_space_before(first.items), style=first.style, level=first.level), *items[1:]]
