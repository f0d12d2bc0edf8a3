"""Where in an expression the value stands that Nix has no words for."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ectools.names import show_path
from ectools.nixlang.nodes import Binding, Inherit, Parameter, Select, Var
from ectools.nixlang.scalars import RenderError


def find_unrepresentable(expr: Any, render: Callable[[Any], str]) -> str:
    """The path of the innermost part of ``expr`` that ``render`` refuses: ``a.b[0]``; empty for the whole."""
    path: tuple[str | int, ...] = ()
    while True:
        for steps, part in _list_parts(expr):
            if _is_unrepresentable(part, render):
                path, expr = (*path, *steps), part
                break
        else:
            return show_path(path)


def _is_unrepresentable(part: Any, render: Callable[[Any], str]) -> bool:
    try:
        render(part)
    except RenderError:
        return True
    return False


def _name(*names: str) -> Select:
    # An expression that can be refused for its names alone.
    return Select(Var("x"), names)


def _list_parts(expr: Any) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    """What an expression is made of, each with the steps that lead to it in the value it stands for."""
    match expr:
        case Mapping():
            for name, value in expr.items():
                step = name if isinstance(name, str) else repr(name)
                yield (step,), _name(name)
                yield (step,), value
        case Binding():
            yield expr.path, _name(*expr.path)
            yield expr.path, expr.value
        case list() | tuple():
            yield from (((index,), item) for index, item in enumerate(expr))
        case _ if dataclasses.is_dataclass(expr):
            for field in dataclasses.fields(expr):
                value = getattr(expr, field.name)
                for part in value if isinstance(value, tuple) else (value,):
                    # These stand only in other nodes: on their own they are no expressions.
                    if isinstance(part, (Binding, Inherit, Parameter)):
                        yield from _list_parts(part)
                    else:
                        yield (), part
        case _:
            pass
