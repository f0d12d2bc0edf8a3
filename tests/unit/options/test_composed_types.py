"""Unions, collections and submodules as JSON Schema, one rule at a time."""

from __future__ import annotations

from typing import Any

import pytest
from support.option_types import (
    ANY_INTEGER,
    BOOL,
    INT,
    LISTS,
    PATH,
    SETS,
    STR,
    coerced,
    convert,
    either,
    make_converter,
    null_or,
    submodule,
)


class TestUnions:
    def test_they_are_flat_and_name_nothing_twice(self) -> None:
        node = either(null_or(STR), null_or(either(BOOL, STR)))
        assert convert(node) == {"anyOf": [{"type": "null"}, {"type": "string"}, {"type": "boolean"}]}
        assert convert(either(STR, STR)) == {"type": "string"}

    def test_a_list_or_a_set_ends_what_comes_after_it_of_its_kind(self) -> None:
        later = {"name": "listOf", "description": "list of signed integer", "elem": INT}
        assert convert(either(LISTS, null_or(SETS))) == {
            "anyOf": [
                {"type": "array", "items": {"type": "string"}},
                {"type": "null"},
                {"type": "object", "additionalProperties": {"type": "string"}},
            ]
        }
        assert convert(either(LISTS, later)) == {
            "type": "array",
            "items": {"type": "string"},
            "x-nix-unreachable": ["list of signed integer"],
        }

    def test_a_list_of_at_least_one_leaves_the_empty_one_to_others(self) -> None:
        first = {**LISTS, "nonEmpty": True}
        schema = convert(either(first, LISTS))
        assert schema == {
            "anyOf": [
                {"type": "array", "items": {"type": "string"}, "minItems": 1},
                {"type": "array", "items": {"type": "string"}},
            ]
        }

    def test_unreachable_alternatives_of_several_unions_are_all_named(self) -> None:
        integers = {"name": "listOf", "description": "list of int", "elem": INT}
        node = either(
            either(LISTS, integers), {"name": "listOf", "description": "list of bool", "elem": BOOL}
        )
        assert convert(node)["x-nix-unreachable"] == ["list of int", "list of bool"]

    def test_a_submodule_takes_absolute_paths_as_modules(self) -> None:
        node = either(submodule("a"), PATH)
        schema = convert(node)
        assert schema["$ref"].startswith("#/$defs/")
        assert schema["x-nix-unreachable"] == ["absolute path"]
        schema = convert(either(submodule("a"), STR))
        assert schema["anyOf"][1] == {"allOf": [{"type": "string"}, {"pattern": "^(?!/)"}]}
        # The other way round the string comes first, and takes all.
        assert convert(either(STR, submodule("a")))["anyOf"][0] == {"type": "string"}
        assert convert(either(submodule("a"), BOOL))["anyOf"][1] == {"type": "boolean"}

    def test_a_submodule_ends_what_comes_after_it_of_sets(self) -> None:
        schema = convert(either(submodule("a"), SETS))
        assert schema["x-nix-unreachable"] == ["attribute set of string"]

    def test_a_coerced_type_takes_both_and_yields_one(self) -> None:
        node = coerced(INT, STR)
        assert convert(node) == {"anyOf": [{**ANY_INTEGER, "x-nix-coerced": True}, {"type": "string"}]}
        assert convert(node, output=True) == {"type": "string"}

    def test_each_alternative_that_is_coerced_is_marked(self) -> None:
        schema = convert(coerced(either(INT, BOOL), STR))
        marks = [branch.get("x-nix-coerced") for branch in schema["anyOf"]]
        assert marks == [True, True, None]
        assert convert(null_or(coerced(INT, STR)), output=True) == {
            "anyOf": [{"type": "null"}, {"type": "string"}]
        }


class TestCollections:
    def test_lists(self) -> None:
        assert convert(LISTS) == {"type": "array", "items": {"type": "string"}}
        assert convert({**LISTS, "nonEmpty": True})["minItems"] == 1

    @pytest.mark.parametrize("name", ["attrsOf", "lazyAttrsOf", "loaOf"])
    def test_sets(self, name: str) -> None:
        assert convert({**SETS, "name": name}) == {
            "type": "object",
            "additionalProperties": {"type": "string"},
        }

    def test_a_list_of_sets_of_one(self) -> None:
        one = {"type": "object", "additionalProperties": {"type": "string"}}
        items = {**one, "minProperties": 1, "maxProperties": 1}
        assert convert({**SETS, "name": "attrListOf"}) == {"anyOf": [{"type": "array", "items": items}, one]}

    @pytest.mark.parametrize(
        ("name", "step"),
        [("listOf", "*"), ("attrListOf", "*"), ("attrsOf", "<name>"), ("lazyAttrsOf", "<name>")],
    )
    def test_what_stands_for_an_element_in_a_path(self, name: str, step: str) -> None:
        converter = make_converter()
        converter.convert({"name": name, "elem": submodule("a")}, ("x", "y"))
        assert list(converter.defs) == [f"x.y.{step}"]

    def test_a_unique_type_is_its_element(self) -> None:
        assert convert({"name": "unique", "elem": STR}) == {"type": "string"}


class TestSubmodules:
    def test_an_opaque_one_is_marked(self) -> None:
        schema = convert({"name": "submodule", "opaque": True})
        assert schema["type"] == "object"
        assert "x-nix-unrepresentable" in schema

    def test_definitions_of_one_place_are_numbered(self) -> None:
        converter = make_converter()
        nodes = [submodule(name) for name in ("a", "b", "c")]  # a dump's live as long as the converter
        references = [converter.convert(node, ("x",))["$ref"] for node in nodes]
        assert references == ["#/$defs/x", "#/$defs/x%232", "#/$defs/x%233"]
        assert [list(schema["properties"]) for schema in converter.defs.values()] == [["a"], ["b"], ["c"]]

    def test_a_type_that_holds_itself_refers_to_itself(self) -> None:
        node = submodule("name")
        node["options"].append({"path": ["next"], "type": null_or({"up": 2, "description": "node"})})
        converter = make_converter()
        assert converter.convert(node, ("n",)) == {"$ref": "#/$defs/n"}
        following = converter.defs["n"]["properties"]["next"]
        assert following["anyOf"] == [{"type": "null"}, {"$ref": "#/$defs/n"}]
        # One level up is the union, which then has a name too.
        node["options"][1]["type"] = null_or({"up": 1, "description": "itself"})
        converter = make_converter()
        converter.convert(node, ("n",))
        assert converter.defs["n.next"]["anyOf"][1] == {"$ref": "#/$defs/n.next"}

    def test_a_tag_is_one_of_its_options(self) -> None:
        converter = make_converter()
        assert converter.convert({**submodule("a", "b"), "name": "attrTag"}, ("x",)) == {"$ref": "#/$defs/x"}
        schema = converter.defs["x"]
        assert [branch["required"] for branch in schema["anyOf"]] == [["a"], ["b"]]
        assert all(branch["type"] == "object" for branch in schema["anyOf"])
        assert all(branch["additionalProperties"] is False for branch in schema["anyOf"])
        assert [list(branch["properties"]) for branch in schema["anyOf"]] == [["a"], ["b"]]

    @pytest.mark.parametrize(
        ("freeform", "expected"),
        [
            (SETS, {"type": "string"}),
            ({"name": "attrs"}, True),
            ({"name": "anything"}, True),
            (null_or(SETS), {"type": "string"}),
            (either(SETS, {**SETS, "elem": INT}), {"type": "string"}),
            (either({**SETS, "name": "attrListOf"}, SETS), {"type": "string"}),
        ],
    )
    def test_further_names_take_what_the_freeform_type_says(
        self, freeform: dict[str, Any], expected: Any
    ) -> None:
        converter = make_converter()
        converter.convert(submodule("a", freeform=freeform), ("x",))
        assert converter.defs["x"]["additionalProperties"] == expected
        assert "x-nix-unrepresentable" not in converter.defs["x"]

    def test_a_freeform_type_that_is_not_of_sets_is_marked_and_open(self) -> None:
        converter = make_converter()
        converter.convert(submodule("a", freeform=STR), ("x",))
        assert converter.defs["x"]["additionalProperties"] is True
        assert converter.defs["x"]["x-nix-unrepresentable"] == "a freeform type that is not one of sets"

    def test_groups_are_open_one_level_of_the_type_further_in(self) -> None:
        converter = make_converter()
        converter.convert(submodule("a", "g.b", freeform={**SETS, "elem": SETS}), ("x",))
        schema = converter.defs["x"]
        assert schema["additionalProperties"] == {
            "type": "object",
            "additionalProperties": {"type": "string"},
        }
        assert schema["properties"]["g"]["additionalProperties"] == {"type": "string"}
        converter = make_converter()
        converter.convert(submodule("g.b", freeform=SETS), ("x",))
        # A text is no set: in the group only its own names may be.
        assert converter.defs["x"]["properties"]["g"]["additionalProperties"] is False

    def test_a_submodule_within_is_no_group(self) -> None:
        converter = make_converter()
        node = submodule("a", freeform={**SETS, "elem": SETS})
        node["options"].append({"path": ["inner"], "type": {**submodule("b", "c"), "name": "attrTag"}})
        converter.convert(node, ("x",))
        inner = converter.defs["x"]["properties"]["inner"]
        assert "additionalProperties" not in inner

    def test_without_a_freeform_type_it_is_closed(self) -> None:
        converter = make_converter()
        converter.convert(submodule("a"), ("x",))
        assert converter.defs["x"]["additionalProperties"] is False


def test_a_set_says_what_stands_for_its_names() -> None:
    node = {"name": "attrsOf", "description": "d", "elem": {"name": "str", "description": "string"}}
    plain = {"type": "object", "additionalProperties": {"type": "string"}}
    assert convert(node) == plain
    assert convert({**node, "placeholder": "host"}) == {**plain, "x-nix-placeholder": "host"}


class TestTypesOfOthers:
    OPTIONS = [{"path": ["a"], "type": INT}]  # noqa: RUF012 - is not changed

    def test_any_value_with_the_options_below(self) -> None:
        inside = {"wrap": ["<name>", "*"], "options": self.OPTIONS}
        schema = convert({"name": "dagOf", "inside": inside})
        described, anything = schema["anyOf"]
        assert described["type"] == "object"
        assert described["additionalProperties"]["type"] == "array"
        assert described["additionalProperties"]["items"]["type"] == "object"
        assert anything == {}
        assert schema["x-nix-unrepresentable"] == "the type dagOf, which is none of nixpkgs' lib.types"

    def test_what_stands_for_a_name_is_kept(self) -> None:
        inside = {"wrap": ["<function body>"], "options": self.OPTIONS}
        schema = convert({"name": "functionTo", "inside": inside})
        assert schema["anyOf"][0]["x-nix-placeholder"] == "function body"
        assert schema["x-nix-unrepresentable"] == "a function is not data"

    def test_of_its_parts_those_with_options_are_described(self) -> None:
        part = {"name": "listOf", "elem": submodule(a=INT)}
        schema = convert({"name": "own", "nested": {"left": STR, "part": part}})
        assert len(schema["anyOf"]) == 2
        assert schema["anyOf"][0]["type"] == "array"
        assert convert({"name": "own", "nested": {"left": STR}}).keys() == {"x-nix-unrepresentable"}

    def test_a_deferred_module_takes_further_names(self) -> None:
        node = {"name": "deferredModule", "inside": {"wrap": [], "options": self.OPTIONS}}
        module, file = convert(node)["anyOf"]
        assert module["additionalProperties"] is True
        assert file["type"] == "string"
        assert "properties" not in convert({"name": "deferredModule"})["anyOf"][0]
