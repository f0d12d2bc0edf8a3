"""JSON Schema and JSON values in words, for error messages."""

from __future__ import annotations

import json
from typing import Any, TypeAlias

Schema: TypeAlias = "dict[str, Any] | bool"

_TYPES = {
    "null": "null",
    "boolean": "true or false",
    "integer": "an integer",
    "number": "a number",
    "string": "a string",
    "array": "a list",
    "object": "a set of options",
}
_MAX_SHOWN = 60


def show_value(value: Any) -> str:
    """``value`` as JSON, shortened to what fits into a message."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _MAX_SHOWN else f"{text[: _MAX_SHOWN - 1]}…"


def name_type(value: Any) -> str:
    """What kind of value it is, with its article."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int():
            return "an integer"
        case float():
            return "a number with a point"
        case str():
            return "a string"
        case list():
            return "a list"
        case _:
            return "a set"


def describe(schema: Schema, root: dict[str, Any]) -> str:
    """What ``schema`` accepts, as a noun phrase. ``root`` is the document that its references point into."""
    schema = resolve(schema, root)
    if isinstance(schema, bool):
        return "anything" if schema else "nothing"
    if is_package(schema):
        return 'a package of nixpkgs by its name, "pkgs.NAME" or "NAME"'
    for keyword in ("anyOf", "oneOf"):
        if keyword in schema:
            return " or ".join(dict.fromkeys(describe(branch, root) for branch in schema[keyword]))
    if "const" in schema:
        return show_value(schema["const"])
    if "enum" in schema:
        return "one of " + ", ".join(show_value(value) for value in schema["enum"])
    types = schema.get("type", [])
    names = [types] if isinstance(types, str) else types
    return " or ".join(_describe_type(name, schema, root) for name in names) or "another value"


def _describe_type(name: str, schema: dict[str, Any], root: dict[str, Any]) -> str:
    text = _TYPES.get(name, name)
    if name in {"integer", "number"}:
        return text + _describe_bounds(schema)
    if name == "string" and "pattern" in schema:
        return f"{text} that matches {schema['pattern']}"
    if name == "string" and "minLength" in schema:
        return f"{text} of at least {schema['minLength']} characters"
    if name == "array":
        least = schema.get("minItems", 0)
        text = f"a list of at least {least}" if least else text
        return f"{text}, each {describe(schema['items'], root)}" if "items" in schema else text
    if name == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"a set, each value {describe(schema['additionalProperties'], root)}"
    return text


def _describe_bounds(schema: dict[str, Any]) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    # Every Nix integer has these two; they are no news.
    low = None if low == -(2**63) else low
    high = None if high == 2**63 - 1 else high
    if low is not None and high is not None:
        return f" from {low} to {high}"
    words = [
        f" {word} {bound}"
        for word, bound in (("of at least", low), ("of at most", high), ("above", above), ("below", below))
        if bound is not None
    ]
    return " and".join(words)


def resolve(schema: Schema, root: dict[str, Any]) -> Schema:
    """``schema`` with a reference into its own document followed."""
    while isinstance(schema, dict) and isinstance(schema.get("$ref"), str):
        reference = schema["$ref"]
        if not reference.startswith("#"):
            return schema
        target: Any = root
        for step in reference.removeprefix("#").split("/")[1:]:
            target = target[step.replace("~1", "/").replace("~0", "~")]
        # What stands beside a reference adds to it: a description of its own, as an option of a shared type has.
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        schema = {**target, **beside} if isinstance(target, dict) else target
    return schema


def is_package(schema: Schema) -> bool:
    """Whether the option is a package, which a host description names instead of holding it."""
    return isinstance(schema, dict) and schema.get("x-nix-type") == "package"
