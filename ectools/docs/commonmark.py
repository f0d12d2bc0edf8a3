"""Descriptions read as CommonMark with what NixOS adds to it: roles (``{option}`a.b```) and admonitions.

HTML in a description is text. Tokens are those of markdown-it-py and, besides, ``role`` (``meta["role"]``,
``content``), ``admonition_open`` (``info`` is one of ADMONITIONS) and ``admonition_close``.
"""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

from markdown_it import MarkdownIt

from ectools.docs.roles import ROLE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from markdown_it.rules_block import StateBlock
    from markdown_it.rules_inline import StateInline
    from markdown_it.token import Token

ADMONITIONS = ("note", "tip", "important", "warning", "caution", "example")

_OPENING = re.compile(r"(:{3,})[ \t]*\{\.([a-z]+)\}[ \t]*")
_CLOSING = re.compile(r"(:{3,})[ \t]*")
# Most descriptions are paragraphs of words with some code in them, and are read without the parser, which
# takes most of the time: lines of characters that are no markup, that start with a letter or with code, as
# no list, heading or quotation does; code between single backticks, with a role before it or without.
_WORDS = "A-Za-z0-9,.;:'\"/()?%$+@=!|^~#>\\-\u00c0-\u024f\u2010-\u201f\u2022\u2026"
_CODE = r"(?:\{[a-z]+\})?`[^` \n\0](?:[^`\n\0]*[^` \n\0])?`"
_LINE = rf"(?:[A-Za-z]|{_CODE})(?:[ {_WORDS}]|{_CODE})*"
_SIMPLE = re.compile(rf"{_LINE}(?:\n\n?{_LINE})*")

SPAN = re.compile(r"(?:\{([a-z]+)\})?`([^`]+)`")
"""A role, or none, and the code in a simple text."""


def parse_commonmark(text: str) -> list[Token]:
    """The block tokens of a description, inline ones as their children."""
    return make_parser().parse(text)


def is_plain_text(text: str) -> bool:
    """Whether ``text`` is paragraphs of words and SPANs, an empty line between them, and nothing else."""
    # Spaces at the end of a line are a line break, or dropped; two spans that touch may be one.
    return _SIMPLE.fullmatch(text) is not None and " \n" not in text and "``" not in text and text[-1] != " "


@functools.cache
def make_parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False})
    parser.inline.ruler.before("escape", "role", _read_role)
    parser.block.ruler.before(
        "fence", "admonition", _read_admonition, {"alt": ["paragraph", "reference", "blockquote", "list"]}
    )
    return parser


def _read_role(state: StateInline, silent: bool) -> bool:
    found = ROLE.match(state.src, state.pos, state.posMax)
    if found is None:
        return False
    if not silent:
        token = state.push("role", "code", 0)
        token.content = " ".join(found[3].split())
        token.meta = {"role": found[1]}
    state.pos = found.end()
    return True


def _read_admonition(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    opening = _OPENING.fullmatch(_line(state, start))
    if opening is None or opening[2] not in ADMONITIONS or state.sCount[start] - state.blkIndent >= 4:
        return False
    if silent:
        return True
    last = _find_closing(state, start, end, len(opening[1]))
    token = state.push("admonition_open", "div", 1)
    token.info = opening[2]
    token.map = [start, last]
    line_max, parent, state.lineMax, state.parentType = state.lineMax, state.parentType, last, "admonition"
    state.md.block.tokenize(state, start + 1, last)
    state.lineMax, state.parentType = line_max, parent
    state.push("admonition_close", "div", -1)
    state.line = min(last + 1, end)
    return True


def _find_closing(state: StateBlock, start: int, end: int, colons: int) -> int:
    """The line that closes what ``start`` opens; the end of what it stands in where nothing does."""
    depth = 0
    for number in range(start + 1, end):
        line = _line(state, number)
        if state.sCount[number] < state.blkIndent and line:
            return number
        closing = _CLOSING.fullmatch(line)
        if closing and depth == 0 and len(closing[1]) >= colons:
            return number
        if closing and depth:
            depth -= 1
        elif _OPENING.fullmatch(line):
            depth += 1
    return end


def _line(state: StateBlock, number: int) -> str:
    return state.src[state.bMarks[number] + state.tShift[number] : state.eMarks[number]]


def inline_text(tokens: list[Token]) -> Iterator[str]:
    """What inline tokens say, without what they look like."""
    for token in tokens:
        if token.type in ("softbreak", "hardbreak"):
            yield " "
        else:
            yield token.content
