"""``ectools validate``: host descriptions against the schemas."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from ectools import host
from ectools.cli.combined_schema import SCHEMAS, choose_schema
from ectools.cli.module_options import ModuleOptions, module_options
from ectools.documents.problem import OptionProblem, build_sarif, show_json
from ectools.errors import EcError, ProblemsError

if TYPE_CHECKING:
    from ectools.schemas import Schema


@click.command("validate", epilog="Example: ectools validate examples/host.toml")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@SCHEMAS
@module_options()
@click.option("--json", "as_json", is_flag=True, help="A JSON array of problems on standard output.")
@click.option(
    "--sarif", "as_sarif", is_flag=True, help="A SARIF 2.1.0 log on standard output, for code review."
)
def validate(
    files: tuple[Path, ...],
    schemas: tuple[str, ...],
    *,
    modules: ModuleOptions,
    as_json: bool,
    as_sarif: bool,
) -> int:
    """Check host descriptions in JSON, YAML or TOML, and print every problem with its line and column.

    One service's settings alone, as NixOS writes them to /etc/every-channel, are taken as that service's.
    What is accepted here, the programs read: ectools netboot serve --config FILE.

    The exit status is 0 where all are valid, 1 where one is not, and 2 where one cannot be read at all.
    """
    if as_json and as_sarif:
        raise click.UsageError("--json and --sarif are two forms of one output: give one of them")
    schema = choose_schema(schemas, modules)
    problems: list[OptionProblem] = []
    unreadable = 0
    for file in files:
        try:
            problems += _find_problems(file, schema, is_whole=not (schemas or modules))
        except EcError as error:
            unreadable += 1
            click.echo(error.render(), err=True)
    if as_json:
        click.echo(json.dumps([show_json(problem) for problem in problems], indent=2, ensure_ascii=False))
    elif as_sarif:
        click.echo(json.dumps(build_sarif(problems), indent=2, ensure_ascii=False))
    else:
        for problem in problems:
            click.echo(problem.render())
    click.echo(_summarise(len(files), len(problems), unreadable), err=True)
    return 2 if unreadable else 1 if problems else 0


def _find_problems(file: Path, schema: Schema, *, is_whole: bool) -> list[OptionProblem]:
    """``is_whole``: no schema was named, so what the programs would refuse is looked for too."""
    from ectools.cli.service_settings import find_contradictions
    from ectools.host.wrapped import wrap_settings

    try:
        read = host.load_host(file)
    except ProblemsError as error:
        return [problem for problem in error.problems if isinstance(problem, OptionProblem)]
    if _is_fleet(read.root.value):
        click.echo(f"{file}: this is a fleet file: `ectools fleet check {file}` checks it", err=True)
    description = wrap_settings(read, schema)
    problems = host.validate_host(description, schema)
    return problems or (find_contradictions(description) if is_whole else [])


def _is_fleet(document: Any) -> bool:
    """Whether all that stands at the top of a document is what stands there in a fleet file."""
    from ectools.netboot.fleet.load import KEYS

    return isinstance(document, dict) and bool(document) and document.keys() <= {*KEYS}


def _summarise(files: int, problems: int, unreadable: int) -> str:
    parts = [_count(files, "file"), _count(problems, "problem")]
    return ", ".join([*parts, f"{unreadable} could not be read"] if unreadable else parts)


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


COMMAND = validate
