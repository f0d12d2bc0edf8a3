"""Every default and every example of NixOS: the schema of its option refuses none that Nix takes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.differential import Strict, nix_verdicts

from ectools.names import resolve_reference
from ectools.options.evaluate import evaluate_expression
from ectools.options.export import export_tree

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.nix]

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


def find_false_errors(expression: str, *, nixpkgs: Path) -> tuple[int, list[str]]:
    """How many values a tree's options have, and those that the schema refuses and Nix takes."""
    dump = evaluate_expression(expression, nixpkgs=str(nixpkgs))
    document = export_tree(dump, dump.trees[0]).document
    values = list(find_values(document, document))
    definitions = document.get("$defs", {})
    cases = [
        {"path": path, "value": value}
        for path, schema, value in values
        if not Strict({**schema, "$defs": definitions}).is_valid(value)
    ]
    verdicts = nix_verdicts(f"({expression}).options", cases, deep=False, nixpkgs=nixpkgs)
    return len(values), [
        f"{'.'.join(case['path'])}: {json.dumps(case['value'])}"
        for case, taken in zip(cases, verdicts, strict=True)
        if taken
    ]


def test_a_default_or_an_example_that_the_schema_refuses_is_one_that_nix_refuses(nixpkgs: Path) -> None:
    count, wrong = find_false_errors(f'import "{HERE}/nixos.nix" {{ }}', nixpkgs=nixpkgs)
    assert count > 15_000
    assert not wrong, f"{len(wrong)} of {count}:\n" + "\n".join(wrong)


@pytest.mark.full
def test_of_a_tree_of_somebody_else_s(nixpkgs: Path) -> None:
    """``OPTIONS_TREE``: a Nix expression for what lib.evalModules returns, of home-manager or nix-darwin."""
    tree = os.environ.get("OPTIONS_TREE")
    if tree is None:
        pytest.skip("OPTIONS_TREE says no expression for somebody else's options")
    count, wrong = find_false_errors(tree, nixpkgs=nixpkgs)
    assert count > 1_000
    assert not wrong, f"{len(wrong)} of {count}:\n" + "\n".join(wrong)
