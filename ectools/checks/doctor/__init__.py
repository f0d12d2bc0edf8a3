"""What this host lacks for each command. Looks, and starts nothing that lasts.

``findings`` of one thing · ``programs`` · ``kernel`` · ``nix_host`` · ``guest`` · ``boot_host``.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from ectools.checks.doctor.boot_host import (
    look_at_boot_binary,
    look_at_port_rights,
    look_at_udp_ports,
    try_port,
)
from ectools.checks.doctor.findings import Finding, FindingState
from ectools.checks.doctor.guest import look_at_kvm, look_at_macvtap, look_at_memory
from ectools.checks.doctor.nix_host import NIX_COMMANDS, look_at_nix
from ectools.checks.doctor.programs import PROGRAMS, look_for_program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pynix_eval_shim import Nix

__all__ = ["CHECKED_COMMANDS", "Finding", "FindingState", "examine", "is_fit"]

CHECKED_COMMANDS = ("demo", "eval", "netboot", "schema", "verify-closure", "vm", "vmtest")
"""The commands that need more than this package; all others run wherever Python does."""


def examine(
    commands: Iterable[str] = CHECKED_COMMANDS, *, kvm: Callable[[], str | None], nix: Nix | None = None
) -> list[Finding]:
    """All that ``commands`` need, found or not. ``kvm`` says why /dev/kvm cannot be used, or None."""
    wanted = set(commands)
    findings = [look_for_program(program) for program in PROGRAMS if wanted & set(program.commands)]
    if wanted & {"demo", "vm"}:
        findings += [look_at_kvm(kvm()), look_at_memory()]
    if "vm" in wanted:
        findings.append(look_at_macvtap())
    if wanted & {"netboot", "vm"}:
        findings.append(try_port(8080, udp=False, commands=("netboot", "vm")))
    if "netboot" in wanted:
        findings += [*look_at_udp_ports(), look_at_port_rights(), look_at_boot_binary()]
    if wanted & set(NIX_COMMANDS) and shutil.which("nix" if nix is None else nix.program):
        findings += look_at_nix(nix, wanted)
    return findings


def is_fit(findings: Iterable[Finding]) -> bool:
    """Whether nothing is missing."""
    return all(finding.state is not FindingState.MISSING for finding in findings)
