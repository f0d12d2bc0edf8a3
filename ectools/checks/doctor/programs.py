"""Programs of other packages: there, and do they run."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass

from ectools.checks.doctor.findings import Finding, FindingState
from ectools.checks.doctor.nix_host import NIX_COMMANDS
from ectools.processes import ProcessError, run

_VERSION_SECONDS = 60.0
_SYSTEM_DIRECTORIES = ":/usr/sbin:/sbin"  # Debian keeps dnsmasq where a user's PATH does not look


@dataclass(frozen=True, kw_only=True)
class Program:
    name: str
    commands: tuple[str, ...]
    remedy: str
    without: str | None = None
    """What is lost without it, where the commands run all the same."""


def packages(debian: str, nixos: str) -> str:
    return f"Debian: apt install {debian}; NixOS: pkgs.{nixos}"


PROGRAMS = (
    Program(
        name="qemu-system-x86_64", commands=("demo", "vm"), remedy=packages("qemu-system-x86", "qemu_kvm")
    ),
    Program(name="qemu-img", commands=("demo", "vm"), remedy=packages("qemu-utils", "qemu_kvm")),
    Program(
        name="nft",
        commands=("vm",),
        remedy=packages("nftables", "nftables"),
        without="`vm loopback-filter` cannot keep a guest from this host's loopback",
    ),
    Program(
        name="apt-get",
        commands=("demo",),
        remedy="pass --payload DIR, or run the flake's app: nix run .#demo",
        without="no payload can be made from Debian's packages",
    ),
    Program(
        name="dnsmasq",
        commands=("netboot",),
        remedy=packages("dnsmasq-base", "dnsmasq"),
        without="`netboot serve` cannot start: it does TFTP and ProxyDHCP",
    ),
    Program(name="nix", commands=NIX_COMMANDS, remedy=packages("nix-bin", "nix")),
    Program(
        name="nix-instantiate", commands=("eval", "options", "schema"), remedy=packages("nix-bin", "nix")
    ),
    Program(name="nix-store", commands=("verify-closure",), remedy=packages("nix-bin", "nix")),
    Program(
        name="git",
        commands=("eval", "options", "verify-closure", "vmtest"),
        remedy=packages("git", "git"),
        without="a flake in a git checkout cannot be read",
    ),
)


def look_for_program(program: Program) -> Finding:
    path = shutil.which(program.name, path=os.environ.get("PATH", "") + _SYSTEM_DIRECTORIES)
    if path is None:
        state = FindingState.MISSING if program.without is None else FindingState.LIMITED
        detail = "not on PATH" + (f"; {program.without}" if program.without else "")
        return Finding(
            name=program.name, commands=program.commands, state=state, detail=detail, remedy=program.remedy
        )
    try:
        lines = run([path, "--version"], timeout=_VERSION_SECONDS).stdout.strip().splitlines()
    except ProcessError as error:
        return Finding(
            name=program.name,
            commands=program.commands,
            state=FindingState.MISSING,
            detail=f"does not run: {error.message}",
            remedy=program.remedy,
        )
    version = lines[0] if lines else "of unknown version"
    return Finding(
        name=program.name, commands=program.commands, state=FindingState.OK, detail=f"{version} ({path})"
    )
