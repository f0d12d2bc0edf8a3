"""What the search in the browser reads: names and plain descriptions, in one file beside the pages.

The file is a script, since a page that was opened from a disk may not fetch anything else. It sets
``optionIndex`` to {pages, counts, names, texts}: the options of each page one after the other, ``counts`` of
them on each; ``texts`` are without markup.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ectools.docs.model import OptionDoc

SEARCH_FILE = "search-index.js"

_MOST_TEXT = 1000  # characters of a description that are searched; longer ones are manuals
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
    }
    text = json.dumps(index, ensure_ascii=False, separators=(",", ":"))
    return f"window.optionIndex={text};\n"


def make_plain(markdown: str) -> str:
    """A description without its markup, in one line."""
    return " ".join(_NOISE.sub(" ", markdown).split())[:_MOST_TEXT]
