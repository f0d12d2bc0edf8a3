"""The SD card's image, by its partitions and files, as far as a machine of another architecture makes it."""

from __future__ import annotations

import json
import re
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from support.needs import require_tool

from .disk import Root

if TYPE_CHECKING:
    from pathlib import Path

    from support.nixos_build import Flake

pytestmark = [pytest.mark.nix, pytest.mark.full, pytest.mark.timeout(3600)]

SECTOR = 512
FLAKE = """\
{
  inputs.every-channel.url = "@SOURCE@";
  outputs = { self, every-channel }: {
    nixosConfigurations.card = import (every-channel + "/tests/systems/sd_card.nix") {
      source = every-channel;
      inherit (every-channel.inputs) nixpkgs;
    };
  };
}
"""


def test_the_sd_card_has_what_firmware_and_boot_loader_look_for(flake: Flake, tmp_path: Path) -> None:
    (tmp_path / "flake.nix").write_text(FLAKE.replace("@SOURCE@", flake.reference))
    card = flake.of(tmp_path)
    toplevel = card.build("nixosConfigurations.card.config.system.build.toplevel")
    (image,) = (card.build("nixosConfigurations.card.config.system.build.sdImage") / "sd-image").iterdir()
    assert image.name.startswith("ec-runner-")

    firmware, root = read_partitions(image)
    # A Raspberry Pi's firmware takes the first FAT of an MBR; U-Boot takes what is marked as bootable.
    assert (firmware["type"], firmware.get("bootable", False)) == ("b", False)
    assert (root["type"], root["bootable"]) == ("83", True)

    fat = read_fat(image, firmware["start"])
    assert {"bootcode.bin", "start.elf", "fixup.dat", "start4.elf", "fixup4.dat"} <= set(fat)
    configuration = fat["config.txt"].decode()
    named = re.findall(r"^(?:kernel|armstub)=(.*)$", configuration, re.MULTILINE)
    assert {"u-boot-rpi3.bin", "u-boot-rpi4.bin"} <= set(named) <= set(fat)
    assert fat["u-boot-rpi4.bin"] == b"u-boot-pi4 u-boot.bin\n"

    system = Root(image, start=root["start"] * SECTOR)
    assert system.is_clean
    devices = card.evaluate(
        "nixosConfigurations.card.config.fileSystems", apply="builtins.mapAttrs (_: fs: fs.device)"
    )
    assert devices["/"] == f"/dev/disk/by-label/{system.label}"
    menu = system.read("/boot/extlinux/extlinux.conf")
    for line in ("LINUX", "INITRD"):
        (file,) = re.findall(rf"^\s*{line} \.\./(\S+)$", menu, re.MULTILINE)
        assert system.has(f"/boot/{file}"), file
    assert f"init={toplevel}/init" in menu
    store = flake.list_closure(toplevel)
    assert all(system.has(path) for path in store)
    # By this the first boot fills the store's database, and then it grows the file system to the card.
    assert set(store) <= set(system.read("/nix-path-registration").splitlines())


def read_partitions(image: Path) -> list[dict[str, Any]]:
    """The entries of an MBR; ``start`` in sectors."""
    sfdisk = require_tool("sfdisk", "Debian: fdisk")
    done = subprocess.run([sfdisk, "--json", image], capture_output=True, check=True)
    table = json.loads(done.stdout)["partitiontable"]
    assert table["label"] == "dos"
    return list(table["partitions"])


def read_fat(image: Path, start: int) -> dict[str, bytes]:
    """The files in the root of a FAT, which begins at a sector of the image."""
    where = ["-i", f"{image}@@{start * SECTOR}"]
    mdir, mtype = require_tool("mdir", "Debian: mtools"), require_tool("mtype", "Debian: mtools")
    listed = subprocess.run([mdir, "-b", *where, "::"], capture_output=True, text=True, check=True).stdout
    names = [line.removeprefix("::/") for line in listed.split()]
    return {
        name: subprocess.run([mtype, *where, f"::{name}"], capture_output=True, check=True).stdout
        for name in names
    }
