"""Relative links and pictures in the repository's Markdown files lead to a file, and to a heading in it."""

from __future__ import annotations

import os
import re
from functools import cache
from html import unescape
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
_ID = re.compile(r"""<[a-z0-9]+\s[^>]*\b(?:id|name)=["']([^"']+)["']""", re.IGNORECASE)
_TARGET = re.compile(r"""<[a-z0-9]+\s[^>]*\b(?:href|src|srcset)=["']([^"']+)["']""", re.IGNORECASE)


def find_documents() -> list[Path]:
    """The Markdown files, without what is hidden (the forge's own apart), built, or a golden file."""
    found = []
    for directory, names, files in os.walk(ROOT):
        names[:] = [
            name for name in names if name == ".forgejo" or not name.startswith((".", "result", "golden"))
        ]
        found += [Path(directory, name) for name in files if name.endswith(".md")]
    return sorted(found)


@cache
def read_document(path: Path) -> tuple[frozenset[str], tuple[str, ...]]:
    """Anchors of a document, and the targets of its links and pictures."""
    anchors: set[str] = set()
    targets: list[str] = []
    tokens = MarkdownIt("commonmark").enable("table").parse(path.read_text())
    for before, token in zip([None, *tokens], tokens, strict=False):
        parts = [token, *(token.children or ())]
        for part in parts:
            if part.type in ("html_block", "html_inline"):
                anchors.update(_ID.findall(part.content))
                targets += _TARGET.findall(part.content)
            for name in ("href", "src"):
                if (target := part.attrGet(name)) is not None:
                    targets.append(str(target))
        if before is not None and before.type == "heading_open":
            anchors.add(make_slug("".join(part.content for part in parts[1:] if part.type != "html_inline")))
    return frozenset(map(unescape, anchors)), tuple(targets)


def make_slug(heading: str) -> str:
    """The anchor that forges give a heading: letters and digits in lower case, a hyphen for each space."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def find_dead_links(document: Path) -> list[str]:
    dead = []
    for target in read_document(document)[1]:
        parts = urlsplit(target)
        if parts.scheme or parts.netloc:
            continue
        path = document if not parts.path else document.parent / unquote(parts.path)
        if not path.exists():
            dead.append(f"{target}: no such file")
        elif path.suffix == ".md" and unquote(parts.fragment) not in {"", *read_document(path)[0]}:
            dead.append(f"{target}: no such heading")
    return dead


@pytest.mark.parametrize("document", find_documents(), ids=lambda path: str(path.relative_to(ROOT)))
def test_relative_links_lead_somewhere(document: Path) -> None:
    assert find_dead_links(document) == []


def test_a_dead_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    (tmp_path / "other.md").write_text('# What `it` is, and why\n\n<a id="here"></a>\n')
    page.write_text(
        "# One\n\n[a](#one) [b](other.md#what-it-is-and-why) [c](other.md#here) [d](https://example.org/x)\n"
        "![e](gone.svg) [f](#two) [g](other.md#gone) <img src='gone.png'>\n\n[h]\n\n[h]: ./gone/\n"
    )
    assert find_dead_links(page) == [
        "gone.svg: no such file",
        "#two: no such heading",
        "other.md#gone: no such heading",
        "gone.png: no such file",
        "./gone/: no such file",
    ]
