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
STEP = 2


class Gap(Enum):
    """What may stand between two texts."""

    SPACE = auto()  # a space, or a line break in a broken group
    TIGHT = auto()  # nothing, or a line break in a broken group
    SOFT_SPACE = auto()  # a space, or a line break where what follows does not fit
    SOFT_TIGHT = auto()  # nothing, or a line break where what follows does not fit
    GLUE = auto()  # a space, nothing at the start of a line
    HARD = auto()  # a line break


_FLAT_GAPS = {Gap.SPACE: " ", Gap.TIGHT: "", Gap.SOFT_SPACE: " ", Gap.SOFT_TIGHT: "", Gap.GLUE: " "}


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
        self.head, self.head_stops = _measure_head(self.items)

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
                texts.append(_FLAT_GAPS[item])
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


def _measure_head(items: Sequence[Item]) -> tuple[int, bool]:
    """The columns up to the first possible line break, and whether there is one."""
    width = 0
    for item in items:
        columns, stops = _measure_item(item)
        width += columns
        if stops:
            return width, True
    return width, False


def _measure_item(item: Item) -> tuple[int, bool]:
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


def lay_out(items: Sequence[Item]) -> str:
    """The text of a document, without a newline at its end."""
    printer = _Printer()
    printer.put_group(Group(items), level=0, tail=0)
    return "".join(printer.out)


class _Printer:
    """Where the next text goes: ``column`` counts from the line's indentation, and is 0 on an empty line."""

    def __init__(self) -> None:
        self.out: list[str] = []
        self.column = 0
        # (indentation, level) of each level that is open, innermost first, as a linked list.
        self.open: _Levels = _Levels(0, 0, None)

    def put(self, items: Sequence[Item], *, level: int, tail: int) -> None:
        """Print the items with their own gaps broken; ``tail`` columns follow up to the next possible break."""
        for index, (item, rest) in enumerate(zip(items, _measure_tails(items, tail), strict=True)):
            match item:
                case str():
                    self.put_text(item, level)
                case Text():
                    self.put_text(item.text, level + item.level, offset=item.offset)
                case Gap():
                    self.put_gap(item, items[index + 1 :], tail)
                case Block():
                    self.put_block(item, level + item.level)
                case Group():
                    self.put_group(item, level=level + item.level, tail=rest)
                case _:
                    assert_never(item)

    def put_text(self, text: str, level: int, *, offset: int = 0) -> None:
        self.open_level(level)
        if self.column == 0:
            self.out.append(" " * (self.open.indentation + offset))
        self.out.append(text)
        self.column += len(text)

    def open_level(self, level: int) -> None:
        while self.open.level > level and self.open.outer is not None:
            self.open = self.open.outer
        if self.open.level < level:
            step = STEP if self.column == 0 else 0
            self.open = _Levels(self.open.indentation + step, level, self.open)

    def put_gap(self, gap: Gap, following: Sequence[Item], tail: int) -> None:
        if self.column == 0:
            return
        if gap is Gap.GLUE:
            self.put_flat(" ")
        elif gap in {Gap.SOFT_SPACE, Gap.SOFT_TIGHT}:
            flat = _FLAT_GAPS[gap]
            if self.column + len(flat) + _measure_first_line(following, tail) <= WIDTH:
                self.put_flat(flat)
            else:
                self.break_line()
        else:
            self.break_line()

    def put_flat(self, text: str) -> None:
        self.out.append(text)
        self.column += len(text)

    def break_line(self) -> None:
        self.out.append("\n")
        self.column = 0

    def put_block(self, block: Block, level: int) -> None:
        for index, line in enumerate(block.lines):
            if index:
                self.break_line()
            if line:
                self.put_text(line, level, offset=block.offset)

    def put_group(self, group: Group, *, level: int, tail: int) -> None:
        if self.put_line(group.flat, _find_first(group.items, level), tail):
            return
        if group.style is not Style.CLEAR:
            members = _open_clear(group.items)
            for index in range(len(members) - 1, -1, -1):
                member = members[index]
                hugs = isinstance(member, Group) and member.style is Style.HUG
                if hugs and self.put_hugging(members, index, level=level, tail=tail):
                    return
        self.put(group.items, level=level, tail=tail)

    def put_line(self, flat: str | None, first: tuple[int, int], tail: int) -> bool:
        """Print ``flat`` where it fits on this line."""
        if flat is None:
            return False
        at_start = self.column == 0
        text = flat.lstrip(" ") if at_start else flat
        if self.column + len(text) + tail > WIDTH:
            return False
        if at_start:
            self.put_text(text, first[0], offset=first[1])
        else:
            self.put_flat(text)
        return True

    def put_hugging(self, members: Sequence[Item], index: int, *, level: int, tail: int) -> bool:
        """Print all on one line but the member at ``index``, which is broken. False, and nothing, if that
        does not fit.
        """
        before, hugged, after = members[:index], members[index], members[index + 1 :]
        assert isinstance(hugged, Group)  # noqa: S101 - the caller has looked
        mark = len(self.out), self.column, self.open
        room = _measure_tails(["", *members[index:]], tail)[0] if before else 0
        if not before or self.put_line(flatten(before), _find_first(before, level), room):
            glued = [_glue(item) for item in after]
            self.put(hugged.items, level=level + hugged.level, tail=_measure_tails([hugged, *glued], tail)[0])
            if not after or self.put_line(flatten(after), _find_first(after, level), tail):
                return True
        size, self.column, self.open = mark
        del self.out[size:]
        return False


@dataclass(frozen=True, slots=True)
class _Levels:
    indentation: int
    level: int
    outer: _Levels | None


def _measure_tails(items: Sequence[Item], tail: int) -> list[int]:
    """For each item, the columns that follow it up to the next possible break."""
    tails = [0] * len(items)
    for index in range(len(items) - 1, -1, -1):
        tails[index] = tail
        columns, stops = _measure_item(items[index])
        tail = columns if stops else columns + tail
    return tails


def _measure_first_line(items: Sequence[Item], tail: int) -> int:
    """The columns up to the first line break, with each group unbroken that a line of its own can hold."""
    width = 0
    waiting = list(reversed(items))
    while waiting:
        item = waiting.pop()
        if isinstance(item, Group):
            after, stops = _measure_head(waiting[::-1])
            following = after if stops else after + tail
            if item.flat is not None and width + len(item.flat) + following <= WIDTH:
                width += len(item.flat)
            else:
                waiting.extend(reversed(item.items))
            continue
        columns, stops = _measure_item(item)
        width += columns
        if stops:
            return width
    return width + tail


def _find_first(items: Sequence[Item], level: int) -> tuple[int, int]:
    """The level and the offset of the first text."""
    for item in items:
        match item:
            case str():
                return level, 0
            case Text() | Block():
                return level + item.level, item.offset
            case Group():
                return _find_first(item.items, level + item.level)
            case Gap():
                pass
            case _:
                assert_never(item)
    return level, 0


def _open_clear(items: Iterable[Item]) -> list[Item]:
    """The items, with those of clear groups in the place of the group."""
    members: list[Item] = []
    for item in items:
        if isinstance(item, Group) and item.style is Style.CLEAR:
            members.extend(nest(_open_clear(item.items), by=item.level))
        else:
            members.append(item)
    return members


def _glue(item: Item) -> Item:
    match item:
        case Gap.SPACE | Gap.SOFT_SPACE:
            return Gap.GLUE
        case Gap.TIGHT | Gap.SOFT_TIGHT:
            return ""
        case _:
            return item
