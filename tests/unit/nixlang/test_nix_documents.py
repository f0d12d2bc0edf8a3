"""Documents: what stands on one line, how wide it is up to the first break, and how far it is moved."""

from __future__ import annotations

import pytest

from ectools.nixlang.documents import (
    WIDTH,
    Block,
    Gap,
    Group,
    Item,
    Style,
    Text,
    flatten,
    indent,
    measure_head,
    measure_item,
    nest,
)

LINES = Block(("''", "  a''"))
FULL = "x" * WIDTH


@pytest.mark.parametrize(
    ("items", "line"),
    [
        ([], ""),
        (["a", Gap.SPACE, "b", Gap.TIGHT, "c"], "a bc"),
        (["a", Gap.SOFT_SPACE, "b", Gap.SOFT_TIGHT, "c", Gap.GLUE, "d"], "a bc d"),
        ([Text("a"), Text("b", broken_only=True), Text("c", 2, 3)], "ac"),
        ([Group(["a", Gap.SPACE, Group(["b"])]), "c"], "a bc"),
        (["a", Gap.HARD, "b"], None),
        (["a", LINES], None),
        ([Group([Gap.HARD])], None),
    ],
)
def test_on_one_line(items: list[Item], line: str | None) -> None:
    assert flatten(items) == line
    assert flatten(items, limit=WIDTH) == line
    assert Group(items).flat == line


def test_a_group_that_exceeds_the_width_has_no_line() -> None:
    assert Group([FULL]).flat == FULL
    assert Group([FULL, Gap.TIGHT, ""]).flat == FULL
    too_wide = Group([FULL, "y"])
    assert too_wide.flat is None
    assert Group([too_wide]).flat is None
    assert flatten([too_wide]) == FULL + "y"
    assert flatten(["ab"], limit=1) is None


@pytest.mark.parametrize(
    ("item", "measure"),
    [
        ("abc", (3, False)),
        ("", (0, False)),
        (Text("abc", 2, 5), (3, False)),
        (Text("# abc", is_comment=True), (0, False)),
        (Gap.GLUE, (1, False)),
        (Gap.SPACE, (0, True)),
        (Gap.TIGHT, (0, True)),
        (Gap.SOFT_SPACE, (0, True)),
        (Gap.SOFT_TIGHT, (0, True)),
        (Gap.HARD, (0, True)),
        (LINES, (2, True)),
        (Block(("abc",)), (3, False)),
        (Group(["ab", Gap.GLUE, "c", Gap.SPACE, "d"]), (4, True)),
        (Group(["ab", "c"]), (3, False)),
    ],
)
def test_the_columns_before_a_break(item: Item, measure: tuple[int, bool]) -> None:
    assert measure_item(item) == measure


def test_the_columns_before_the_first_break_of_several() -> None:
    assert measure_head([]) == (0, False)
    assert measure_head(["a", Group(["bc"]), Gap.GLUE, "d"]) == (5, False)
    assert measure_head(["a", Group(["bc", Gap.TIGHT, "d"]), "efg"]) == (3, True)
    assert measure_head(["a", LINES, "b"]) == (3, True)


def test_levels_add_up_and_a_group_is_moved_as_a_whole() -> None:
    group = Group(["a", Gap.SPACE, "b"], style=Style.HUG, level=1)
    moved = nest(["a", Text("b", 1, 4), Block(("c", "d"), 2), Gap.HARD, group], by=2)
    assert moved[:4] == [Text("a", 2), Text("b", 3, 4), Block(("c", "d"), 4), Gap.HARD]
    last = moved[4]
    assert isinstance(last, Group)
    assert (last.level, last.style, last.flat, last.head, last.head_stops) == (3, Style.HUG, "a b", 1, True)
    assert last.items == group.items
    assert group.level == 1
    assert nest([group, "a"], by=0) == [group, "a"]
    assert nest(["a"]) == [Text("a", 1)]


def test_columns_are_added_to_each_line_that_starts_inside() -> None:
    group = Group(["a", Gap.HARD, Text("b", 1, 1)], style=Style.CLEAR, level=2)
    moved = indent(["a", Text("b", 1, 1), Block(("c",), 1, 1), Gap.SPACE, group], columns=3)
    assert moved[:4] == [Text("a", offset=3), Text("b", 1, 4), Block(("c",), 1, 4), Gap.SPACE]
    last = moved[4]
    assert isinstance(last, Group)
    assert last.items == [Text("a", offset=3), Gap.HARD, Text("b", 1, 4)]
    assert (last.level, last.style) == (2, Style.CLEAR)
    assert indent(("a", group), columns=0) == ["a", group]
