"""The layout of calls, printed from documents of their parts."""

from __future__ import annotations

import pytest

from ectools.nixlang.calls import Argument, CallItems, CallKind, build_call
from ectools.nixlang.documents import Gap, Group, Style, nest
from ectools.nixlang.printing import lay_out

WIDE = 60
A, B, C = ("abc"[n] * WIDE for n in range(3))


def make_set(*names: str) -> CallItems:
    """A set that breaks at its gaps, indented."""
    return ["{", *nest([item for name in names for item in (Gap.SPACE, f"{name};")]), Gap.SPACE, "}"]


def call(
    *arguments: CallItems,
    kinds: dict[int, CallKind] | None = None,
    hug_last: bool = False,
    before: CallItems | None = None,
    after: CallItems | None = None,
    is_simple: bool = False,
) -> str:
    """The text of ``f ARGUMENTS``; ``kinds`` by the index of an argument."""
    last = arguments[-1]
    return lay_out(
        build_call(
            ["f"],
            [Argument(items, (kinds or {}).get(index)) for index, items in enumerate(arguments)],
            last=[Group(nest(last), style=Style.HUG if hug_last else Style.PLAIN)],
            before=before or [],
            after=after or [],
            is_simple=is_simple,
        )
    )


def test_what_fits_stands_on_one_line() -> None:
    assert call(["1"]) == "f 1"
    assert call(["1"], make_set("a", "b"), ["2"]) == "f 1 { a; b; } 2"


def test_as_many_as_fit_stand_beside_the_function() -> None:
    assert call([A], [B]) == f"f {A}\n  {B}"
    assert call(["1"], [A], [B], [C]) == f"f 1 {A}\n  {B}\n  {C}"


def test_a_last_argument_that_alone_is_broken_is_hugged() -> None:
    assert call(["1"], make_set(A, B), hug_last=True) == f"f 1 {{\n  {A};\n  {B};\n}}"


def test_an_earlier_one_is_hugged_where_all_others_fit() -> None:
    assert call(make_set(A, B), ["2"]) == f"f {{\n  {A};\n  {B};\n}} 2"
    assert call(["1"], make_set(A, B), ["2"], ["3"]) == f"f 1 {{\n  {A};\n  {B};\n}} 2 3"


def test_the_last_that_can_be_is_hugged() -> None:
    # Of the two, only one may be broken: the first does not fit beside the second then.
    assert call(make_set("a"), make_set(A, B), ["3"]) == f"f {{ a; }} {{\n  {A};\n  {B};\n}} 3"


def test_a_selection_is_never_hugged() -> None:
    selection = [*make_set(A, B), ".x"]
    hugged = call(selection, ["2"])
    kept = call(selection, ["2"], kinds={0: CallKind.SELECTION})
    assert hugged == f"f {{\n  {A};\n  {B};\n}}.x 2"
    assert kept != hugged
    assert kept.split("\n")[-1] == "  2"


def test_two_lists_in_a_row_break_together() -> None:
    lists = {0: CallKind.LIST, 1: CallKind.LIST}
    assert call([A], [B], kinds=lists) == f"f\n  {A}\n  {B}"
    assert call([A], [B], ["3"], kinds=lists) == f"f\n  {A}\n  {B}\n  3"
    assert call([A], [B], kinds={1: CallKind.LIST}) == f"f {A}\n  {B}"
    assert call(["1"], ["2"], kinds=lists) == "f 1 2"


@pytest.mark.parametrize("is_simple", [True, False])
def test_a_simple_call_is_not_broken_before_its_last_argument(is_simple: bool) -> None:
    text = call([A], [B], is_simple=is_simple)
    assert text == (f"f {A} {B}" if is_simple else f"f {A}\n  {B}")


def test_gaps_around_break_with_the_call() -> None:
    around: dict[str, CallItems] = {"before": [Gap.SPACE], "after": [Gap.TIGHT, ";"]}
    wrapped = Group(["x =", *nest(build(["1"], **around))])
    assert lay_out([wrapped]) == "x = f 1;"
    wrapped = Group(["x =", *nest(build([A], [B], **around))])
    assert lay_out([wrapped]) == f"x =\n  f {A}\n    {B}\n  ;"


def build(*arguments: CallItems, before: CallItems, after: CallItems) -> CallItems:
    return build_call(
        ["f"],
        [Argument(items, None) for items in arguments],
        last=[Group(nest(arguments[-1]))],
        before=before,
        after=after,
        is_simple=False,
    )
