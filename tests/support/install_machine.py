"""A machine that is to be installed, and what its operator says of it: tests/e2e/test_install_*.py."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.boot_service import Service, boot_service, stage, write_settings
from support.install_lab import DISK_BYTES, ESP_MIB, MAC, Disk, Installer
from support.kept_boots import read_boots

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.disk_lab import Installable


def write_install_settings(system: Installable, directory: Path) -> Path:
    """The settings of a boot server that installs ``system``, which is staged there."""
    (directory / "state").mkdir()
    stage(directory / "state", system.files)
    settings = write_settings(directory)
    raw = json.loads(settings.read_text())
    settings.write_text(json.dumps({**raw, "fleet": {**raw["fleet"], **fleet()}}))
    return settings


@contextlib.contextmanager
def machine_to_install(system: Installable, nixos_enter: Path, directory: Path) -> Iterator[Installer]:
    """A machine without disks, with a boot server of its own; its control socket: ``directory``/control."""
    settings = write_install_settings(system, directory)
    (directory / "machine").mkdir()
    with boot_service(settings, arguments=("--control-socket", str(directory / "control"))) as service:
        yield Installer(service, directory / "machine", nixos_enter, system.public_key)


def fleet(**install: Any) -> dict[str, Any]:
    """A fleet of one node, with what its group says of installations."""
    group = {"boot": "install", "install": {"disk": {"id": "ata-ONE"}, **install}}
    return {"groups": {"g": group}, "nodes": {"nuc": {"group": "g", "match": {"mac": [MAC]}}}}


def tell(service: Service, **install: Any) -> None:
    """The operator says something else of the group."""
    raw = json.loads(service.settings_file.read_text())
    service.change(fleet={**raw["fleet"], **fleet(**install)})
    service.reload()


def install(
    machine: Installer, status: int = 0, bash_env: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """The machine boots, and the program ends with ``status``."""
    cmdline = machine.boot()
    assert cmdline is not None
    done = machine.install(cmdline, bash_env=bash_env)
    assert done.returncode == status, done.stdout[-3000:] + done.stderr[-3000:]
    return done


def order(*words: str) -> None:
    """What an operator says."""
    argv = [sys.executable, "-m", "ectools.cli.main", "fleet", *words]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def find_boot(service: Service) -> Any:
    """The machine's newest boot."""
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


def write_table(disk: Disk, *partitions: str, file_system: bool = True) -> None:
    """The table of a disk that is of here. ``partitions``: beside the first one, with its file system."""
    table = "\n".join(["label: gpt", f"size={ESP_MIB}MiB, type=U, name=EC-BOOT", *partitions])
    subprocess.run(["sfdisk", "--quiet", disk.file], input=f"{table}\n", text=True, check=True)
    if not file_system:
        return
    with disk.attached() as device:
        subprocess.run(["partx", "--update", device], check=False)
        # As `write_definitions` has it: not every kernel knows vfat.
        subprocess.run(["mkfs.ext4", "-q", "-L", "EC-BOOT", f"{device}p1"], check=True)


def write_at(disk: Disk, offset: int, data: bytes) -> None:
    """Bytes of somebody's."""
    with disk.file.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def make_foreign(disk: Disk, kind: str) -> None:
    """Somebody else's content, as ``kind`` names it."""
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
        write_table(disk, "name=ec-root", file_system=False)
        write_at(disk, (ESP_MIB + 1) << 20, os.urandom(4 << 20))
    elif kind == "another root":
        write_table(disk, "name=ec-root", file_system=False)
        with disk.attached() as device:
            subprocess.run(["partx", "--update", device], check=False)
            subprocess.run(["mkswap", "--quiet", f"{device}p2"], check=True)
    else:
        table = "label: gpt\nsize=100MiB, name=ec-root\n"
        subprocess.run(["sfdisk", "--quiet", disk.file], input=table, text=True, check=True)
