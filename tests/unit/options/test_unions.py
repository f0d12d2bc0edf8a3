"""Which members of a union Nix ever tries, one rule at a time; test_type_unions.py asks Nix itself."""

from __future__ import annotations

from typing import Any

import pytest
from support.option_types import (
    BOOL,
    INT,
    LISTS,
    SETS,
    STR,
    coerced,
    convert,
    either,
    make_converter,
    null_or,
    submodule,
)

from ectools.options.unions import ANY_INTEGER, UnionSchema, accepts_everything, is_same

RAW = {"name": "raw", "description": "raw value"}
INTEGERS = {"name": "listOf", "description": "list of signed integer", "elem": INT}


@pytest.mark.parametrize("name", ["anything", "json", "raw", "unspecified"])
@pytest.mark.parametrize(
    "wrap",
    [
        null_or,
        lambda node: {"name": "attrsOf", "elem": null_or(node)},
        lambda node: either(STR, node),
        lambda node: either(either(INT, node), STR),
        lambda node: null_or({"name": "unique", "elem": node, "description": "d"}),
    ],
)
def test_a_member_that_takes_anything_is_one_of_the_union(name: str, wrap: Any) -> None:
    schema = convert(wrap({"name": name, "description": name}))
    union = schema.get("additionalProperties", schema)
    assert {} in union["anyOf"]


def test_what_follows_a_member_that_takes_anything_is_never_tried() -> None:
    assert convert(either(RAW, either(INT, STR))) == {"x-nix-unreachable": ["either"]}
    assert convert(either(either(INT, RAW), STR)) == {
        "anyOf": [ANY_INTEGER, {}],
        "x-nix-unreachable": ["string"],
    }
    # A union that is nothing but marks is one such member too.
    assert convert(either(either(RAW, INT), STR)) == {"x-nix-unreachable": ["signed integer", "string"]}


@pytest.mark.parametrize(
    "first",
    [
        {**LISTS, "checked": True},
        coerced(LISTS, STR),
        {"name": "functionTo", "description": "function"},
        {"name": "matrix", "description": "matrix"},
    ],
)
def test_a_check_or_a_conversion_may_leave_a_value_to_the_next_member(first: dict[str, Any]) -> None:
    schema = convert(either(first, INTEGERS))
    assert {"type": "array", "items": ANY_INTEGER} in schema["anyOf"]
    assert "x-nix-unreachable" not in schema


def test_within_a_conversion_what_is_converted_comes_first() -> None:
    assert convert(coerced(LISTS, either(INTEGERS, BOOL))) == {
        "anyOf": [{"type": "array", "items": {"type": "string"}, "x-nix-coerced": True}, {"type": "boolean"}],
        "x-nix-unreachable": ["either"],
    }
    # A submodule that is converted imports no file.
    schema = convert(coerced(submodule("a"), STR))
    assert schema["anyOf"][1] == {"type": "string"}


def test_a_submodule_with_a_further_check_may_leave_sets_and_paths_to_the_next_member() -> None:
    checked = {**submodule("a"), "checked": True}
    assert {"type": "object", "additionalProperties": {"type": "string"}} in convert(either(checked, SETS))[
        "anyOf"
    ]
    assert {"type": "string"} in convert(either(checked, STR))["anyOf"]


def test_choices_that_python_takes_for_equal_are_different_members() -> None:
    one, true = ({"name": "enum", "description": "d", "values": [{"value": value}]} for value in (1, True))
    schema = convert(either(one, true))
    assert [type(branch["enum"][0]) for branch in schema["anyOf"]] == [int, bool]


def test_each_unreachable_member_is_named_once() -> None:
    union = UnionSchema(frozenset())
    union.add({"type": "array"})
    union.add(
        {"anyOf": [{"type": "array", "minItems": 1}, {"type": "array"}, {"type": "array", "items": {}}]}, "m"
    )
    assert union.build()["x-nix-unreachable"] == ["m"]


@pytest.mark.parametrize(
    ("schema", "everything"),
    [({}, True), ({"x-nix-unreachable": ["a"]}, True), ({"type": "null"}, False), ({"enum": []}, False)],
)
def test_what_accepts_everything(schema: dict[str, Any], everything: bool) -> None:
    assert accepts_everything(schema) is everything


@pytest.mark.parametrize(
    ("a", "b", "same"), [(1, 1, True), (1, True, False), (1, 1.0, False), ({}, {}, True)]
)
def test_sameness_as_nix_sees_it(a: Any, b: Any, same: bool) -> None:
    assert is_same(a, b) is same


class TestFreeform:
    """Further names of a submodule, where the freeform type is not a plain one of sets."""

    @staticmethod
    def further(freeform: dict[str, Any]) -> Any:
        converter = make_converter()
        converter.convert(submodule("a", freeform=freeform), ("x",))
        return converter.defs["x"]["additionalProperties"]

    def test_a_submodule_as_freeform_type_knows_names_of_its_own(self) -> None:
        assert self.further(submodule("b")) is True
        assert self.further(either(LISTS, submodule("b"))) is True

    def test_a_freeform_type_that_holds_the_submodule_itself(self) -> None:
        node = submodule("a")
        node["freeform"] = {"up": 1}
        converter = make_converter()
        converter.convert({"name": "attrsOf", "description": "d", "elem": node}, ("x",))
        assert converter.defs["x.<name>"]["additionalProperties"] is True
        node["freeform"] = null_or({"up": 3, "description": "itself"})
        outer = null_or(node)
        converter = make_converter()
        converter.convert(outer, ("x",))
        assert converter.defs

    def test_an_empty_tag_takes_nothing(self) -> None:
        converter = make_converter()
        converter.convert({"name": "attrTag", "description": "d", "options": []}, ("x",))
        assert converter.defs["x"] == {"enum": []}


@pytest.mark.parametrize("words", ["", "a fraction", "a number between one and 2"])
def test_bounds_whose_words_were_replaced_are_unknown(words: str) -> None:
    schema = convert({"name": "numberBetween", "description": words})
    assert schema == {"type": "number", "x-nix-unrepresentable": "the bounds of the number"}


@pytest.mark.parametrize("name", ["strMatching", "strMatching ", 'strMatching "a', "strMatching 3"])
def test_a_pattern_that_nobody_says_is_unknown(name: str) -> None:
    assert convert({"name": name, "description": "d"}) == {
        "type": "string",
        "x-nix-unrepresentable": "its pattern",
    }
