"""``ectools schema``: JSON Schemas of options, and how they differ."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from ectools.options.dump import Dump
    from ectools.options.export import Export

_NIXPKGS = click.option(
    "--nixpkgs",
    metavar="PATH",
    help="The nixpkgs to evaluate with, instead of $NIXPKGS, <nixpkgs> or the flake's lock.",
)
_DUMP = click.option(
    "--dump",
    "dump_file",
    type=click.Path(path_type=Path),
    help="Read options that were evaluated before (the flake's lib.optionsDump), and need no Nix.",
)


@click.group("schema", epilog="Example: ectools schema check")
def COMMAND() -> None:  # noqa: N802 - the name under which main.py finds each command
    """Export JSON Schemas from NixOS modules and check them for drift."""


@COMMAND.command("export", epilog="Example: ectools schema export ec-ipxe-qemu")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option(
    "-o",
    "--output",
    "folder",
    type=click.Path(path_type=Path),
    help="The folder to write NAME.schema.json into. [default: the checkout's schemas]",
)
@_NIXPKGS
@_DUMP
def export(names: tuple[str, ...], folder: Path | None, nixpkgs: str | None, dump_file: Path | None) -> int:
    """Write the JSON Schema of each module that is named, or of all.

    Exits 1, with a line for each, where options could not be evaluated; what could be is written anyway.
    """
    from ectools.files import write_atomic

    exports = _select(_export_all(_load(nixpkgs, dump_file)), names)
    folder = folder or _schemas_folder()
    folder.mkdir(parents=True, exist_ok=True)
    for each in exports:
        path = folder / f"{each.name}.schema.json"
        write_atomic(path, each.render())
        click.echo(str(path))
    return _report_findings(exports)


@COMMAND.command("check", epilog="Example: ectools schema check --dump options.json")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@click.option(
    "-d",
    "--schemas",
    "folder",
    type=click.Path(path_type=Path, file_okay=False),
    help="The folder of the committed schemas. [default: the checkout's schemas]",
)
@_NIXPKGS
@_DUMP
def check(names: tuple[str, ...], folder: Path | None, nixpkgs: str | None, dump_file: Path | None) -> int:
    """Compare the committed schemas with the modules; exit 1 and say what differs."""
    from ectools.options.checking import check_schemas

    every = _export_all(_load(nixpkgs, dump_file))
    exports = _select(every, names)
    folder = folder or _schemas_folder()
    stale = check_schemas(exports, folder, known=[each.name for each in every])
    for drift in stale:
        click.echo(drift.render())
    if stale:
        click.echo("run `ectools schema export` to write the schemas anew", err=True)
    else:
        click.echo(f"{len(exports)} schemas are what the modules say", err=True)
    return max(_report_findings(exports), 1 if stale else 0)


def _load(nixpkgs: str | None, dump_file: Path | None) -> Dump:
    from ectools.options.dump import read_dump
    from ectools.options.evaluate import evaluate_modules

    return read_dump(dump_file) if dump_file is not None else evaluate_modules(nixpkgs=nixpkgs)


def _export_all(dump: Dump) -> list[Export]:
    from ectools.options.export import export_tree

    return [export_tree(dump, tree) for tree in dump.trees]


def _select(exports: list[Export], names: tuple[str, ...]) -> list[Export]:
    known = {each.name: each for each in exports}
    for name in names:
        if name not in known:
            raise click.UsageError(
                f"{name}: no module of that name has options; those that do: {', '.join(known)}"
            )
    return [known[name] for name in names] if names else exports


def _schemas_folder() -> Path:
    from ectools.options.evaluate import find_checkout

    return find_checkout() / "schemas"


def _report_findings(exports: list[Export]) -> int:
    findings = [finding for each in exports for finding in each.findings]
    for finding in findings:
        click.echo(f"broken option: {finding.render()}", err=True)
    return 1 if findings else 0
