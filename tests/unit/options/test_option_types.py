"""Option types as JSON Schema, one rule at a time; the table of all types is compared in test_export."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from ectools.options.types import TypeConverter

INT = {"name": "int", "description": "signed integer"}
STR = {"name": "str", "description": "string"}
BOOL = {"name": "bool", "description": "boolean"}
FLOAT = {"name": "float", "description": "floating point number"}
PATH = {"name": "path", "description": "absolute path", "path": {"absolute": True, "inStore": None}}
ANY_INTEGER = {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1}
LISTS = {"name": "listOf", "description": "list of string", "elem": STR}
SETS = {"name": "attrsOf", "description": "attribute set of string", "elem": STR}


def group_schema(options: list[dict[str, Any]], converter: TypeConverter, loc: tuple[str, ...]) -> Any:
    """An object of options, with what each takes: as export.py makes it, without the rest."""
    properties: dict[str, Any] = {}
    for option in options:
        *above, name = option["path"]
        here = properties
        for group in above:
            here = here.setdefault(group, {"type": "object", "properties": {}, "additionalProperties": False})
            here = here["properties"]
        here[name] = {**converter.convert(option["type"], (*loc, *option["path"])), "x-nix-type": "t"}
    return {"type": "object", "properties": properties, "additionalProperties": False}


def make_converter(*, output: bool = False) -> TypeConverter:
    converter = TypeConverter(lambda options, loc: group_schema(options, converter, loc), output=output)
    return converter


def convert(node: dict[str, Any], *, output: bool = False) -> Any:
    converter = make_converter(output=output)
    schema = converter.convert(node, ("x",))
    if converter.defs:
        Draft202012Validator.check_schema({**schema, "$defs": converter.defs})
    return schema


def either(left: dict[str, Any], right: dict[str, Any]) -> dict[str, Any]:
    return {"name": "either", "description": "either", "left": left, "right": right}


def coerced(source: dict[str, Any], to: dict[str, Any]) -> dict[str, Any]:
    return {"name": "coercedTo", "description": "coerced", "from": source, "to": to}


def null_or(elem: dict[str, Any]) -> dict[str, Any]:
    return {"name": "nullOr", "description": f"null or {elem['description']}", "elem": elem}


def submodule(*names: str, **more: Any) -> dict[str, Any]:
    options = [{"path": name.split("."), "type": STR} for name in names]
    return {"name": "submodule", "description": "submodule", "options": options, **more}


def accepts(node: dict[str, Any], value: Any) -> bool:
    converter = make_converter()
    schema = converter.convert(node, ("x",))
    return bool(Draft202012Validator({**schema, "$defs": converter.defs}).is_valid(value))


class TestNumbers:
    @pytest.mark.parametrize(
        ("bounds", "low", "high"),
        [
            ({"min": 1}, 1, 2**63 - 1),
            ({"max": 9}, -(2**63), 9),
            ({"min": 0, "max": 65535}, 0, 65535),
            ({}, -(2**63), 2**63 - 1),
        ],
    )
    def test_an_integer_has_nixs_64_bits_or_fewer(self, bounds: dict[str, int], low: int, high: int) -> None:
        expected = {"type": "integer", "minimum": low, "maximum": high}
        assert convert({"name": "intBetween", "description": "d", "bounds": bounds}) == expected
        assert convert(INT) == ANY_INTEGER

    @pytest.mark.parametrize(
        ("words", "low", "high"),
        [
            ("integer or floating point number between 0.500000 and 2 (both inclusive)", 0.5, 2),
            ("number between -1.5 and -0.25 (both inclusive)", -1.5, -0.25),
            ("number between 1e-05 and 10 or 3", 1e-05, 10),
        ],
    )
    def test_bounds_that_only_the_description_says(self, words: str, low: float, high: float) -> None:
        assert convert({"name": "numberBetween", "description": words}) == {
            "type": "number",
            "minimum": low,
            "maximum": high,
        }

    def test_signs(self) -> None:
        assert convert({"name": "numberNonnegative"}) == {"type": "number", "minimum": 0}
        assert convert({"name": "numberPositive"}) == {"type": "number", "exclusiveMinimum": 0}

    def test_an_integer_or_a_float_is_a_number(self) -> None:
        for node in (either(INT, FLOAT), either(FLOAT, INT)):
            assert convert(node) == {"type": "number"}
        assert convert(null_or(either(INT, FLOAT))) == {"anyOf": [{"type": "null"}, {"type": "number"}]}
        # Of fewer integers it is not.
        port = {"name": "port", "description": "port", "bounds": {"min": 0, "max": 65535}}
        assert len(convert(either(port, FLOAT))["anyOf"]) == 2


class TestTexts:
    @pytest.mark.parametrize(
        ("absolute", "in_store", "expected"),
        [
            (True, None, {"type": "string", "pattern": "^/"}),
            (True, False, {"type": "string", "pattern": "^/", "not": "in store"}),
            (True, True, {"type": "string", "pattern": "in store"}),
            (False, None, {"type": "string", "pattern": "^(?!/)"}),
            (False, True, {"type": "string", "pattern": "in store"}),
            (None, None, {"type": "string"}),
            (None, False, {"type": "string", "not": "in store"}),
        ],
    )
    def test_paths(self, absolute: bool | None, in_store: bool | None, expected: dict[str, Any]) -> None:
        schema = convert({"name": "path", "path": {"absolute": absolute, "inStore": in_store}})
        if in_store is False:
            schema["not"] = "in store" if "nix/" in schema["not"]["pattern"] else schema["not"]
        if in_store:
            schema["pattern"] = "in store" if "nix/" in schema["pattern"] else schema["pattern"]
        assert schema == expected

    @pytest.mark.parametrize(
        ("text", "inside"),
        [
            (f"/nix/store/{'a' * 32}-name", True),
            (f"/nix/store/{'a' * 32}-name/bin/x", True),
            (f"nix/store/{'a' * 32}-n", True),
            (f"./nix/./store//{'a' * 32}-n", True),
            (f"/nix/store/{'a' * 31}-name", False),
            (f"/nix/store/{'a' * 32}-", False),
            (f"/x/nix/store/{'a' * 32}-name", False),
            ("/nix/store", False),
        ],
    )
    def test_what_is_in_the_store(self, text: str, inside: bool) -> None:
        node = {"name": "path", "path": {"absolute": None, "inStore": True}}
        assert accepts(node, text) is inside
        assert accepts({"name": "path", "path": {"absolute": None, "inStore": False}}, text) is not inside

    @pytest.mark.parametrize(
        ("text", "accepted"),
        [
            (f"/nix/store/{'0123456789abcdfghijklmnpqrsvwxyz'}-a.b_c+d?e=f-G", True),
            (f"/nix/store/{'a' * 32}-n\n", False),
            (f"/nix/store/{'e' * 32}-n", False),
            (f"/nix/store/{'a' * 33}-n", False),
            (f"/nix/store/{'a' * 32}-n/bin", False),
        ],
    )
    def test_a_package_is_a_store_path_itself(self, text: str, accepted: bool) -> None:
        for name in ("package", "shellPackage"):
            assert accepts({"name": name, "description": "package"}, text) is accepted

    def test_a_pattern_of_the_type_itself_comes_before_its_name(self) -> None:
        node = {"name": 'strMatching "b"', "description": "d", "pattern": "a"}
        assert convert(node) == {"type": "string", "pattern": r"^(?:a)$(?!\n)"}
        node = {"name": "strMatching", "description": "d", "pattern": "[[.a.]]"}
        schema = convert(node)
        assert schema["type"] == "string"
        assert "pattern" not in schema
        assert schema["x-nix-unrepresentable"].startswith("the pattern [[.a.]]: a collating element")

    def test_what_a_line_of_passwd_cannot_hold(self) -> None:
        node = {**STR, "passwdEntry": True}
        assert convert(node) == {"allOf": [{"type": "string"}, {"pattern": r"^[^:\n]*$(?!\n)"}]}
        assert convert({**STR, "passwdEntry": False}) == {"type": "string"}

    def test_a_separated_string_keeps_its_separator(self) -> None:
        assert convert({"name": "separatedString", "sep": ":"}) == {"type": "string", "x-nix-sep": ":"}


class TestMarks:
    def test_a_checked_type_is_marked_unless_it_is_marked_already(self) -> None:
        checked = convert({**STR, "checked": True})
        assert checked == {"type": "string", "x-nix-unrepresentable": "a further check of the value"}
        schema = convert({"name": "pkgs", "checked": True})
        assert schema == {"x-nix-unrepresentable": "a package set is not data"}
        assert convert({**STR, "checked": False}) == {"type": "string"}

    @pytest.mark.parametrize(
        ("name", "what"),
        [
            ("fileset", "a file set"),
            ("functionTo", "a function"),
            ("luaInline", "Lua code that is marked as such"),
            ("optionType", "an option type"),
            ("pkgs", "a package set"),
        ],
    )
    def test_what_is_not_data(self, name: str, what: str) -> None:
        assert convert({"name": name}) == {"x-nix-unrepresentable": f"{what} is not data"}

    def test_a_type_of_somebody_elses_is_named(self) -> None:
        assert convert({"name": "matrix"}) == {
            "x-nix-unrepresentable": "the type matrix, which is none of nixpkgs' lib.types"
        }

    def test_choices_that_are_not_data_are_left_out_and_marked(self) -> None:
        values = [{"value": "a"}, {"text": "<function>"}, {"value": None}]
        assert convert({"name": "enum", "values": values}) == {
            "enum": ["a", None],
            "x-nix-unrepresentable": "choices that are not data",
        }
        assert convert({"name": "enum", "values": values[:1]}) == {"enum": ["a"]}

    def test_a_plain_types_schema_is_a_copy(self) -> None:
        convert({**STR, "checked": True})
        assert convert(STR) == {"type": "string"}


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
