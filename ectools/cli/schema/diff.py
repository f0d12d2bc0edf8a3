"""``ectools schema diff``: how two schemas differ, by meaning."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from ectools.cli.module_options import ModuleOptions, module_options, report_findings
from ectools.cli.schema.own import export_all

if TYPE_CHECKING:
    from ectools.options.drift import Change


@click.command("diff", epilog="Example: ectools schema diff v1.0 HEAD --json")
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
                exports = export_all(
                    evaluate_expression(expression, nixpkgs=modules.nixpkgs, directory=directory)
                )
        report_findings(exports)
        both.append(exports)
    return [
        change
        for before, after in zip(*both, strict=True)
        for change in compare(before.document, after.document)
    ]


COMMAND = diff
