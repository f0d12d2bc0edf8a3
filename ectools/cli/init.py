"""``ectools init``: a host description to start from."""

from __future__ import annotations

from pathlib import Path

import click

from ectools.cli.combined_schema import SCHEMAS, choose_schema
from ectools.errors import InputError
from ectools.files import write_atomic
from ectools.host.example import build_example


@click.command("init", epilog="Example: ectools init --schema ec-ipxe-qemu -o host.toml")
@SCHEMAS
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Write to this file, which must not exist."
)
@click.option("--force", is_flag=True, help="Replace the file where it exists.")
def init(schemas: tuple[str, ...], output: Path | None, *, force: bool) -> None:
    """Write an example host description in TOML: every option, with what it is for, its type and its
    default.
    """
    text = build_example(choose_schema(schemas).document)
    if output is None:
        click.echo(text, nl=False)
        return
    if output.exists() and not force:
        raise InputError(f"{output}: exists", hint="choose another name, or give --force")
    write_atomic(output, text.encode())


COMMAND = init
