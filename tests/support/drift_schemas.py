"""Schemas of modules, as short as they can be, for what compares two of them."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]


def option(**keywords: Any) -> Schema:
    return {"description": "d", "x-nix-type": "t", "x-nix-declarations": ["f#L1"], **keywords}


def group(properties: Schema, required: tuple[str, ...] = (), further: Any = False) -> Schema:
    needed = {"required": list(required)} if required else {}
    return {"type": "object", "properties": properties, **needed, "additionalProperties": further}


def document(properties: Schema, defs: Schema | None = None, **keywords: Any) -> Schema:
    return {"x-nix-path": ["s"], **group(properties, **keywords), "$defs": defs or {}}


INT = {"type": "integer", "minimum": 0, "maximum": 10}
