"""``ectools demo netboot``: a machine boots from a boot host, in namespaces."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from ectools.cli.demo_boot_host import boot_host_options, kept_json, say_where_to_look

if TYPE_CHECKING:
    from pathlib import Path


@click.command("netboot", epilog="Example: sudo ectools demo netboot")
@boot_host_options(timeout=300.0, seconds_for="the boot")
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
            **kept_json(outcome),
        }
        click.echo(json.dumps(result))
        return
    click.echo(f"the machine was up after {outcome.stages['up']:.1f} s, with the address {outcome.address}")
    if "reported" in outcome.stages:
        click.echo(f"it has reported to the boot host after {outcome.stages['reported']:.1f} s: up, healthy")
    say_where_to_look(outcome)


COMMAND = netboot
