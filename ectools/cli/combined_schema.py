"""The option that names the schemas of a host description, for the commands that have it."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import click

from ectools.cli.complete import complete_schema
from ectools.host.combined_schema import build_combined_schema, load_combined_schema
from ectools.schemas import load_schema, schema_names

if TYPE_CHECKING:
    from ectools.cli.module_options import ModuleOptions
    from ectools.schemas import Schema

SCHEMAS = click.option(
    "--schema",
    "schemas",
    multiple=True,
    metavar="NAME|FILE",
    shell_complete=complete_schema,
    help=(
        "The schema of one module, by name or file; may be given several times. A schema with an option path "
        "(x-nix-path) describes the value at that path, one without describes the whole file. "
        "[default: all of this project's modules]"
    ),
)


def choose_schema(schemas: tuple[str, ...], modules: ModuleOptions | None = None) -> Schema:
    """The schema that ``--schema`` and ``--module`` name, combined where there are several.

    Raises InputError, FileError, OptionsError.
    """
    if not schemas and not modules:
        return load_combined_schema()
    # All of NixOS is a million small objects that stay until the end: looking for garbage among them takes as
    # long as reading them.
    gc.disable()
    try:
        return build_combined_schema(load_schemas(schemas, modules), is_open=bool(modules))
    finally:
        gc.freeze()
        gc.enable()


def load_schemas(schemas: tuple[str, ...], modules: ModuleOptions | None = None) -> list[Schema]:
    """The schemas that ``--schema`` and ``--module`` name, each by itself; without any, this project's.

    Raises InputError, FileError, OptionsError.
    """
    if not schemas and not modules:
        return [load_schema(name) for name in schema_names()]
    return [*map(load_schema, schemas), *(modules.load() if modules else ())]
