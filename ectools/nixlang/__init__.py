"""Nix expressions: a Python value or a small tree of nodes, and its text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ectools.nixlang.documents import lay_out
from ectools.nixlang.layout import build_document
from ectools.nixlang.scalars import RenderError

if TYPE_CHECKING:
    from ectools.nixlang.nodes import Expr

__all__ = ["RenderError", "render", "render_file"]


def render(expr: Expr) -> str:
    """The text of ``expr`` in the layout of nixfmt --strict, without a newline at its end.

    Raises RenderError for what Nix has no words for, with its place in ``expr``.
    """
    return lay_out(build_document(expr))


def render_file(expr: Expr, *, comment: str | None = None) -> str:
    """A whole file: the comment, the expression, and a newline."""
    lines = [f"# {line}".rstrip() for line in (comment or "").splitlines()]
    return "".join(f"{line}\n" for line in [*lines, render(expr)])
