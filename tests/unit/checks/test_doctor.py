"""What a host lacks, on hosts that lack it: stand-in programs on PATH, ports that are taken."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from ectools.checks import doctor
from ectools.checks.doctor import Finding, FindingState, boot_host, examine, is_fit
from ectools.checks.doctor import programs as programs_module
from ectools.netboot.server import host_warnings

ALL = ("qemu-system-x86_64", "qemu-img", "apt-get", "dnsmasq", "nix", "nix-instantiate", "git")


def install(directory: Path, *names: str, script: str = "echo version 1") -> None:
    for name in names:
        (directory / name).write_text(f"#!/bin/sh\n{script}\n")
        (directory / name).chmod(0o755)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory that is all of PATH."""
    monkeypatch.setattr(programs_module, "_SYSTEM_DIRECTORIES", "")
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def find(findings: list[Finding], name: str) -> Finding:
    (found,) = (finding for finding in findings if finding.name == name)
    return found


def test_what_is_not_there_is_missing_and_said_how_to_get(programs: Path) -> None:
    install(programs, "qemu-img")
    findings = examine(["vm"], kvm=lambda: None)
    qemu = find(findings, "qemu-system-x86_64")
    assert qemu.state is FindingState.MISSING
    assert "apt install qemu-system-x86" in (qemu.remedy or "")
    assert "pkgs.qemu_kvm" in (qemu.remedy or "")
    assert find(findings, "qemu-img").state is FindingState.OK
    assert "version 1" in find(findings, "qemu-img").detail
    assert not is_fit(findings)
    install(programs, "qemu-system-x86_64")
    assert is_fit(examine(["vm"], kvm=lambda: None))


def test_a_program_that_does_not_run_is_missing(programs: Path) -> None:
    install(programs, *ALL, script="echo broken >&2; exit 127")
    found = find(examine(["vm"], kvm=lambda: None), "qemu-img")
    assert found.state is FindingState.MISSING
    assert "broken" in found.detail


def test_only_what_the_named_commands_need_is_looked_at(programs: Path) -> None:
    names = {
        command: {each.name for each in examine([command], kvm=lambda: None)}
        for command in doctor.CHECKED_COMMANDS
    }
    assert "dnsmasq" in names["netboot"]
    assert names["netboot"].isdisjoint({"KVM", "nix", "qemu-img"})
    assert names["eval"] == {"nix", "nix-instantiate", "git"}
    assert set().union(*names.values()) == {each.name for each in examine(kvm=lambda: None)}


def test_without_kvm_a_guest_is_slow_and_not_impossible(programs: Path) -> None:
    install(programs, *ALL)
    findings = examine(["vm"], kvm=lambda: "/dev/kvm is missing")
    kvm = find(findings, "KVM")
    assert kvm.state is FindingState.LIMITED
    assert "/dev/kvm is missing" in kvm.detail
    assert is_fit(findings)


@pytest.mark.parametrize(("udp", "kind"), [(False, socket.SOCK_STREAM), (True, socket.SOCK_DGRAM)])
def test_a_port_that_is_taken(udp: bool, kind: socket.SocketKind) -> None:
    with socket.socket(socket.AF_INET, kind) as taken:
        taken.bind(("127.0.0.1", 0))
        if not udp:
            taken.listen()
        port = taken.getsockname()[1]
        found = boot_host.try_port(port, udp=udp, commands=("vm",))
        assert found.state is FindingState.LIMITED
        assert "in use" in found.detail
    assert boot_host.try_port(port, udp=udp, commands=("vm",)).state is FindingState.OK


def test_a_boot_host_without_a_boot_binary(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("ectools.netboot.boot_files.choose._STOCK_DIRECTORIES", (tmp_path,))
    found = find(examine(["netboot"], kvm=lambda: None), "iPXE")
    assert found.state is FindingState.LIMITED
    assert str(tmp_path) in found.detail
    (tmp_path / "ipxe.efi").write_bytes(b"MZ, and no more")
    found = find(examine(["netboot"], kvm=lambda: None), "iPXE")
    assert "ipxe.efi" in found.detail
    assert "Debian 13" in (found.remedy or "")


def test_a_nix_whose_settings_cannot_be_read(programs: Path) -> None:
    install(programs, *ALL, script="echo 'nix (Nix) 2.30.1'; [ $# -eq 1 ]")
    found = find(examine(["eval"], kvm=lambda: None), "nix settings")
    assert found.state is FindingState.MISSING


NIX = """
case "$*" in
  --version) echo "nix (Nix) {version}" ;;
  *show-config*) printf 'system = x86_64-linux\\nsystem-features = {features}\\nbuilders = {builders}\\n' ;;
  *) echo "error: file 'nixpkgs' was not found in the Nix search path" >&2; exit 1 ;;
esac
"""


@pytest.mark.parametrize(
    ("version", "features", "builders", "states"),
    [
        ("2.30.1", "kvm nixos-test", "", {"VM tests": FindingState.OK}),
        ("2.30.1", "nixos-test", "", {"VM tests": FindingState.MISSING}),
        ("2.30.1", "nixos-test", "ssh://far", {"VM tests": FindingState.LIMITED}),
        ("2.7.0", "kvm nixos-test", "", {"VM tests": FindingState.OK, "nix version": FindingState.MISSING}),
    ],
)
def test_what_nix_can_do(
    programs: Path,
    monkeypatch: pytest.MonkeyPatch,
    version: str,
    features: str,
    builders: str,
    states: dict[str, FindingState],
) -> None:
    monkeypatch.delenv("NIXPKGS", raising=False)
    install(
        programs,
        *ALL,
        script=NIX.format(version=version, features=features, builders=builders),
    )
    findings = examine(["vmtest"], kvm=lambda: None)
    assert {finding.name: finding.state for finding in findings if finding.name in states} == states
    assert find(findings, "nixpkgs").state is FindingState.LIMITED
    monkeypatch.setenv("NIXPKGS", str(programs))
    assert find(examine(["vmtest"], kvm=lambda: None), "nixpkgs").state is FindingState.MISSING


def test_the_command(tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "ectools.cli.main", "doctor", *arguments]
        env = {**os.environ, "PATH": str(tmp_path)}
        return subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=120)

    done = run("eval", "--json")
    assert done.returncode == 1
    assert {finding["name"]: finding["state"] for finding in json.loads(done.stdout)} == {
        "nix": "missing",
        "nix-instantiate": "missing",
        "git": "limited",
    }
    first, second, *_ = run("eval").stdout.splitlines()
    assert first == "missing  nix: not on PATH  [eval, options, schema, verify-closure, vmtest]"
    assert second.startswith("           Debian: apt install")
    assert run("netboot").returncode == 0
    assert run("no-such-command").returncode == 2


@pytest.mark.parametrize(("found", "state"), [("212992\n", FindingState.LIMITED), ("8388608\n", None)])
def test_a_receive_buffer_that_a_crowd_does_not_fit_into(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, found: str, state: FindingState | None
) -> None:
    monkeypatch.setattr(host_warnings, "_KERNEL_SETTINGS", tmp_path)
    (tmp_path / "net/core").mkdir(parents=True)
    (tmp_path / "net/core/rmem_default").write_text(found)
    findings = [each for each in examine(["netboot"], kvm=lambda: None) if each.name.startswith("net.core")]
    assert [(each.state, each.commands) for each in findings] == ([(state, ("netboot",))] if state else [])
    for each in findings:
        assert "sysctl -w net.core.rmem_default=8388608" in (each.remedy or "")
