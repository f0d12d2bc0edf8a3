"""What other people's hosts define, as data: the schema of NixOS refuses none of it that Nix takes.

``HOSTS`` names a directory of checkouts of public configurations; nothing of them is here.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.differential import nix_verdicts

from ectools.host.combined_schema import build_combined_schema
from ectools.options.evaluate import evaluate_expression
from ectools.options.export import export_tree
from ectools.schemas import Schema, validate_document
from pynix_eval_shim import Attribute, Limits, NixError, evaluate_each

pytestmark = [pytest.mark.nix, pytest.mark.full]

HERE = Path(__file__).parent
HOUSES = {"build", "builders", "hosts", "machines", "systems"}
"""The directories in which configurations have their hosts."""
BEGINNINGS = {"configuration.nix", "default.nix"}
WANTED = 200
LIMITS = Limits(seconds=120, memory_bytes=4 << 30)


def find_hosts(hosts: Path) -> list[Path]:
    """The module that each host begins with, those of all checkouts mixed, but the same way in each run."""
    files = [
        file
        for file in hosts.rglob("*.nix")
        if (HOUSES & {*file.relative_to(hosts).parts} or file.name.startswith(("configuration", "hardware")))
        and not file.name.startswith("flake")
    ]
    begins: dict[Path, Path] = {}
    for file in sorted(files, key=lambda each: (each.name not in BEGINNINGS, len(each.parts), each)):
        begins.setdefault(find_host(file.relative_to(hosts)), file)
    found = sorted(begins.values())
    random.Random(1).shuffle(found)
    return found


def find_host(file: Path) -> Path:
    """What a file is of: ``hosts/NAME`` of a directory of hosts, else the directory that it lies in."""
    for index, part in enumerate(file.parts[:-1]):
        if part in HOUSES:
            return Path(*file.parts[: index + 1], file.parts[index + 1].removesuffix(".nix"))
    return file.parent


def find_definitions(file: Path, hosts: Path, nixpkgs: Path) -> list[dict[str, Any]]:
    """Path and value of each definition that Nix evaluates; none where it makes nothing of the file."""
    found: list[dict[str, Any]] = []

    def take(attribute: Attribute) -> None:
        if attribute.error is None:
            path = attribute.value["path"]
            found.extend({"path": path, "value": value} for value in attribute.value["values"])

    try:
        evaluate_each(
            f'import {HERE}/definitions.nix {{ file = /. + "{file}"; root = "{hosts}"; }}',
            on_attribute=take,
            impure=True,
            nix_path={"nixpkgs": str(nixpkgs)},
            limits=LIMITS,
        )
    except NixError:
        return []
    return found


def find_refused(definitions: list[dict[str, Any]], schema: Schema) -> Iterator[dict[str, Any]]:
    for definition in definitions:
        document = definition["value"]
        for step in reversed(definition["path"]):
            document = {step: document}
        if validate_document(document, schema, to_set=True):
            yield definition


@pytest.mark.timeout(7200)
def test_what_hosts_define_is_refused_only_where_nix_refuses_it(nixpkgs: Path) -> None:
    given = os.environ.get("HOSTS")
    if given is None:
        pytest.skip("HOSTS names no directory of checkouts")
    hosts = Path(given).resolve()
    expression = f'import "{HERE}/nixos.nix" {{ }}'
    dump = evaluate_expression(expression, nixpkgs=str(nixpkgs))
    schema = build_combined_schema([Schema(export_tree(dump, dump.trees[0]).document, "nixos", "")])
    refused: list[dict[str, Any]] = []
    evaluated = 0
    for file in find_hosts(hosts):
        definitions = find_definitions(file, hosts, nixpkgs)
        evaluated += bool(definitions)
        refused += find_refused(definitions, schema)
        if evaluated == WANTED:
            break
    verdicts = nix_verdicts(f"({expression}).options", refused, deep=False, nixpkgs=nixpkgs)
    assert [each for each, taken in zip(refused, verdicts, strict=True) if taken] == []
    assert evaluated == WANTED
