"""What the schema says is what Nix does: jsonschema's verdict and the module system's, on the same values."""

from __future__ import annotations

import json
import os
import random
from pathlib import Path
from typing import Any

import pytest
from support.differential import Case, Schema, Strict, collect_values, nix_verdicts

from ectools.names import resolve_reference
from ectools.options.evaluate import evaluate_expression, evaluate_modules
from ectools.options.export import export_tree
from ectools.options.types import STORE_PATH
from ectools.options.unions import COERCED, UNREPRESENTABLE

pytestmark = pytest.mark.nix

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
# More trees with a lib of nixpkgs, of any age since 2023-11, to run the table of types on.
MORE_TREES = [Path(tree) for tree in os.environ.get("EC_NIXPKGS_TREES", "").split(":") if tree]
# Of these no generated value can be refused, or accepted.
ONE_VERDICT = {"anything", "json", "jsonFormat", "package", "raw", "unspecified"}
SAMPLE = 1500
# Submodules that define values of their own, with which a value given from outside conflicts.
SELF_DEFINED = {("services", "phpfpm", "pools"), ("swapDevices",), ("systemd", "mounts")}
# Submodules that make a text of their other values: of a driver that may be missing, of triggers that may be
# no strings. What they take by their types, Nix may not come to the end of.
COMPUTED = {("power", "ups", "ups"), ("systemd", "timers"), ("systemd", "user", "timers")}


@pytest.fixture(params=[None, *MORE_TREES], ids=lambda tree: tree.name if tree else "installed")
def tree(request: pytest.FixtureRequest) -> Path:
    given: Path | None = request.param
    chosen = given if given is not None else request.getfixturevalue("nixpkgs")
    assert isinstance(chosen, Path)
    return chosen


def test_every_type_of_the_table(tree: Path) -> None:
    table = f'import "{HERE}/type_table.nix" {{ lib = import "{tree}/lib"; }}'
    dump = evaluate_expression(table, nixpkgs=str(tree), required=True)
    document = export_tree(dump, dump.trees[0]).document
    options = {(name,): schema for name, schema in document["properties"].items()}
    cases, verdicts = compare(table, options, document, count=120, deep=True, nixpkgs=tree)
    # Both verdicts on every type, or the values were of no use.
    for name in document["properties"]:
        both = {verdict for case, verdict in zip(cases, verdicts, strict=True) if case["path"] == [name]}
        assert both == {True, False} or name in ONE_VERDICT, name


def test_every_option_of_this_project(nixpkgs: Path) -> None:
    modules = f"""
      (import <nixpkgs/lib>).evalModules {{
        modules = builtins.attrValues (builtins.removeAttrs (import "{ROOT}/nix/nixos-modules.nix") [
          "default" ]) ++ [ {{ _module.check = false; _module.args.pkgs = import <nixpkgs> {{ }}; }} ];
        specialArgs.modulesPath = toString <nixpkgs/nixos/modules>;
      }}
    """
    dump = evaluate_modules(nixpkgs=str(nixpkgs))
    for tree in dump.trees:
        document = export_tree(dump, tree).document
        options = {(*tree.path, *path): schema for path, schema in find_options(document)}
        assert options
        compare(f"({modules}).options", options, document, count=60, deep=False, nixpkgs=nixpkgs)


def test_a_sample_of_the_options_of_nixos(nixpkgs: Path) -> None:
    compare_nixos(nixpkgs, most=SAMPLE, count=10)


@pytest.mark.full
def test_all_options_of_nixos(nixpkgs: Path) -> None:
    compare_nixos(nixpkgs, most=None, count=10)


def compare_nixos(nixpkgs: Path, *, most: int | None, count: int) -> None:
    expression = f'import "{HERE}/nixos.nix" {{ }}'
    dump = evaluate_expression(expression, nixpkgs=str(nixpkgs))
    document = export_tree(dump, dump.trees[0]).document
    options = {
        path: schema
        for path, schema in find_options(document)
        if "x-nix-broken" not in schema
        and UNREPRESENTABLE not in closure(schema, document)
        and path not in SELF_DEFINED
    }
    if most is not None and len(options) > most:
        chosen = random.Random(most).sample(sorted(options), most)
        options = {path: options[path] for path in chosen}
    compare(f"({expression}).options", options, document, count=count, deep=False, nixpkgs=nixpkgs)


def compare(
    expression: str,
    options: dict[tuple[str, ...], Schema],
    document: Schema,
    *,
    count: int,
    deep: bool,
    nixpkgs: Path,
) -> tuple[list[Case], list[bool]]:
    """Fails where the two verdicts differ on a value; else the cases and their verdicts."""
    cases, expected = [], []
    for path, schema in options.items():
        validator = Strict({**schema, "$defs": document.get("$defs", {})})
        text = closure(schema, document)
        for value in collect_values(schema, document, count=count):
            errors = list(validator.iter_errors(value))
            if is_deviation(text, value, fits=not errors) or (not deep and any(map(is_missing, errors))):
                continue
            cases.append({"path": list(path), "value": value})
            expected.append(not errors)
    verdicts = nix_verdicts(expression, cases, deep=deep, nixpkgs=nixpkgs)
    wrong = [
        f"{'.'.join(case['path'])} = {json.dumps(case['value'])}: "
        + ("the schema takes it, Nix does not" if by_schema else "Nix takes it, the schema does not")
        for case, by_schema, by_nix in zip(cases, expected, verdicts, strict=True)
        if by_schema != by_nix and not (by_schema and tuple(case["path"]) in COMPUTED)
    ]
    assert not wrong, f"{len(wrong)} of {len(cases)}:\n" + "\n".join(wrong[:60])
    return cases, verdicts


def find_options(node: Schema, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], Schema]]:
    found = []
    for name, inner in node.get("properties", {}).items():
        if "x-nix-type" in inner:
            found.append(((*path, name), inner))
        else:
            found += find_options(inner, (*path, name))
    return found


def closure(schema: Schema, document: Schema) -> str:
    """The text of a schema with all that it refers to."""
    seen: set[str] = set()
    texts = [json.dumps(schema)]
    pending = [schema]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            if "$ref" in node and node["$ref"] not in seen:
                seen.add(node["$ref"])
                pending.append(resolve_reference(node["$ref"], document))
                texts.append(json.dumps(pending[-1]))
            pending += [inner for inner in node.values() if isinstance(inner, (dict, list))]
        elif isinstance(node, list):
            pending += node
    return "\n".join(texts)


def is_missing(error: Any) -> bool:
    """Whether an option that must be set is not; Nix does not notice where not everything is forced."""
    return error.validator == "required" or any(map(is_missing, error.context))


def is_deviation(text: str, value: Any, *, fits: bool) -> bool:
    """The cases in which JSON cannot say what Nix does; ``text`` is the schema with all it refers to."""
    # A coercion is a function, which may throw.
    if fits and COERCED in text and isinstance(value, (dict, list)):
        return True
    # Whether a store path exists, no schema can say.
    return "/nix/store/" in json.dumps(value) and json.dumps(STORE_PATH) in text
