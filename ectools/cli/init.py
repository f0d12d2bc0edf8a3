"""``ectools init``: a host description to start from."""

from __future__ import annotations

from pathlib import Path

import click

from ectools.addresses import find_own_address
from ectools.cli.combined_schema import SCHEMAS, choose_schema
from ectools.cli.module_options import ModuleOptions, module_options
from ectools.errors import InputError
from ectools.files import write_atomic
from ectools.host.editor_schema import HOST_DOCUMENT_URL
from ectools.host.example import build_example
from ectools.schemas import schema_names
from ectools.settings_file import SERVICES

_PREFIX = "ec-"


@click.command("init", epilog="Example: ectools init netboot -o boot-host.toml")
@click.argument("names", metavar="[NAME]...", nargs=-1)
@SCHEMAS
@module_options()
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), help="Write to this file, which must not exist."
)
@click.option(
    "--editor-schema",
    metavar="URL|PATH",
    help=(
        "The schema that the first line names for editors (ectools schema export --document); empty for no "
        "such line. [default: that of this project's modules, and none for others]"
    ),
)
@click.option("--force", is_flag=True, help="Replace the file where it exists.")
def init(
    names: tuple[str, ...],
    schemas: tuple[str, ...],
    output: Path | None,
    *,
    modules: ModuleOptions,
    editor_schema: str | None,
    force: bool,
) -> None:
    """Write an example host description in TOML: every option, with what it is for, its type and its
    default.

    NAME is a service: netboot, ipxe-qemu. What has to be set, and this host's address, is filled in.
    """
    own = tuple(f"{_PREFIX}{name}" for name in names)
    known = [name.removeprefix(_PREFIX) for name in schema_names()]
    for name in names:
        if name not in known:
            raise InputError(
                f"{name}: there is no service of that name", hint=f"there are: {', '.join(known)}"
            )
    schema = choose_schema((*own, *schemas), modules)
    if editor_schema is None and not (schemas or modules):
        editor_schema = HOST_DOCUMENT_URL
    text = build_example(schema.document, _choose_values(), editor_schema=editor_schema or None)
    if output is None:
        click.echo(text, nl=False)
        return
    if output.exists() and not force:
        raise InputError(f"{output}: exists", hint="choose another name, or give --force")
    write_atomic(output, text.encode())


def _choose_values() -> dict[tuple[str, ...], str]:
    """What a first start needs, by the option's path."""
    address = str(find_own_address() or "192.0.2.10")
    return {
        (*SERVICES, "netboot", "listenIP"): address,
        (*SERVICES, "netboot", "hostname"): address,
        (*SERVICES, "ipxe-qemu", "boot", "http", "root"): "/srv/netboot/current",
        (*SERVICES, "node", "package"): "pkgs.ec-node",
    }


COMMAND = init
