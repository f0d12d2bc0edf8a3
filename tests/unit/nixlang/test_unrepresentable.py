"""The place of what Nix has no words for: the innermost part that cannot be rendered."""

from __future__ import annotations

from typing import Any

import pytest

from ectools.nixlang import render
from ectools.nixlang.nodes import (
    AttrSet,
    Binding,
    Call,
    Function,
    If,
    Inherit,
    Interpolated,
    Lambda,
    Let,
    Parameter,
    Select,
    Var,
    With,
)
from ectools.nixlang.unrepresentable import find_unrepresentable

NUL = "\0"
X = Var("x")


@pytest.mark.parametrize(
    ("expr", "place"),
    [
        (NUL, ""),
        (2**64, ""),
        ([1, NUL], "[1]"),
        ((1, [2, NUL]), "[1][1]"),
        ({"a": {"b c": [NUL]}}, 'a."b c"[0]'),
        ({"a": 1, NUL: 1}, '"\\u0000"'),
        ({"a": {3: 1}}, 'a."3"'),
        ({"a": [1, object()]}, "a[1]"),
        (AttrSet((Binding(("a", "b"), {"c": NUL}),)), "a.b.c"),
        (AttrSet((Binding(("a", NUL), 1),)), 'a."\\u0000"'),
        (AttrSet((Inherit(("a",)), Inherit(("b",), {"c": NUL}))), "c"),
        (Let((Binding(("a",), [NUL]),), X), "a[0]"),
        (Let((Binding(("a",), 1),), {"b": NUL}), "b"),
        (Function(parameters=(Parameter("a", {"b": NUL}, has_default=True),), body=X), "b"),
        (Call(Var("f"), 1, [NUL]), "[0]"),
        (Lambda("x", With(X, {"a": NUL})), "a"),
        (If(condition=True, yes=1, no={"a": [NUL]}), "a[0]"),
        (Select({"a": NUL}, ("a",)), "a"),
        (Interpolated(("a", {"b": NUL})), "b"),
    ],
)
def test_the_path_of_the_innermost_part(expr: Any, place: str) -> None:
    assert find_unrepresentable(expr, render) == place


def test_the_first_of_several() -> None:
    assert find_unrepresentable({"a": 1, "b": [NUL, NUL], "c": NUL}, render) == "b[0]"


def test_only_an_error_of_rendering_says_so() -> None:
    def fail(_: Any) -> str:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        find_unrepresentable([1], fail)
