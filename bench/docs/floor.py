"""The least that nixos-render-docs does: each part of each option through markdown-it-py.

    floor.py OPTIONS.json OUTPUT

Which parts those are follows its converter: the description, the type, the default, the example and the
related packages, each parsed and rendered by itself. Its plugins, its renderer and its layout are left out.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markdown_it import MarkdownIt

if TYPE_CHECKING:
    from collections.abc import Iterator


def parts(option: dict[str, Any]) -> Iterator[str]:
    if option["description"]:
        yield option["description"]
    yield f"*Type:*\n{option['type']}"
    for key in ("default", "example"):
        if key in option:
            yield f"*{key.capitalize()}:*\n```\n{option[key]['text']}\n```"
    if "relatedPackages" in option:
        yield option["relatedPackages"]


def main() -> None:
    options = json.loads(Path(sys.argv[1]).read_bytes())
    parser = MarkdownIt("commonmark", {"html": False})
    html = (parser.render(part) for option in options.values() for part in parts(option))
    Path(sys.argv[2]).write_text("".join(html))


if __name__ == "__main__":
    main()
