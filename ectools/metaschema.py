"""Whether a document is a JSON Schema of draft 2020-12: the metaschema's rules, and a place that breaks one.

The rules are those of https://json-schema.org/draft/2020-12/schema and of the vocabularies that it names, and
regular expressions are compiled. jsonschema evaluates the metaschema itself, which takes half a minute for
all options of NixOS; this takes no longer than reading them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from ectools.names import resolve_reference

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


def find_unsupported_reference(document: dict[str, Any], *, itself: str = "$id") -> str | None:
    """Why a reference of a schema cannot be followed within it; None where all of them can.

    Nothing is ever fetched: what leads out of the document is such a reference. Keywords of other dialects
    and of nobody are looked into as well, because a reference may lead there. ``itself`` is the keyword by
    which a part of a schema is a document of its own (``id`` in draft 4).
    """
    known: set[str] = set()
    pending: list[tuple[Any, _Place]] = [(document, ())]
    while pending:
        node, place = pending.pop()
        if type(node) is list:
            pending += [each for each in _in_list(node, place) if type(each[0]) in _HOLDERS]
            continue
        reference = node.get("$ref")
        if type(reference) is str and reference not in known:
            known.add(reference)
            fault = _follow(reference, document)
            if fault is not None:
                return f"{_show(('$ref', place))} is {reference!r}, which {fault}"
        for keyword, value in node.items():
            if type(value) in _HOLDERS:
                if type(value) is dict and keyword in _NAMED:
                    inside = _in_object(value, (keyword, place))
                    pending += [each for each in inside if type(each[0]) in _HOLDERS]
                elif keyword not in _VALUES:
                    pending.append((value, (keyword, place)))
            elif keyword in _DYNAMIC or (place and keyword == itself and type(value) is str):
                return f"{_show((keyword, place))} is not supported: it makes a reference mean something else"
    return None


_HOLDERS = (dict, list)
_DYNAMIC = frozenset({"$dynamicRef", "$recursiveRef"})
_NAMED = frozenset({"$defs", "definitions", "dependentSchemas", "patternProperties", "properties"})
_VALUES = frozenset({"const", "default", "enum", "examples"})


def _follow(reference: str, document: dict[str, Any]) -> str | None:
    """What is wrong with a reference, in words."""
    passed = {reference}
    while True:
        if not reference.startswith("#"):
            return "leads out of this document, and nothing is fetched"
        try:
            target = resolve_reference(reference, document)
        except KeyError:
            return "leads nowhere"
        if not isinstance(target, (dict, bool)):
            return "leads to what is no schema"
        if isinstance(target, bool) or "$ref" not in target:
            return None
        reference = str(target["$ref"])
        if reference in passed:
            return "leads to itself"
        passed.add(reference)


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
