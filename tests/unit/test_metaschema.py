"""What is a JSON Schema: the same verdict as the metaschema's own, and a place for what is not one."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from ectools.metaschema import find_schema_fault
from ectools.schemas import load_schema, schema_names

# Every keyword of the metaschema and of its vocabularies, with "x" for somebody else's.
KEYWORDS = [
    *(
        "$anchor",
        "$comment",
        "$defs",
        "$dynamicAnchor",
        "$dynamicRef",
        "$id",
        "$ref",
        "$schema",
        "$vocabulary",
    ),
    *("additionalProperties", "allOf", "anyOf", "contains", "contentEncoding", "contentMediaType"),
    *("contentSchema", "default", "definitions", "dependencies", "dependentRequired", "dependentSchemas"),
    *(
        "deprecated",
        "description",
        "else",
        "enum",
        "examples",
        "exclusiveMaximum",
        "exclusiveMinimum",
        "format",
    ),
    *("if", "items", "maxContains", "maxItems", "maxLength", "maxProperties", "maximum", "minContains"),
    *("minItems", "minLength", "minProperties", "minimum", "multipleOf", "not", "oneOf", "pattern"),
    *(
        "patternProperties",
        "prefixItems",
        "properties",
        "propertyNames",
        "readOnly",
        "required",
        "then",
        "title",
    ),
    *("type", "unevaluatedItems", "unevaluatedProperties", "uniqueItems", "writeOnly", "const", "x"),
]
ODD: list[Any] = [
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        2.0,
        0.5,
        "",
        "a",
        "a b",
        "(",
        "string",
        "integer",
        "#",
        "a#b",
        "#/$defs/a",
    ),
    *([], ["a"], ["a", "a"], ["string"], ["string", "x"], [1], [True], [{}], [[]], [{"type": 3}]),
    *({}, {"a": True}, {"a": {}}, {"(": {}}, {"a": ["b"]}, {"a": ["b", "b"]}, {"a": {"type": 3}}, {"a": 1}),
]
SCHEMAS = st.recursive(
    st.sampled_from(ODD),
    lambda inner: (
        st.dictionaries(st.sampled_from(KEYWORDS), inner, max_size=3)
        | st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["a", "properties", "[a-z]", "("]), inner, max_size=2)
    ),
    max_leaves=6,
)


def is_schema(document: Any) -> bool:
    try:
        Draft202012Validator.check_schema(document)
    except SchemaError:
        return False
    return True


@pytest.mark.parametrize("keyword", KEYWORDS)
def test_each_keyword_takes_what_the_metaschema_takes(keyword: str) -> None:
    for value in ODD:
        document = {keyword: value}
        assert (find_schema_fault(document) is None) is is_schema(document), document


@settings(max_examples=300)
@given(SCHEMAS)
def test_the_verdict_is_the_metaschemas(document: Any) -> None:
    assert (find_schema_fault(document) is None) is is_schema(document), json.dumps(document)


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        (3, "the document is 3, where a schema (an object, true or false) was expected"),
        ({"type": "strin"}, "/type is 'strin', where one of array, "),
        (
            {"properties": {"a/b": {"minimum": "1"}}},
            "/properties/a~1b/minimum is '1', where a number was expected",
        ),
        ({"anyOf": [{}, {"anyOf": []}]}, "/anyOf/1/anyOf is [], where a list of schemas was expected"),
        ({"items": {"pattern": "(" * 90}}, "/items/pattern is '((((("),
        ({"$defs": {"a": None}}, "/$defs/a is None, where a schema"),
        ({"dependencies": {"a": ["b"], "c": 3}}, "/dependencies/c is 3, where a schema"),
    ],
)
def test_a_fault_is_told_with_its_place(document: Any, fault: str) -> None:
    found = find_schema_fault(document)
    assert found is not None
    assert found.startswith(fault)
    assert len(found) < 300


def test_depth_has_no_end() -> None:
    document: dict[str, Any] = {"type": 3}
    for _ in range(20_000):
        document = {"items": document}
    assert str(find_schema_fault(document)).endswith("was expected")


@pytest.mark.parametrize("name", schema_names())
def test_the_committed_schemas_are_sound(name: str) -> None:
    assert find_schema_fault(load_schema(name).document) is None
