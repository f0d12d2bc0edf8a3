"""Each option of this project's modules has an example, unless its type already lists every value."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator

from ectools.docs.model import build_module_doc
from ectools.schemas import Schema, load_schema, schema_names

# Two values, or those that the reference lists: an example of such an option would say nothing more.
LISTED = ("boolean", "one of ", "null or one of ")


def find_leaves(node: dict[str, Any], path: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Dotted path → schema of each option below an object of options."""
    leaves = {}
    for name, child in node.get("properties", {}).items():
        if "x-nix-type" in child:
            leaves[".".join((*path, name))] = child
        leaves |= find_leaves(child, (*path, name))
    return leaves


SCHEMAS = [load_schema(name) for name in schema_names()]
LEAVES = {
    path: leaf | {"$defs": schema.document.get("$defs", {})}
    for schema in SCHEMAS
    for path, leaf in find_leaves(schema.document, tuple(schema.document["x-nix-path"])).items()
}


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema.name)
def test_each_option_has_an_example(schema: Schema) -> None:
    options = build_module_doc(schema).options
    without = [
        option.name for option in options if option.example is None and not option.type.startswith(LISTED)
    ]
    assert without == [], "add an `example` to the mkOption, then: ectools schema export"


@pytest.mark.parametrize("path", sorted(LEAVES))
def test_an_example_is_a_value_of_its_type_and_not_the_default(path: str) -> None:
    leaf = LEAVES[path]
    for example in leaf.get("examples", ()):
        assert [error.message for error in Draft202012Validator(leaf).iter_errors(example)] == []
        # `enable` is an exception of nixpkgs' making: mkEnableOption's example is true whatever the default.
        assert "default" not in leaf or example != leaf["default"] or path.endswith(".enable")
