"""Descriptions as HTML. Nothing in them is passed through as HTML, and only safe links are links."""

from __future__ import annotations

import functools
from html import unescape
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from markdown_it.common.utils import escapeHtml as escape  # noqa: N813 - of functions here, snake_case

from ectools.docs.commonmark import SPAN, inline_text, is_plain_text, make_parser

if TYPE_CHECKING:
    import re
    from collections.abc import Sequence

    from markdown_it import MarkdownIt
    from markdown_it.token import Token

    from ectools.docs.links import Links

_FIRST_HEADING = 3  # an option's own is h2


class HtmlText:
    """Writes the descriptions of one page. ``links`` are as seen from there."""

    def __init__(self, links: Links) -> None:
        self.links = links

    def blocks(self, markdown: str) -> str:
        """A description as block elements."""
        if is_plain_text(markdown):
            html = escape(markdown)
            html = SPAN.sub(self._span, html) if "`" in html else html
            return f"<p>{html}</p>".replace("\n\n", "</p>\n<p>")
        rendered: str = _make_writer().render(markdown, {"links": self.links, "open": []})
        return rendered.rstrip("\n")

    def _span(self, found: re.Match[str]) -> str:
        """Code in a simple text that is escaped already."""
        role, content = found.groups()
        if role is None:
            return f"<code>{content}</code>"
        return write_role(role, " ".join(unescape(content).split()), self)

    def inline(self, markdown: str) -> str:
        """Words of one line, such as those for a default."""
        return _strip_paragraph(self.blocks(markdown))

    def option(self, name: str) -> str:
        """The name of an option as code, a link where it is documented."""
        text = f"<code>{escape(name)}</code>"
        href = self.links.find_option(name)
        return text if href is None else f'<a href="{escape(quote_href(href))}">{text}</a>'


def quote_href(href: str) -> str:
    """A link within the reference: anchors hold what a URL cannot."""
    return quote(href, safe="#/:.-_~'()!$&,;=@?%+*")


def _strip_paragraph(html: str) -> str:
    if html.startswith("<p>") and html.endswith("</p>") and html.count("<p>") == 1:
        return html[3:-4]
    return html


@functools.cache
def _make_writer() -> MarkdownIt:
    parser = make_parser()
    rules = {
        "role": _role,
        "image": _image,
        "link_open": _link_open,
        "link_close": _link_close,
        "admonition_open": _admonition_open,
        "admonition_close": lambda *_: "</div>\n",
        "heading_open": _heading,
        "heading_close": _heading,
        "code_block": _code_block,
        "fence": _code_block,
    }
    for name, rule in rules.items():
        parser.add_render_rule(name, _as_method(rule))
    return parser


def _as_method(rule: Any) -> Any:
    def render(_: object, tokens: Sequence[Token], index: int, __: object, env: dict[str, Any]) -> str:
        text: str = rule(tokens, index, env)
        return text

    return render


def _role(tokens: Sequence[Token], index: int, env: dict[str, Any]) -> str:
    # Inside a link there is no other.
    text = None if env["open"] else HtmlText(env["links"])
    return write_role(tokens[index].meta["role"], tokens[index].content, text)


def write_role(role: str, content: str, text: HtmlText | None) -> str:
    """What a role says; options are links where ``text`` is given."""
    if role == "option":
        return f"<code>{escape(content)}</code>" if text is None else text.option(content)
    if role == "manpage":
        return f'<span class="manpage">{escape(content)}</span>'
    return f'<code class="{escape(role)}">{escape(content)}</code>'


def _image(tokens: Sequence[Token], index: int, env: dict[str, Any]) -> str:
    # A picture would be fetched from elsewhere: a link says as much.
    token = tokens[index]
    text = escape("".join(inline_text(token.children or [])) or "image")
    href = env["links"].find(str(token.attrs.get("src", "")))
    return text if href is None or env["open"] else f'<a href="{escape(href)}">{text}</a>'


def _link_open(tokens: Sequence[Token], index: int, env: dict[str, Any]) -> str:
    target = str(tokens[index].attrs.get("href", ""))
    href = env["links"].find(target)
    env["open"].append(href is not None)
    empty = index + 1 < len(tokens) and tokens[index + 1].type == "link_close"
    text = f"<code>{escape(target.removeprefix('#opt-').removeprefix('#'))}</code>" if empty else ""
    return text if href is None else f'<a href="{escape(quote_href(href))}">{text}'


def _link_close(_: Sequence[Token], __: int, env: dict[str, Any]) -> str:
    return "</a>" if env["open"].pop() else ""


def _admonition_open(tokens: Sequence[Token], index: int, _: dict[str, Any]) -> str:
    kind = tokens[index].info
    return f'<div class="admonition {kind}" role="note"><p class="admonition-title">{kind.capitalize()}</p>\n'


def _heading(tokens: Sequence[Token], index: int, _: dict[str, Any]) -> str:
    level = min(_FIRST_HEADING - 1 + int(tokens[index].tag[1]), 6)
    return f"<h{level}>" if tokens[index].nesting == 1 else f"</h{level}>\n"


def _code_block(tokens: Sequence[Token], index: int, _: dict[str, Any]) -> str:
    return write_html_code_block(tokens[index].content.rstrip("\n"))


def write_html_code_block(code: str) -> str:
    """Code as a block that the keyboard can scroll."""
    return f'<pre tabindex="0"><code>{escape(code)}</code></pre>\n'
