"""``ectools generate``: the NixOS module of a host description, and Nix expressions of data."""

from __future__ import annotations

import difflib
from pathlib import Path

import click

from ectools import host
from ectools.cli.combined_schema import SCHEMAS, choose_schema
from ectools.cli.module_options import ModuleOptions, module_options
from ectools.errors import ProblemsError
from ectools.files import read_bytes, write_atomic
from ectools.host.wrapped import wrap_settings
from ectools.nixlang import render


@click.command("generate", epilog="Example: ectools generate host.toml -o host.nix")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write the module to this file.")
@click.option("--check", is_flag=True, help="Write nothing; exit 1 where the file given by -o is stale.")
@click.option("--value", is_flag=True, help="Print the Nix expression of any value, checked against nothing.")
@SCHEMAS
@module_options()
def generate(
    file: Path,
    output: Path | None,
    schemas: tuple[str, ...],
    *,
    modules: ModuleOptions,
    check: bool,
    value: bool,
) -> int:
    """Make the NixOS module of a host description in JSON, YAML or TOML, or of one service's settings.

    Packages are named in the description, and become pkgs.NAME. Paths stay strings, so nothing is copied to
    the Nix store. An invalid description yields its problems, and exit status 2.
    """
    if check and output is None:
        raise click.UsageError("--check compares with the file that -o names: give -o")
    if value and (schemas or modules):
        raise click.UsageError("--value checks against no schema: leave out --schema and --module")
    text = f"{render(host.load_value(file))}\n" if value else _build(file, schemas, modules)
    if output is None:
        click.echo(text, nl=False)
    elif check:
        return _compare(text, output)
    else:
        write_atomic(output, text.encode())
    return 0


def _build(file: Path, schemas: tuple[str, ...], modules: ModuleOptions) -> str:
    schema = choose_schema(schemas, modules)
    description = wrap_settings(host.load_host(file), schema)
    problems = host.validate_host(description, schema)
    if problems:
        raise ProblemsError(f"{file}: not a valid host description", list(problems))
    return host.build_module(description, schema)


def _compare(text: str, output: Path) -> int:
    """1 where ``output`` is not ``text``, with the difference on standard error."""
    found = read_bytes(output).decode("utf-8", "replace") if output.exists() else ""
    if found == text:
        return 0
    click.echo(
        f"{output}: {'stale' if output.exists() else 'missing'}; run ectools generate without --check",
        err=True,
    )
    lines = difflib.unified_diff(found.splitlines(), text.splitlines(), str(output), "generated", lineterm="")
    click.echo("\n".join(lines), err=True)
    return 1


COMMAND = generate
