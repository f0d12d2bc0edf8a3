"""Runners whose stage 1 fetches their Nix store, from the product's own boot server."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import pytest
from support.nixos_build import Flake
from support.nixos_machine import MAC

from .booted import boot_release
from .journal import Form
from .promises import check_memory_system, check_network, check_power_off, check_system, check_up
from .release import CHANGES_A_PACKAGE, KEEPS, make_cache_disk, pack_fetching

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.nix,
    pytest.mark.qemu,
    pytest.mark.netns,
    pytest.mark.full,
    pytest.mark.timeout(3600),
]


def test_a_machine_fetches_its_store(flake: Flake, tmp_path: Path) -> None:
    release = pack_fetching(flake, tmp_path)
    # Not enough for the image twice and the system beside it.
    with boot_release(release, tmp_path, memory_mib=1024) as booted:
        machine = booted.machine
        check_up(machine, machine.wait_boot(), Form.NETBOOT)
        check_system(machine, release.toplevel, release.closure)
        check_memory_system(machine)
        check_network(machine, booted.lab, MAC)
        said = machine.run("journalctl", "--boot", "--unit=every-channel-store.service", "--output=cat")
        assert "the Nix store: whole, and as it was released" in said
        assert "100 % of " in machine.read_console()
        check_power_off(machine)


def test_a_machine_keeps_its_store_and_fetches_what_has_changed(flake: Flake, tmp_path: Path) -> None:
    first = pack_fetching(flake, tmp_path / "first", KEEPS)
    second = pack_fetching(flake, tmp_path / "second", KEEPS, CHANGES_A_PACKAGE)
    disk = make_cache_disk(tmp_path / "disk")
    fetched = []
    for number, release in enumerate((first, second)):
        directory = tmp_path / str(number)
        directory.mkdir()
        # Not enough for the image beside the system.
        with boot_release(release, directory, memory_mib=1024, devices=disk) as booted:
            machine = booted.machine
            check_up(machine, machine.wait_boot(), Form.NETBOOT)
            check_system(machine, release.toplevel, release.closure)
            said = machine.run("journalctl", "--boot", "--unit=every-channel-store.service", "--output=cat")
            assert "the Nix store: whole, and as it was released" in said
            assert "into memory" not in said
            # Its name alone: the kernel leaves the directory out, whose mount was moved since.
            backing = machine.run("cat", "/sys/block/loop0/loop/backing_file").strip()
            disk_device = machine.run("readlink", "-f", "/dev/disk/by-id/virtio-store-cache").strip()
            assert PurePosixPath(backing).name == PurePosixPath(disk_device).name
            asked = [
                each for each in booted.host.events("request") if each["path"].endswith("store.squashfs")
            ]
            fetched.append(sum(each["bytes"] for each in asked))
            machine.power_off()
    image = (second.built / "store.squashfs").stat().st_size
    assert fetched[0] >= (first.built / "store.squashfs").stat().st_size
    assert fetched[1] <= image * 0.05, fetched
