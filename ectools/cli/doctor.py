"""``ectools doctor``: what this host lacks."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ectools.checks.doctor import CHECKED_COMMANDS, Finding, FindingState, examine, is_fit
from ectools.log import use_colour
from ectools.netboot.settings.model import NETBOOT_CONFIG
from ectools.vm.kvm import probe_kvm

if TYPE_CHECKING:
    from ectools.netboot.settings.model import ServerSettings

_COLOURS = {FindingState.OK: "32", FindingState.LIMITED: "33", FindingState.MISSING: "31"}


@click.command("doctor", epilog="Example: ectools doctor vm")
@click.argument("commands", metavar="[COMMAND]...", nargs=-1, type=click.Choice(CHECKED_COMMANDS))
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help=f"The boot server's settings, which tell more.  [default: {NETBOOT_CONFIG}, where there is one]",
)
@click.option("--json", "as_json", is_flag=True, help="A JSON array of findings.")
def doctor(commands: tuple[str, ...], *, config: Path | None, as_json: bool) -> int:
    """Say what this host lacks for the commands that are named, or for all, and how to get it.

    Exits 1 where a command cannot do its work; what only limits one is said too. Nothing is started that
    lasts. Commands that are not listed need nothing but this package.
    """
    boot_host = _load_boot_host(config)
    findings = examine(commands or CHECKED_COMMANDS, kvm=_find_kvm_trouble, boot_host=boot_host)
    if as_json:
        click.echo(json.dumps([_show_json(finding) for finding in findings], indent=2, ensure_ascii=False))
    else:
        colour = use_colour(sys.stdout)
        for finding in findings:
            click.echo(_show(finding, colour=colour))
    return 0 if is_fit(findings) else 1


def _load_boot_host(config: Path | None) -> ServerSettings | None:
    from ectools.netboot.settings.load import load_server_settings

    if config is None and not NETBOOT_CONFIG.exists():
        return None
    return load_server_settings(config or NETBOOT_CONFIG)


def _find_kvm_trouble() -> str | None:
    failure = probe_kvm()
    if failure is None:
        return None
    return f"{failure.trouble}: {failure.detail}" if failure.detail else str(failure.trouble)


def _show(finding: Finding, *, colour: bool) -> str:
    state = f"{finding.state.value:<7}"
    painted = f"\x1b[{_COLOURS[finding.state]}m{state}\x1b[0m" if colour else state
    line = f"{painted}  {finding.name}: {finding.detail}  [{', '.join(finding.commands)}]"
    return line if finding.remedy is None else f"{line}\n           {finding.remedy}"


def _show_json(finding: Finding) -> dict[str, object]:
    return {
        "name": finding.name,
        "commands": list(finding.commands),
        "state": finding.state.value,
        "detail": finding.detail,
        "remedy": finding.remedy,
    }


COMMAND = doctor
