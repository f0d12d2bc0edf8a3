"""Every system of the flake: built with what it is for, or evaluated where nothing here builds for it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from support.nixos_build import Flake

pytestmark = [pytest.mark.nix, pytest.mark.slow, pytest.mark.full, pytest.mark.timeout(3600)]

# What docs/RUNNER_IMAGES.md says is built of each.
X86_64 = {
    "ec-publisher-x86_64": ("toplevel", "vm"),
    "ec-publisher-x86_64-netboot": ("netboot",),
    "ec-runner-x86_64": ("toplevel",),
    "ec-runner-x86_64-iso": ("isoImage",),
    "ec-runner-x86_64-netboot": ("netboot",),
    "ecp-forge": ("toplevel",),
}
AARCH64 = {
    "ec-runner-aarch64": "toplevel",
    "ec-runner-aarch64-iso": "isoImage",
    "ec-runner-aarch64-netboot": "netboot",
    "ec-runner-aarch64-sdimage": "sdImage",
}


def test_these_are_all_systems(flake: Flake) -> None:
    names = flake.evaluate("nixosConfigurations", apply="builtins.attrNames")
    assert sorted(names) == sorted([*X86_64, *AARCH64])


@pytest.mark.parametrize("name", X86_64)
def test_a_system_is_built(name: str, flake: Flake) -> None:
    for output in X86_64[name]:
        assert flake.build(f"nixosConfigurations.{name}.config.system.build.{output}").exists()


@pytest.fixture
def evaluated(flake: Flake, nixpkgs: Path) -> Flake:
    """With a nixpkgs that has all packages of the other architecture, and need not build."""
    return replace(flake, nixpkgs=nixpkgs)


@pytest.mark.parametrize("name", AARCH64)
def test_a_system_of_the_other_architecture_evaluates(name: str, evaluated: Flake) -> None:
    output = AARCH64[name]
    drv = evaluated.evaluate(f"nixosConfigurations.{name}.config.system.build.{output}.drvPath")
    assert drv.startswith("/nix/store/")


def test_the_sd_cards_partitions_and_files_are_what_firmware_looks_for(evaluated: Flake) -> None:
    """As far as evaluation tells: a firmware partition by its label, and the root by its own."""
    config = "nixosConfigurations.ec-runner-aarch64-sdimage.config"
    systems = evaluated.evaluate(f"{config}.fileSystems", apply="builtins.mapAttrs (_: fs: fs.device)")
    assert systems == {"/": "/dev/disk/by-label/NIXOS_SD", "/boot/firmware": "/dev/disk/by-label/FIRMWARE"}
    populate = evaluated.evaluate(f"{config}.sdImage.populateFirmwareCommands")
    assert "config.txt" in populate
    assert evaluated.evaluate(f"{config}.boot.loader.generic-extlinux-compatible.enable") is True
