"""Installations that are refused, and leave every disk as it was."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.disk_lab import Installable
from support.install_lab import (
    DISK_BYTES,
    ESP_MIB,
    MAC,
    Installer,
    build_system,
    require_install_tools,
    write_nixos_enter,
)
from support.install_machine import (
    digest,
    find_boot,
    install,
    machine_to_install,
    make_foreign,
    tell,
    write_table,
)

from ectools.netboot.boots.model import BootState

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.nix, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Installable:
    require_install_tools()
    return build_system(tmp_path_factory.mktemp("system"), "1")


@pytest.fixture(scope="module")
def nixos_enter(nixpkgs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_nixos_enter(nixpkgs, tmp_path_factory.mktemp("enter") / "bin")


@pytest.fixture
def machine(nixos_enter: Path, system: Installable, tmp_path: Path) -> Iterator[Installer]:
    with machine_to_install(system, nixos_enter, tmp_path) as machine:
        yield machine


@pytest.mark.parametrize(
    "kind",
    [
        "a file system",
        "a table of partitions",
        "a table for BIOS",
        "swap",
        "a root alone",
        "another root",
        "what nobody knows",
        "what begins late",
        "what ends it",
        "a root that nobody knows",
    ],
)
def test_what_holds_something_else_is_left_as_it_was(machine: Installer, kind: str) -> None:
    disk = machine.add_disk("ata-ONE")
    make_foreign(disk, kind)
    before = digest(disk)
    install(machine, status=2)
    assert digest(disk) == before
    boot = find_boot(machine.service)
    assert boot.state is BootState.FAILED
    assert boot.why.startswith("not installed (disk): ata-ONE holds something else")


@pytest.mark.parametrize(
    ("choice", "sizes", "why"),
    [
        ({"id": "ata-THREE"}, [1, 1], "no disk is ata-THREE: there are "),
        ({"serial": "S9"}, [1, 1], "no disk has the serial number S9: there are "),
        ({"minGiB": 1}, [1, 2], "2 disks, and not one, have 1 GiB: there are "),
        ({"minGiB": 3}, [1, 2], "no disk has 3 GiB: there are "),
        ({}, [1, 1], "2 disks, and not one, is the only one"),
    ],
)
def test_a_disk_that_is_not_the_only_one(
    machine: Installer, choice: dict[str, Any], sizes: list[int], why: str
) -> None:
    disks = [
        machine.add_disk(name, size << 30) for name, size in zip(("ata-ONE", "ata-TWO"), sizes, strict=True)
    ]
    before = [digest(disk) for disk in disks]
    tell(machine.service, disk=choice)
    install(machine, status=2)
    assert [digest(disk) for disk in disks] == before
    assert find_boot(machine.service).why.startswith(f"not installed (disk): {why}")


@pytest.mark.parametrize(("size", "esp_mib"), [(DISK_BYTES // 4, ESP_MIB), (DISK_BYTES, 800)])
def test_a_disk_that_is_too_small(size: int, esp_mib: int, machine: Installer) -> None:
    machine.esp_mib = esp_mib
    disk = machine.add_disk("ata-ONE", size)
    before = digest(disk)
    install(machine, status=2)
    assert digest(disk) == before
    why = find_boot(machine.service).why
    assert "is too small" in why
    assert f"beside {esp_mib} MiB" in why


def without_pauses(machine: Installer) -> Path:
    """For $BASH_ENV: what is tried again is so at once."""
    file = machine.directory / "no-pauses.sh"
    file.write_text("sleep() { :; }\n")
    return file


def test_a_root_that_is_too_small_for_what_is_copied(machine: Installer) -> None:
    """Of a table that is of here, with a partition of somebody else's."""
    disk = machine.add_disk("ata-ONE")
    write_table(disk, "size=8MiB, name=ec-root", "name=other")
    install(machine, status=2, bash_env=without_pauses(machine))
    assert "is full: " in find_boot(machine.service).why


def test_a_machine_that_starts_by_bios(machine: Installer) -> None:
    machine.uefi = False
    disk = machine.add_disk("ata-ONE")
    before = digest(disk)
    install(machine, status=2)
    assert digest(disk) == before
    assert "BIOS" in find_boot(machine.service).why


def test_what_another_key_has_signed_is_not_installed(machine: Installer) -> None:
    machine.public_key = "boot.test-1:" + "A" * 43 + "="
    machine.add_disk("ata-ONE")
    install(machine, status=2, bash_env=without_pauses(machine))
    assert "is not signed by a key that this system trusts" in find_boot(machine.service).why
    assert machine.boot() is not None


def test_without_its_own_token_nothing_is_touched(machine: Installer) -> None:
    disk = machine.add_disk("ata-ONE")
    before = digest(disk)
    cmdline = machine.boot()
    assert cmdline is not None
    text = cmdline.read_text()
    for bad in (
        text.replace("?boot=", "?boot=x"),
        text.replace("every_channel.report=", "every_channel.other="),
        text.replace("every_channel.install=first", "every_channel.install=$(touch${IFS}x)"),
        text.replace("every_channel.install=", "every_channel.other="),
    ):
        cmdline.write_text(bad)
        assert machine.install(cmdline).returncode == 2
    # Another machine, with all of it.
    cmdline.write_text(text)
    machine.mac = "02:00:00:00:00:99"
    assert machine.install(cmdline).returncode == 2
    assert digest(disk) == before
    machine.mac = MAC
    assert machine.install(cmdline).returncode == 0
    # Used once: the same arguments start nothing a second time.
    before = digest(disk)
    assert machine.install(cmdline).returncode == 2
    assert digest(disk) == before


@pytest.mark.parametrize("label", ["EC-BOOT", "ec-root"])
def test_two_disks_from_which_the_machine_would_start(machine: Installer, label: str) -> None:
    """It was installed on the other one, and the operator says this one now."""
    disks = [machine.add_disk("ata-ONE"), machine.add_disk("ata-TWO")]
    if label == "EC-BOOT":
        write_table(disks[1], "name=data")
    else:
        # A file system on the whole disk has the label that is looked for, too.
        subprocess.run(["mkfs.ext4", "-q", "-F", "-L", label, disks[1].file], check=True)
    before = [digest(disk) for disk in disks]
    install(machine, status=2)
    assert [digest(disk) for disk in disks] == before
    why = find_boot(machine.service).why
    assert why.startswith("not installed (disk): ata-TWO, /dev/loop")
    assert f"has a partition labelled {label} too" in why
    assert why.endswith("erase or unplug it")


def test_a_disk_that_has_the_store_which_the_machine_runs_from(machine: Installer) -> None:
    """Stage 1 keeps the store's image there: a loop device has the partition, and nothing is mounted."""
    disk = machine.add_disk("ata-ONE")
    subprocess.run(
        ["sfdisk", "--quiet", disk.file], input="label: gpt\nname=ec-store-cache\n", text=True, check=True
    )
    tell(machine.service, erase=True)
    before = digest(disk)
    hook, store = machine.directory / "stage-1.sh", machine.directory / "store"
    hook.write_text(
        'unset BASH_ENV; partx --update "$INSTALL_DISKS" 2> /dev/null || true\n'
        f'losetup --find --show --read-only "${{INSTALL_DISKS}}p1" > {store}\n'
    )
    try:
        install(machine, status=2, bash_env=hook)
    finally:
        subprocess.run(["losetup", "--detach", store.read_text().strip()], check=True)
    assert digest(disk) == before
    assert "ata-ONE is in use: this system's Nix store is on it" in find_boot(machine.service).why
