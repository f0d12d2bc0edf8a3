"""A system on a disk image, installed as docs/RUNNER_IMAGES.md says, and what is on the disk afterwards.

The file systems are made in place in the image: that takes no loop device, no mount and no kernel with vfat.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

from support.needs import require_root, require_tool
from support.nixos_agent import PATIENT_ARGUMENTS
from support.nixos_machine import Hardware

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_MIB = 1 << 20
BOOT_AT, BOOT_MIB = 1, 512
ROOT_AT = BOOT_AT + BOOT_MIB
_INSTALL_SECONDS = 1200

# `parted --script DISK mklabel gpt mkpart boot fat32 … set 1 esp on mkpart root ext4 …`
_TABLE = f"""\
label: gpt
start={BOOT_AT}MiB, size={BOOT_MIB}MiB, type=C12A7328-F81F-11D2-BA4B-00A0C93EC93B, name=boot
start={ROOT_AT}MiB, type=0FC63DAF-8483-4772-8E79-3D69D8477DE4, name=root
"""

# $1: what becomes the root; $2: what becomes /boot; $3: the system. nixos-install takes no directory that
# others may not enter, and /mnt is where its manual page has it.
_INSTALL = """
set -e
mount --bind "$1" /mnt
mkdir -p /mnt/boot
mount --bind "$2" /mnt/boot
export SYSTEMD_RELAX_ESP_CHECKS=1 PATH="$PATH:$3/sw/bin"
exec nixos-install --root /mnt --system "$3" --no-root-passwd --no-channel-copy --option require-sigs false
"""


def install(directory: Path, toplevel: Path, env: Mapping[str, str], *, root_mib: int = 3072) -> Path:
    """The image, in ``directory``."""
    require_root("nixos-install changes the root directory")
    for name, package in _NEEDS.items():
        require_tool(name, f"Debian: {package}")
    root, boot, image = directory / "root", directory / "boot", directory / "disk.img"
    root.mkdir()
    boot.mkdir()
    argv = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _INSTALL, "sh"]
    _run([*argv, str(root), str(boot), str(toplevel)], env=env)
    # NixOS has made it immutable; then nobody could remove it.
    _run(["chattr", "-i", str(root / "var/empty")])
    with image.open("wb") as file:
        file.truncate((ROOT_AT + root_mib + 1) * _MIB)
    _run(["sfdisk", "--quiet", str(image)], stdin=_TABLE)
    fat = ["mkfs.vfat", "-n", "EC-BOOT", "--offset", str(BOOT_AT * 2048), str(image), str(BOOT_MIB << 10)]
    _run(fat)
    _run(["mcopy", "-s", "-Q", "-i", f"{image}@@{BOOT_AT}M", *map(str, boot.iterdir()), "::"])
    offset = f"offset={ROOT_AT * _MIB}"
    _run(["mkfs.ext4", "-q", "-L", "ec-root", "-E", offset, "-d", str(root), str(image), f"{root_mib}M"])
    shutil.rmtree(root)
    return image


_NEEDS = {
    "sfdisk": "fdisk",
    "mkfs.vfat": "dosfstools",
    "mkfs.ext4": "e2fsprogs",
    "mcopy": "mtools",
    "debugfs": "e2fsprogs",
    "unshare": "util-linux",
}


def build_disk_machine(image: Path, *, memory_mib: int = 2048) -> Hardware:
    """UEFI with this disk. systemd-boot adds to the kernel's command line what the firmware says."""
    words = " ".join(PATIENT_ARGUMENTS)
    disk = ["-drive", f"file={image},if=none,id=disk,format=raw"]
    disk += ["-device", "virtio-blk-pci,drive=disk,bootindex=1"]
    return Hardware(
        uefi=True,
        devices=disk,
        memory_mib=memory_mib,
        strings=[f"io.systemd.boot.kernel-cmdline-extra={words}"],
    )


class Root:
    """The root file system, an ext4, of an image whose machine is off. ``start``: its first byte there."""

    def __init__(self, image: Path, *, start: int = ROOT_AT * _MIB) -> None:
        self._image = f"{image}?offset={start}"

    @property
    def label(self) -> str:
        """The volume's name."""
        (label,) = re.findall(r"^Filesystem volume name:\s+(\S+)$", self._head, re.MULTILINE)
        return str(label)

    @property
    def is_clean(self) -> bool:
        """Whether it was unmounted, or made read-only, and nothing is left in its journal."""
        head = self._head
        return re.search(r"state:\s+clean$", head, re.MULTILINE) is not None and "needs_recovery" not in head

    def read(self, path: str) -> str:
        """A file's text; "" where it does not exist."""
        return self._ask(f"cat {path}")

    def has(self, path: str) -> bool:
        """Whether there is a file or a directory; of a link, itself."""
        return "Inode:" in self._ask(f"stat {path}")

    @property
    def _head(self) -> str:
        return self._ask("show_super_stats -h")

    def _ask(self, request: str) -> str:
        return _run(["debugfs", "-R", request, self._image])


def _run(argv: list[str], *, stdin: str = "", env: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(
        argv,
        input=stdin,
        env=None if env is None else dict(env),
        capture_output=True,
        text=True,
        errors="replace",
        timeout=_INSTALL_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{argv}: {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    return done.stdout
