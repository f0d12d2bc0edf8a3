"""Whether a schema certainly accepts a value, without the time that importing jsonschema takes.

Most host descriptions are valid, and importing jsonschema takes longer than everything else that validating
one does. What is here knows the keywords that schemas of modules consist of, and says yes only where
jsonschema would find nothing; for any other keyword, and wherever it does not say yes, jsonschema decides
and explains.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ectools.names import resolve_reference

if TYPE_CHECKING:
    from collections.abc import Callable

_TYPES: dict[str, Callable[[Any], bool]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}
_IGNORED = frozenset(
    {"$schema", "$defs", "title", "description", "default", "examples", "required", "additionalProperties"}
)
"""Keywords that say nothing about a value, and those that ``_accept_properties`` looks at."""


def fast_validate(value: Any, schema: Any, document: dict[str, Any]) -> bool:
    """True where ``schema``, a part of ``document``, certainly accepts ``value``; else False."""
    if isinstance(schema, bool):
        return schema
    return all(
        keyword in _IGNORED
        or keyword.startswith("x-")
        or (keyword in _KEYWORDS and _KEYWORDS[keyword](value, argument, schema, document))
        for keyword, argument in schema.items()
    ) and (not isinstance(value, dict) or _accept_names(value, schema, document))


def _accept_names(value: dict[str, Any], schema: dict[str, Any], document: dict[str, Any]) -> bool:
    if any(name not in value for name in schema.get("required", ())):
        return False
    further = schema.get("additionalProperties", True)
    return further is True or all(
        fast_validate(inner, further, document)
        for name, inner in value.items()
        if name not in schema.get("properties", {})
    )


def _accept_properties(value: Any, argument: Any, _schema: dict[str, Any], document: dict[str, Any]) -> bool:
    return not isinstance(value, dict) or all(
        fast_validate(inner, argument[name], document) for name, inner in value.items() if name in argument
    )


def _accept_enum(value: Any, argument: Any, _schema: dict[str, Any], _document: dict[str, Any]) -> bool:
    # Python's 1 == True, and JSON's 1 is not true.
    return any(type(value) is type(each) and value == each for each in argument)


def _accept_bound(
    compare: Callable[[Any, Any], bool],
) -> Callable[[Any, Any, dict[str, Any], dict[str, Any]], bool]:
    def accept(value: Any, argument: Any, _schema: dict[str, Any], _document: dict[str, Any]) -> bool:
        return not _TYPES["number"](value) or compare(value, argument)

    return accept


_KEYWORDS: dict[str, Callable[[Any, Any, dict[str, Any], dict[str, Any]], bool]] = {
    "type": lambda value, argument, _, __: isinstance(argument, str) and _TYPES[argument](value),
    "enum": _accept_enum,
    "minimum": _accept_bound(lambda value, bound: value >= bound),
    "maximum": _accept_bound(lambda value, bound: value <= bound),
    "pattern": lambda value, argument, _, __: (
        not isinstance(value, str) or re.search(argument, value) is not None
    ),
    "properties": _accept_properties,
    "items": lambda value, argument, _, document: (
        not isinstance(value, list) or all(fast_validate(item, argument, document) for item in value)
    ),
    "minItems": lambda value, argument, _, __: not isinstance(value, list) or len(value) >= argument,
    "anyOf": lambda value, argument, _, document: any(
        fast_validate(value, each, document) for each in argument
    ),
    "allOf": lambda value, argument, _, document: all(
        fast_validate(value, each, document) for each in argument
    ),
    "$ref": lambda value, argument, _, document: fast_validate(
        value, resolve_reference(argument, document), document
    ),
}
