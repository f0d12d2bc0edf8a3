"""Whether a document is a JSON Schema of its dialect: the metaschema's rules, and a place that breaks one.

The rules are those of https://json-schema.org/draft/2020-12/schema and of the vocabularies that it names, of
2019-09's, and of the metaschemas of drafts 7, 6 and 4; regular expressions are compiled, those that name
properties in draft 4 too. jsonschema evaluates the metaschema itself, which takes half a minute for all
options of NixOS; this takes no longer than reading them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

_Place = tuple[Any, Any] | tuple[()]
"""A place in a document: its last step and the place above. The document itself is empty."""

_TYPES = ("array", "boolean", "integer", "null", "number", "object", "string")


def find_schema_fault(document: Any, dialect: str = "2020-12") -> str | None:
    """What is wrong with a faulty part of a schema, and where it stands; None for a sound one.

    ``dialect`` is one of 2020-12, 2019-09, draft-07, draft-06 and draft-04.
    """
    rules = _RULES[dialect]
    is_draft_04 = dialect == "draft-04"
    pending: list[tuple[Any, _Place]] = [(document, ())]
    while pending:
        node, place = pending.pop()
        if type(node) is not dict:
            if (node is True or node is False) and not is_draft_04:
                continue
            kinds = "an object" if is_draft_04 else "an object, true or false"
            return _fault(node, place, f"a schema ({kinds})")
        for keyword, value in node.items():
            rule = rules.get(keyword)
            if rule is None:
                continue  # somebody else's keyword: it says nothing of a value
            expected, check, holder = rule
            if not check(value):
                return _fault(value, (keyword, place), expected)
            if holder is not None:
                pending += holder(value, (keyword, place))
        if is_draft_04:
            for keyword, other in _DRAFT_04_PAIRS:
                if keyword in node and other not in node:
                    return _fault(node, place, f"{other} beside {keyword}")
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


def _in_schema_or_list(value: Any, place: _Place) -> list[tuple[Any, _Place]]:
    return _in_list(value, place) if type(value) is list else [(value, place)]


def _in_schema_or_truth(value: Any, place: _Place) -> list[tuple[Any, _Place]]:
    """Of draft 4, which has no schema that is true or false."""
    return [] if type(value) is bool else [(value, place)]


def _in_old_dependencies(value: dict[str, Any], place: _Place) -> list[tuple[Any, _Place]]:
    """Of draft 4, where a list of names has one at least."""
    return [(inner, (name, place)) for name, inner in value.items() if not (inner and _is_names(inner))]


def _is_filled_list(value: Any) -> bool:
    return type(value) is list and bool(value)


def _is_old_count(value: Any) -> bool:
    # To draft 4 2.0 is no integer.
    return type(value) is int and value >= 0


def _is_different_values(value: Any) -> bool:
    """A list of one value at least, of which no two are the same: 1 and 1.0 are, 1 and true are not."""
    return _is_filled_list(value) and len(
        {json.dumps(_plain(each), sort_keys=True) for each in value}
    ) == len(value)


def _plain(value: Any) -> Any:
    """The value with whole floats as integers."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return {name: _plain(each) for name, each in value.items()} if isinstance(value, dict) else value


def _rule(
    keywords: str, expected: str, check: Callable[[Any], bool], holder: _Holder | None = None
) -> dict[str, _Rule]:
    return dict.fromkeys(keywords.split(), (expected, check, holder))


def _anything(_value: Any) -> bool:
    return True


def _one_schema(keywords: str) -> dict[str, _Rule]:
    return _rule(keywords, "a schema", _anything, lambda value, place: [(value, place)])


_DRAFT_04_PAIRS = (("exclusiveMaximum", "maximum"), ("exclusiveMinimum", "minimum"))

# What all drafts have in common.
_EVERY = (
    _one_schema("not")
    | _rule("definitions properties", "an object of schemas", _OBJECT, _in_object)
    | _rule("allOf anyOf oneOf", "a list of schemas", _is_filled_list, _in_list)
    | _rule("dependencies", "an object of schemas or lists of names", _OBJECT, _in_dependencies)
    | _rule(
        "patternProperties",
        "an object of schemas, named by regular expressions",
        lambda value: _OBJECT(value) and all(map(_is_expression, value)),
        _in_object,
    )
    | _rule("$schema description format title", "a text", _TEXT)
    | _rule("maximum minimum", "a number", _is_number)
    | _rule(
        "maxItems maxLength maxProperties minItems minLength minProperties", "an integer from 0 up", _is_count
    )
    | _rule("multipleOf", "a number above 0", lambda value: _is_number(value) and value > 0)
    | _rule("uniqueItems", "true or false", _TRUTH)
    | _rule("pattern", "a regular expression", _is_expression)
    | _rule("type", f"one of {', '.join(_TYPES)}, or a list of some of them", _is_types)
)
_OLD_ITEMS = _rule("items", "a schema or a list of schemas", lambda value: value != [], _in_schema_or_list)
_SINCE_06 = (
    _EVERY
    | _one_schema("additionalProperties contains propertyNames")
    | _rule("$ref", "a text", _TEXT)
    | _rule("exclusiveMaximum exclusiveMinimum", "a number", _is_number)
    | _rule("enum examples", "a list", _LIST)
    | _rule("required", "a list of different names", _is_names)
)
_SINCE_07 = (
    _SINCE_06
    | _one_schema("else if then")
    | _rule("$comment contentEncoding contentMediaType", "a text", _TEXT)
    | _rule("readOnly", "true or false", _TRUTH)
)
_SINCE_2019 = (
    _SINCE_07
    | _one_schema("contentSchema unevaluatedItems unevaluatedProperties")
    | _rule("$defs dependentSchemas", "an object of schemas", _OBJECT, _in_object)
    | _rule("$recursiveRef", "a text", _TEXT)
    | _rule("$id", "an address without a fragment", _matches(r"^[^#]*#?$"))
    | _rule("$vocabulary", "an object of booleans", _all_values(_TRUTH))
    | _rule("maxContains minContains", "an integer from 0 up", _is_count)
    | _rule("deprecated writeOnly", "true or false", _TRUTH)
    | _rule("dependentRequired", "an object of lists of different names", _all_values(_is_names))
)
_RULES: dict[str, dict[str, _Rule]] = {
    "draft-04": _EVERY
    | _OLD_ITEMS
    | _rule("additionalItems additionalProperties", "a schema, true or false", _anything, _in_schema_or_truth)
    | _rule("dependencies", "an object of schemas or lists of names", _OBJECT, _in_old_dependencies)
    | _rule("id", "a text", _TEXT)
    | _rule("exclusiveMaximum exclusiveMinimum", "true or false", _TRUTH)
    | _rule(
        "maxItems maxLength maxProperties minItems minLength minProperties",
        "an integer from 0 up",
        _is_old_count,
    )
    | _rule("enum", "a list of different values", _is_different_values)
    | _rule("required", "a list of different names", lambda value: _is_names(value) and bool(value)),
    "draft-06": _SINCE_06 | _OLD_ITEMS | _one_schema("additionalItems") | _rule("$id", "a text", _TEXT),
    "draft-07": _SINCE_07 | _OLD_ITEMS | _one_schema("additionalItems") | _rule("$id", "a text", _TEXT),
    "2019-09": _SINCE_2019
    | _OLD_ITEMS
    | _one_schema("additionalItems")
    | _rule("$anchor", "a name of letters, digits, - . : and _", _matches(r"^[A-Za-z][-A-Za-z0-9.:_]*$"))
    | _rule("$recursiveAnchor", "true or false", _TRUTH),
    "2020-12": _SINCE_2019
    | _one_schema("items")
    | _rule("prefixItems", "a list of schemas", _is_filled_list, _in_list)
    | _rule("$dynamicRef", "a text", _TEXT)
    | _rule(
        "$anchor $dynamicAnchor $recursiveAnchor",
        "a name of letters, digits, - . and _",
        _matches(r"^[A-Za-z_][-A-Za-z0-9._]*$"),
    ),
}
"""The keywords of each dialect that say something, and what is expected of their values."""
