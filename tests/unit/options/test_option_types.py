"""Numbers, texts and what is no data as JSON Schema, one rule at a time; test_export has the table of all."""

from __future__ import annotations

from typing import Any

import pytest
from support.option_types import ANY_INTEGER, FLOAT, INT, STR, accepts, convert, either, null_or


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
