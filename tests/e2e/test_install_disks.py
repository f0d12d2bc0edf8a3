"""Installations from a real boot server onto loop devices: what is written, and what is not."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.boot_service import Service, boot_service, stage, write_settings
from support.disk_lab import Installable
from support.install_lab import (
    DISK_BYTES,
    ESP_MIB,
    MAC,
    Disk,
    Installer,
    build_system,
    describe_installed,
    require_install_tools,
    write_nixos_enter,
)
from support.kept_boots import read_boots

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


def fleet(**install: Any) -> dict[str, Any]:
    group = {"boot": "install", "install": {"disk": {"id": "ata-ONE"}, **install}}
    return {"groups": {"g": group}, "nodes": {"nuc": {"group": "g", "match": {"mac": [MAC]}}}}


@pytest.fixture
def settings_file(system: Installable, tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir()
    stage(tmp_path / "state", system.files)
    settings = write_settings(tmp_path)
    raw = json.loads(settings.read_text())
    settings.write_text(json.dumps({**raw, "fleet": {**raw["fleet"], **fleet()}}))
    return settings


@pytest.fixture
def service(settings_file: Path) -> Iterator[Service]:
    arguments = ("--control-socket", str(settings_file.parent / "control"))
    with boot_service(settings_file, arguments=arguments) as service:
        yield service


@pytest.fixture
def machine(service: Service, nixos_enter: Path, system: Installable, tmp_path: Path) -> Installer:
    directory = tmp_path / "machine"
    directory.mkdir()
    return Installer(service, directory, nixos_enter, system.public_key)


def tell(service: Service, **install: Any) -> None:
    """The operator says something else of the group."""
    raw = json.loads(service.settings_file.read_text())
    service.change(fleet={**raw["fleet"], **fleet(**install)})
    service.reload()


def install(machine: Installer, status: int = 0) -> subprocess.CompletedProcess[str]:
    cmdline = machine.boot()
    assert cmdline is not None
    done = machine.install(cmdline)
    assert done.returncode == status, done.stdout[-3000:] + done.stderr[-3000:]
    return done


def order(*words: str) -> None:
    """What an operator says."""
    argv = [sys.executable, "-m", "ectools.cli.main", "fleet", *words]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def find_boot(service: Service) -> Any:
    return read_boots(service.state_dir)["nuc"]


def digest(disk: Disk) -> str:
    """Of what is on it, and where: what was never written is not read."""
    found, end = hashlib.sha256(), disk.file.stat().st_size
    with disk.file.open("rb") as stream:
        at = 0
        while at < end:
            try:
                at = os.lseek(stream.fileno(), at, os.SEEK_DATA)
            except OSError:
                break
            stream.seek(at)
            block = stream.read(4096)
            if block.strip(b"\0"):
                found.update(at.to_bytes(8, "big") + block)
            at += len(block)
    return found.hexdigest()


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


def write_at(disk: Disk, offset: int, data: bytes) -> None:
    with disk.file.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def make_foreign(disk: Disk, kind: str) -> None:
    if kind == "a file system":
        subprocess.run(["mkfs.ext4", "-q", "-F", disk.file], check=True)
    elif kind == "a table of partitions":
        table = "label: gpt\nname=data\n"
        subprocess.run(["sfdisk", "--quiet", disk.file], input=table, text=True, check=True)
    elif kind == "a table for BIOS":
        subprocess.run(["sfdisk", "--quiet", disk.file], input="label: dos\n,\n", text=True, check=True)
    elif kind == "swap":
        subprocess.run(["mkswap", "--quiet", disk.file], check=True)
    elif kind == "what nobody knows":
        # As an encrypted disk without a header has it, or a database.
        write_at(disk, 0, os.urandom(4 << 20))
    elif kind == "what begins late":
        write_at(disk, (1 << 20) - 1, b"x")
    elif kind == "what ends it":
        write_at(disk, DISK_BYTES - 512, b"x")
    elif kind == "a root that nobody knows":
        table = "label: gpt\nsize=100MiB, name=EC-BOOT\nname=ec-root\n"
        subprocess.run(["sfdisk", "--quiet", disk.file], input=table, text=True, check=True)
        write_at(disk, 101 << 20, os.urandom(4 << 20))
    elif kind == "another root":
        table = "label: gpt\nsize=100MiB, name=EC-BOOT\nname=ec-root\n"
        subprocess.run(["sfdisk", "--quiet", disk.file], input=table, text=True, check=True)
        with disk.attached() as device:
            subprocess.run(["partx", "--update", device], check=False)
            subprocess.run(["mkswap", "--quiet", f"{device}p2"], check=True)
    else:
        table = "label: gpt\nsize=100MiB, name=ec-root\n"
        subprocess.run(["sfdisk", "--quiet", disk.file], input=table, text=True, check=True)


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


@pytest.mark.parametrize("left", ["a root without anything", "a root half made", "a root that nobody knows"])
def test_a_root_that_was_being_made_is_nobody_elses(
    machine: Installer, left: str, system: Installable, tmp_path: Path
) -> None:
    """As a power cut leaves it, on a machine of whose installation nobody remembers anything."""
    disk = machine.add_disk("ata-ONE")
    table = f"label: gpt\nsize={ESP_MIB}MiB, type=U, name=EC-BOOT\nname=ec-root\n"
    subprocess.run(["sfdisk", "--quiet", disk.file], input=table, text=True, check=True)
    with disk.attached() as device:
        subprocess.run(["partx", "--update", device], check=False)
        # As `write_definitions` has it: not every kernel knows vfat.
        subprocess.run(["mkfs.ext4", "-q", "-L", "EC-BOOT", f"{device}p1"], check=True)
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
    disk = machine.add_disk("ata-ONE")
    make_foreign(disk, "a table of partitions")
    tell(machine.service, erase=True)
    install(machine)
    assert describe_installed(disk, tmp_path / "mnt")["system"] == system.store_path


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


def test_the_only_one_of_a_size(machine: Installer, tmp_path: Path) -> None:
    small, large = machine.add_disk("ata-ONE"), machine.add_disk("ata-TWO", 2 * DISK_BYTES)
    before = digest(small)
    tell(machine.service, disk={"minGiB": 2})
    install(machine)
    assert digest(small) == before
    assert describe_installed(large, tmp_path / "mnt")["loader"] == "1\n"


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


def test_a_root_that_is_too_small_for_what_is_copied(machine: Installer) -> None:
    """Of a table that is of here, with a partition of somebody else's."""
    disk = machine.add_disk("ata-ONE")
    table = f"label: gpt\nsize={ESP_MIB}MiB, type=U, name=EC-BOOT\nsize=8MiB, name=ec-root\nname=other\n"
    subprocess.run(["sfdisk", "--quiet", disk.file], input=table, text=True, check=True)
    with disk.attached() as device:
        subprocess.run(["partx", "--update", device], check=False)
        subprocess.run(["mkfs.ext4", "-q", "-L", "EC-BOOT", f"{device}p1"], check=True)
    install(machine, status=2)
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
    cmdline = machine.boot()
    assert cmdline is not None
    # Without the pauses between its tries.
    fast = machine.directory / "no-pauses.sh"
    fast.write_text("sleep() { :; }\n")
    assert machine.install(cmdline, bash_env=fast).returncode == 2
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


def test_a_boot_server_that_has_forgotten_installs_nothing_over_it(
    settings_file: Path, system: Installable, nixos_enter: Path, tmp_path: Path
) -> None:
    """A boot host that was made anew: the fleet says `install`, and the disk says that it was."""
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
