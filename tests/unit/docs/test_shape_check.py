"""What is said of a JSON document that is no schema of options: all of it, each with its place."""

from __future__ import annotations

from typing import Any

import pytest
from support.sample_options import make_schema

from ectools.docs.shape_check import find_shape_faults


def faults(properties: Any, **rest: Any) -> list[str]:
    return list(find_shape_faults({"properties": properties, **rest}))


def test_what_the_export_writes_has_the_shape() -> None:
    assert list(find_shape_faults(make_schema())) == []


def test_a_document_without_options() -> None:
    assert list(find_shape_faults({})) == ["it has no properties"]


@pytest.mark.parametrize(
    ("option", "fault"),
    [
        ({"x-nix-type": 3}, "/properties/a/x-nix-type is not of the right kind"),
        ({"enum": "ab"}, "/properties/a/enum is not of the right kind"),
        ({"minimum": "1"}, "/properties/a/minimum is not of the right kind"),
        ({"x-nix-declarations": ["a", None]}, "/properties/a/x-nix-declarations holds what is no string"),
        ({"required": [1]}, "/properties/a/required holds what is no string"),
        ({"$ref": "#/$defs/none"}, "/properties/a/$ref leads nowhere: #/$defs/none"),
        ({"anyOf": [{}, 3]}, "/properties/a/anyOf/1 is no schema"),
        ({"allOf": [None]}, "/properties/a/allOf/0 is no schema"),
        ({"not": {"pattern": 1}}, "/properties/a/not/pattern is not of the right kind"),
        ({"items": {"pattern": 1}}, "/properties/a/items/pattern is not of the right kind"),
        (True, "/properties/a is no schema"),
        ("x", "/properties/a is no schema"),
    ],
)
def test_one_fault(option: Any, fault: str) -> None:
    assert faults({"a": option}) == [fault]


def test_a_reference_leads_to_a_schema_and_to_no_boolean() -> None:
    assert faults({"a": {"$ref": "#/$defs/b"}}, **{"$defs": {"b": True}}) == [
        "/properties/a/$ref leads nowhere: #/$defs/b",
        "/$defs/b is no schema",
    ]


def test_every_fault_is_found() -> None:
    inner = {"pattern": 1, "required": "a"}
    assert faults({"a": {"items": inner}, "b": {"default": {"pattern": 1}}, "c": 1}) == [
        "/properties/a/items/pattern is not of the right kind",
        "/properties/a/items/required is not of the right kind",
        "/properties/c is no schema",
    ]


@pytest.mark.parametrize("of_all", [True, False])
def test_booleans_are_schemas_where_they_say_what_may_be_added(of_all: bool) -> None:
    assert faults({"a": {"additionalProperties": of_all, "items": of_all}}) == []


def test_a_reference_within_itself_ends() -> None:
    assert faults({"a": {"$ref": "#/$defs/a"}}, **{"$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}}) == []


@pytest.mark.parametrize(("depth", "found"), [(198, 0), (199, 0), (200, 1)])
def test_nesting_has_an_end(depth: int, found: int) -> None:
    option: dict[str, Any] = {}
    for _ in range(depth):
        option = {"items": option}
    shown = faults({"a": option})
    assert len(shown) == found
    assert all(each.endswith("… is nested too deeply") and len(each) < 250 for each in shown)
