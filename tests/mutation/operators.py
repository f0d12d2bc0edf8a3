"""The kinds of faults: pairs of a node's type and a function from a node to its faulty versions.

The functions on expressions are mutmut's. Those on statements are our own, because mutmut has none; statement
deletion subsumes most other operators (Deng, Offutt and Li, "Empirical Evaluation of the Statement Deletion
Mutation Operator", ICST 2013).
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import libcst as cst
import libcst.matchers as m
from mutmut.mutation import mutators

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    Operator = tuple[str, type[cst.CSTNode], Callable[[Any], Iterable[cst.CSTNode]]]


def argument_is_none(node: cst.Call) -> Iterable[cst.CSTNode]:
    """``f(None, b)`` and ``f(a, None)`` for ``f(a, b)``: of mutmut's operator, what replaces."""
    return (call for call in mutators.operator_arg_removal(node) if len(call.args) == len(node.args))


def remove_argument(node: cst.Call) -> Iterable[cst.CSTNode]:
    """``f(a)`` and ``f(b)`` for ``f(a, b)``: of mutmut's operator, what removes."""
    return (call for call in mutators.operator_arg_removal(node) if len(call.args) < len(node.args))


def remove_statement(
    node: cst.Expr | cst.Assign | cst.AugAssign | cst.Raise | cst.Del,
) -> Iterable[cst.BaseSmallStatement]:
    """``pass`` for a call, a change of an attribute or an item, a ``raise`` and a ``del``.

    A name's assignment is not removed: the name would be missing, which anything notices.
    """
    if isinstance(node, cst.Expr) and not isinstance(node.value, cst.Call | cst.Await | cst.Yield):
        return
    if isinstance(node, cst.Assign) and not any(
        isinstance(target.target, cst.Attribute | cst.Subscript) for target in node.targets
    ):
        return
    yield cst.Pass()


def negate_condition(node: cst.If | cst.CompIf) -> Iterable[cst.CSTNode]:
    """The other branch of an ``if``, and the other items of a comprehension."""
    if isinstance(node.test, cst.UnaryOperation):
        return  # mutmut removes its `not`
    test = node.test.with_changes(lpar=[cst.LeftParen()], rpar=[cst.RightParen()])
    yield node.with_changes(
        whitespace_before_test=cst.SimpleWhitespace(" "),
        test=cst.UnaryOperation(operator=cst.Not(), expression=test),
    )


def return_nothing(node: cst.Return) -> Iterable[cst.Return]:
    """``return None`` for any other value."""
    if node.value is not None and not m.matches(node.value, m.Name("None") | m.Name("False")):
        yield cst.Return(value=cst.Name("None"))


def catch_less(node: cst.ExceptHandler) -> Iterable[cst.ExceptHandler]:
    """An ``except`` with one class fewer: ``except ():`` catches nothing."""
    if isinstance(node.type, cst.Tuple):
        for index in range(len(node.type.elements)):
            kept = [*node.type.elements[:index], *node.type.elements[index + 1 :]]
            # One that is left needs its comma, or it is no tuple.
            kept[-1] = kept[-1].with_changes(comma=cst.Comma())
            yield node.with_changes(type=node.type.with_changes(elements=kept))
    elif node.type is not None:
        yield node.with_changes(type=cst.Tuple(elements=[]))


def remove_decorator(node: cst.FunctionDef | cst.ClassDef) -> Iterable[cst.CSTNode]:
    """A function or a class without one of its decorators."""
    for index in range(len(node.decorators)):
        yield node.with_changes(decorators=[*node.decorators[:index], *node.decorators[index + 1 :]])


STATEMENTS: list[Operator] = [
    ("statement", cst.Expr, remove_statement),
    ("statement", cst.Assign, remove_statement),
    ("statement", cst.AugAssign, remove_statement),
    ("statement", cst.Raise, remove_statement),
    ("statement", cst.Del, remove_statement),
    ("condition", cst.If, negate_condition),
    ("condition", cst.CompIf, negate_condition),
    ("return", cst.Return, return_nothing),
    ("except", cst.ExceptHandler, catch_less),
    ("decorator", cst.FunctionDef, remove_decorator),
    ("decorator", cst.ClassDef, remove_decorator),
]

# Strings are left out whole: most are the wording of a message, and no rule tells these from the others.
_REPLACED = (mutators.operator_string, mutators.operator_arg_removal)

EXPRESSIONS: list[Operator] = [
    *(
        (function.__name__.removeprefix("operator_"), node_type, function)
        for node_type, function in mutators.mutation_operators
        if function not in _REPLACED
    ),
    ("argument", cst.Call, remove_argument),
    ("none_argument", cst.Call, argument_is_none),
]

OPERATORS: list[Operator] = [*EXPRESSIONS, *STATEMENTS]

CRUDE = {"assignment", "none_argument"}
"""Operators that put ``None`` in a value's place: mostly noticed by the first test that runs the line."""


@functools.cache
def operators_for(node_type: type[cst.CSTNode]) -> list[Operator]:
    """The operators for one type of nodes, in the order of OPERATORS."""
    return [operator for operator in OPERATORS if issubclass(node_type, operator[1])]
