"""``ectools demo netboot``: a machine boots from a boot host, in namespaces."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from ectools.cli.param_types import Seconds


@click.command("netboot", epilog="Example: sudo ectools demo netboot")
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
    "--timeout", type=Seconds(min=1), default=300.0, show_default=True, help="Seconds for the boot."
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as one JSON object.")
def netboot(
    *,
    payload: Path | None,
    ipxe: Path | None,
    ovmf: Path | None,
    keep: bool,
    timeout: float,
    as_json: bool,
) -> None:
    """Boot a UEFI machine over a network: a router, a boot host and the machine, in network namespaces.

    A release is packed, staged and served, each by the command that does it on a real boot host; the probe
    says whether a machine would boot; then one does: firmware, iPXE, boot script, kernel, initrd. It takes
    root, or a system where users may make namespaces, and leaves nothing. Exit status 0 only if the probe
    said that the machine boots, and the machine that it is up.
    """
    from ectools.demo.netboot.run_netboot import run_netboot_demo

    outcome = run_netboot_demo(
        payload=payload, ipxe=ipxe, ovmf=ovmf, keep=keep, timeout=timeout, stderr=sys.stderr
    )
    if as_json:
        result = {
            "verdict": outcome.verdict,
            "stages": outcome.stages,
            "address": outcome.address,
            "pids": outcome.pids,
            "folder": None if outcome.directory is None else str(outcome.directory),
        }
        click.echo(json.dumps(result))
        return
    click.echo(f"the machine was up after {outcome.stages['up']:.1f} s, with the address {outcome.address}")
    if "reported" in outcome.stages:
        click.echo(f"it has reported to the boot host after {outcome.stages['reported']:.1f} s: up, healthy")
    # Where fleet.listen is by default.
    kept = "" if outcome.pids else "; --keep has it run on"
    click.echo(f"the page to look at is http://127.0.0.1:9090/ on the boot host{kept}")
    if outcome.pids:
        pids = " ".join(map(str, outcome.pids))
        click.echo(f"it all runs on: logs in {outcome.directory}; stop it with: kill {pids}")
        click.echo(f"on the boot host: nsenter --target {outcome.pids[1]} --net --preserve-credentials bash")


COMMAND = netboot
