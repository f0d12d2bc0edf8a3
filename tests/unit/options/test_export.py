"""From a dump to a schema: no Nix is needed, and the same dump yields the same text."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from support import golden

from ectools.errors import InputError
from ectools.files import FileError
from ectools.options.dump import Dump, Tree, decode_value, parse_dump, read_dump
from ectools.options.export import Export, export_tree

TABLE = Path(__file__).parents[2] / "golden" / "schemas" / "type_table.dump.json"


def make_dump(*options: dict[str, Any], path: tuple[str, ...] = ("s",)) -> Dump:
    return Dump(empty_is_default=True, roots=(("/checkout/", ""),), trees=(Tree("m", path, list(options)),))


def export_one(**option: Any) -> dict[str, Any]:
    dump = make_dump({"path": ["x"], "declarations": [], **option})
    document = export_tree(dump, dump.trees[0]).document
    result = document["properties"]["x"]
    assert isinstance(result, dict)
    return result


def test_the_table_of_types() -> None:
    dump = read_dump(TABLE)
    table = export_tree(dump, dump.trees[0])
    Draft202012Validator.check_schema(table.document)
    golden.compare("schemas/type_table.schema.json", table.render().decode())
    assert export_tree(dump, dump.trees[0]).render() == table.render()


def test_every_reference_leads_somewhere() -> None:
    dump = read_dump(TABLE)
    for output in (False, True):
        document = export_tree(dump, dump.trees[0], output=output).document
        validator = Draft202012Validator(document)
        for name in document["properties"]:
            # A reference that leads nowhere raises.
            list(validator.iter_errors({name: {"a": [{"b": 1}]}}))


def test_declarations_are_relative_to_the_roots() -> None:
    places = [
        {"file": "/checkout/nix/a.nix", "line": 3},
        {"file": "/elsewhere/b.nix", "line": None},
        {"file": "«string»", "line": 1},
    ]
    option = export_one(declarations=places, type={"name": "str", "description": "string"})
    assert option["x-nix-declarations"] == ["nix/a.nix#L3", "/elsewhere/b.nix"]


def test_an_older_libs_pattern_is_read_from_the_name() -> None:
    option = export_one(type={"name": 'strMatching "[a-z]\\\\.\\${}"', "description": "d"})
    assert "x-nix-unrepresentable" in option
    option = export_one(type={"name": 'strMatching "a\\\\.b"', "description": "d"})
    assert option["pattern"] == r"^(?:a\.b)$(?!\n)"


def test_what_a_schema_cannot_say_is_marked() -> None:
    assert "x-nix-unrepresentable" in export_one(type={"name": "matrixOf", "description": "matrix"})
    assert "x-nix-unrepresentable" in export_one(type={"name": "str", "description": "d", "checked": True})
    option = export_one(type={"name": "functionTo", "description": "function", "elem": {"name": "str"}})
    assert option["x-nix-unrepresentable"] == "a function is not data"
    assert "x-nix-unrepresentable" not in export_one(type={"name": "str", "description": "d"})


def test_a_broken_option_is_exported_and_named() -> None:
    dump = make_dump(
        {"path": ["x"], "broken": ["option"]}, {"path": ["y"], "broken": ["default"], "type": None}
    )
    export = export_tree(dump, dump.trees[0])
    assert [(finding.option, finding.part) for finding in export.findings] == [
        ("s.x", "option"),
        ("s.y", "default"),
    ]
    assert export.document["properties"]["x"]["x-nix-broken"] == {"option": {}}
    assert "defaultText" in export.findings[1].render()


def test_of_a_whole_configuration_nothing_must_be_set() -> None:
    option = {"path": ["x"], "type": {"name": "str", "description": "string"}}
    dump = make_dump(option)
    assert export_tree(dump, dump.trees[0]).document["required"] == ["x"]
    assert "required" not in export_tree(dump, replace(dump.trees[0], path=())).document


def encode(value: Any) -> Any:
    """What nix/lib/value.nix does."""
    if isinstance(value, float):
        mantissa, exponent = value.as_integer_ratio()
        return {"float": [mantissa, -(exponent.bit_length() - 1)]}
    if isinstance(value, list):
        return [encode(item) for item in value]
    if isinstance(value, dict):
        return {"set": {name: encode(item) for name, item in value.items()}}
    return value


TEXT = st.text(st.characters(codec="utf-8"))
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | TEXT
    # Nix has no negative zero.
    | st.floats(-1e18, 1e18).map(lambda number: number + 0.0),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["set", "float", "a"]), inner),
)


@given(VALUES)
def test_a_value_survives_the_dump(value: Any) -> None:
    decoded = decode_value(json.loads(json.dumps(encode(value))))
    assert decoded == value
    assert json.dumps(decoded) == json.dumps(value)


@given(st.dictionaries(TEXT, VALUES))
def test_the_text_of_a_schema_is_what_json_writes(document: dict[str, Any]) -> None:
    expected = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    assert Export("name", document, ()).render().decode() == expected


@pytest.mark.parametrize("data", [None, [], {}, {"version": 2}])
def test_another_versions_dump_is_rejected(data: Any) -> None:
    with pytest.raises(InputError, match="dump"):
        parse_dump(data)


def test_a_dump_that_cannot_be_read_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileError):
        read_dump(tmp_path / "absent.json")
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(InputError, match="not JSON"):
        read_dump(tmp_path / "bad.json")
