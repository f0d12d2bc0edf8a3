"""Guides, pages of Markdown as repositories have them, as pages of the site.

They are CommonMark with tables. Of HTML in them only pictures are kept (``<img>``); everything else is shown
as the text that it is. Headings have the anchors that forges give them; links between guides, and to the
pages of options, lead to their pages here.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from markdown_it import MarkdownIt
from markdown_it.common.utils import escapeHtml as escape  # noqa: N813 - of functions here, snake_case

from ectools.docs.commonmark import inline_text
from ectools.docs.html.text import quote_href, write_html_code_block
from ectools.errors import InputError
from ectools.files import read_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from markdown_it.token import Token

_PICTURES = frozenset({".svg", ".png", ".jpg", ".jpeg", ".gif", ".webp"})
_WEB = re.compile(r"(?:https?://|mailto:)\S+", re.IGNORECASE)
_MOST_SUMMARY = 240  # characters


@dataclass(frozen=True)
class Guide:
    """One guide: its file, its page's name, its title, what it begins with, and its tokens."""

    file: Path
    page: str
    title: str
    summary: str
    tokens: Sequence[Token]


def load_guides(files: Sequence[Path], *, find_page: Callable[[str], str]) -> list[Guide]:
    """The guides of files; ``find_page`` gives a page's name for a stem. Raises FileError, InputError."""
    guides = []
    for file in files:
        try:
            text = read_bytes(file).decode()
        except UnicodeDecodeError as error:
            raise InputError(f"{file}: is not UTF-8: {error}") from None
        tokens = MarkdownIt("commonmark").enable("table").parse(text)
        inline = [
            (before.type, " ".join("".join(inline_text(token.children or [])).split()))
            for before, token in itertools.pairwise(tokens)
            if token.type == "inline"
        ]
        title = next((text for kind, text in inline if kind == "heading_open"), file.stem)
        summary = next((text for kind, text in inline if kind == "paragraph_open" and text), "")
        short = (
            summary
            if len(summary) <= _MOST_SUMMARY
            else f"{summary[: _MOST_SUMMARY - 1].rsplit(' ', 1)[0]} …"
        )
        guides.append(Guide(file, find_page(file.stem), title, short, tokens))
    return guides


class GuideWriter:
    """Writes guides. ``pages``: the page of each guide by its resolved file, and of options by their module.

    ``pictures`` collects what they show: the file's name in the site, and its content.
    """

    def __init__(self, guides: Sequence[Guide], modules: Mapping[str, str]) -> None:
        self.by_file = {guide.file.resolve(): guide.page for guide in guides}
        self.modules = modules
        self.pictures: dict[str, bytes] = {}

    def write(self, guide: Guide) -> tuple[str, list[tuple[int, str, str]]]:
        """The page's HTML, and its headings: level, anchor, text."""
        return _GuidePage(self, guide).write()

    def find_link(self, href: str, guide: Guide) -> str | None:
        """Where a link of a guide leads from its page; None where there is no such thing in the site."""
        if href.startswith("#") or _WEB.fullmatch(href):
            return href
        parts = urlsplit(href)
        if parts.scheme or parts.netloc or not parts.path:
            return None
        name = unquote(parts.path)
        page = self.by_file.get((guide.file.parent / name).resolve())
        if page is None and PurePosixPath(name).suffix == ".md":
            page = self.modules.get(PurePosixPath(name).stem)
        return None if page is None else f"{page}#{parts.fragment}" if parts.fragment else page

    def add_picture(self, source: str, guide: Guide) -> str | None:
        """The name in the site of a picture that stands beside a guide; None for one from elsewhere."""
        parts = urlsplit(source)
        path = guide.file.parent / unquote(parts.path)
        if parts.scheme or parts.netloc or path.suffix.lower() not in _PICTURES or not path.is_file():
            return None
        name = f"picture-{path.name}"
        content = read_bytes(path)
        if self.pictures.setdefault(name, content) != content:
            raise InputError(
                f"{path}: another picture of that name is in the guides", hint="rename one of them"
            )
        return name


class _GuidePage:
    """One guide on its way: the anchors that are taken, and the links that are open."""

    def __init__(self, writer: GuideWriter, guide: Guide) -> None:
        self.writer = writer
        self.guide = guide
        self.headings: list[tuple[int, str, str]] = []
        self.anchors: dict[str, int] = {}
        self.open: list[bool] = []

    def write(self) -> tuple[str, list[tuple[int, str, str]]]:
        parser = MarkdownIt("commonmark").enable("table")
        rules: dict[str, Callable[[Sequence[Token], int], str]] = {
            "heading_open": self._heading,
            "link_open": self._link_open,
            "link_close": lambda *_: "</a>" if self.open.pop() else "",
            "image": self._image,
            "html_block": self._html,
            "html_inline": self._html,
            "fence": _code,
            "code_block": _code,
            "table_open": lambda *_: '<div class="table" tabindex="0"><table>\n',
            "table_close": lambda *_: "</table></div>\n",
        }
        for name, rule in rules.items():
            parser.add_render_rule(name, _as_method(rule))
        html: str = parser.renderer.render(self.guide.tokens, parser.options, {})
        return html, self.headings

    def _heading(self, tokens: Sequence[Token], index: int) -> str:
        text = "".join(inline_text(tokens[index + 1].children or []))
        base = re.sub(r"[^\w\- ]", "", text.strip().lower()).replace(" ", "-")
        number = self.anchors.get(base, 0)
        self.anchors[base] = number + 1
        anchor = f"{base}-{number}" if number else base
        self.headings.append((int(tokens[index].tag[1]), anchor, text))
        return f'<{tokens[index].tag} id="{escape(anchor)}">'

    def _link_open(self, tokens: Sequence[Token], index: int) -> str:
        href = self.writer.find_link(str(tokens[index].attrs.get("href", "")), self.guide)
        self.open.append(href is not None)
        return "" if href is None else f'<a href="{escape(quote_href(href))}">'

    def _image(self, tokens: Sequence[Token], index: int) -> str:
        token = tokens[index]
        attributes = {
            "src": str(token.attrs.get("src", "")),
            "alt": "".join(inline_text(token.children or [])),
        }
        return self._picture(attributes)

    def _html(self, tokens: Sequence[Token], index: int) -> str:
        found = _Pictures()
        found.feed(tokens[index].content)
        found.close()
        if found.only:
            return "".join(map(self._picture, found.pictures))
        return escape(tokens[index].content)

    def _picture(self, attributes: Mapping[str, str]) -> str:
        name = self.writer.add_picture(attributes.get("src", ""), self.guide)
        alt = escape(attributes.get("alt", ""))
        if name is None:
            return alt
        width = attributes.get("width", "")
        size = f' width="{width}"' if width.isdigit() else ""
        return f'<img src="{escape(quote_href(name))}" alt="{alt}"{size}>'


class _Pictures(HTMLParser):
    """The pictures of a piece of HTML; ``only``: there is nothing else in it, but comments."""

    def __init__(self) -> None:
        super().__init__()
        self.pictures: list[dict[str, str]] = []
        self.only = True

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.pictures.append({name: value or "" for name, value in attrs})
        else:
            self.only = False

    def handle_endtag(self, _tag: str) -> None:
        self.only = False

    def handle_data(self, data: str) -> None:
        self.only = self.only and not data.strip()


def _as_method(rule: Callable[[Sequence[Token], int], str]) -> Any:
    def render(_: object, tokens: Sequence[Token], index: int, __: object, ___: object) -> str:
        return rule(tokens, index)

    return render


def _code(tokens: Sequence[Token], index: int) -> str:
    return write_html_code_block(tokens[index].content.rstrip("\n"))
