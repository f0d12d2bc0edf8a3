"""``ectools demo rollout``: a good release goes out to four machines, and a bad one comes back."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from ectools.cli.demo_boot_host import boot_host_options, kept_json, say_where_to_look

if TYPE_CHECKING:
    from pathlib import Path


@click.command("rollout", epilog="Example: sudo ectools demo rollout")
@boot_host_options(timeout=600.0, seconds_for="each of its parts")
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
            **kept_json(outcome),
        }
        click.echo(json.dumps(result))
        return
    click.echo(f"the good release went out in {outcome.seconds['good']:.0f} s")
    click.echo(f"the bad one was stopped after {outcome.seconds['stopped']:.0f} s: {outcome.why}")
    click.echo(f"{outcome.reached} of the machines had it, and came back in {outcome.seconds['back']:.0f} s")
    say_where_to_look(outcome)


COMMAND = rollout
