"""``ectools schema``: JSON Schemas of options, and how they differ."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ectools.cli.complete import complete_schema
from ectools.cli.lazy import CommandGroup
from ectools.cli.module_options import NIXPKGS, ModuleOptions, module_options, report_findings
from ectools.suggest import did_you_mean

if TYPE_CHECKING:
    from ectools.options.drift import Change
    from ectools.options.dump import Dump
    from ectools.options.export import Export

# The members of ectools.host.editor_schema.EditorDialect, which is imported only when it is needed; a test
# holds them together.
DOCUMENT_DIALECTS = ("draft-07", "2020-12")

_NAMES = click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=complete_schema)
_DUMP = click.option(
    "--dump",
    "dump_file",
    type=click.Path(path_type=Path),
    help="Read options that were evaluated before (the flake's lib.optionsDump), and need no Nix.",
)


@click.group("schema", cls=CommandGroup, epilog="Example: ectools schema check")
@click.pass_context
def COMMAND(context: click.Context) -> None:  # noqa: N802 - the name by which main.py finds each
    """Export JSON Schemas from NixOS modules and check them for drift."""
    # All of NixOS is a million small objects that stay until the end: looking for garbage among them takes a
    # tenth of the time.
    gc.disable()
    context.call_on_close(gc.enable)


@COMMAND.command(
    "export",
    epilog="Example: ectools schema export --from 'import ./options.nix' -o ./schemas",
)
@_NAMES
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
@_DUMP
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
        exports = _export_all(dump, coerced=coerced)
    else:
        exports = _select(_export_all(_load(nixpkgs, dump_file), coerced=coerced), names)
    # The committed one goes with the committed schemas.
    is_whole = is_document or (directory is None and not (names or coerced))
    directory = directory or _schemas_directory()
    directory.mkdir(parents=True, exist_ok=True)
    files = {} if is_document else {f"{each.name}.schema.json": each.render() for each in exports}
    if is_whole:
        files |= _render_document(
            exports, is_own=not is_given, name=name, dialect=dialect, identifier=identifier
        )
    for file, content in files.items():
        write_atomic(directory / file, content)
        click.echo(str(directory / file))
    status = report_findings(exports)
    return 0 if allow_broken else status


@COMMAND.command("check", epilog="Example: ectools schema check --dump options.json")
@_NAMES
@click.option(
    "-d",
    "--schemas",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="The directory of the committed schemas. [default: the checkout's schemas]",
)
@NIXPKGS
@_DUMP
def check(names: tuple[str, ...], directory: Path | None, nixpkgs: str | None, dump_file: Path | None) -> int:
    """Compare the committed schemas with the modules; exit 1 and say what differs."""
    from ectools.options.checking import check_files, check_schemas

    every = _export_all(_load(nixpkgs, dump_file))
    exports = _select(every, names)
    is_whole = directory is None and not names
    directory = directory or _schemas_directory()
    stale = check_schemas(exports, directory, known=[each.name for each in every])
    if is_whole:
        stale += check_files(_render_document(every), directory)
    for drift in stale:
        click.echo(drift.render())
    if stale:
        click.echo("run `ectools schema export` to write the schemas anew", err=True)
    else:
        click.echo("the schemas are what the modules say", err=True)
    return max(report_findings(exports), 1 if stale else 0)


@COMMAND.command("diff", epilog="Example: ectools schema diff v1.0 HEAD --json")
@click.argument("old", metavar="OLD")
@click.argument("new", metavar="NEW")
@click.option(
    "--from",
    "expression",
    metavar="EXPRESSION",
    help="Compare the options that this Nix expression yields in two git revisions, OLD and NEW.",
)
@module_options()
@click.option(
    "--ignore",
    "ignored",
    type=click.Choice(["docs", "compatible"]),
    multiple=True,
    help="Leave out changes of this kind; may be repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="A JSON object: the worst kind, and a list of changes.")
@click.option("--junit", is_flag=True, help="JUnit XML, a test case for each change; breaking ones fail.")
def diff(
    old: str,
    new: str,
    *,
    expression: str | None,
    modules: ModuleOptions,
    ignored: tuple[str, ...],
    as_json: bool,
    junit: bool,
) -> int:
    """Compare two schemas, two directories of them, or those of two git revisions, by meaning.

    With --from or --module, nothing needs to be committed but the modules: they are evaluated as two
    revisions have them, `.` for as they are now.

    Exits 0 where nothing differs, 3 where only the words do, 4 where more is valid than before, 5 where what
    was valid no longer is, an option is gone, or a default is another.
    """
    from ectools.options.reporting import (
        compare_paths,
        drift_exit_status,
        write_drift_json,
        write_drift_junit,
        write_drift_text,
    )
    from ectools.options.revisions import open_schemas

    if as_json and junit:
        raise click.UsageError("give either --json or --junit")
    if expression is not None and modules:
        raise click.UsageError("give either --from or --module")
    if expression is not None or modules:
        changes = _compare_revisions(old, new, expression, modules)
    else:
        with open_schemas(old) as before, open_schemas(new) as after:
            changes = compare_paths(before, after)
    changes = [change for change in changes if change.kind.value not in ignored]
    write = write_drift_json if as_json else write_drift_junit if junit else write_drift_text
    text = write(changes)
    if text:
        click.echo(text)
    return drift_exit_status(changes)


def _compare_revisions(old: str, new: str, expression: str | None, modules: ModuleOptions) -> list[Change]:
    """The changes of options that are evaluated in two git revisions."""
    from ectools.options.drift import compare
    from ectools.options.evaluate import evaluate_expression
    from ectools.options.revisions import open_revision

    modules.reject_absolute()
    both = []
    for revision in (old, new):
        with open_revision(revision) as directory:
            if expression is None:
                exports = modules.export(directory=directory)
            else:
                exports = _export_all(
                    evaluate_expression(expression, nixpkgs=modules.nixpkgs, directory=directory)
                )
        report_findings(exports)
        both.append(exports)
    return [
        change
        for before, after in zip(*both, strict=True)
        for change in compare(before.document, after.document)
    ]


def _load(nixpkgs: str | None, dump_file: Path | None) -> Dump:
    from ectools.options.dump import read_dump
    from ectools.options.evaluate import evaluate_modules

    return read_dump(dump_file) if dump_file is not None else evaluate_modules(nixpkgs=nixpkgs)


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


def _export_all(dump: Dump, *, coerced: bool = False) -> list[Export]:
    from ectools.options.export import export_tree

    return [export_tree(dump, tree, output=coerced) for tree in dump.trees]


def _render_document(
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


def _select(exports: list[Export], names: tuple[str, ...]) -> list[Export]:
    known = {each.name: each for each in exports}
    for name in names:
        if name not in known:
            meant = did_you_mean(name, known)
            raise click.UsageError(
                f"{name}: no module of that name has options; those that do: {', '.join(known)}"
                + (f"; {meant}" if meant else "")
            )
    return [known[name] for name in names] if names else exports


def _schemas_directory() -> Path:
    from ectools.options.evaluate import find_checkout

    return find_checkout() / "schemas"
