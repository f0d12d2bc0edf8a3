"""A runner that a boot server boots: built, packed, signed, staged and served by the product's commands."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from support.netboot_lab import build_netboot_lab
from support.nixos_agent import PATIENT_ARGUMENTS
from support.nixos_build import Flake, run_ectools
from support.nixos_machine import MAC, Hardware, start_nixos

from .booted import boot_release
from .journal import Form
from .promises import (
    check_memory_system,
    check_network,
    check_power_off,
    check_profile,
    check_sshd,
    check_system,
    check_up,
)
from .release import RUNNER, Release, build_image, pack_release

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.nix,
    pytest.mark.qemu,
    pytest.mark.netns,
    pytest.mark.timeout(3600),
]


@pytest.fixture(scope="module")
def release(flake: Flake, tmp_path_factory: pytest.TempPathFactory) -> Release:
    return pack_release(flake, *build_image(flake), tmp_path_factory.mktemp("release"))


def test_the_release_is_what_the_flake_says(release: Release, flake: Flake) -> None:
    published = ("--published", release.archive, "--nixpkgs", flake.nixpkgs)
    report = json.loads(
        run_ectools(flake, "verify-closure", RUNNER, "--flake", flake.source, *published, "--json")
    )
    assert report["same"], report


def test_the_kernel_and_stage_1_are_beside_the_store_and_not_in_it(release: Release, flake: Flake) -> None:
    config = f"nixosConfigurations.{RUNNER}.config"
    beside = [
        flake.evaluate(f"{config}.{each}.outPath")
        for each in ("boot.kernelPackages.kernel", "system.build.initialRamdisk")
    ]
    assert not set(beside) & set(release.closure)
    bootspec = json.loads((release.toplevel / "boot.json").read_text())["org.nixos.bootspec.v1"]
    assert bootspec["toplevel"] == str(release.toplevel)
    assert (bootspec["kernel"], "initrd" in bootspec) == ("/kernel", False)


@pytest.mark.parametrize(
    "uefi",
    [pytest.param(True, id="OVMF"), pytest.param(False, id="SeaBIOS", marks=pytest.mark.full)],
)
def test_a_machine_boots_the_release_over_the_network(
    uefi: bool, release: Release, flake: Flake, tmp_path: Path
) -> None:
    with boot_release(release, tmp_path, uefi=uefi) as booted:
        machine = booted.machine
        check_up(machine, machine.wait_boot(), Form.NETBOOT)
        check_system(machine, release.toplevel, release.closure)
        check_profile(machine, flake.source, RUNNER)
        check_memory_system(machine)
        # What waits for all of a machine's devices is for those that install themselves.
        for unit in ("every-channel-install", "systemd-udev-settle"):
            assert machine.show(f"{unit}.service", "ActiveState")["ActiveState"] == "inactive"
        check_sshd(machine, booted.lab, check_network(machine, booted.lab, MAC))
        check_power_off(machine)


PUBLISHER = "ec-publisher-x86_64-netboot"


@pytest.mark.full
@pytest.mark.parametrize("stage1", ["scripted", "systemd"])
def test_the_publisher_boots_by_its_own_script(stage1: str, flake: Flake, tmp_path: Path) -> None:
    """As QEMU loads a kernel itself, with the command line that the image's script has."""
    is_systemd = str(stage1 == "systemd").lower()
    module = f"{{ lib, ... }}: {{ boot.initrd.systemd.enable = lib.mkForce {is_systemd}; }}"
    system = flake.extend(tmp_path / "flake", PUBLISHER, module)
    built, toplevel = (
        system.build(f"nixosConfigurations.extended.config.system.build.{each}")
        for each in ("netboot", "toplevel")
    )
    (line,) = re.findall(
        r"^kernel kernel (.*) \$\{cmdline\}$", (built / "netboot.ipxe").read_text(), re.MULTILINE
    )
    loaded = [
        "-kernel",
        built / "kernel",
        "-initrd",
        built / "initrd",
        "-append",
        " ".join([line, *PATIENT_ARGUMENTS]),
    ]
    hardware = Hardware(uefi=False, devices=["-no-reboot", *map(str, loaded)])
    with (
        build_netboot_lab(tmp_path) as lab,
        start_nixos(lab.add_plug(), hardware, tmp_path / "machine") as machine,
    ):
        check_up(machine, machine.wait_boot(), Form.NETBOOT)
        assert machine.run("readlink", "--canonicalize", "/run/booted-system").strip() == str(toplevel)
        assert machine.run("findmnt", "--noheadings", "--output=FSTYPE", "/").strip() == "tmpfs"
        machine.shell("test -d /run/log/journal && ! test -e /var/log/journal")
        assert machine.execute(["sh", "-c", "command -v nix"]).status != 0
        check_network(machine, lab, MAC)
        assert "login:" in machine.read_console()
        check_power_off(machine)
