"""Option documentation, from the schemas alone.

``shape_check`` whether it is such a schema · ``option_walk`` its options with their paths · ``model`` them
as a flat list · ``constraints`` of their values · ``site`` titles and guides · ``reference`` all modules, and
what was renamed · ``links`` · ``commonmark`` and ``roles`` descriptions, read · ``markdown``, ``html``,
``man`` with ``roff``, ``data`` and ``options_json`` with ``pretty`` the formats · ``writing`` pages into a
directory · ``changelog`` what changed between two revisions · ``commands_man`` pages of the commands ·
``metrics_page`` one of the boot server's metrics.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, assert_never

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ectools.docs.reference import Reference

MARKDOWN_INDEX = "index.md"


class DocFormat(StrEnum):
    """What the reference can be written as."""

    MARKDOWN = "markdown"
    HTML = "html"
    MAN = "man"
    JSON = "json"
    OPTIONS_JSON = "options-json"


def build_pages(schemas: Sequence[str] = ()) -> dict[str, bytes]:
    """File name → content of the reference in Markdown, as ``write_pages`` makes it.

    ``schemas`` are names or files; all of this project's where none is given. Raises InputError where there
    is no such schema.
    """
    from ectools.docs.reference import build_reference

    return write_pages(build_reference(schemas), DocFormat.MARKDOWN)


def write_pages(reference: Reference, kind: DocFormat) -> dict[str, bytes]:
    """File name → content of the reference in one format. No two formats have a file of the same name."""
    if kind is DocFormat.MARKDOWN:
        from ectools.docs import markdown

        return _encode(markdown.write_pages(reference))
    if kind is DocFormat.HTML:
        from ectools.docs import html

        return _encode(html.write_pages(reference))
    if kind is DocFormat.MAN:
        from ectools.docs import man

        return _encode(man.write_pages(reference))
    if kind is DocFormat.JSON:
        from ectools.docs import data

        return _encode(data.write_pages(reference))
    if kind is DocFormat.OPTIONS_JSON:
        from ectools.docs import options_json

        return _encode(options_json.write_pages(reference))
    assert_never(kind)


def _encode(pages: Mapping[str, str | bytes]) -> dict[str, bytes]:
    # Half of a surrogate pair, which JSON can write and UTF-8 cannot carry, becomes a question mark.
    return {
        name: text if isinstance(text, bytes) else text.encode(errors="replace")
        for name, text in pages.items()
    }
