"""Installations from a real boot server onto loop devices: what is written, and what is not."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.boot_service import boot_service
from support.disk_lab import Installable
from support.install_lab import (
    DISK_BYTES,
    ESP_MIB,
    Disk,
    Installer,
    build_system,
    describe_installed,
    is_killed,
    require_install_tools,
    write_nixos_enter,
)
from support.install_machine import (
    digest,
    find_boot,
    install,
    machine_to_install,
    order,
    tell,
    write_at,
    write_install_settings,
    write_table,
)

from ectools.netboot.boots.model import BootState, NodeStage

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


def test_a_machine_with_an_empty_disk(machine: Installer, system: Installable, tmp_path: Path) -> None:
    disk, other = machine.add_disk("ata-ONE"), machine.add_disk("ata-TWO")
    before = digest(other)
    done = install(machine)
    found = describe_installed(disk, tmp_path / "mnt")
    assert found["system"] == system.store_path
    assert "content" in found["complete"]
    assert found["loader"] == "1\n"
    assert found["marker"] == f"node nuc\norder first\nsystem {system.store_path}\n"
    assert found["modes"] == ["0o700", "0o600", "0o600"]
    assert sorted(found["keys"]) == [
        f"{place}/ssh_host_ed25519_key{suffix}"
        for place in ("etc/ssh", "var/lib/every-channel/ssh")
        for suffix in ("", ".pub")
    ]
    assert found["key_modes"] == {"ssh_host_ed25519_key": "0o600", "ssh_host_ed25519_key.pub": "0o644"}
    assert digest(other) == before
    # What boots next is the disk, and nothing is printed of the token.
    assert machine.boot() is None
    boot = find_boot(machine.service)
    assert (boot.state, boot.last_stage) == (BootState.BOOTING, NodeStage.INSTALLED)
    token = found["report"].partition("boot=")[2].split()[0]
    # By which it is known when its disk boots.
    base = f"http://{machine.service.address}:{machine.service.port}"
    assert found["credential"] == {"node": "nuc", "url": base, "token": token}
    assert found["came_with"] == f"{system.store_path} {boot.release}\n"
    assert len(token) > 16
    assert token not in done.stdout + done.stderr
    assert token not in json.dumps(machine.service.log())
    # The system that was installed reports on this boot, by what was left for it.
    body = f"stage=up&healthy=yes&release={boot.release}&system={system.store_path}"
    url = found["report"].partition("every_channel.report=")[2].split()[0]
    subprocess.run(["curl", "--fail", "--silent", "--data-raw", body, url], check=True)
    assert find_boot(machine.service).state is BootState.HEALTHY


@pytest.mark.parametrize("left", ["a root without anything", "a root half made", "a root that nobody knows"])
def test_a_root_that_was_being_made_is_nobody_elses(
    machine: Installer, left: str, system: Installable, tmp_path: Path
) -> None:
    """As a power cut leaves it, on a machine of whose installation nobody remembers anything."""
    disk = machine.add_disk("ata-ONE")
    write_table(disk, "name=ec-root")
    if left != "a root without anything":
        write_at(disk, (ESP_MIB + 1) << 20, os.urandom(4 << 20))
    if left == "a root half made":
        with disk.mounted(tmp_path / "esp", label="EC-BOOT", write=True) as esp:
            (esp / "every-channel").mkdir()
            (esp / "every-channel/begun").touch()
    if left == "a root that nobody knows":
        install(machine, status=2)
        return
    install(machine)
    assert describe_installed(disk, tmp_path / "mnt")["system"] == system.store_path
    with disk.mounted(tmp_path / "esp", label="EC-BOOT") as esp:
        assert not (esp / "every-channel/begun").exists()


def test_what_may_be_erased_is(machine: Installer, system: Installable, tmp_path: Path) -> None:
    """A disk of here too, once its EFI system partition is called something else."""
    disk = machine.add_disk("ata-ONE")
    write_table(disk, "name=ec-root")
    with disk.mounted(tmp_path / "esp", label="EC-BOOT") as esp:
        (device,) = re.findall(rf"^(\S+)p1 {esp} ", Path("/proc/mounts").read_text(), re.MULTILINE)
        label = ["sfdisk", "--no-reread", "--force", "--part-label", device, "1", "old"]
        subprocess.run(label, check=True)
    tell(machine.service, erase=True)
    machine.esp_mib = 2 * ESP_MIB
    install(machine)
    assert describe_installed(disk, tmp_path / "mnt")["system"] == system.store_path
    with disk.attached() as device:
        table = subprocess.run(
            ["sfdisk", "--dump", device], capture_output=True, text=True, check=True
        ).stdout
    assert f"size= {2 * ESP_MIB << 11:>11}, " in table


def test_the_only_one_of_a_size(machine: Installer, tmp_path: Path) -> None:
    small, large = machine.add_disk("ata-ONE"), machine.add_disk("ata-TWO", 2 * DISK_BYTES)
    before = digest(small)
    tell(machine.service, disk={"minGiB": 2})
    install(machine)
    assert digest(small) == before
    assert describe_installed(large, tmp_path / "mnt")["loader"] == "1\n"


def test_an_order_to_install_again_keeps_the_host_keys_or_makes_them(
    machine: Installer, tmp_path: Path
) -> None:
    disk = machine.add_disk("ata-ONE")
    install(machine)
    first = describe_installed(disk, tmp_path / "mnt")
    with disk.mounted(tmp_path / "mnt", write=True) as root:
        (root / "srv").mkdir()
        (root / "srv/left").touch()
    with disk.mounted(tmp_path / "esp", label="EC-BOOT", write=True) as esp:
        (esp / "loader/entries").mkdir(parents=True)
        for name in ("nixos-generation-1.conf", "nixos-generation-2+1-2.conf", "other.conf"):
            (esp / "loader/entries" / name).touch()
    for keys in ("keep", "make"):
        tell(machine.service, hostKeys=keys)
        order("boot-once", "nuc", "install", "--socket", str(tmp_path / "control"))
        install(machine)
        again = describe_installed(disk, tmp_path / "mnt")
        assert (again["keys"] == first["keys"]) is (keys == "keep")
        assert (again["keys"].keys(), again["key_modes"]) == (first["keys"].keys(), first["key_modes"])
        assert again["left"] == []
        assert again["marker"] != first["marker"]
        with disk.mounted(tmp_path / "mnt") as root:
            assert not (root / "srv").exists()
        # systemd-boot-builder.py takes an entry that is there for its own, by its number.
        with disk.mounted(tmp_path / "esp", label="EC-BOOT") as esp:
            assert [each.name for each in (esp / "loader/entries").iterdir()] == ["other.conf"]
        assert machine.boot() is None


def fill_esp(disk: Disk, directory: Path) -> None:
    """Kernels of many generations."""
    with disk.mounted(directory, label="EC-BOOT", write=True) as esp:
        (esp / "EFI/nixos").mkdir(parents=True)
        subprocess.run(["dd", "if=/dev/zero", f"of={esp}/EFI/nixos/old.efi", "bs=64k"], check=False)
        with pytest.raises(OSError, match="No space left"):
            (esp / "EFI/nixos/more.efi").write_bytes(b"x" * 65536)


def test_an_esp_that_is_full(machine: Installer, tmp_path: Path) -> None:
    """What it has of the system before makes room; a power cut at that leaves what is installed anew."""
    disk = machine.add_disk("ata-ONE")
    install(machine)
    first = describe_installed(disk, tmp_path / "mnt")
    fill_esp(disk, tmp_path / "esp")
    order("boot-once", "nuc", "install", "--socket", str(tmp_path / "control"))
    cut = tmp_path / "cut.sh"
    cut.write_text('rm() { command rm "$@"; if [[ $* == */EFI/nixos ]]; then kill -KILL $$; fi; }\n')
    cmdline = machine.boot()
    assert cmdline is not None
    assert is_killed(machine.install(cmdline, bash_env=cut))
    # Whoever takes the order back finds the disk without what it booted, and not for installed.
    fill_esp(disk, tmp_path / "esp")
    order("release", "nuc", "--socket", str(tmp_path / "control"))
    done = install(machine)
    assert "already" not in done.stdout
    again = describe_installed(disk, tmp_path / "mnt")
    assert again["keys"] == first["keys"]
    assert again["left"] == []
    with disk.mounted(tmp_path / "esp", label="EC-BOOT") as esp:
        assert not (esp / "EFI/nixos").exists()


def test_a_failure_that_nobody_has_thought_of(machine: Installer) -> None:
    """It is tried again, then given up, and the boot server knows what it was."""
    machine.add_disk("ata-ONE")
    cmdline = machine.boot()
    assert cmdline is not None
    # With a status that the program ends with by itself, too.
    program, broken = machine.directory / "mkdir", machine.directory / "broken.sh"
    program.write_text('#!/bin/sh\ncase $1 in -m) exit 2 ;; esac\nexec /bin/mkdir "$@"\n')
    program.chmod(0o755)
    broken.write_text(f"PATH={machine.directory}:$PATH; unset BASH_ENV\n")
    for attempt, (status, state) in enumerate(
        [(1, BootState.BOOTING), (1, BootState.BOOTING), (2, BootState.FAILED)]
    ):
        done = machine.install(cmdline, bash_env=broken, again=attempt > 0)
        assert done.returncode == status, done.stdout + done.stderr
        assert find_boot(machine.service).state is state
    why = 'not installed (partition): `mkdir -m 0755 "$root/boot"` has failed (2)'
    assert find_boot(machine.service).why.startswith(why)


def test_a_boot_server_that_has_forgotten_installs_nothing_over_it(
    system: Installable, nixos_enter: Path, tmp_path: Path
) -> None:
    """A boot host that was made anew: the fleet says `install`, and the disk says that it was."""
    settings_file = write_install_settings(system, tmp_path)
    with boot_service(settings_file) as service:
        machine = Installer(service, tmp_path, nixos_enter, system.public_key)
        disk = machine.add_disk("ata-ONE")
        install(machine)
    with disk.mounted(tmp_path / "mnt", write=True) as root:
        (root / "kept").touch()
        # What is there is read with care: somebody may have edited it.
        marker = root / "var/lib/every-channel/installed"
        marker.write_text(f"\n{marker.read_text()}\nx[$(touch /pwned)] y\n")
    for file in (tmp_path / "state/fleet").iterdir():
        file.unlink()
    with boot_service(settings_file) as machine.service:
        done = install(machine)
        assert f"has {system.store_path} already" in done.stdout
        with disk.mounted(tmp_path / "mnt") as root:
            assert (root / "kept").exists()
        assert machine.boot() is None
