"""The ISO image: as a CD and as a stick, by its menus, with either firmware."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from support.netboot_lab import build_netboot_lab
from support.nixos_machine import MAC, Hardware, start_nixos

from .journal import Form
from .promises import (
    check_memory_system,
    check_network,
    check_profile,
    check_sshd,
    check_system,
    check_up,
)

if TYPE_CHECKING:
    from pathlib import Path

    from support.nixos_build import Flake

pytestmark = [
    *(pytest.mark.nix, pytest.mark.qemu, pytest.mark.netns, pytest.mark.full),
    pytest.mark.timeout(3600),
]

NAME = "ec-runner-x86_64-iso"
DEVICES = {
    "CD": ("ide-cd,drive=medium,bootindex=1",),
    "stick": ("qemu-xhci", "usb-storage,drive=medium,bootindex=1"),
}


@pytest.fixture(scope="module")
def image(flake: Flake) -> Path:
    (image,) = (flake.build(f"nixosConfigurations.{NAME}.config.system.build.isoImage") / "iso").glob("*.iso")
    return image


@pytest.mark.parametrize("uefi", [False, True], ids=["SeaBIOS", "OVMF"])
@pytest.mark.parametrize("medium", DEVICES)
def test_the_image_boots_the_runner(
    medium: str, uefi: bool, image: Path, flake: Flake, tmp_path: Path
) -> None:
    toplevel = flake.build(f"nixosConfigurations.{NAME}.config.system.build.toplevel")
    devices = ["-drive", f"file={image},if=none,id=medium,format=raw,readonly=on", "-no-reboot"]
    devices += [word for device in DEVICES[medium] for word in ("-device", device)]
    with (
        build_netboot_lab(tmp_path) as lab,
        start_nixos(lab.add_plug(), Hardware(uefi=uefi, devices=devices), tmp_path / "machine") as machine,
    ):
        check_up(machine, machine.wait_boot(), Form.ISO)
        assert shows(machine.read_console(), "ec-runner, NixOS")
        assert not shows(machine.read_console(), "Installer")
        check_system(machine, toplevel, flake.list_closure(toplevel))
        check_profile(machine, flake.source, NAME)
        check_memory_system(machine)
        assert (
            machine.run("findmnt", "--noheadings", "--output=FSTYPE", "/nix/.ro-store").strip() == "squashfs"
        )
        label = machine.run("findmnt", "--noheadings", "--output=LABEL", "/iso").strip()
        assert label == flake.evaluate(f"nixosConfigurations.{NAME}.config.isoImage.volumeID")
        check_sshd(machine, lab, check_network(machine, lab, MAC))
        machine.power_off()


def shows(console: str, text: str) -> bool:
    """Whether a menu has a text. ISOLINUX and SeaBIOS each write to the serial port, letter by letter."""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console)
    return text in plain or "".join(letter * 2 for letter in text) in plain
