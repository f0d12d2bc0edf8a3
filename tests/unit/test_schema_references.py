"""References of a schema in every form become pointers; what leads out is named, and nothing is asked for."""

from __future__ import annotations

import copy
import re
from typing import Any

import jsonschema
import pytest

from ectools.schema_references import UnsupportedReferenceError, localize_references


@pytest.mark.parametrize(
    ("document", "fault"),
    [
        ({"$ref": "http://127.0.0.1/x"}, "/$ref is 'http://127.0.0.1/x', which leads out of this document"),
        ({"items": {"$ref": "x.json#/a"}}, "/items/$ref is 'x.json#/a', which leads out"),
        (
            {"properties": {"default": {"$ref": "#/$defs/a"}}},
            "/properties/default/$ref is '#/$defs/a', which leads no",
        ),
        (
            {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}},
            "/$defs/a/$ref is '#/$defs/b', which leads to itself",
        ),
        ({"$ref": "#"}, "/$ref is '#', which leads to itself"),
        ({"$ref": "#/title", "title": "x"}, "/$ref is '#/title', which leads to what is no schema"),
        # A reference may lead to where no keyword of the dialect is.
        ({"x": [{"y": {"$ref": "//h/x"}}]}, "/x/0/y/$ref is '//h/x', which leads out"),
        ({"items": {"$dynamicRef": "#a"}}, "/items/$dynamicRef is not supported"),
        ({"$recursiveRef": "#"}, "/$recursiveRef is not supported"),
    ],
)
def test_a_reference_that_cannot_be_followed_is_named(document: dict[str, Any], fault: str) -> None:
    with pytest.raises(UnsupportedReferenceError, match=f"^{re.escape(fault)}"):
        localize_references(document)


@pytest.mark.parametrize(
    "part",
    [
        {"anyOf": [{"$ref": "#/$defs/a"}, True]},
        {"allOf": [{"anyOf": [{"$ref": "#/$defs/a"}]}]},
        {"not": {"$ref": "#/$defs/a"}},
        {"if": True, "else": {"$ref": "#/$defs/a"}},
        {"dependentSchemas": {"x": {"$ref": "#/$defs/a"}}},
        {"oneOf": [{"$ref": "#/$defs/b"}]},
        {"$ref": "#/$defs/b", "type": "string"},
        {"anyOf": [{"$anchor": "n"}, {"$ref": "#/$defs/b"}]},
    ],
)
def test_a_circle_that_takes_no_step_into_the_value_is_none(part: dict[str, Any]) -> None:
    document = {"items": {"$ref": "#/$defs/a"}, "$defs": {"a": part, "b": {"allOf": [{"$ref": "#/$defs/a"}]}}}
    with pytest.raises(UnsupportedReferenceError, match="which leads to itself"):
        localize_references(document)


@pytest.mark.parametrize(
    ("dialect", "part"),
    [
        ("2020-12", {"anyOf": [{"properties": {"x": {"$ref": "#/$defs/a"}}}, {"type": "null"}]}),
        ("2020-12", {"anyOf": [{"$ref": "#/$defs/c"}, {"$ref": "#/$defs/c"}]}),
        ("draft-07", {"$ref": "#/$defs/c", "anyOf": [{"$ref": "#/$defs/a"}]}),
    ],
)
def test_what_takes_a_step_or_counts_for_nothing_is_no_circle(dialect: str, part: dict[str, Any]) -> None:
    document = {"items": {"$ref": "#/$defs/a"}, "$defs": {"a": part, "c": {"type": "string"}}}
    assert localize_references(document, dialect) == document


@pytest.mark.parametrize(
    "document",
    [
        {"$id": "http://h/x", "properties": {"$ref": {"type": "string"}}},
        {"items": {"$ref": "#/$defs/a"}, "$defs": {"a": {"anyOf": [{"items": {"$ref": "#/$defs/a"}}, True]}}},
        {"const": {"$ref": "http://h"}, "enum": [{"$ref": "http://h"}], "default": {"$ref": "x"}},
        {"items": {"id": "a"}, "properties": {"$id": {"const": 1}}},
        {"$defs": {"a": True}, "allOf": [{"$ref": "#/$defs/a"}]},
        {"$ref": "#/$defs/a", "$defs": {"a": {"type": "string"}}},
    ],
)
def test_a_schema_that_has_pointers_alone_stays_as_it_is(document: dict[str, Any]) -> None:
    before = copy.deepcopy(document)
    assert localize_references(document) == before == document


TEXT = {"type": "string"}
# Dialect, schema, and the pointer that the first reference in it becomes.
A7 = {"$id": "http://h/d/x.json"}
FORMS: list[tuple[str, dict[str, Any], str]] = [
    ("draft-07", {**A7, "items": {"$ref": "http://h/d/x.json"}}, "#"),
    ("draft-07", {**A7, "items": {"$ref": "x.json#/definitions/a~1b"}}, "#/definitions/a~1b"),
    ("draft-07", {**A7, "items": {"$ref": "/d/x.json#/definitions/a%20b"}}, "#/definitions/a%20b"),
    ("draft-07", {"items": {"$ref": "#n"}, "definitions": {"a": {"$id": "#n", **TEXT}}}, "#/definitions/a"),
    (
        "draft-06",
        {"$id": "http://h/x", "items": {"$ref": "y"}, "definitions": {"a": {"$id": "y", **TEXT}}},
        "#/definitions/a",
    ),
    (
        "draft-04",
        {"id": "http://h/x", "items": {"$ref": "http://h/y#"}, "definitions": {"a": {"id": "y", **TEXT}}},
        "#/definitions/a",
    ),
    ("2019-09", {"items": {"$ref": "#n"}, "$defs": {"a": {"$anchor": "n", **TEXT}}}, "#/$defs/a"),
    (
        "2020-12",
        {"$id": "urn:x:y", "items": {"$ref": "#/$defs/a"}, "$defs": {"a": {"$anchor": "n", **TEXT}}},
        "#/$defs/a",
    ),
    (
        "2020-12",
        {
            "items": {"$ref": "in#/$defs/b"},
            "$defs": {"a": {"$id": "in", "$defs": {"b": TEXT}, "$ref": "#/$defs/b"}},
        },
        "#/$defs/a/$defs/b",
    ),
]


@pytest.mark.parametrize(("dialect", "document", "pointer"), FORMS)
def test_each_form_of_a_reference_within_a_document(dialect: str, document: Any, pointer: str) -> None:
    if "definitions" in pointer:
        document = {**document, "definitions": {"a/b": TEXT, "a b": TEXT, **document.get("definitions", {})}}
    before = copy.deepcopy(document)
    found = localize_references(document, dialect)
    assert found["items"]["$ref"] == pointer
    assert document == before
    kind = {"draft-04": "Draft4", "draft-06": "Draft6", "draft-07": "Draft7", "2019-09": "Draft201909"}
    validator = getattr(jsonschema, f"{kind.get(dialect, 'Draft202012')}Validator")
    for value in ([3], ["x"], [["x"]]):
        assert validator(found).is_valid(value) is validator(before).is_valid(value)


def test_a_metaschema_is_known() -> None:
    address = "http://json-schema.org/draft-07/schema#"
    document = {"properties": {"schema": {"$ref": address}, "type": {"$ref": f"{address}/properties/type"}}}
    validator = jsonschema.Draft7Validator(localize_references(document, "draft-07"))
    assert validator.is_valid({"schema": {"items": {"type": "string"}}, "type": "null"})
    assert not validator.is_valid({"schema": {"items": {"type": "strin"}}})
    assert not validator.is_valid({"type": "nul"})


def test_old_drafts_know_nothing_beside_a_reference() -> None:
    part = {"$id": "http://other/", "$ref": "#/definitions/a"}
    document = {"items": part, "definitions": {"a": TEXT}}
    assert localize_references(document, "draft-07")["items"]["$ref"] == "#/definitions/a"
    with pytest.raises(UnsupportedReferenceError, match="leads nowhere"):
        localize_references({"items": part, "definitions": {"a": TEXT}}, "2020-12")
