"""Whether a JSON document has the shape that ``ectools schema export`` gives a schema, as far as it is read.

The metaschema of JSON Schema knows nothing of ``x-nix-`` keywords, and takes a hundred times as long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ectools.names import resolve_reference

if TYPE_CHECKING:
    from collections.abc import Iterator

_KINDS: dict[str, type | tuple[type, ...]] = {
    "$defs": dict,
    "$ref": str,
    "additionalProperties": (bool, dict),
    "allOf": list,
    "anyOf": list,
    "description": str,
    "enum": list,
    "examples": list,
    "exclusiveMaximum": (int, float),
    "exclusiveMinimum": (int, float),
    "items": (bool, dict),
    "maximum": (int, float),
    "minimum": (int, float),
    "not": dict,
    "pattern": str,
    "properties": dict,
    "required": list,
    "x-nix-declarations": list,
    "x-nix-default-markdown": str,
    "x-nix-default-text": str,
    "x-nix-example-markdown": str,
    "x-nix-example-text": str,
    "x-nix-modules": list,
    "x-nix-path": list,
    "x-nix-placeholder": str,
    "x-nix-related-packages": str,
    "x-nix-sep": str,
    "x-nix-type": str,
    "x-nix-unrepresentable": str,
}
_OF_STRINGS = ("required", "x-nix-declarations", "x-nix-modules", "x-nix-path")
_HOLDERS = {"properties", "$defs", "anyOf", "allOf", "items", "additionalProperties", "not"}
_MOST_DEPTH = 200


def find_shape_faults(document: dict[str, Any]) -> Iterator[str]:
    """What is not as it should be, in words, with where it stands."""
    if "properties" not in document:
        yield "it has no properties"
    yield from _find(document, "", document, 0)


def _find(node: Any, where: str, root: dict[str, Any], depth: int) -> Iterator[str]:
    if isinstance(node, bool):
        return
    if not isinstance(node, dict):
        yield f"{where or 'the document'} is no schema"
        return
    if depth > _MOST_DEPTH:
        yield f"{where[:200]}… is nested too deeply"
        return
    if wrong := _find_wrong_keywords(node, where, root):
        yield from wrong
        return
    if _HOLDERS.isdisjoint(node):
        return
    for below, inner in _children(node):
        yield from _find(inner, f"{where}/{below}", root, depth + 1)


def _children(node: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The schemas in a schema, and where they stand; a property is never a mere boolean."""
    for key in ("properties", "$defs"):
        for name, inner in node.get(key, {}).items():
            yield f"{key}/{name}", None if isinstance(inner, bool) else inner
    for key in ("anyOf", "allOf"):
        for index, inner in enumerate(node.get(key, ())):
            yield f"{key}/{index}", inner
    for key in ("items", "additionalProperties", "not"):
        if key in node:
            yield key, node[key]


def _find_wrong_keywords(node: dict[str, Any], where: str, root: dict[str, Any]) -> list[str]:
    wrong = []
    for key, value in node.items():
        kind = _KINDS.get(key)
        if kind is not None and not isinstance(value, kind):
            wrong.append(f"{where}/{key} is not of the right kind")
        elif key in _OF_STRINGS and not all(isinstance(item, str) for item in value):
            wrong.append(f"{where}/{key} holds what is no string")
    if not wrong and "$ref" in node and not _resolves(node["$ref"], root):
        wrong.append(f"{where}/$ref leads nowhere: {node['$ref']}")
    return wrong


def _resolves(reference: str, root: dict[str, Any]) -> bool:
    try:
        return isinstance(resolve_reference(reference, root), dict)
    except (KeyError, TypeError):
        return False
