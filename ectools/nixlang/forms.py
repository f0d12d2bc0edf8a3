"""What kind of expression it is, as far as its layout depends on that.

Three words. A *term* can be a list's item without parentheses. An *absorbable* expression opens at the end
of a line and closes at the start of one (``x = f {`` … ``};``). A *simple* one (a name, a number, a string,
a path, or a call with such arguments) is never broken, whatever its width.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeGuard

from ectools.nixlang import scalars
from ectools.nixlang.nodes import (
    Assert,
    AttrSet,
    Binding,
    Call,
    Function,
    If,
    Interpolated,
    Lambda,
    Let,
    Parameter,
    Path,
    Select,
    Var,
    With,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ectools.nixlang.nodes import Expr

_FROM_JSON = Select(Var("builtins"), ("fromJSON",))  # scalars.FROM_JSON


def to_expression(expr: Expr) -> Expr:
    """The same value in words that Nix has: a call where there is no literal, a set for a mapping."""
    match expr:
        case bool():
            return expr
        case int() | float() if scalars.number(expr).startswith(scalars.FROM_JSON):
            return Call(_FROM_JSON, repr(expr))
        case Call(function=Call() as inner):
            return to_expression(Call(inner.function, *inner.arguments, *expr.arguments))
        case Mapping():
            return AttrSet(tuple(Binding((name,), value) for name, value in expr.items()))
        case _:
            return expr


def is_negative(expr: Expr) -> TypeGuard[int | float]:
    return isinstance(expr, (int, float)) and expr < 0


def is_term(expr: Expr) -> bool:
    return not isinstance(expr, (Call, Lambda, Function, Let, With, Assert, If)) and not is_negative(expr)


def is_absorbable_term(expr: Expr) -> bool:
    match expr:
        case str():
            return scalars.split_indented(expr) is not None
        case list() | tuple():
            return len(expr) > 0
        case AttrSet():
            return len(expr.bindings) > 0
        case Mapping():
            return len(expr) > 0
        case _:
            return False


def is_absorbable(expr: Expr) -> bool:
    match expr:
        case With():
            return is_absorbable_term(expr.body)
        case Lambda(body=Lambda() | Function()):
            return is_absorbable(expr.body)
        case Lambda():
            return is_absorbable_term(expr.body)
        case Function():
            return expr.bind is None and are_few(expr.parameters) and is_absorbable(expr.body)
        case _:
            return is_absorbable_term(expr)


def is_simple(expr: Expr) -> bool:
    expr = to_expression(expr)
    match expr:
        case None | bool() | str() | Var() | Path() | Interpolated():
            return True
        case int() | float():
            return not is_negative(expr)
        case Select():
            bare = all(scalars.attribute_name(name)[0] != '"' for name in expr.path)
            return bare and not expr.has_default and is_simple(expr.base)
        case Call():
            return len(expr.arguments) <= 2 and all(map(is_simple, (expr.function, *expr.arguments)))
        case _:
            return False


def are_few(parameters: Sequence[Parameter]) -> bool:
    return len(parameters) <= 2 and not any(parameter.has_default for parameter in parameters)
