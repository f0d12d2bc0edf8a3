"""Hosts of another platform than x86-64, and systems that another platform builds."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.nix

HERE = Path(__file__).parent
BUILT_HERE = "built-here-"


def evaluate(file: str, nixpkgs: Path, nix_env: Mapping[str, str], *arguments: str) -> dict[str, Any]:
    argv = ["nix-instantiate", "--eval", "--strict", "--json", "--read-write-mode", str(HERE / file)]
    done = subprocess.run(
        [*argv, "--argstr", "nixpkgs", str(nixpkgs), *arguments],
        env=dict(nix_env),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_an_arm64_host_has_boot_files_for_its_x86_clients_and_emulates_its_x86_guest(
    nixpkgs: Path, nix_env: Mapping[str, str]
) -> None:
    """nixpkgs' iPXE and qemu_kvm have the programs of their own platform alone.

    The guest's iPXE is the one in QEMU's own network card, because no other is built there.
    """
    of_arm64 = evaluate("platform.nix", nixpkgs, nix_env, "--argstr", "platform", "aarch64-linux")
    assert of_arm64 == {
        "failed": [],
        "ipxe": "x86_64-linux",
        "biosIsOfThat": True,
        "hasBios": True,
        "qemu": "qemu",
        "enableKvm": False,
        "machine": "q35,accel=tcg",
        "cpu": "max",
        "bootFile": None,
    }


def test_a_host_with_an_ipxe_of_its_own_serves_bios_where_it_is_said_to(
    nixpkgs: Path, nix_env: Mapping[str, str]
) -> None:
    for platform, expected in (("aarch64-linux", False), ("x86_64-linux", True)):
        own = ["--argstr", "platform", platform, "--arg", "isOwn", "true"]
        assert evaluate("platform.nix", nixpkgs, nix_env, *own)["hasBios"] is expected


def test_an_x86_host_is_as_it_was_and_kvm_can_be_asked_for_anywhere(
    nixpkgs: Path, nix_env: Mapping[str, str]
) -> None:
    of_x86 = evaluate("platform.nix", nixpkgs, nix_env, "--argstr", "platform", "x86_64-linux")
    assert (of_x86["enableKvm"], of_x86["machine"], of_x86["cpu"]) == (True, "q35,accel=kvm", "host")
    assert (of_x86["qemu"], of_x86["bootFile"], of_x86["ipxe"]) == (
        "qemu_kvm",
        "undionly.kpxe",
        "x86_64-linux",
    )
    asked = ["--argstr", "platform", "aarch64-linux", "--arg", "enableKvm", "true"]
    assert evaluate("platform.nix", nixpkgs, nix_env, *asked)["enableKvm"]


def test_what_runs_while_a_system_is_built_is_of_the_platform_that_builds(
    nixpkgs: Path, nix_env: Mapping[str, str]
) -> None:
    found = evaluate("cross.nix", nixpkgs, nix_env)
    tools, unit = found.pop("tools"), found.pop("unit")
    assert {
        what: {name for name in names if name.startswith(BUILT_HERE)} for what, names in found.items()
    } == {
        "netboot": {f"{BUILT_HERE}ectools", f"{BUILT_HERE}systemd"},
        "guest": {f"{BUILT_HERE}ectools"},
        "netbootScript": {f"{BUILT_HERE}ectools"},
        "guestScript": {f"{BUILT_HERE}ectools"},
        "modules": {f"{BUILT_HERE}{name}" for name in ("gawk", "gnutar", "kmod")},
    }
    assert not [what for what, names in found.items() if tools in names]
    # The units' own programs are for the machine that they run on.
    assert tools in unit
    assert not [name for name in unit if name.startswith(BUILT_HERE)]
