"""``ectools schema``: JSON Schemas of options, and how they differ; one file a subcommand.

``export`` · ``check`` · ``diff`` · ``types``. They share ``own``: the modules here, and their schemas.
"""

from __future__ import annotations

import gc

import click

from ectools.cli.lazy import LazyGroup

SCHEMA_COMMANDS = {
    "export": ("ectools.cli.schema.export", "Write the JSON Schema of each module that is named, or of all."),
    "check": ("ectools.cli.schema.check", "Compare the committed schemas with the modules."),
    "diff": ("ectools.cli.schema.diff", "Compare two schemas, or those of two git revisions, by meaning."),
    "types": ("ectools.cli.schema.types", "Write the types of a host description for programs."),
}


@click.group("schema", cls=LazyGroup, modules=SCHEMA_COMMANDS, epilog="Example: ectools schema check")
@click.pass_context
def COMMAND(context: click.Context) -> None:  # noqa: N802 - the name by which main.py finds each
    """Export JSON Schemas from NixOS modules and check them for drift."""
    # All of NixOS is a million small objects that stay until the end: looking for garbage among them takes a
    # tenth of the time.
    gc.disable()
    context.call_on_close(gc.enable)
