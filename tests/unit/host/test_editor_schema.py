"""The schema of a whole host description for editors: its dialects, references and words."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from ectools.cli.schema.export import DOCUMENT_DIALECTS
from ectools.documents.load import load_host
from ectools.errors import ProblemsError
from ectools.host.combined_schema import load_combined_schema
from ectools.host.editor_schema import EditorDialect, build_editor_schema, render_editor_schema
from ectools.schemas import Schema, load_schema, schema_names, schemas_directory

ROOT = Path(__file__).parents[3]
OPTION = {"description": "A name, as {option}`x` has it.\n", "type": "string", "x-nix-type": "string"}


def build(
    properties: dict[str, Any], *, dialect: EditorDialect = EditorDialect.DRAFT_07, **rest: Any
) -> dict[str, Any]:
    document = {"type": "object", "properties": properties, "additionalProperties": False, **rest}
    return build_editor_schema([Schema(document, "m", "")], dialect=dialect)


def test_the_command_has_the_dialects_that_there_are() -> None:
    assert tuple(EditorDialect) == DOCUMENT_DIALECTS


@pytest.mark.parametrize("dialect", EditorDialect)
def test_it_says_of_every_example_what_validate_says(dialect: EditorDialect) -> None:
    document = build_editor_schema(map(load_schema, schema_names()), dialect=dialect)
    validator_class = jsonschema.validators.validator_for(document)
    validator_class.check_schema(document)
    assert document["$schema"] == validator_class.META_SCHEMA["$schema"]
    plain = jsonschema.Draft202012Validator(load_combined_schema().document)
    verdicts = set()
    for file in (*ROOT.glob("examples/host.*"), ROOT / "examples/broken/wrong-values.yaml"):
        with suppress(ProblemsError):  # of a file that cannot be read a schema says nothing
            value = load_host(file).root.value
            verdict = plain.is_valid(value)
            assert validator_class(document).is_valid(value) == verdict, file
            verdicts.add(verdict)
    assert verdicts == {True, False}


def test_the_committed_one_is_of_the_committed_schemas() -> None:
    path = schemas_directory() / "host.document.json"
    document = build_editor_schema(
        map(load_schema, schema_names()), identifier=json.loads(path.read_text())["$id"]
    )
    assert path.read_bytes() == render_editor_schema(document)
    assert document["$id"].startswith("https://")


def test_a_description_may_name_its_schema() -> None:
    document = build({"a": OPTION})
    assert jsonschema.Draft7Validator(document).is_valid({"$schema": "./x.json", "a": "b"})
    assert not jsonschema.Draft7Validator(document).is_valid({"b": 1})


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ({}, "A name, as `x` has it.\n\nType: string"),
        ({"description": ""}, "Type: string"),
        ({"x-nix-default-text": "a\n  b"}, "A name, as `x` has it.\n\nType: string\n\nDefault: a b"),
        (
            {"x-nix-default-markdown": "that of {file}`/x`"},
            "A name, as `x` has it.\n\nType: string\n\nDefault: that of `/x`",
        ),
    ],
)
def test_what_is_shown_of_an_option(option: dict[str, Any], text: str) -> None:
    assert build({"a": {**OPTION, **option}})["properties"]["a"] == {"description": text, "type": "string"}


def test_references_lead_to_names_that_need_no_escape() -> None:
    definitions = {"a.<name>": {"type": "string"}, "a.name": {"type": "integer"}, "b/c~d": {"type": "null"}}
    option = {
        "x-nix-type": "t",
        "anyOf": [
            {"$ref": "#/$defs/a.%3Cname%3E"},
            {"$ref": "#/$defs/a.name"},
            {"$ref": "#/$defs/b~1c~0d"},
            {"$ref": "#"},
        ],
    }
    document = build({"a": option}, **{"$defs": definitions})
    assert document["properties"]["a"]["anyOf"] == [
        {"$ref": "#/definitions/m-a.name"},
        {"$ref": "#/definitions/m-a.name-2"},
        {"$ref": "#/definitions/m-b-c-d"},
        {"$ref": "#"},
    ]
    assert {name: each["type"] for name, each in document["definitions"].items()} == {
        "m-a.name": "string",
        "m-a.name-2": "integer",
        "m-b-c-d": "null",
    }


def test_what_stands_beside_a_reference_counts_in_draft_07_too() -> None:
    option = {"$ref": "#/$defs/x", "x-nix-type": "t", "default": "d"}
    definitions = {"$defs": {"x": {"type": "string"}}}
    beside = {"description": "Type: t", "default": "d"}
    assert build({"a": option}, **definitions)["properties"]["a"] == {
        "allOf": [{"$ref": "#/definitions/m-x"}],
        **beside,
    }
    newer = build({"a": option}, dialect=EditorDialect.DRAFT_2020_12, **definitions)
    assert newer["properties"]["a"] == {"$ref": "#/$defs/m-x", **beside}
