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
    return "#/$defs/" + quote_step(definition)


def quote_step(name: str) -> str:
    """A name as one step of a JSON Pointer (RFC 6901) in a URI fragment."""
    return quote(name.replace("~", "~0").replace("/", "~1"), safe="*-._~")


def resolve_reference(reference: str, root: dict[str, Any]) -> Any:
    """The part of ``root`` that a reference names: ``#``, a pointer (``#/$defs/…``) or an anchor (``#name``).

    Raises KeyError where there is none, and for a reference that leads out of the document.
    """
    kind, _, pointer = reference.partition("/")
    if kind != "#":
        return _find_anchor(reference, root)
    node: Any = root
    for step in pointer.split("/") if reference != "#" else ():
        name = unquote(step).replace("~1", "/").replace("~0", "~")
        if isinstance(node, list) and name.isdecimal() and int(name) < len(node):
            node = node[int(name)]
        elif isinstance(node, dict):
            node = node[name]
        else:
            raise KeyError(reference)
    return node


def _find_anchor(reference: str, root: dict[str, Any]) -> Any:
    name = unquote(reference.removeprefix("#"))
    pending: list[Any] = [root] if reference.startswith("#") else []
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            if node.get("$anchor") == name:
                return node
            pending += node.values()
        elif isinstance(node, list):
            pending += node
    raise KeyError(reference)
