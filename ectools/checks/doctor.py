"""What this host lacks for each command. Looks, and starts nothing that lasts."""

from __future__ import annotations

import errno
import os
import re
import shutil
import socket
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from ectools.errors import EcError
from ectools.nixpkgs import find_nixpkgs
from ectools.processes import ProcessError, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pynix_eval_shim import Nix, Probe

COMMANDS = ("demo", "eval", "netboot", "schema", "vm", "vmtest")
"""The commands that need more than this package; all others run wherever Python does."""

_VERSION_SECONDS = 60.0
_SYSTEM_FOLDERS = ":/usr/sbin:/sbin"  # Debian keeps dnsmasq where a user's PATH does not look
_OLDEST_NIX = (2, 8)
_GUEST_MIB = 4096  # memoryMiB's default
_CAP_NET_ADMIN = 12


class State(StrEnum):
    """LIMITED: the command runs, but slower or with less; MISSING: it cannot do its work."""

    OK = "ok"
    LIMITED = "limited"
    MISSING = "missing"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that ``commands`` need: what was found, and where it is not OK, how to get it."""

    name: str
    commands: tuple[str, ...]
    state: State
    detail: str
    remedy: str | None = None


@dataclass(frozen=True, kw_only=True)
class _Program:
    name: str
    commands: tuple[str, ...]
    remedy: str
    without: str | None = None
    """What is lost without it, where the commands run all the same."""


def _packages(debian: str, nixos: str) -> str:
    return f"Debian: apt install {debian}; NixOS: pkgs.{nixos}"


_PROGRAMS = (
    _Program(
        name="qemu-system-x86_64", commands=("demo", "vm"), remedy=_packages("qemu-system-x86", "qemu_kvm")
    ),
    _Program(name="qemu-img", commands=("demo", "vm"), remedy=_packages("qemu-utils", "qemu_kvm")),
    _Program(
        name="apt-get",
        commands=("demo",),
        remedy="pass --payload DIR, or run the flake's app: nix run .#demo",
        without="no payload can be made from Debian's packages",
    ),
    _Program(
        name="dnsmasq",
        commands=("netboot",),
        remedy=_packages("dnsmasq-base", "dnsmasq"),
        without="HTTP only: neither TFTP nor ProxyDHCP",
    ),
    _Program(name="nix", commands=("eval", "schema", "vmtest"), remedy=_packages("nix-bin", "nix")),
    _Program(name="nix-instantiate", commands=("eval", "schema"), remedy=_packages("nix-bin", "nix")),
    _Program(
        name="git",
        commands=("eval", "vmtest"),
        remedy=_packages("git", "git"),
        without="a flake in a git checkout cannot be read",
    ),
)


def examine(
    commands: Iterable[str] = COMMANDS, *, kvm: Callable[[], str | None], nix: Nix | None = None
) -> list[Finding]:
    """All that ``commands`` need, found or not. ``kvm`` says why /dev/kvm cannot be used, or None."""
    wanted = set(commands)
    findings = [_find_program(program) for program in _PROGRAMS if wanted & set(program.commands)]
    if wanted & {"demo", "vm"}:
        findings += [_look_at_kvm(kvm()), _look_at_memory()]
    if "vm" in wanted:
        findings.append(_look_at_macvtap())
    if wanted & {"netboot", "vm"}:
        findings.append(_try_port(8080, udp=False, commands=("netboot", "vm")))
    if "netboot" in wanted:
        findings += [_try_port(port, udp=True, commands=("netboot",)) for port in (67, 69)]
    if wanted & {"eval", "schema", "vmtest"} and shutil.which("nix" if nix is None else nix.program):
        findings += _look_at_nix(nix, wanted)
    return findings


def is_fit(findings: Iterable[Finding]) -> bool:
    """Whether nothing is missing."""
    return all(finding.state is not State.MISSING for finding in findings)


def _find_program(program: _Program) -> Finding:
    path = shutil.which(program.name, path=os.environ.get("PATH", "") + _SYSTEM_FOLDERS)
    if path is None:
        state = State.MISSING if program.without is None else State.LIMITED
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
            state=State.MISSING,
            detail=f"does not run: {error.message}",
            remedy=program.remedy,
        )
    version = lines[0] if lines else "of unknown version"
    return Finding(name=program.name, commands=program.commands, state=State.OK, detail=f"{version} ({path})")


def _look_at_kvm(trouble: str | None) -> Finding:
    commands = ("demo", "vm")
    if trouble is None:
        detail = "it opens; whether it carries a guest is seen when one starts"
        return Finding(name="KVM", commands=commands, state=State.OK, detail=detail)
    return Finding(
        name="KVM",
        commands=commands,
        state=State.LIMITED,
        detail=f"{trouble}; guests run under TCG, many times slower",
        remedy="turn on virtualization, load kvm_intel or kvm_amd, and put the user into the group kvm",
    )


def _look_at_memory() -> Finding:
    commands = ("demo", "vm")
    text = _read("/proc/meminfo")
    found = re.search(r"^MemAvailable:\s+(\d+) kB", text, re.MULTILINE)
    available = int(found[1]) // 1024 if found else 0
    if available >= _GUEST_MIB:
        return Finding(
            name="memory", commands=commands, state=State.OK, detail=f"{available} MiB are available"
        )
    return Finding(
        name="memory",
        commands=commands,
        state=State.LIMITED,
        detail=f"{available} MiB are available, and a guest has {_GUEST_MIB} MiB unless it is told otherwise",
        remedy="set memoryMiB lower",
    )


def _look_at_macvtap() -> Finding:
    """The driver by its device number, or as a module of this kernel; and the right to make a link."""
    loaded = re.search(r"^\s*\d+ macvtap$", _read("/proc/devices"), re.MULTILINE) is not None
    modules = Path("/lib/modules") / os.uname().release
    names = _read(str(modules / "modules.dep")) + _read(str(modules / "modules.builtin"))
    if not loaded and "/macvtap.ko" not in names:
        return Finding(
            name="macvtap",
            commands=("vm",),
            state=State.LIMITED,
            detail="this kernel has no driver for it; lan.enable cannot work",
            remedy="a kernel with CONFIG_MACVTAP, and modprobe macvtap",
        )
    capabilities = re.search(r"^CapEff:\s+([0-9a-f]+)$", _read("/proc/self/status"), re.MULTILINE)
    if capabilities is None or not int(capabilities[1], 16) & 1 << _CAP_NET_ADMIN:
        return Finding(
            name="macvtap",
            commands=("vm",),
            state=State.LIMITED,
            detail="this user may not make links (CAP_NET_ADMIN); lan.enable cannot work when started by it",
            remedy="start the runner as a service, or as root",
        )
    detail = "the driver is loaded" if loaded else "the driver is a module that is loaded when needed"
    return Finding(name="macvtap", commands=("vm",), state=State.OK, detail=detail)


def _try_port(port: int, *, udp: bool, commands: tuple[str, ...]) -> Finding:
    """Bind the port as its server would, and let it go."""
    name, address = f"port {port}/{'udp' if udp else 'tcp'}", "0.0.0.0" if udp else "127.0.0.1"  # noqa: S104 - as dnsmasq does
    kind = socket.SOCK_DGRAM if udp else socket.SOCK_STREAM
    with socket.socket(socket.AF_INET, kind) as probe:
        if not udp:
            # As servers do: a connection that has just ended does not hold the port.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            in_use = error.errno == errno.EADDRINUSE
            return Finding(
                name=name,
                commands=commands,
                state=State.LIMITED,
                detail=f"{address}: {error.strerror}",
                remedy="stop what listens there, or choose another port" if in_use else "run it as a service",
            )
    return Finding(name=name, commands=commands, state=State.OK, detail=f"free on {address}")


def _look_at_nix(nix: Nix | None, wanted: set[str]) -> list[Finding]:
    from pynix_eval_shim import NixError, probe

    commands = ("eval", "schema", "vmtest")
    try:
        probed = probe(nix=nix)
    except NixError as error:
        remedy = error.hint or "see that `nix show-config` works"
        return [
            Finding(
                name="nix settings", commands=commands, state=State.MISSING, detail=str(error), remedy=remedy
            )
        ]
    findings = []
    if probed.release < _OLDEST_NIX:
        detail = f"{probed.version} is too old: 2.8 or later is needed"
        findings.append(
            Finding(
                name="nix version",
                commands=commands,
                state=State.MISSING,
                detail=detail,
                remedy="https://nixos.org/download",
            )
        )
    findings.append(_look_for_nixpkgs(nix))
    if "vmtest" in wanted:
        findings.append(_look_at_features(probed))
    return findings


def _look_for_nixpkgs(nix: Nix | None) -> Finding:
    from pynix_eval_shim import NixError, evaluate

    commands, name = ("schema", "vmtest"), "nixpkgs"
    try:
        given = find_nixpkgs(None)
        if given is not None:
            return Finding(name=name, commands=commands, state=State.OK, detail=f"{given} ($NIXPKGS)")
        found = evaluate("toString <nixpkgs>", impure=True, nix=nix)
        return Finding(name=name, commands=commands, state=State.OK, detail=f"{found} (<nixpkgs>)")
    except EcError as error:
        return Finding(
            name=name,
            commands=commands,
            state=State.MISSING,
            detail=error.message,
            remedy="set NIXPKGS right",
        )
    except NixError:
        return Finding(
            name=name,
            commands=commands,
            state=State.LIMITED,
            detail="neither $NIXPKGS nor <nixpkgs>; the flake's lock names one, which takes a network",
            remedy="set NIXPKGS to a nixpkgs tree, or add a channel: nix-channel --add URL nixpkgs",
        )


def _look_at_features(probed: Probe) -> Finding:
    missing = {"kvm", "nixos-test"} - probed.system_features
    commands, name = ("vmtest",), "VM tests"
    if not missing:
        return Finding(
            name=name, commands=commands, state=State.OK, detail="nix has the system features kvm, nixos-test"
        )
    features = ", ".join(sorted(missing))
    if probed.remote_builders:
        detail = f"nix has not the system features {{{features}}} here; its remote builders may"
        return Finding(name=name, commands=commands, state=State.LIMITED, detail=detail)
    return Finding(
        name=name,
        commands=commands,
        state=State.MISSING,
        detail=f"nix has not the system features {{{features}}} here, and no remote builders",
        remedy="make /dev/kvm usable, or name machines that have them: --builders",
    )


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
