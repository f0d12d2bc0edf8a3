"""What this host lacks for each command. Looks, and starts nothing that lasts.

``findings`` of one thing · ``programs`` · ``kernel`` · ``nix_host`` · ``guest`` · ``boot_host``.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from ectools.checks.doctor.boot_host import (
    check_boot_binary,
    check_in_the_way,
    check_kernel_settings,
    check_port_rights,
    check_udp_ports,
    try_port,
)
from ectools.checks.doctor.findings import Finding, FindingState
from ectools.checks.doctor.guest import check_free_memory, check_kvm, check_macvtap
from ectools.checks.doctor.nix_host import NIX_COMMANDS, check_nix
from ectools.checks.doctor.programs import PROGRAMS, look_for_program

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ectools.netboot.settings.model import ServerSettings
    from pynix_eval_shim import Nix

__all__ = ["CHECKED_COMMANDS", "Finding", "FindingState", "examine", "is_fit"]

CHECKED_COMMANDS = ("demo", "eval", "netboot", "options", "schema", "verify-closure", "vm", "vmtest")
"""The commands that need more than this package; all others run wherever Python does."""


def examine(
    commands: Iterable[str] = CHECKED_COMMANDS,
    *,
    kvm: Callable[[], str | None],
    nix: Nix | None = None,
    boot_host: ServerSettings | None = None,
) -> list[Finding]:
    """All that ``commands`` need, found or not. ``kvm`` says why /dev/kvm cannot be used, or None.

    ``boot_host``: the settings of the boot server that is to run here, where there are any.
    """
    wanted = set(commands)
    findings = [look_for_program(program) for program in PROGRAMS if wanted & set(program.commands)]
    if wanted & {"demo", "vm"}:
        findings += [check_kvm(kvm()), check_free_memory()]
    if "vm" in wanted:
        findings.append(check_macvtap())
    if wanted & {"netboot", "vm"}:
        findings.append(try_port(8080, udp=False, commands=("netboot", "vm")))
    if "netboot" in wanted:
        address = None if boot_host is None else boot_host.listen_ip
        findings += [*check_udp_ports(address), check_port_rights(), check_boot_binary()]
        findings += check_kernel_settings() if boot_host is None else check_in_the_way(boot_host)
    if wanted & set(NIX_COMMANDS) and shutil.which("nix" if nix is None else nix.program):
        findings += check_nix(nix, wanted)
    return findings


def is_fit(findings: Iterable[Finding]) -> bool:
    """Whether nothing is missing."""
    return all(finding.state is not FindingState.MISSING for finding in findings)
