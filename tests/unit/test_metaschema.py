"""What is a JSON Schema: the same verdict as the metaschema's own, and a place for what is not one."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import (
    Draft4Validator,
    Draft6Validator,
    Draft7Validator,
    Draft201909Validator,
    Draft202012Validator,
)
from jsonschema.exceptions import SchemaError

from ectools.metaschema import find_schema_fault
from ectools.schemas import load_schema, schema_names

# Every keyword of the metaschema and of its vocabularies, with "x" for somebody else's.
KEYWORDS = [
    *(
        "$anchor",
        "$recursiveAnchor",
        "$recursiveRef",
        "id",
        "additionalItems",
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
    *(
        [],
        ["a"],
        ["a", "a"],
        ["string"],
        ["string", "x"],
        [1],
        [True],
        [1, True],
        [1, 1.0],
        [[1], [1.0]],
        [{}],
        [[]],
        [{"type": 3}],
    ),
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


VALIDATORS: dict[str, Any] = {
    "draft-04": Draft4Validator,
    "draft-06": Draft6Validator,
    "draft-07": Draft7Validator,
    "2019-09": Draft201909Validator,
    "2020-12": Draft202012Validator,
}


def is_schema(document: Any, dialect: str) -> bool:
    try:
        VALIDATORS[dialect].check_schema(document)
    except SchemaError:
        return False
    # Draft 4's metaschema passes over names that are no regular expressions, which then end a validation.
    return dialect != "draft-04" or find_wrong_names(document) == []


def find_wrong_names(node: Any) -> list[str]:
    """What is no regular expression among the names below ``patternProperties`` of a schema of draft 4."""
    if not isinstance(node, dict):
        return []
    wrong = []
    for keyword, value in node.items():
        if keyword == "patternProperties":
            wrong += [name for name in value if not is_expression(name)]
        if keyword in ("definitions", "properties", "patternProperties", "dependencies"):
            wrong += [each for inner in value.values() for each in find_wrong_names(inner)]
        elif keyword in ("allOf", "anyOf", "oneOf", "items") and isinstance(value, list):
            wrong += [each for inner in value for each in find_wrong_names(inner)]
        elif keyword in ("not", "items", "additionalItems", "additionalProperties"):
            wrong += find_wrong_names(value)
    return wrong


def is_expression(text: str) -> bool:
    try:
        re.compile(text)
    except re.error:
        return False
    return True


@pytest.mark.parametrize("dialect", VALIDATORS)
@pytest.mark.parametrize("keyword", KEYWORDS)
def test_each_keyword_takes_what_the_metaschema_takes(keyword: str, dialect: str) -> None:
    for value in ODD:
        for document in ({keyword: value}, {keyword: value, "maximum": 1, "minimum": 1}):
            assert (find_schema_fault(document, dialect) is None) is is_schema(document, dialect), document


@pytest.mark.parametrize("dialect", VALIDATORS)
@settings(max_examples=150)
@given(document=SCHEMAS)
def test_the_verdict_is_the_metaschemas(document: Any, dialect: str) -> None:
    assert (find_schema_fault(document, dialect) is None) is is_schema(document, dialect), json.dumps(
        document
    )


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
