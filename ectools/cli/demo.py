"""``ectools demo``: the main job on an embedded default; ``ectools demo netboot``, ``rollout``: its other
halves, with a boot host.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click
from click.core import ParameterSource

from ectools.cli.lazy import LazyGroup
from ectools.cli.param_types import Seconds

DEMO_COMMANDS = {
    "netboot": ("ectools.cli.demo_netboot", "Boot a UEFI machine from a boot host, in network namespaces."),
    "rollout": ("ectools.cli.demo_rollout", "Lead four machines to a good release, and back from a bad one."),
}


@click.group(
    "demo",
    cls=LazyGroup,
    modules=DEMO_COMMANDS,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Example: ectools demo --docs ./option-docs",
)
@click.option(
    "--payload",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="A directory with kernel and initrd.  [default: made from the distribution's packages]",
)
@click.option(
    "--docs",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("option-docs"),
    show_default=True,
    help="Where the option reference is written.",
)
@click.option("--keep", is_flag=True, help="Leave the guest running, and say how to stop it.")
@click.option(
    "--timeout", type=Seconds(min=1), default=300.0, show_default=True, help="Seconds for the boot."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
@click.pass_context
def demo(
    context: click.Context, /, *, payload: Path | None, docs: Path, keep: bool, timeout: float, as_json: bool
) -> None:
    """Boot a guest over iPXE from an embedded host description, without root.

    The description is validated, made into a NixOS module and into settings; the boot HTTP server and QEMU
    start; iPXE gets an address, the boot script, the kernel and the initramfs; the guest says that it is up,
    and is asked to power down. Exit status 0 only if the guest said so.
    """
    if context.invoked_subcommand is not None:
        _refuse_options(context)
        return
    from ectools.demo.run import run_demo
    from ectools.docs import MARKDOWN_INDEX, build_pages
    from ectools.docs.writing import write_directory

    outcome = run_demo(payload=payload, keep=keep, timeout=timeout, stderr=sys.stderr)
    write_directory(docs, build_pages())
    index = docs / MARKDOWN_INDEX
    if as_json:
        result = {
            "stages": outcome.stages,
            "docs": str(index),
            "pid": outcome.pid,
            "folder": None if outcome.directory is None else str(outcome.directory),
        }
        click.echo(json.dumps(result))
        return
    click.echo(f"the guest was up after {outcome.stages['up']:.1f} s")
    click.echo(f"option docs: {index}")
    if outcome.pid is not None:
        click.echo(f"the guest runs on: log {outcome.directory}/runner.log; stop it with: kill {outcome.pid}")


def _refuse_options(context: click.Context) -> None:
    """Options that stand before the name of another demo are not that one's."""
    for parameter in context.command.get_params(context):
        source = None if parameter.name is None else context.get_parameter_source(parameter.name)
        if source is ParameterSource.COMMANDLINE:
            name = context.invoked_subcommand
            raise click.UsageError(f"{parameter.opts[0]}: write it behind {name}, where {name} has it")


COMMAND = demo
