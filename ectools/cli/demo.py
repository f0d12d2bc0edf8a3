"""``ectools demo``: the main job on an embedded default."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from ectools.cli.param_types import Seconds


@click.command("demo", epilog="Example: ectools demo --docs ./option-docs")
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
def demo(*, payload: Path | None, docs: Path, keep: bool, timeout: float, as_json: bool) -> None:
    """Boot a guest over iPXE from an embedded host description, without root.

    The description is validated, made into a NixOS module and into settings; the boot HTTP server and QEMU
    start; iPXE gets an address, the boot script, the kernel and the initramfs; the guest says that it is up,
    and is asked to power down. Exit status 0 only if the guest said so.
    """
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


COMMAND = demo
