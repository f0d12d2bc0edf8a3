"""``ectools schema export``: JSON Schemas of options."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ectools.cli.module_options import NIXPKGS, ModuleOptions, module_options, report_findings
from ectools.cli.schema.own import (
    DUMP,
    NAMES,
    export_all,
    find_own_schemas,
    load_own,
    render_document,
    select_exports,
)
from ectools.suggest import did_you_mean

if TYPE_CHECKING:
    from ectools.options.dump import Dump

# The members of ectools.host.editor_schema.EditorDialect, which is imported only when it is needed; a test
# holds them together.
DOCUMENT_DIALECTS = ("draft-07", "2020-12")


@click.command(
    "export",
    epilog="Example: ectools schema export --from 'import ./options.nix' -o ./schemas",
)
@NAMES
@click.option(
    "-o",
    "--output",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="The directory to write NAME.schema.json into. [default: the checkout's schemas]",
)
@click.option(
    "--from",
    "expression",
    metavar="EXPRESSION",
    help="A Nix expression for any set of options, or for what lib.evalModules returns; needs -o.",
)
@module_options(nixpkgs=False)
@click.option(
    "--name",
    help="The name of the schema made with --from or --module. [default: options, or the module's]",
)
@click.option(
    "--required",
    is_flag=True,
    help=(
        "With --from or --module: in submodules, what has no default must be set, unless the submodule "
        "defines it. So it always is for the modules here."
    ),
)
@click.option(
    "--type",
    "types",
    multiple=True,
    metavar="NAME=NAME",
    help="With --from or --module: describe a type that is none of nixpkgs' as the one that it is like.",
)
@click.option("--coerced", is_flag=True, help="Describe the values that options have once they are coerced.")
@click.option(
    "--document",
    "is_document",
    is_flag=True,
    help=(
        "Write one schema of a whole host description for editors, NAME.document.json, in place of one for "
        "each module. NAME is host for the modules here."
    ),
)
@click.option(
    "--dialect",
    type=click.Choice(DOCUMENT_DIALECTS),
    help="With --document: the draft of JSON Schema that it is written in. [default: draft-07]",
)
@click.option(
    "--id",
    "identifier",
    metavar="URI",
    help="With --document: its $id. [default: where that of the modules here is published; none for others]",
)
@click.option("--allow-broken", is_flag=True, help="Exit 0 although options could not be evaluated.")
@NIXPKGS
@DUMP
def export(
    *,
    names: tuple[str, ...],
    directory: Path | None,
    expression: str | None,
    modules: ModuleOptions,
    name: str | None,
    nixpkgs: str | None,
    dump_file: Path | None,
    required: bool,
    types: tuple[str, ...],
    coerced: bool,
    is_document: bool,
    dialect: str | None,
    identifier: str | None,
    allow_broken: bool,
) -> int:
    """Write the JSON Schema of each module that is named, or of all.

    Exits 1, with a line for each, where options could not be evaluated; what could be is written anyway.
    """
    from ectools.files import write_atomic

    is_given = expression is not None or bool(modules)
    if is_given and (names or dump_file is not None or directory is None):
        raise click.UsageError("--from and --module go with -o, and with neither names nor --dump")
    if expression is not None and modules:
        raise click.UsageError("give either --from or --module")
    if not is_given and required:
        raise click.UsageError("--required goes with --from or --module: of the modules here it always holds")
    if not is_document and (dialect is not None or identifier is not None):
        raise click.UsageError("--dialect and --id go with --document")
    if types and not is_given:
        raise click.UsageError("--type goes with --from or --module")
    if name is not None and len(modules.texts) > 1:
        raise click.UsageError("--name goes with one module")
    if modules:
        exports = modules.export(coerced=coerced, required=required, name=name, types=_parse_types(types))
    elif expression is not None:
        dump = _evaluate(
            expression,
            name=name or "options",
            nixpkgs=nixpkgs,
            required=required,
            types=_parse_types(types),
        )
        exports = export_all(dump, coerced=coerced)
    else:
        exports = select_exports(export_all(load_own(nixpkgs, dump_file), coerced=coerced), names)
    # The committed one goes with the committed schemas.
    is_whole = is_document or (directory is None and not (names or coerced))
    directory = directory or find_own_schemas()
    directory.mkdir(parents=True, exist_ok=True)
    files = {} if is_document else {f"{each.name}.schema.json": each.render() for each in exports}
    if is_whole:
        files |= render_document(
            exports, is_own=not is_given, name=name, dialect=dialect, identifier=identifier
        )
    for file, content in files.items():
        write_atomic(directory / file, content)
        click.echo(str(directory / file))
    status = report_findings(exports)
    return 0 if allow_broken else status


def _evaluate(
    expression: str, *, name: str, nixpkgs: str | None, required: bool, types: dict[str, str]
) -> Dump:
    from ectools.options.evaluate import evaluate_expression

    return evaluate_expression(expression, name=name, nixpkgs=nixpkgs, required=required, types=types)


def _parse_types(texts: tuple[str, ...]) -> dict[str, str]:
    """Names of types by names: ``gvariant=anything``. Raises UsageError."""
    from ectools.options.types import TYPE_NAMES

    types = {}
    for text in texts:
        name, equals, like = text.partition("=")
        if not (name and equals):
            raise click.UsageError(f"--type {text}: give NAME=NAME, as in gvariant=anything")
        if like not in TYPE_NAMES:
            meant = did_you_mean(like, TYPE_NAMES)
            raise click.UsageError(
                f"--type {text}: {like} is not the name of a type of nixpkgs' lib.types"
                + (f"; {meant}" if meant else "")
            )
        types[name] = like
    return types


COMMAND = export
