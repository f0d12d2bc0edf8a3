"""Paths of options as text, and references within a schema (RFC 6901)."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

if TYPE_CHECKING:
    from collections.abc import Iterable

JsonSchema = dict[str, Any]
"""A schema, or a part of one, as JSON has it."""

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


def reference_to(definition: str) -> str:
    """The reference (RFC 6901, as a URI fragment) to the definition of that name."""
    return "#/$defs/" + quote(definition.replace("~", "~0").replace("/", "~1"), safe="*-._~")


def resolve_reference(reference: str, root: dict[str, Any]) -> Any:
    """The part of ``root`` that a reference (``#/$defs/…``) names. Raises KeyError where there is none."""
    node: Any = root
    for step in reference.removeprefix("#/").split("/"):
        node = node[unquote(step).replace("~1", "/").replace("~0", "~")]
    return node
