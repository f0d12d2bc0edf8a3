"""A document → text: which gaps break.

One pass, from the first text to the last. Three ways to lay out a group are tried in turn: all of it on this
line; on this line but for one hugged member, the last such first; all gaps broken.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from ectools.nixlang.documents import (
    FLAT_GAPS,
    WIDTH,
    Block,
    Gap,
    Group,
    Style,
    Text,
    flatten,
    measure_head,
    measure_item,
    nest,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ectools.nixlang.documents import Item

STEP = 2


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
        """Print the items with their own gaps broken; ``tail`` columns follow up to the next gap."""
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
            flat = FLAT_GAPS[gap]
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
        columns, stops = measure_item(items[index])
        tail = columns if stops else columns + tail
    return tails


def _measure_first_line(items: Sequence[Item], tail: int) -> int:
    """The columns up to the first line break, with each group unbroken that a line of its own can hold."""
    width = 0
    waiting = list(reversed(items))
    while waiting:
        item = waiting.pop()
        if isinstance(item, Group):
            after, stops = measure_head(waiting[::-1])
            following = after if stops else after + tail
            if item.flat is not None and width + len(item.flat) + following <= WIDTH:
                width += len(item.flat)
            else:
                waiting.extend(reversed(item.items))
            continue
        columns, stops = measure_item(item)
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
