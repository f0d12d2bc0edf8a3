"""Nix expressions: a Python value or a small tree of nodes, and its text.

``nodes`` expressions as values · ``scalars`` strings, numbers, names · ``forms`` what an expression is to
its layout · ``layout`` with ``calls`` and ``strings`` expressions → ``documents`` → ``printing`` text ·
``data`` plain data straight to text · ``unrepresentable`` what Nix has no words for.

The modules are imported when something is rendered: a command that only checks strings must not wait for
them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ectools.nixlang.scalars import RenderError, comment_lines

if TYPE_CHECKING:
    from ectools.nixlang.nodes import Expr

__all__ = ["RenderError", "render", "render_file"]


def render(expr: Expr) -> str:
    """The text of ``expr`` in the layout of nixfmt --strict, without a newline at its end.

    Raises RenderError for what Nix has no words for, with its place in ``expr``.
    """
    try:
        return _render(expr)
    except RecursionError:
        raise RenderError("the value is nested too deep, or holds itself") from None
    except RenderError as error:
        from ectools.nixlang.unrepresentable import find_unrepresentable

        place = find_unrepresentable(expr, _render)
        raise RenderError(f"{place}: {error.message}" if place else error.message, hint=error.hint) from None


def _render(expr: Expr) -> str:
    from ectools.nixlang.data import NotDataError, write_data

    try:
        return write_data(expr)
    except NotDataError:
        from ectools.nixlang.layout import build_document
        from ectools.nixlang.printing import lay_out

        return lay_out(build_document(expr))


def render_file(expr: Expr, *, comment: str | None = None) -> str:
    """A whole file: the comment, the expression, and a newline. Raises RenderError."""
    return "\n".join([*comment_lines(comment), render(expr), ""])
