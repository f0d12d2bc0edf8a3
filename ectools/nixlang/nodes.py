"""Nix expressions as values.

A plain Python value is a literal: ``None``, ``bool``, ``int``, ``float``, ``str``, a list or tuple, a
mapping with string keys. So a string is only ever a string; whatever is more than data is one of the nodes
below. Each node checks its own names when it is made, and raises RenderError.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from ectools.nixlang.scalars import KEYWORDS, RenderError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_IDENTIFIER = re.compile(r"[a-zA-Z_][a-zA-Z0-9_'-]*\Z")
# What Nix's lexer takes for a path, without interpolation, and without `~`, which differs from user to user.
_PATH = re.compile(r"(?:\.{0,2}(?:/[a-zA-Z0-9._+-]+)+|<[a-zA-Z0-9._+-]+(?:/[a-zA-Z0-9._+-]+)*>)\Z")


def check_identifier(name: str) -> str:
    """``name`` where it can stand bare in any place of an expression; else RenderError."""
    if not _IDENTIFIER.match(name) or name in KEYWORDS:
        raise RenderError(f"{name!r} is not a Nix identifier", hint="letters, digits, _ ' and - are allowed")
    return name


@dataclass(frozen=True)
class Var:
    """A variable: ``pkgs``."""

    name: str

    def __post_init__(self) -> None:
        check_identifier(self.name)


@dataclass(frozen=True)
class Select:
    """``base.a."b c"``, with ``or default`` where ``has_default`` (a default may be null)."""

    base: Expr
    path: tuple[str, ...]
    default: Expr = None
    has_default: bool = False

    def __post_init__(self) -> None:
        if not self.path:
            raise RenderError("a selection needs at least one attribute name")


@dataclass(frozen=True)
class Path:
    """A path literal: ``./a/b``, ``../a``, ``/a``, ``<nixpkgs>``. Anything else goes into a string."""

    text: str

    def __post_init__(self) -> None:
        if not _PATH.match(self.text):
            raise RenderError(f"{self.text!r} is not a path literal", hint="./FILE, ../FILE, /FILE or <NAME>")


@dataclass(frozen=True)
class Call:
    """``function argument argument …``."""

    function: Expr
    arguments: tuple[Expr, ...]

    def __init__(self, function: Expr, *arguments: Expr) -> None:
        if not arguments:
            raise RenderError("a call needs at least one argument")
        object.__setattr__(self, "function", function)
        object.__setattr__(self, "arguments", arguments)


@dataclass(frozen=True)
class Lambda:
    """``name: body``."""

    parameter: str
    body: Expr

    def __post_init__(self) -> None:
        check_identifier(self.parameter)


@dataclass(frozen=True)
class Parameter:
    """One name of a set pattern, with its default where ``has_default`` (a default may be null)."""

    name: str
    default: Expr = None
    has_default: bool = False

    def __post_init__(self) -> None:
        check_identifier(self.name)


@dataclass(frozen=True, kw_only=True)
class Function:
    """``{ a, b ? 1, ... }@args: body``."""

    parameters: tuple[Parameter, ...]
    body: Expr
    open: bool = False
    bind: str | None = None

    def __post_init__(self) -> None:
        names = [parameter.name for parameter in self.parameters]
        if self.bind is not None:
            names.append(check_identifier(self.bind))
        _reject_repeated([(name,) for name in names])


@dataclass(frozen=True)
class Inherit:
    """``inherit a b;`` or, with a source, ``inherit (source) a b;``."""

    names: tuple[str, ...]
    source: Expr = None
    comment: str | None = None

    @property
    def has_source(self) -> bool:
        """Nothing can be inherited from null, so null stands for no source."""
        return self.source is not None

    def __post_init__(self) -> None:
        if not self.names:
            raise RenderError("an inherit needs at least one name")
        if not self.has_source:
            # An odd name can be inherited from a set, but not from the scope: no variable has one.
            for name in self.names:
                check_identifier(name)


@dataclass(frozen=True)
class Binding:
    """``a.b = value;``, with a comment on the lines above."""

    path: tuple[str, ...]
    value: Expr
    comment: str | None = None

    def __post_init__(self) -> None:
        if not self.path:
            raise RenderError("a binding needs a name")


@dataclass(frozen=True)
class AttrSet:
    """A set that is more than data: with comments, inherits, attribute paths, or ``rec``."""

    bindings: tuple[Binding | Inherit, ...]
    recursive: bool = False

    def __post_init__(self) -> None:
        _reject_repeated_bindings(self.bindings)


@dataclass(frozen=True)
class Let:
    """``let … in body``."""

    bindings: tuple[Binding | Inherit, ...]
    body: Expr

    def __post_init__(self) -> None:
        _reject_repeated_bindings(self.bindings)


@dataclass(frozen=True)
class With:
    """``with scope; body``."""

    scope: Expr
    body: Expr


@dataclass(frozen=True)
class Assert:
    """``assert condition; body``."""

    condition: Expr
    body: Expr


@dataclass(frozen=True, kw_only=True)
class If:
    """``if condition then yes else no``."""

    condition: Expr
    yes: Expr
    no: Expr


@dataclass(frozen=True)
class Interpolated:
    """``"text ${expression} text"``: a ``str`` part is text, any other part is interpolated."""

    parts: tuple[Expr, ...]


SyntaxNode: TypeAlias = (
    Var | Select | Path | Call | Lambda | Function | AttrSet | Let | With | Assert | If | Interpolated
)
Expr: TypeAlias = "bool | int | float | str | Sequence[Expr] | Mapping[str, Expr] | SyntaxNode | None"


def _reject_repeated_bindings(bindings: tuple[Binding | Inherit, ...]) -> None:
    paths: list[tuple[str, ...]] = []
    for binding in bindings:
        paths.extend([(name,) for name in binding.names] if isinstance(binding, Inherit) else [binding.path])
    _reject_repeated(paths)


def _reject_repeated(paths: list[tuple[str, ...]]) -> None:
    """No path twice, and none below another: Nix would refuse that, or merge what was not meant as one."""
    whole = set(paths)
    if len(whole) != len(paths):
        repeated = next(path for path in paths if paths.count(path) > 1)
        raise RenderError(f"{'.'.join(repeated)!r} is defined twice in one set")
    for path in paths:
        for length in range(1, len(path)):
            if path[:length] in whole:
                raise RenderError(
                    f"{'.'.join(path)!r} and {'.'.join(path[:length])!r} are defined in one set"
                )
