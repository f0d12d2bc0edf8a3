"""The kinds of expressions that layout asks for: terms, absorbable ones, simple ones."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import pytest

from ectools.nixlang.forms import (
    are_few,
    is_absorbable,
    is_absorbable_term,
    is_negative,
    is_simple,
    is_term,
    to_expression,
)
from ectools.nixlang.nodes import (
    Assert,
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
    Path,
    Select,
    Var,
    With,
)

X, F = Var("x"), Var("f")
SET = AttrSet((Binding(("a",), 1),))
EMPTY_SET = AttrSet(())
FROM_JSON = Select(Var("builtins"), ("fromJSON",))


@pytest.mark.parametrize(
    ("expr", "expected"),
    [
        (True, True),
        (3, 3),
        (-(2**63), Call(FROM_JSON, "-9223372036854775808")),
        (5e-324, Call(FROM_JSON, "5e-324")),
        (Call(Call(F, 1), 2), Call(F, 1, 2)),
        (Call(Call(Call(F, 1), 2, 3), 4), Call(F, 1, 2, 3, 4)),
        ({"a": 1}, SET),
        (MappingProxyType({"a": 1}), SET),
        ({}, EMPTY_SET),
        ([1], [1]),
        (X, X),
    ],
)
def test_the_same_value_in_words_that_nix_has(expr: Any, expected: Any) -> None:
    assert to_expression(expr) == expected


@pytest.mark.parametrize(
    ("expr", "negative"), [(-1, True), (-0.5, True), (0, False), (1, False), ("-1", False)]
)
def test_negative_numbers(expr: Any, negative: bool) -> None:
    assert is_negative(expr) is negative


@pytest.mark.parametrize(
    "expr",
    [None, True, 1, 0.5, "a", [1], {"a": 1}, X, Path("./a"), Select(X, ("a",)), SET, Interpolated((X,))],
)
def test_terms(expr: Any) -> None:
    assert is_term(expr)


@pytest.mark.parametrize(
    "expr",
    [
        -1,
        -0.5,
        Call(F, 1),
        Lambda("x", X),
        Function(parameters=(), body=X),
        Let((Binding(("a",), 1),), X),
        With(X, X),
        Assert(True, X),
        If(condition=True, yes=X, no=X),
    ],
)
def test_what_needs_parentheses_in_a_list(expr: Any) -> None:
    assert not is_term(expr)


@pytest.mark.parametrize("expr", [[1], (1,), {"a": 1}, SET, "a\nb", AttrSet((Inherit(("a",)),))])
def test_what_opens_at_a_lines_end_and_closes_at_the_start_of_one(expr: Any) -> None:
    assert is_absorbable_term(expr)
    assert is_absorbable(expr)
    assert is_absorbable(With(X, expr))
    assert is_absorbable(Lambda("x", Lambda("y", expr)))
    assert not is_absorbable_term(With(X, expr))
    assert not is_absorbable(Call(F, expr))
    assert not is_absorbable(Lambda("x", With(X, expr)))


@pytest.mark.parametrize("expr", [[], (), {}, EMPTY_SET, "a", "a\n''b", 1, None, X])
def test_what_does_not(expr: Any) -> None:
    assert not is_absorbable_term(expr)
    assert not is_absorbable(expr)
    assert not is_absorbable(With(X, expr))
    assert not is_absorbable(Lambda("x", expr))


@pytest.mark.parametrize(
    ("function", "absorbable"),
    [
        (Function(parameters=(), body=SET), True),
        (Function(parameters=(Parameter("a"), Parameter("b")), body=SET, open=True), True),
        (Function(parameters=(Parameter("a"), Parameter("b"), Parameter("c")), body=SET), False),
        (Function(parameters=(Parameter("a", None, has_default=True),), body=SET), False),
        (Function(parameters=(), body=SET, bind="args"), False),
        (Function(parameters=(), body=X), False),
        (Lambda("x", Function(parameters=(Parameter("a"),), body=SET)), True),
        (Lambda("x", Function(parameters=(Parameter("a"),), body=SET, bind="args")), False),
    ],
)
def test_functions_with_a_short_head_are_absorbable(function: Any, absorbable: bool) -> None:
    assert is_absorbable(function) is absorbable


@pytest.mark.parametrize(
    "expr",
    [
        None,
        False,
        1,
        0.5,
        "a",
        "a\nb",
        X,
        Path("./a"),
        Interpolated(("a", X)),
        Select(X, ("a", "b")),
        Call(F, 1),
        Call(F, 1, "a"),
        Call(Call(F, 1), 2),
        Call(F, Call(F, X)),
        -(2**63),
    ],
)
def test_what_is_never_broken(expr: Any) -> None:
    assert is_simple(expr)


@pytest.mark.parametrize(
    "expr",
    [
        -1,
        [],
        {},
        SET,
        Lambda("x", X),
        Select(X, ("a b",)),
        Select(X, ("a", "if")),
        Select(X, ("a",), default=1, has_default=True),
        Select(SET, ("a",)),
        Call(F, 1, 2, 3),
        Call(Call(F, 1), 2, 3),
        Call(F, -1),
        Call(F, []),
        Call(Select(X, ("a b",)), 1),
    ],
)
def test_what_is_broken_where_it_is_too_wide(expr: Any) -> None:
    assert not is_simple(expr)


def test_few_parameters() -> None:
    assert are_few(())
    assert are_few((Parameter("a"), Parameter("b")))
    assert not are_few((Parameter("a"), Parameter("b"), Parameter("c")))
    assert not are_few((Parameter("a", 1, has_default=True),))
