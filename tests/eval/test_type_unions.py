"""Unions of every type of the table with every other: all are exported, and none refuses what Nix takes."""

from __future__ import annotations

import itertools
import json
import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator
from support.differential import HOSTILE, Strict, nix_verdicts
from support.option_types import coerced, either, make_converter, null_or

from ectools.names import resolve_reference
from ectools.nixlang import render
from ectools.options.evaluate import evaluate_expression
from ectools.options.export import export_tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ectools.options.dump import Dump

pytestmark = pytest.mark.nix

HERE = Path(__file__).parent
SyntaxNode = dict[str, Any]
TRIPLES = 20_000
VALUES: list[Any] = [
    # A submodule imports the file that an absolute path names, which ends the evaluation where there is none.
    *(value for value in HOSTILE if '"/' not in json.dumps(value)),
    *([1, "a"], {"a": [1]}, {"a": {"b": 1}}, {"host": "h"}, {"label": "l"}, {"size": "x"}, {"name": "n"}, 5),
]


@pytest.fixture(scope="module")
def table(nixpkgs: Path) -> Dump:
    """The types of type_table.nix, as one evaluation yields them."""
    expression = f'import "{HERE}/type_table.nix" {{ lib = import "{nixpkgs}/lib"; }}'
    return evaluate_expression(expression, nixpkgs=str(nixpkgs), required=True)


@pytest.fixture(scope="module")
def nodes(table: Dump) -> dict[str, SyntaxNode]:
    """The types as nix/lib describes them, by name."""
    return {option["path"][0]: option["type"] for option in table.trees[0].options}


@pytest.fixture(scope="module")
def fitting(table: Dump) -> dict[str, list[Any]]:
    """The values of VALUES that each type takes by itself."""
    document = export_tree(table, table.trees[0]).document
    return {
        name: [value for value in VALUES if Strict({**schema, "$defs": document["$defs"]}).is_valid(value)]
        for name, schema in document["properties"].items()
    }


def many_of(name: str, elem: SyntaxNode) -> SyntaxNode:
    return {"name": name, "description": f"{name} of {elem['description']}", "elem": elem}


def wrapped(a: SyntaxNode, b: SyntaxNode) -> Iterator[SyntaxNode]:
    """Types of depth 3 in which a union of the two stands."""
    union = either(a, b)
    yield union
    yield null_or(either(a, null_or(b)))
    yield many_of("attrsOf", null_or(many_of("unique", union)))
    yield either(many_of("listOf", null_or(a)), many_of("attrsOf", either(b, a)))
    yield many_of("listOf", coerced(a, either(b, null_or(a))))
    yield either(coerced(union, a), null_or(b))
    yield {**null_or({**union, "checked": True}), "checked": True}
    options = [{"path": ["a"], "type": union}, {"path": ["g", "b"], "type": null_or(a)}]
    yield either({"name": "submodule", "description": "s", "options": options, "freeform": union}, b)
    yield either({"name": "attrTag", "description": "t", "options": options[:1]}, null_or(b))


def assert_well_formed(types: Iterable[SyntaxNode]) -> None:
    """Each converts to a schema; of the first hundred, jsonschema's metaschema says so too."""
    for number, node in enumerate(types):
        converter = make_converter()
        document = {"x": converter.convert(node, ("x",)), "$defs": converter.defs}
        _assert_shape(document, document)
        if number < 100:
            Draft202012Validator.check_schema({**document["x"], "$defs": converter.defs})


def _assert_shape(node: Any, document: dict[str, Any]) -> None:
    if isinstance(node, dict):
        for keyword in ("anyOf", "allOf"):
            assert node.get(keyword, True)
        if "$ref" in node:
            assert resolve_reference(node["$ref"], document) is not None
        node = list(node.values())
    if isinstance(node, list):
        for inner in node:
            _assert_shape(inner, document)


def test_every_pair_is_exported_however_it_nests(nodes: dict[str, SyntaxNode]) -> None:
    pairs = itertools.product(nodes.values(), repeat=2)
    assert_well_formed(node for pair in pairs for node in wrapped(*pair))


def test_a_sample_of_triples_is_exported(nodes: dict[str, SyntaxNode]) -> None:
    triples = random.Random(12).choices(list(itertools.product(nodes.values(), repeat=3)), k=TRIPLES)
    assert_well_formed(either(either(a, null_or(b)), c) for a, b, c in triples)


@pytest.mark.full
def test_every_triple_is_exported(nodes: dict[str, SyntaxNode]) -> None:
    triples = itertools.product(nodes.values(), repeat=3)
    assert_well_formed(either(a, either(b, c)) for a, b, c in triples)


def union_cases(types: list[str], *, every: bool) -> list[dict[str, Any]]:
    """Unions to make of real types: each pair in one of the shapes of unions.nix, or in every one."""
    names = (HERE / "unions.nix").read_text().split("shapes = {")[1].split("};\n\n  make")[0]
    shapes = [
        line.split()[0]
        for line in names.splitlines()
        if line.startswith("    ") and line[4] != " " and " =" in line
    ]
    assert len(shapes) == 8
    chosen = random.Random(12)
    return [
        {"shape": shape, "members": list(pair)}
        for pair in itertools.product(types, repeat=2)
        for shape in (shapes if every else [chosen.choice(shapes)])
    ]


def values_for_union(members: list[str], fitting: dict[str, list[Any]], seed: int) -> list[Any]:
    """Some that one of the members takes, some of these in a list or a set, and some others."""
    chosen = random.Random(seed)
    inner = [value for name in members for value in fitting[name]]
    inner = chosen.sample(inner, min(len(inner), 6))
    nested = [*([value] for value in inner[:2]), *({"a": value} for value in inner[:3])]
    return [*inner, *nested, *chosen.sample(VALUES, 4)]


@pytest.mark.parametrize(
    "every", [False, pytest.param(True, marks=pytest.mark.full)], ids=["sample", "every"]
)
def test_no_union_refuses_what_nix_takes(fitting: dict[str, list[Any]], nixpkgs: Path, every: bool) -> None:
    wanted = union_cases(list(fitting), every=every)
    expression = f'import "{HERE}/unions.nix" {{ lib = import "{nixpkgs}/lib"; }} {render(wanted)}'
    dump = evaluate_expression(expression, nixpkgs=str(nixpkgs), required=True)
    export = export_tree(dump, dump.trees[0])
    assert export.findings == ()
    cases = []
    for index, union in enumerate(wanted):
        schema = export.document["properties"][f"u{index}"]
        validator = Strict({**schema, "$defs": export.document["$defs"]})
        cases += [
            {"path": [f"u{index}"], "value": value}
            for value in values_for_union(union["members"], fitting, index)
            if not validator.is_valid(value)
        ]
    verdicts = nix_verdicts(expression, cases, deep=True, nixpkgs=nixpkgs)
    wrong = [
        f"{wanted[int(case['path'][0][1:])]}: {json.dumps(case['value'])}"
        for case, taken in zip(cases, verdicts, strict=True)
        if taken
    ]
    assert len(cases) > 10_000
    assert not wrong, f"{len(wrong)} of {len(cases)} are refused, and Nix takes them:\n" + "\n".join(
        wrong[:40]
    )
