"""What the search in the browser reads: names and plain descriptions, in one file beside the pages.

The file is a script, since a page that was opened from a disk may not fetch anything else. It sets
``optionIndex`` to {pages, counts, names, texts, values}: the options of each page one after the other,
``counts`` of them on each; ``texts`` are without markup, and ``values`` defaults, examples and choices, one a
line.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ectools.docs.model import OptionDoc

SEARCH_FILE = "search-index.js"

_MOST_TEXT = 1000  # characters of a description that are searched; longer ones are manuals
_MOST_VALUE = 200
_NO_NEWS = {"null", "true", "false", "[ ]", "{ }", '""'}  # thousands of options have them
_NOISE = re.compile(
    r"\{[a-z]+\}(?=`)"  # roles
    r"|:{3,}(?:[ \t]*\{\.[a-z]+\})?"  # admonitions
    r"|\]\([^)\s]*\)|<?https?://[^\s>)]*>?"  # where links lead
    r"|\[|\]|[`*<>#\\]+"
)


def write_index(pages: Mapping[str, Sequence[OptionDoc]]) -> str:
    """The script; ``pages`` maps file names to their options."""
    options = [option for page in pages.values() for option in page]
    index = {
        "pages": list(pages),
        "counts": [len(page) for page in pages.values()],
        "names": [option.name for option in options],
        "texts": [make_plain(" ".join([option.description, *option.formerly])) for option in options],
        "values": ["\n".join(_list_values(option)) for option in options],
    }
    text = json.dumps(index, ensure_ascii=False, separators=(",", ":"))
    return f"window.optionIndex={text};\n"


def _list_values(option: OptionDoc) -> Iterator[str]:
    """What an option is, may be or is shown with, each in one line."""
    for code in (option.default, option.example):
        if code is not None and code.text not in _NO_NEWS:
            text = make_plain(code.text) if code.words else " ".join(code.text.split())
            yield text[:_MOST_VALUE]
    for constraint in option.constraints:
        if constraint.label == "one of":
            yield " ".join(constraint.values)[:_MOST_VALUE]


def make_plain(markdown: str) -> str:
    """A description without its markup, in one line."""
    return " ".join(_NOISE.sub(" ", markdown).split())[:_MOST_TEXT]
