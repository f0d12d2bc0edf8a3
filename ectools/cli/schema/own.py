"""What the commands on schemas share: the options of the modules here, and where their schemas are."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ectools.cli.complete import complete_schema
from ectools.suggest import did_you_mean

if TYPE_CHECKING:
    from ectools.options.dump import Dump
    from ectools.options.export import Export

NAMES = click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=complete_schema)
DUMP = click.option(
    "--dump",
    "dump_file",
    type=click.Path(path_type=Path),
    help="Read options that were evaluated before (the flake's lib.optionsDump), and need no Nix.",
)


def load_own(nixpkgs: str | None, dump_file: Path | None) -> Dump:
    from ectools.options.dump import read_dump
    from ectools.options.evaluate import evaluate_modules

    return read_dump(dump_file) if dump_file is not None else evaluate_modules(nixpkgs=nixpkgs)


def export_all(dump: Dump, *, coerced: bool = False) -> list[Export]:
    from ectools.options.export import export_tree

    return [export_tree(dump, tree, output=coerced) for tree in dump.trees]


def render_document(
    exports: list[Export],
    *,
    is_own: bool = True,
    name: str | None = None,
    dialect: str | None = None,
    identifier: str | None = None,
) -> dict[str, bytes]:
    """The schema of a whole host description by its file's name. ``is_own``: of the modules here."""
    from ectools.host.editor_schema import (
        HOST_DOCUMENT_NAME,
        HOST_DOCUMENT_URL,
        EditorDialect,
        build_editor_schema,
        render_editor_schema,
    )
    from ectools.schemas import Schema

    document = build_editor_schema(
        [Schema(each.document, each.name, "") for each in exports],
        identifier=identifier or (HOST_DOCUMENT_URL if is_own else None),
        dialect=EditorDialect(dialect or EditorDialect.DRAFT_07),
        is_open=not is_own,
    )
    stem = HOST_DOCUMENT_NAME if is_own else name or exports[0].name
    return {f"{stem}.document.json": render_editor_schema(document)}


def select_exports(exports: list[Export], names: tuple[str, ...]) -> list[Export]:
    known = {each.name: each for each in exports}
    for name in names:
        if name not in known:
            meant = did_you_mean(name, known)
            raise click.UsageError(
                f"{name}: no module of that name has options; those that do: {', '.join(known)}"
                + (f"; {meant}" if meant else "")
            )
    return [known[name] for name in names] if names else exports


def find_own_schemas() -> Path:
    from ectools.options.evaluate import find_checkout

    return find_checkout() / "schemas"
