"""Whether a JSON document has the shape that ``ectools schema export`` gives a schema, as far as it is read.

The metaschema of JSON Schema knows nothing of ``x-nix-`` keywords, and takes a hundred times as long.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ectools.names import resolve

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
    "x-nix-path": list,
    "x-nix-related-packages": str,
    "x-nix-sep": str,
    "x-nix-type": str,
    "x-nix-unrepresentable": str,
}
_OF_STRINGS = ("required", "x-nix-declarations", "x-nix-path")
_MOST_DEPTH = 200


def find_misshapen(document: dict[str, Any]) -> Iterator[str]:
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
    for key in ("properties", "$defs"):
        for name, inner in node.get(key, {}).items():
            if not isinstance(inner, dict):
                yield f"{where}/{key}/{name} is no schema"
                continue
            yield from _find(inner, f"{where}/{key}/{name}", root, depth + 1)
    for key in ("anyOf", "allOf"):
        for index, inner in enumerate(node.get(key, ())):
            yield from _find(inner, f"{where}/{key}/{index}", root, depth + 1)
    for key in ("items", "additionalProperties", "not"):
        if key in node:
            yield from _find(node[key], f"{where}/{key}", root, depth + 1)


def _find_wrong_keywords(node: dict[str, Any], where: str, root: dict[str, Any]) -> list[str]:
    wrong = [
        f"{where}/{key} is not of the right kind"
        for key, value in node.items()
        if key in _KINDS and not isinstance(value, _KINDS[key])
    ]
    wrong += [
        f"{where}/{key} holds what is no string"
        for key in _OF_STRINGS
        if not wrong and not all(isinstance(item, str) for item in node.get(key, ()))
    ]
    if not wrong and "$ref" in node and not _resolves(node["$ref"], root):
        wrong.append(f"{where}/$ref leads nowhere: {node['$ref']}")
    return wrong


def _resolves(reference: str, root: dict[str, Any]) -> bool:
    try:
        return isinstance(resolve(reference, root), dict)
    except (KeyError, TypeError):
        return False
