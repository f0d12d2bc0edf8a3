"""Descriptions as roff for the man(7) macros: text as text, however it looks to roff."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ectools.docs.commonmark import SPAN, is_plain_text, parse_commonmark

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from markdown_it.token import Token

_WIDTH = 79  # of the source: what mandoc's style asks for; there, other than ASCII is 9 characters
# Longer words may be broken, after these characters by preference, so that no line sticks out.
_LONG = 40
_PIECE = re.compile(r".{1,20}?(?:[/.,_|)\]}=-]|$)|.{1,20}", re.DOTALL)

_TEXT = str.maketrans(
    {"\\": "\\e", **{chr(code): "\N{REPLACEMENT CHARACTER}" for code in range(32)}, "\n": " "}
)
# groff_char(7): these have another shape when they are typeset, and would be copied as that.
_CODE = {
    **_TEXT,
    **str.maketrans({"-": "\\-", "'": "\\(aq", "`": "\\(ga", "^": "\\(ha", "~": "\\(ti", "\t": " "}),
}
_BOLD, _ITALIC, _ROMAN = "\\fB", "\\fI", "\\fR"
_ITALIC_ROLES = {"file", "var"}
_MANPAGE = re.compile(r"([^()]+)(\([^()]+\))")


def escape_roff(text: str) -> str:
    """Words, in one line."""
    return text.translate(_TEXT)


def escape_roff_code(text: str) -> str:
    """Code, in one line, that can be copied from the page."""
    return " ".join(
        "\\:".join(piece.translate(_CODE) for piece in _PIECE.findall(word))
        if len(word) > _LONG
        else word.translate(_CODE)
        for word in text.split(" ")
    )


def bold(code: str) -> str:
    return f"{_BOLD}{escape_roff_code(code)}{_ROMAN}"


def fill(text: str) -> list[str]:
    """Lines of a paragraph that is escaped already; none of them a request."""
    lines, line, length = [], "", 0
    for word in text.split():
        added = len(word) if word.isascii() else sum(1 if char.isascii() else 9 for char in word)
        if line and length + 1 + added > _WIDTH:
            lines.append(_protect(line))
            line, length = word, added
        else:
            line = f"{line} {word}" if line else word
            length += 1 + added
    return [*lines, _protect(line)] if line else lines


def _protect(line: str) -> str:
    return f"\\&{line}" if line.startswith((".", "'")) else line


def write_roff_code_block(code: str) -> list[str]:
    """Lines that are shown as they are, indented."""
    lines = [_protect(line.rstrip().expandtabs().translate(_CODE)) for line in code.strip("\n").split("\n")]
    return [".RS 4", ".nf", *lines, ".fi", ".RE"]


def write_blocks(markdown: str) -> list[str]:
    """A description, from its first line on: no macro before it."""
    if is_plain_text(markdown):
        paragraphs = (line for part in markdown.split("\n\n") for line in (".PP", *fill(_write_simple(part))))
        return list(paragraphs)[1:]
    return _Blocks(parse_commonmark(markdown)).write(".PP")


def _write_simple(paragraph: str) -> str:
    if "`" not in paragraph:
        return escape_roff(paragraph)
    inline, text, end = _Inline(_ROMAN), "", 0
    for found in SPAN.finditer(paragraph):
        code = (
            inline.code(found[2]) if found[1] is None else inline.role(found[1], " ".join(found[2].split()))
        )
        text += escape_roff(paragraph[end : found.start()]) + code
        end = found.end()
    return text + escape_roff(paragraph[end:])


class _Blocks:
    """Block tokens, read one after the other."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self.tokens = iter(tokens)

    def write(self, separator: str) -> list[str]:
        """Blocks up to the end of what holds them, ``separator`` between them."""
        lines: list[str] = []
        for token in self.tokens:
            if token.nesting == -1:
                break
            block = self._block(token, separator)
            if lines and block:
                lines.append(".sp" if block[0].startswith((".RS", ".IP")) else separator)
            lines += block
        return lines

    def _block(self, token: Token, separator: str) -> list[str]:
        kind = token.type
        if kind in ("paragraph_open", "heading_open"):
            inline = next(self.tokens)
            next(self.tokens)
            text = _Inline(_BOLD if kind == "heading_open" else _ROMAN).write(inline.children or ())
            return [line for part in text.split("\n.br\n") for line in (".br", *fill(part))][1:]
        if kind in ("fence", "code_block"):
            return write_roff_code_block(token.content)
        if kind in ("bullet_list_open", "ordered_list_open"):
            return self._list(token)
        if kind == "admonition_open":
            return [f"{_BOLD}{token.info.capitalize()}:{_ROMAN}", ".br", *self.write(separator)]
        if kind == "blockquote_open":
            return [".RS 4", *self.write(".PP"), ".RE"]
        return []

    def _list(self, opening: Token) -> list[str]:
        number = int(opening.attrs.get("start", 1))
        lines = [".RS 2"]
        for token in self.tokens:
            if token.type != "list_item_open":
                break
            ordered = opening.type == "ordered_list_open"
            lines.append(f".IP {number}. 4" if ordered else ".IP \\(bu 2")
            number += 1
            lines += self.write('.IP "" 4' if ordered else '.IP "" 2')
        return [*lines, ".RE"]


class _Inline:
    """Inline tokens within a font."""

    def __init__(self, font: str) -> None:
        self.fonts = [font]
        self.links: list[str] = []

    def write(self, tokens: Sequence[Token]) -> str:
        text = "".join(part for token in tokens for part in self._part(token))
        font = self.fonts[0]
        return text if font == _ROMAN else f"{font}{text}{_ROMAN}"

    def _part(self, token: Token) -> Iterator[str]:
        kind = token.type
        if kind in ("strong_open", "em_open"):
            self.fonts.append(_BOLD if kind == "strong_open" else _ITALIC)
            yield self.fonts[-1]
        elif kind in ("strong_close", "em_close"):
            self.fonts.pop()
            yield self.fonts[-1]
        elif kind == "code_inline":
            yield self.code(token.content)
        elif kind == "role":
            yield self.role(token.meta["role"], token.content)
        elif kind == "softbreak":
            yield " "
        elif kind == "hardbreak":
            yield "\n.br\n"
        elif kind == "link_open":
            self.links.append(str(token.attrs.get("href", "")))
        elif kind == "link_close":
            href = self.links.pop()
            yield self._in(_BOLD, href[5:]) if href.startswith("#opt-") else _show_address(href)
        elif kind == "image":
            yield escape_roff(token.content) + _show_address(str(token.attrs.get("src", "")))
        else:
            yield escape_roff(token.content)

    def code(self, content: str) -> str:
        return self._in(_BOLD, content)

    def role(self, role: str, content: str) -> str:
        page = _MANPAGE.fullmatch(content)
        if role == "manpage" and page:
            return self._in(_BOLD, page[1]) + escape_roff(page[2])
        return self._in(_ITALIC if role in _ITALIC_ROLES else _BOLD, content)

    def _in(self, font: str, code: str) -> str:
        return f"{font}{escape_roff_code(code)}{self.fonts[-1]}"


def _show_address(href: str) -> str:
    """Where a link leads, after its text; addresses within the manual are left out."""
    return f" <{escape_roff_code(href)}>" if href.startswith(("https://", "http://", "mailto:")) else ""
