"""``options.json`` as nixpkgs writes it: which options it has, and each field of one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ectools.docs.links import SourceUrl
from ectools.docs.model import DocSettings
from ectools.docs.options_json import write_pages
from ectools.docs.reference import build_reference

INNER = {
    "type": "object",
    "properties": {"below": {"description": "d", "type": "string", "x-nix-type": "string"}},
}


def write(directory: Path, option: dict[str, Any], **settings: Any) -> dict[str, Any]:
    document = {
        "properties": {"x": {"description": "d", "x-nix-type": "t", **option}},
        "$defs": {"inner": INNER},
    }
    (directory / "x.json").write_text(json.dumps(document))
    reference = build_reference(
        [str(directory / "x.json")], settings=DocSettings(**settings), allow_undocumented=True
    )
    return dict(json.loads(write_pages(reference)["options.json"]))


def test_an_option_of_which_nothing_is_known(tmp_path: Path) -> None:
    assert write(tmp_path, {}) == {
        "x": {"declarations": [], "description": "d", "loc": ["x"], "readOnly": False, "type": "t"}
    }
    assert write(tmp_path, {"description": ""})["x"]["description"] == ""


@pytest.mark.parametrize(
    ("option", "field", "expected"),
    [
        ({"default": None}, "default", {"_type": "literalExpression", "text": "null"}),
        ({"default": [1]}, "default", {"_type": "literalExpression", "text": "[\n  1\n]"}),
        ({"x-nix-default-text": "pkgs.x\n"}, "default", {"_type": "literalExpression", "text": "pkgs.x\n"}),
        ({"x-nix-empty": []}, "default", {"_type": "literalExpression", "text": "[ ]"}),
        ({"x-nix-default-markdown": "*w*"}, "default", {"_type": "literalMD", "text": "*w*"}),
        ({"examples": ["a", "b"]}, "example", {"_type": "literalExpression", "text": '"a"'}),
        ({"x-nix-example-text": "f x"}, "example", {"_type": "literalExpression", "text": "f x"}),
        ({"readOnly": True}, "readOnly", True),
        ({"x-nix-related-packages": "- a\n"}, "relatedPackages", "- a\n"),
        ({"x-nix-declarations": ["a.nix#L1", "/b.nix"]}, "declarations", ["a.nix", "/b.nix"]),
        (
            {"x-nix-declarations": ["helper.nix#L1"], "x-nix-modules": ["a.nix"]},
            "declarations",
            ["a.nix"],
        ),
    ],
)
def test_a_field(tmp_path: Path, option: dict[str, Any], field: str, expected: Any) -> None:
    assert write(tmp_path, option)["x"][field] == expected


def test_declarations_are_links_where_these_are_known(tmp_path: Path) -> None:
    url = SourceUrl("https://e.org/{path}#L{line}")
    written = write(tmp_path, {"x-nix-declarations": ["a.nix#L7", "b.nix", "/c.nix#L1"]}, source_url=url)
    assert written["x"]["declarations"] == [
        {"name": "a.nix", "url": "https://e.org/a.nix#L7"},
        {"name": "b.nix", "url": "https://e.org/b.nix"},
        "/c.nix",
    ]


@pytest.mark.parametrize(
    ("option", "names"),
    [
        ({"x-nix-internal": True, "$ref": "#/$defs/inner"}, ["x.below"]),
        ({"x-nix-visible": False, "$ref": "#/$defs/inner"}, []),
        ({"x-nix-visible": "shallow", "$ref": "#/$defs/inner"}, ["x"]),
        ({"x-nix-visible": "transparent", "$ref": "#/$defs/inner"}, ["x.below"]),
        ({"type": "array", "items": {"$ref": "#/$defs/inner"}}, ["x", "x.*.below"]),
        ({"type": "object", "additionalProperties": {"$ref": "#/$defs/inner"}}, ["x", "x.<name>.below"]),
        (
            {
                "type": "object",
                "x-nix-placeholder": "host",
                "additionalProperties": {"$ref": "#/$defs/inner"},
            },
            ["x", "x.<host>.below"],
        ),
        ({"anyOf": [{"type": "null"}, {"$ref": "#/$defs/inner"}]}, ["x", "x.below"]),
        ({"anyOf": [{"type": "string", "x-nix-coerced": True}, {"$ref": "#/$defs/inner"}]}, ["x", "x.below"]),
        ({"anyOf": [{"type": "string"}, {"$ref": "#/$defs/inner"}]}, ["x"]),
        ({"$ref": "#/$defs/inner", "x-nix-unreachable": ["another"]}, ["x"]),
        ({"anyOf": [{"$ref": "#/$defs/inner"}, {}], "x-nix-unrepresentable": "w"}, ["x", "x.below"]),
        (
            {"type": "object", "properties": {}, "additionalProperties": {"$ref": "#/$defs/inner"}},
            ["x", "x.<name>.below"],
        ),
        ({"allOf": [{"$ref": "#/$defs/inner"}, {}]}, ["x", "x.below"]),
    ],
)
def test_which_options(tmp_path: Path, option: dict[str, Any], names: list[str]) -> None:
    assert list(write(tmp_path, option)) == names


def test_internal_ones_where_they_are_wanted(tmp_path: Path) -> None:
    assert list(write(tmp_path, {"x-nix-internal": True}, internal=True)) == ["x"]


def test_names_are_shown_and_sorted_as_nix_does(tmp_path: Path) -> None:
    option = {"description": "d", "x-nix-type": "t"}
    names = ["b", "a.b", "if", "ä", "$x", "<n>", "*", "B"]
    (tmp_path / "x.json").write_text(json.dumps({"properties": dict.fromkeys(names, option)}))
    (text,) = write_pages(build_reference([str(tmp_path / "x.json")])).values()
    assert list(json.loads(text)) == ['"\\$x"', '"a.b"', '"if"', '"ä"', "*", "<n>", "B", "b"]


SCHEMAS = Path(__file__).parents[3] / "schemas"


@pytest.mark.parametrize("source_url", [None, SourceUrl("https://e.org/{path}#L{line}")])
def test_each_reader_finds_what_it_expects(source_url: SourceUrl | None) -> None:
    # By their sources: option.rs of ixx (NuschtOS search), options_docsource.rs of manix, and options.py of
    # nixos-render-docs (BaseConverter, OptionDocsRestrictions).
    schemas = [str(path) for path in sorted(SCHEMAS.glob("ec-*.schema.json"))]
    reference = build_reference(schemas, settings=DocSettings(source_url=source_url, internal=True))
    options = json.loads(write_pages(reference)["options.json"])
    assert len(options) > 100
    for option in options.values():
        # ixx knows no other fields, and wants these; manix wants `loc` and `type`.
        required = {"declarations", "description", "loc", "readOnly", "type"}
        assert required <= option.keys() <= required | {"default", "example", "relatedPackages"}
        assert all(isinstance(option[field], str) for field in ("description", "type"))
        assert isinstance(option.get("relatedPackages", ""), str)
        assert isinstance(option["readOnly"], bool)
        assert all(isinstance(part, str) for part in option["loc"])
        for field in {"default", "example"} & option.keys():
            assert option[field].keys() == {"_type", "text"}
            assert option[field]["_type"] in {"literalExpression", "literalMD"}
            assert isinstance(option[field]["text"], str)
        for place in option["declarations"]:
            assert isinstance(place, str) or place.keys() == {"name", "url"}
        # nixos-render-docs ends at a heading in a description.
        assert not any(line.lstrip().startswith("#") for line in option["description"].splitlines())
