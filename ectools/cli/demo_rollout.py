"""``ectools demo rollout``: a good release goes out to four machines, and a bad one comes back."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from ectools.cli.param_types import Seconds


@click.command("rollout", epilog="Example: sudo ectools demo rollout")
@click.option(
    "--payload",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="A directory with kernel and initrd.  [default: made from the distribution's packages]",
)
@click.option(
    "--ipxe",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="An iPXE for x86-64 UEFI that looks for autoexec.ipxe.  [default: the distribution's]",
)
@click.option(
    "--ovmf",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="A directory with OVMF_CODE.fd and OVMF_VARS.fd.  [default: where the distribution puts them]",
)
@click.option("--keep", is_flag=True, help="Leave all of it running, and say how to look at it and stop it.")
@click.option(
    "--timeout", type=Seconds(min=1), default=600.0, show_default=True, help="Seconds for each of its parts."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def rollout(
    *,
    payload: Path | None,
    ipxe: Path | None,
    ovmf: Path | None,
    keep: bool,
    timeout: float,
    as_json: bool,
) -> None:
    """Lead four UEFI machines from release to release, and back, in network namespaces.

    A boot host has a fleet of four machines and three releases. All boot the first one; `ectools rollout
    start` leads them to a good one by waves, and to a bad one, which stops at the first machine that has it:
    that machine goes back, and the others never leave. Nobody intervenes: machines ask what they are to boot.

    It takes root, or a system where users may make namespaces, and some minutes, as machines are emulated; it
    leaves nothing. Exit status 0 only if the good release was everywhere, and the bad one is nowhere.
    """
    from ectools.demo.rollout.run_rollout import run_rollout_demo

    outcome = run_rollout_demo(
        payload=payload, ipxe=ipxe, ovmf=ovmf, keep=keep, timeout=timeout, stderr=sys.stderr
    )
    if as_json:
        result = {
            "why": outcome.why,
            "reached": outcome.reached,
            "seconds": outcome.seconds,
            "pids": outcome.pids,
            "folder": None if outcome.directory is None else str(outcome.directory),
        }
        click.echo(json.dumps(result))
        return
    click.echo(f"the good release went out in {outcome.seconds['good']:.0f} s")
    click.echo(f"the bad one was stopped after {outcome.seconds['stopped']:.0f} s: {outcome.why}")
    click.echo(f"{outcome.reached} of the machines had it, and came back in {outcome.seconds['back']:.0f} s")
    # Where fleet.listen is by default.
    kept = "" if outcome.pids else "; --keep has it run on"
    click.echo(f"the page to look at is http://127.0.0.1:9090/ on the boot host{kept}")
    if outcome.pids:
        pids = " ".join(map(str, outcome.pids))
        click.echo(f"it all runs on: logs in {outcome.directory}; stop it with: kill {pids}")
        click.echo(f"on the boot host: nsenter --target {outcome.pids[1]} --net --preserve-credentials bash")


COMMAND = rollout
