"""Views → HTML, by Jinja2 with everything escaped: pure functions, which read nothing but their templates.

Jinja2 is in every distribution, and escapes all that is not said to be HTML. The page alone needs it: the
JSON API works without, and the page says which package is missing.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.resources
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ectools.errors import EcError
from ectools.netboot.api.page.filters import RowFilter, RowOrder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from jinja2 import Environment
    from markupsafe import Markup

    from ectools.netboot.api.page.rows import FleetPage, NodeRow
    from ectools.netboot.api.page.strips import NodePage

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""The page's ``Content-Security-Policy``: nothing from elsewhere, and nothing inline."""

ASSETS: Mapping[str, str] = {
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
}
"""Name → media type of what the page loads."""

_CACHED_ROWS = 8192
_FIRST_ROWS = 60
# Where the rows come: nobody can have written it into a name.
_ROWS = secrets.token_hex(16)


class PageUnavailableError(EcError):
    """The page cannot be rendered here; everything else works."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Viewer:
    """Who looks, and at which boot server (``host``). ``may_act``: the page has its buttons;
    ``may_sign_in``: there is an access token to give.
    """

    may_act: bool = False
    may_sign_in: bool = False
    host: str = ""


@dataclass(frozen=True, slots=True)
class _Column:
    label: str
    order: RowOrder | None


_COLUMNS = (
    _Column("Node", RowOrder.NAME),
    _Column("State", RowOrder.STATE),
    _Column("Release", RowOrder.RELEASE),
    _Column("Group", RowOrder.GROUP),
    _Column("Since", RowOrder.SINCE),
    _Column("Detail", None),
)


def render_beginning() -> str:
    """What every page begins with: a browser asks for the rest that it needs as soon as it has this.

    Raises PageUnavailableError.
    """
    return _render("beginning.html")


def render_fleet(page: FleetPage, viewer: Viewer) -> Iterator[str]:
    """The list of nodes after its beginning, in two parts: as far as a screen shows it, and the rest.

    Raises PageUnavailableError, before the first.
    """
    whole = _render("fleet.html", page=page, viewer=viewer, rows=_ROWS, columns=_COLUMNS)
    before, _, after = whole.removeprefix(render_beginning()).partition(_ROWS)
    yield "".join((before, _join_rows(page.rows[:_FIRST_ROWS])))
    yield "".join((_join_rows(page.rows[_FIRST_ROWS:]), after))


def render_rows(page: FleetPage, viewer: Viewer) -> str:
    """Its summary, rollouts and rows alone, for the script. Raises PageUnavailableError."""
    return _render("rows.html", page=page, viewer=viewer, rows=_join_rows(page.rows))


def render_node(page: NodePage, viewer: Viewer) -> str:
    """The page of a node. Raises PageUnavailableError."""
    group_link = RowFilter(group=page.row.group).link()
    return _render("node.html", page=page, viewer=viewer, group_link=group_link)


def render_message(title: str, message: str, viewer: Viewer) -> str:
    """A page that says one thing: what went wrong. Raises PageUnavailableError."""
    return _render("message.html", heading=title, message=message, viewer=viewer)


def render_sign_in(viewer: Viewer, *, message: str | None = None) -> str:
    """The form for the access token. Raises PageUnavailableError."""
    return _render("sign_in.html", message=message, viewer=viewer)


def load_asset(name: str) -> bytes:
    """What the page loads. ``name`` is one of ``ASSETS``."""
    return (importlib.resources.files(__package__) / "assets" / name).read_bytes()


@functools.cache
def find_assets_path() -> str:
    """Where the page's files are below: it changes with their content, so that a browser can keep them."""
    digest = hashlib.sha256(b"".join(load_asset(name) for name in ASSETS)).hexdigest()
    return f"/assets/{digest[:16]}"


def _render(name: str, **values: object) -> str:
    return _make_environment().get_template(name).render(**values)


def _join_rows(rows: Sequence[NodeRow]) -> Markup:
    """The rows as HTML that is not to be escaped again."""
    from markupsafe import Markup

    return Markup("").join(_render_row(row) for row in rows)


@functools.lru_cache(maxsize=_CACHED_ROWS)
def _render_row(row: NodeRow) -> Markup:
    # Of a thousand rows a few have changed since they were last looked at.
    return _load_row_macro()(row)


@functools.cache
def _load_row_macro() -> Callable[[NodeRow], Markup]:
    # Called from here and not by a template of its own: that is three times as fast.
    macro: Callable[[NodeRow], Markup] = vars(_make_environment().get_template("parts.html").module)["row"]
    return macro


@functools.cache
def _make_environment() -> Environment:
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError:
        raise PageUnavailableError(
            "the page needs Jinja2, which is not installed; the JSON API below /api/v1/ works without it",
            hint="install it: Debian python3-jinja2, PyPI jinja2, nixpkgs python3Packages.jinja2",
        ) from None
    environment = Environment(
        loader=PackageLoader(__package__, "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        auto_reload=False,
    )
    environment.globals.update(assets=find_assets_path())
    return environment
