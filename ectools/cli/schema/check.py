"""``ectools schema check``: whether the committed schemas are what the modules say."""

from __future__ import annotations

from pathlib import Path

import click

from ectools.cli.module_options import NIXPKGS, report_findings
from ectools.cli.schema.own import (
    DUMP,
    NAMES,
    export_all,
    find_own_schemas,
    load_own,
    render_document,
    select_exports,
)


@click.command("check", epilog="Example: ectools schema check --dump options.json")
@NAMES
@click.option(
    "-d",
    "--schemas",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    help="The directory of the committed schemas. [default: the checkout's schemas]",
)
@NIXPKGS
@DUMP
def check(names: tuple[str, ...], directory: Path | None, nixpkgs: str | None, dump_file: Path | None) -> int:
    """Compare the committed schemas with the modules; exit 1 and say what differs."""
    from ectools.options.checking import check_files, check_schemas

    every = export_all(load_own(nixpkgs, dump_file))
    exports = select_exports(every, names)
    is_whole = directory is None and not names
    directory = directory or find_own_schemas()
    stale = check_schemas(exports, directory, known=[each.name for each in every])
    if is_whole:
        stale += check_files(render_document(every), directory)
    for drift in stale:
        click.echo(drift.render())
    if stale:
        click.echo("run `ectools schema export` to write the schemas anew", err=True)
    else:
        click.echo("the schemas are what the modules say", err=True)
    return max(report_findings(exports), 1 if stale else 0)


COMMAND = check
