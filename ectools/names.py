"""How the path of an option is written."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# An identifier of Nix, or what stands for any name or index: `<name>`, `*`.
_BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_'-]*|<[^<>.]*>|\*")


def show_path(steps: Iterable[str | int], start: str = "") -> str:
    """A dotted path below ``start``: ``a.b``, ``list[0]``, ``"odd name".x``."""
    text = start
    for step in steps:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            name = step if _BARE.fullmatch(step) else json.dumps(step, ensure_ascii=False)
            text = f"{text}.{name}" if text else name
    return text
