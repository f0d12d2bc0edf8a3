"""Strings of the layout by themselves: what stands in their braces is given."""

from __future__ import annotations

import pytest

from ectools.nixlang.documents import Item, flatten
from ectools.nixlang.nodes import Expr, Interpolated, Var
from ectools.nixlang.strings import InnerBuilders, build_interpolated, build_string


def name(expr: Expr) -> list[Item]:
    assert isinstance(expr, Var)
    return [expr.name]


INNER = InnerBuilders(document=name, term=name, enclosed=name)


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ([], '""'),
        ([""], '""'),
        (["a"], '"a"'),
        ([Var("x")], '"${x}"'),
        (["  ", Var("x")], '"  ${x}"'),
        (["a", Var("x"), "${", Var("y")], '"a${x}\\${${y}"'),
    ],
)
def test_parts_stand_side_by_side(parts: list[Expr], text: str) -> None:
    assert flatten(build_interpolated(Interpolated(tuple(parts)), INNER)) == text


def test_several_lines_are_no_one_line() -> None:
    assert flatten(build_string("a")) == '"a"'
    assert flatten(build_string("a\nb\n")) is None
