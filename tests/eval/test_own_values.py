"""Every default and every example of NixOS: the schema of its option refuses none that Nix takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.differential import Strict, nix_verdicts

from ectools.names import resolve_reference
from ectools.options.evaluate import evaluate_expression
from ectools.options.export import export_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.nix, pytest.mark.slow]

HERE = Path(__file__).parent
Schema = dict[str, Any]


def find_values(node: Any, document: Schema) -> Iterator[tuple[list[str], Schema, Any]]:
    """Path, schema and value of each default and example that is data, in submodules too.

    What stands for a name or an index is left out of a path, as ``getSubOptions`` needs it.
    """
    seen: set[int] = set()

    def walk(node: Any, path: list[str]) -> Iterator[tuple[list[str], Schema, Any]]:
        if not isinstance(node, dict) or id(node) in seen:
            return
        seen.add(id(node))
        if "x-nix-type" in node:
            values = [*([node["default"]] if "default" in node else []), *node.get("examples", ())]
            yield from ((path, node, value) for value in values)
        if "$ref" in node:
            yield from walk(resolve_reference(node["$ref"], document), path)
        for name, inner in node.get("properties", {}).items():
            yield from walk(inner, [*path, name])
        for branch in (*node.get("anyOf", ()), node.get("items"), node.get("additionalProperties")):
            yield from walk(branch, path)

    yield from walk(node, [])


def test_a_default_or_an_example_that_the_schema_refuses_is_one_that_nix_refuses(nixpkgs: Path) -> None:
    expression = f'import "{HERE}/nixos.nix" {{ }}'
    dump = evaluate_expression(expression, nixpkgs=str(nixpkgs))
    document = export_tree(dump, dump.trees[0]).document
    values = list(find_values(document, document))
    definitions = document["$defs"]
    cases = [
        {"path": path, "value": value}
        for path, schema, value in values
        if not Strict({**schema, "$defs": definitions}).is_valid(value)
    ]
    assert len(values) > 15_000
    verdicts = nix_verdicts(f"({expression}).options", cases, deep=False, nixpkgs=nixpkgs)
    wrong = [
        f"{'.'.join(case['path'])}: {json.dumps(case['value'])}"
        for case, taken in zip(cases, verdicts, strict=True)
        if taken
    ]
    assert not wrong, f"{len(wrong)} of {len(values)}:\n" + "\n".join(wrong)
