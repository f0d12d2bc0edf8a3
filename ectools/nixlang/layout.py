"""Nix expressions → documents, by the rules of RFC 166 as nixfmt --strict applies them.

``ectools.nixlang.forms`` has the words that the comments use: term, absorbable, simple.

Data and modules come out as nixfmt leaves them. In three corners a tree can be made whose text it would
change once more: arguments after an interpolation of several lines, a selection on several lines within a
call, and a pattern of two names within an interpolation that is too wide for its line.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, TypeAlias

from ectools.nixlang import scalars
from ectools.nixlang.calls import Argument, CallKind, build_call
from ectools.nixlang.documents import Gap, Group, Item, Style, Text, join_items, nest, put_space_before
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
    Path,
    Select,
    Var,
    With,
)
from ectools.nixlang.scalars import RenderError
from ectools.nixlang.strings import InnerBuilders, build_interpolated, build_string

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ectools.nixlang.nodes import Expr

Items: TypeAlias = list[Item]

_FEW_ITEMS = 6  # simple items up to which a list that is not the last argument stays on one line
_FEW_NAMES = 3  # inherited names up to which they stay on one line
_KINDS = {list: CallKind.LIST, tuple: CallKind.LIST, Select: CallKind.SELECTION}


def build_document(expr: Expr) -> Items:  # noqa: PLR0911 - one for each node
    """The document of an expression in a place that needs no parentheses."""
    expr = to_expression(expr)
    match expr:
        case Call():
            return _call(expr)
        case Lambda():
            return [Group([Gap.TIGHT, *_lambda_chain(expr)])]
        case Function():
            return _function(expr)
        case Let():
            return _let(expr)
        case With():
            return [*_with_head(expr), Gap.SPACE, *build_document(expr.body)]
        case Assert():
            condition = to_expression(expr.condition)
            arguments = (
                (condition.function, *condition.arguments) if isinstance(condition, Call) else (condition,)
            )
            return [Group([*_application(["assert"], arguments), ";", Gap.HARD, *build_document(expr.body)])]
        case If():
            return [Group(_if(expr, Gap.SPACE))]
        case int() | float() if is_negative(expr):
            return [scalars.number(expr)]
        case _:
            return _term(expr)


def _term(expr: Expr) -> Items:  # noqa: PLR0911 - one for each node
    """The same as a list's item or a call's argument: in parentheses where it needs them."""
    expr = to_expression(expr)
    match expr:
        case None:
            return ["null"]
        case bool():
            return ["true" if expr else "false"]
        case str():
            return build_string(expr)
        case int() | float() if not is_negative(expr):
            return [scalars.number(expr)]
        case list() | tuple():
            return [Group(_list(expr))]
        case Mapping() | AttrSet():
            return _set(expr, wide=False)
        case Var():
            return [expr.name]
        case Path():
            return [expr.text]
        case Select():
            return _select(expr)
        case Interpolated():
            return build_interpolated(expr, _BUILDERS)
        case int() | float() | Call() | Lambda() | Function() | Let() | With() | Assert() | If():
            return _parenthesized(expr)
        case _:
            raise RenderError(f"a Python {type(expr).__name__} has no form in Nix")


# Data


def _list(items: Sequence[Expr], *, gap: Gap = Gap.HARD) -> Items:
    if not items:
        return ["[ ]"]
    return ["[", Gap.SPACE, *nest(join_items(gap, [Group(_term(item)) for item in items])), Gap.SPACE, "]"]


def _set(expr: Expr, *, wide: bool) -> Items:
    """A set's braces and bindings; ``wide`` keeps it from one line."""
    value = to_expression(expr)
    assert isinstance(value, AttrSet)  # noqa: S101 - the callers have looked
    opening = "rec {" if value.recursive else "{"
    if not value.bindings:
        return [f"{opening} }}"]
    gap = Gap.HARD if wide else Gap.SPACE
    return [opening, gap, *nest(_bindings(value.bindings)), gap, "}"]


def _bindings(bindings: Sequence[Binding | Inherit]) -> Items:
    items: Items = []
    for binding in bindings:
        if items:
            items.append(Gap.HARD)
        for line in scalars.comment_lines(binding.comment):
            items += [Text(line, is_comment=True), Gap.HARD]
        items.append(Group(_inherit(binding) if isinstance(binding, Inherit) else _binding(binding)))
    return items


def _binding(binding: Binding) -> Items:
    names = [scalars.attribute_name(name) for name in binding.path]
    value = _right_side(to_expression(binding.value))
    if len(names) > 4 or any(name[0] == '"' for name in names):
        value = [Gap.TIGHT, Group(value, style=Style.HUG)]
    return [".".join(names), *nest([" =", *value]), ";"]


def _inherit(binding: Inherit) -> Items:
    few = len(binding.names) <= _FEW_NAMES
    gap, end = (Gap.SPACE, Gap.TIGHT) if few else (Gap.HARD, Gap.HARD)
    names = join_items(gap, [scalars.attribute_name(name) for name in binding.names])
    if not binding.has_source:
        return ["inherit", gap, *nest([*names, end, ";"])]
    source = Group([Gap.SPACE, *_parenthesized(binding.source)])
    return ["inherit", *nest([source, gap, *names, end, ";"])]


def _right_side(expr: Expr) -> Items:  # noqa: PLR0911 - one for each style
    """What stands after the ``=`` of a binding or the ``?`` of a parameter."""
    match expr:
        case AttrSet(bindings=(Inherit(comment=None | ""),)):
            return nest([Gap.GLUE, Group(_absorb(expr, wide=False))])
        case _ if is_absorbable(expr):
            return nest(put_space_before([Group(_absorb(expr, wide=True))]))
        case str() | Interpolated() | Path():
            return nest([Gap.GLUE, Group(_term(expr))])
        case Call():
            return nest(_call(expr, before=[Gap.SPACE]))
        case With():
            return nest([Group([Gap.SPACE, *build_document(expr)])])
        case _ if is_term(expr):
            return nest([Group([Gap.SPACE, *_term(expr)])])
        case _:
            return nest([Gap.SPACE, Group(build_document(expr))])


def _absorb(expr: Expr, *, wide: bool) -> Items:
    """An absorbable expression where nothing, or an opening parenthesis, stands before it."""
    match expr:
        case Mapping() | AttrSet():
            return _set(expr, wide=wide)
        case list() | tuple():
            return _list(expr)
        case With() if is_absorbable_term(expr.body):
            body = Group(_absorb(expr.body, wide=True), style=Style.HUG)
            return [Group([Gap.TIGHT, *_with_head(expr), Gap.GLUE, body])]
        case _:
            return build_document(expr)


# Functions and calls


def _lambda_chain(expr: Lambda) -> Items:
    heads = [f"{expr.parameter}:"]
    body = expr.body
    while isinstance(body, Lambda):
        heads.append(f"{body.parameter}:")
        body = body.body
    head: Item = " ".join(heads)
    if is_absorbable(body):
        return [head, *put_space_before([Group(_absorb(body, wide=False), style=Style.HUG)])]
    return [head, Gap.SPACE if len(heads) <= 2 else Gap.HARD, *build_document(body)]


def _function(expr: Function) -> Items:
    head = [*_parameters(expr), ":"]
    if expr.bind is None and are_few(expr.parameters) and is_absorbable(expr.body):
        return [*head, *put_space_before([Group(build_document(expr.body), style=Style.HUG)])]
    if is_absorbable_term(expr.body):
        return [*head, Gap.SPACE, Group(_absorb(expr.body, wide=True))]
    return [*head, Gap.SPACE, *build_document(expr.body)]


def _parameters(expr: Function) -> Items:
    bind = "" if expr.bind is None else f"@{expr.bind}"
    gap = Gap.SPACE if are_few(expr.parameters) else Gap.HARD
    entries: list[Items] = []
    for parameter in expr.parameters:
        value = [" ?", *_right_side(to_expression(parameter.default))] if parameter.has_default else []
        entries.append([Group([parameter.name, *nest(value)])])
    items: Items = []
    for index, entry in enumerate(entries):
        last = index == len(entries) - 1 and not expr.open
        items += [*entry, Text(",", broken_only=last), *([] if last else [gap])]
    if expr.open:
        items.append("...")
    if not items:
        return [f"{{ }}{bind}"]
    return [Group(["{", gap, *nest(items), gap, "}"]), bind]


def _call(
    expr: Call, *, before: Items | None = None, after: Items | None = None, indent: bool = False
) -> Items:
    function = _term(expr.function)
    if indent:
        function = nest([Group([Gap.TIGHT, *function])])
    return _application(function, expr.arguments, before=before, after=after, is_simple=is_simple(expr))


def _application(
    function: Items,
    arguments: Sequence[Expr],
    *,
    before: Items | None = None,
    after: Items | None = None,
    is_simple: bool = False,
) -> Items:
    """A call. ``before`` and ``after`` are gaps that break with it."""
    return build_call(
        function,
        [Argument(_argument(each), _KINDS.get(type(each))) for each in arguments],
        last=_last_argument(arguments[-1]),
        before=before or [],
        after=after or [],
        is_simple=is_simple,
    )


def _argument(expr: Expr) -> Items:
    """An argument that is not the last: a short list of simple items may stand on one line."""
    if isinstance(expr, (list, tuple)) and 0 < len(expr) <= _FEW_ITEMS and all(map(is_simple, expr)):
        return _list(expr, gap=Gap.SPACE)
    return _term(expr)


def _last_argument(expr: Expr) -> Items:
    expr = to_expression(expr)
    if is_absorbable_term(expr):
        return [Group(nest(_absorb(expr, wide=False)), style=Style.HUG)]
    match expr:
        case Lambda(body=body) if is_absorbable_term(body):
            items: Items = ["(", f"{expr.parameter}:", Gap.GLUE, *_absorb(body, wide=True), ")"]
            return [Group(nest(items), style=Style.HUG)]
        case Call(function=Var() as function, arguments=(body,)) if is_absorbable_term(body):
            items = ["(", function.name, Gap.GLUE, *_absorb(body, wide=True), ")"]
            return [Group(nest(items), style=Style.HUG)]
        case _ if not is_term(expr):
            inner = Group(nest(build_document(expr)))
            return [Group(nest(["(", Gap.TIGHT, inner, Gap.TIGHT, ")"]), style=Style.HUG)]
        case _:
            return [Group(nest(_term(expr)))]


def _parenthesized(expr: Expr) -> Items:
    return [Group(["(", *nest(_enclosed(to_expression(expr))), ")"])]


def _enclosed(expr: Expr) -> Items:
    """An expression between parentheses, or alone in an interpolation."""
    match expr:
        case _ if is_absorbable(expr):
            return [Group(_absorb(expr, wide=False))]
        case Call():
            return _call(expr, after=[Gap.TIGHT], indent=True)
        case Select() if not is_absorbable_term(expr.base):
            return [Group(build_document(expr)), Gap.TIGHT]
        case _:
            return [Gap.TIGHT, Group(build_document(expr)), Gap.TIGHT]


def _select(expr: Select) -> Items:
    base = to_expression(expr.base)
    items: Items
    if isinstance(base, Var) or (isinstance(base, Select) and not base.has_default):
        items = _term(base)
    else:
        items = [*_parenthesized(base), Gap.SOFT_TIGHT]
    items.append("".join(f".{scalars.attribute_name(name)}" for name in expr.path))
    if expr.has_default:
        items += [Gap.SOFT_SPACE, *nest(["or ", *_term(expr.default)])]
    return items


# The rest


def _let(expr: Let) -> Items:
    head = Group(["let", Gap.HARD, *nest(_bindings(expr.bindings))])
    return [head, Gap.HARD, Group(["in", Gap.HARD, *build_document(expr.body)])]


def _with_head(expr: With) -> Items:
    return [Group(["with", *nest(put_space_before([Group(build_document(expr.scope))])), ";"])]


def _if(expr: If, gap: Gap) -> Items:
    head = Group(["if", Gap.SPACE, *nest(build_document(expr.condition)), Gap.SPACE, "then"])
    otherwise = to_expression(expr.no)
    items = [head, gap, *nest([Group(build_document(expr.yes))]), gap, "else"]
    if isinstance(otherwise, If):
        return [*items, " ", *_if(otherwise, Gap.HARD)]
    return [*items, Gap.SPACE, *nest([Group(build_document(otherwise))])]


_BUILDERS = InnerBuilders(document=build_document, term=_term, enclosed=_enclosed)
