"""Whether a document is a JSON Schema of draft 2020-12: the metaschema's rules, and a place that breaks one.

The rules are those of https://json-schema.org/draft/2020-12/schema and of the vocabularies that it names, and
regular expressions are compiled. jsonschema evaluates the metaschema itself, which takes half a minute for
all options of NixOS; this takes no longer than reading them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

_Place = tuple[Any, Any] | tuple[()]
"""A place in a document: its last step and the place above. The document itself is empty."""

_TYPES = ("array", "boolean", "integer", "null", "number", "object", "string")


def find_schema_fault(document: Any) -> str | None:
    """What is wrong with a faulty part of a schema, and where it stands; None for a sound one."""
    pending: list[tuple[Any, _Place]] = [(document, ())]
    while pending:
        node, place = pending.pop()
        if type(node) is not dict:
            if node is True or node is False:
                continue
            return _fault(node, place, "a schema (an object, true or false)")
        for keyword, value in node.items():
            rule = _RULES.get(keyword)
            if rule is None:
                continue  # somebody else's keyword: it says nothing of a value
            expected, check, holder = rule
            if not check(value):
                return _fault(value, (keyword, place), expected)
            if holder is not None:
                pending += holder(value, (keyword, place))
    return None


def _fault(value: Any, place: _Place, expected: str) -> str:
    shown = repr(value)
    shown = shown if len(shown) <= 60 else f"{shown[:57]}…"
    return f"{_show(place)} is {shown}, where {expected} was expected"


def _show(place: _Place) -> str:
    """The place as a JSON Pointer (RFC 6901)."""
    steps: list[str] = []
    while place:
        step, place = place
        steps.append(str(step).replace("~", "~0").replace("/", "~1"))
    return "/" + "/".join(reversed(steps)) if steps else "the document"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    # To JSON Schema 2.0 is an integer.
    return _is_number(value) and value >= 0 and (isinstance(value, int) or value.is_integer())


def _is_names(value: Any) -> bool:
    return (
        isinstance(value, list) and all(type(each) is str for each in value) and len({*value}) == len(value)
    )


def _is_types(value: Any) -> bool:
    if isinstance(value, str):
        return value in _TYPES
    return _is_names(value) and bool(value) and all(each in _TYPES for each in value)


def _is_expression(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        re.compile(value)
    except (re.error, OverflowError, RecursionError):
        return False
    return True


def _is_named_expressions(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_expression, value))


def _matches(pattern: str) -> Callable[[Any], bool]:
    compiled = re.compile(pattern)
    return lambda value: isinstance(value, str) and compiled.search(value) is not None


def _is(kind: type) -> Callable[[Any], bool]:
    return lambda value: type(value) is kind


def _all_values(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: type(value) is dict and all(map(check, value.values()))


def _in_object(value: dict[str, Any], place: _Place) -> list[tuple[Any, _Place]]:
    return [(inner, (name, place)) for name, inner in value.items()]


def _in_list(value: list[Any], place: _Place) -> list[tuple[Any, _Place]]:
    return [(inner, (index, place)) for index, inner in enumerate(value)]


def _in_dependencies(value: dict[str, Any], place: _Place) -> list[tuple[Any, _Place]]:
    """The schemas among them: a list of names is the other kind."""
    return [(inner, (name, place)) for name, inner in value.items() if not _is_names(inner)]


_Holder = Callable[[Any, _Place], "list[tuple[Any, _Place]]"]
_Rule = tuple[str, Callable[[Any], bool], _Holder | None]
"""What is expected of a keyword's value, whether a value is that, and the schemas in it with their places."""

_OBJECT, _LIST, _TEXT, _TRUTH = _is(dict), _is(list), _is(str), _is(bool)
_RULES: dict[str, _Rule] = {}


def _rule(keywords: str, expected: str, check: Callable[[Any], bool], holder: _Holder | None = None) -> None:
    _RULES.update(dict.fromkeys(keywords.split(), (expected, check, holder)))


_rule(
    "additionalProperties contains contentSchema else if items not propertyNames then unevaluatedItems "
    "unevaluatedProperties",
    "a schema",
    lambda _value: True,
    lambda value, place: [(value, place)],
)
_rule("$defs definitions dependentSchemas properties", "an object of schemas", _OBJECT, _in_object)
_rule(
    "allOf anyOf oneOf prefixItems", "a list of schemas", lambda value: _LIST(value) and bool(value), _in_list
)
_rule("dependencies", "an object of schemas or lists of names", _OBJECT, _in_dependencies)
_rule(
    "patternProperties",
    "an object of schemas, named by regular expressions",
    lambda value: _OBJECT(value) and all(map(_is_expression, value)),
    _in_object,
)
_rule("$comment $dynamicRef $recursiveRef $ref $schema", "a text", _TEXT)
_rule("contentEncoding contentMediaType description format title", "a text", _TEXT)
_rule(
    "$anchor $dynamicAnchor $recursiveAnchor",
    "a name of letters, digits, - . and _",
    _matches(r"^[A-Za-z_][-A-Za-z0-9._]*$"),
)
_rule("$id", "an address without a fragment", _matches(r"^[^#]*#?$"))
_rule("$vocabulary", "an object of booleans", _all_values(_TRUTH))
_rule("exclusiveMaximum exclusiveMinimum maximum minimum", "a number", _is_number)
_rule("maxContains maxItems maxLength maxProperties", "an integer from 0 up", _is_count)
_rule("minContains minItems minLength minProperties", "an integer from 0 up", _is_count)
_rule("multipleOf", "a number above 0", lambda value: _is_number(value) and value > 0)
_rule("deprecated readOnly uniqueItems writeOnly", "true or false", _TRUTH)
_rule("enum examples", "a list", _LIST)
_rule("pattern", "a regular expression", _is_expression)
_rule("required", "a list of different names", _is_names)
_rule("dependentRequired", "an object of lists of different names", _all_values(_is_names))
_rule("type", f"one of {', '.join(_TYPES)}, or a list of some of them", _is_types)
