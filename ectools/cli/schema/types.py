"""``ectools schema types``: what a host description is made of, as types of a program."""

from __future__ import annotations

from pathlib import Path

import click

from ectools.cli.combined_schema import SCHEMAS, load_schemas
from ectools.cli.module_options import ModuleOptions, module_options


@click.command("types", epilog="Example: ectools schema types --python -o host_types.py")
@click.option(
    "--python", "language", flag_value="python", help="TypedDict classes, by datamodel-code-generator (PyPI)."
)
@click.option(
    "--typescript",
    "language",
    flag_value="typescript",
    help="Interfaces, by json-schema-to-typescript (npm).",
)
@SCHEMAS
@module_options()
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write to this file. [default: standard output]",
)
@click.option(
    "--generator-option",
    "generator_options",
    multiple=True,
    metavar="OPTION",
    help=(
        "A further option of the generator's, as in "
        "--generator-option=--output-model-type=pydantic_v2.BaseModel; may be repeated."
    ),
)
def types(
    *,
    language: str | None,
    schemas: tuple[str, ...],
    modules: ModuleOptions,
    output: Path | None,
    generator_options: tuple[str, ...],
) -> None:
    """Write the types of a host description for programs, in Python or TypeScript.

    Without --schema and --module it is a description of this project's modules. The generator is somebody
    else's, and must be installed.
    """
    from ectools.files import write_atomic
    from ectools.host.program_types import TypesLanguage, generate_types

    if language is None:
        raise click.UsageError("give --python or --typescript")
    text = generate_types(
        load_schemas(schemas, modules),
        TypesLanguage(language),
        generator_arguments=generator_options,
    )
    if output is None:
        click.echo(text, nl=False)
    else:
        write_atomic(output, text.encode())


COMMAND = types
