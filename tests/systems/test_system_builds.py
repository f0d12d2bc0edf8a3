"""Every system of the flake: built with what it is for, or evaluated where nothing here builds for it."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from support.nixos_build import Flake

pytestmark = [pytest.mark.nix, pytest.mark.full, pytest.mark.timeout(3600)]

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

BOOT_HOST = """{
  services.every-channel.netboot = {
    enable = true;
    listenIP = "192.0.2.1";
    interface = "eth0";
    httpAllowedCIDRs = [ "192.0.2.0/24" ];
    release = {
      repo = "owner/name";
      refresh = "hourly";
    };
  };
}
"""
SMALL_STORE = """{ lib, pkgs, ... }: {
  netboot.storeContents = lib.mkForce [ (pkgs.writeText "small" "a store that is small") ];
}
"""
# A command of systemd.service(5), without what says how it is run, to the end of its first word.
COMMAND = re.compile(r"^Exec\w+=[-@:+!|]*\"?(/nix/store/[^\s\"]+)", re.MULTILINE)


def test_these_are_all_systems(flake: Flake) -> None:
    names = flake.evaluate("nixosConfigurations", apply="builtins.attrNames")
    assert sorted(names) == sorted([*X86_64, *AARCH64])


@pytest.mark.parametrize("name", X86_64)
def test_a_system_is_built(name: str, flake: Flake) -> None:
    for output in X86_64[name]:
        assert flake.build(f"nixosConfigurations.{name}.config.system.build.{output}").exists()


def test_the_forge_has_its_guests_store_once(flake: Flake) -> None:
    """In the guest's initrd: a path to the squashfs in there would be a reference."""
    guest = "nixosConfigurations.ec-publisher-x86_64-netboot.config.system.build"
    forge = flake.build("nixosConfigurations.ecp-forge.config.system.build.toplevel")
    closure = flake.list_closure(forge)
    assert str(flake.build(f"{guest}.netboot")) in closure
    assert flake.evaluate(f"{guest}.squashfsStore.outPath") not in closure


def test_an_initrd_has_the_stores_image_and_not_its_path(flake: Flake, tmp_path: Path) -> None:
    small = flake.extend(tmp_path / "flake", "ec-publisher-x86_64-netboot", SMALL_STORE)
    build = "nixosConfigurations.extended.config.system.build"
    image = small.build(f"{build}.squashfsStore")
    ramdisk = small.build(f"{build}.netbootRamdisk")
    assert image.read_bytes() in (ramdisk / "initrd").read_bytes()
    assert str(image) not in small.list_closure(ramdisk)


def find_missing_programs(units: Path) -> list[str]:
    """What the product's own units would start, and is not there or cannot be started."""
    own = [unit.read_text() for unit in sorted(units.glob("every-channel*.service"))]
    programs = {program for text in own for program in COMMAND.findall(text)}
    assert programs
    return sorted(program for program in programs if not os.access(program, os.X_OK))


@pytest.mark.parametrize("name", X86_64)
def test_each_program_that_a_unit_names_is_there(name: str, flake: Flake) -> None:
    units = flake.build(f'nixosConfigurations.{name}.config.environment.etc."systemd/system".source')
    assert find_missing_programs(units) == []


def test_each_program_that_a_boot_host_starts_is_there(flake: Flake, tmp_path: Path) -> None:
    """A reload took a program of coreutils that some distributions' have not."""
    host = flake.extend(tmp_path / "flake", "ec-runner-x86_64", BOOT_HOST)
    units = host.build('nixosConfigurations.extended.config.environment.etc."systemd/system".source')
    assert find_missing_programs(units) == []


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
