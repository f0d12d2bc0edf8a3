"""Web pages that a server sends in place of a file: a login's, a portal's, an error with status 200."""

from __future__ import annotations

import html
import re

from ectools.errors import cut

_BEGINNINGS = (b"<!doctype html", b"<html")
_TITLE = re.compile(rb"<title[^>]{0,200}>([^<]{0,500})</title", re.IGNORECASE)


def is_page_type(content_type: str | None) -> bool:
    """Whether the header Content-Type names a web page."""
    kind = (content_type or "").partition(";")[0].strip().lower()
    return kind in {"text/html", "application/xhtml+xml"}


def describe_page(content_type: str | None, beginning: bytes) -> str | None:
    """``a web page``, with its title where it has one; None where ``beginning`` is of no web page.

    The header alone is not believed: a server may name everything so.
    """
    text = beginning.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not text[:20].lower().startswith(_BEGINNINGS) and not (
        is_page_type(content_type) and text.startswith(b"<")
    ):
        return None
    found = _TITLE.search(beginning)
    title = " ".join(html.unescape(found[1].decode("utf-8", "replace")).split()) if found else ""
    return f"a web page, titled {cut(title)!r}" if title else "a web page"
