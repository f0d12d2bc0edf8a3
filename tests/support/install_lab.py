"""Machines that install themselves, as far as that goes here: nix/modules/ec-install.sh, on loop devices.

The boot server is the real one, and so are systemd-repart, Nix and the file systems; the system that is
installed is a small one, and this machine is all machines. A kernel without vfat has ext4 in its place.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import shutil
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.boot_service import Service
from support.disk_lab import Installable, build_installable, require_lab_tools, run_alone, run_tool

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

SCRIPT = Path(__file__).parents[2] / "nix/modules/ec-install.sh"
MODULE = SCRIPT.with_suffix(".nix")
MAC = "02:00:00:00:00:01"
DISK_BYTES = 1 << 30
ESP_MIB = 32

# A toplevel as far as an installation looks at it. Its boot loader is a file.
_SYSTEM = """
{ version, busybox, parts ? "0", bytes ? "0" }:
let
  # What its closure has besides.
  part = number: derivation {
    name = "part-${toString number}-of-${version}";
    system = builtins.currentSystem;
    builder = "/bin/sh";
    args = [ "-c" "PATH=/bin:/usr/bin; mkdir $out; head -c ${bytes} /dev/urandom > $out/content" ];
  };
in
derivation {
  name = "nixos-system-test-${version}";
  system = builtins.currentSystem;
  busybox = builtins.path { path = busybox; name = "busybox"; };
  parts = builtins.genList part (builtins.fromJSON parts);
  builder = "/bin/sh";
  args = [ "-c" ''
    PATH=/bin:/usr/bin
    mkdir -p $out/bin $out/sw/bin $out/etc/ssh
    cp $busybox $out/sw/bin/busybox
    ln -s busybox $out/sw/bin/sh
    ln -s busybox $out/sw/bin/cat
    echo HostKey /etc/ssh/ssh_host_ed25519_key > $out/etc/ssh/sshd_config
    echo HostKey /var/lib/every-channel/ssh/ssh_host_ed25519_key >> $out/etc/ssh/sshd_config
    program() { { echo "#!$out/sw/bin/sh"; cat; } > "$1"; chmod 0755 "$1"; }
    echo 'exec '$out'/sw/bin/sh "$@"' | program $out/sw/bin/bash
    echo "$out/sw/bin/busybox touch /etc/activated" | program $out/activate
    program $out/bin/switch-to-configuration <<END
    set -e
    test "\\$1 \\$NIXOS_INSTALL_BOOTLOADER" = "boot 1"
    test -e /etc/NIXOS
    $out/sw/bin/busybox mkdir -p /boot/loader
    echo ${version} > /boot/loader/entry
    END
    head -c 3000000 /dev/urandom > $out/content
    echo $parts > $out/parts
    echo x86_64-linux > $out/system
  '' ];
}
"""


def require_install_tools() -> None:
    """Programs, root, and loop devices whose partitions the kernel knows."""
    require_lab_tools(
        **{
            "systemd-repart": "systemd",
            "sfdisk": "fdisk",
            "mkfs.vfat": "dosfstools",
            "ssh-keygen": "openssh-client",
        }
    )


def build_system(directory: Path, version: str, *, parts: int = 0, part_bytes: int = 0) -> Installable:
    """A system of that version, in a release of its own. ``parts``: store paths of its closure, of random
    bytes.
    """
    directory.mkdir(parents=True, exist_ok=True)
    expression = directory / "system.nix"
    expression.write_text(_SYSTEM)
    more = {"parts": str(parts), "bytes": str(part_bytes)}
    return build_installable(expression, version, kernel=b"kernel", **more)


@dataclass
class Disk:
    """A file that is a disk. ``name``: in the machine's /dev/disk/by-id."""

    file: Path
    name: str
    size: int = DISK_BYTES

    def make(self) -> Disk:
        with self.file.open("wb") as stream:
            stream.truncate(self.size)
        return self

    @contextlib.contextmanager
    def attached(self) -> Iterator[str]:
        """Its device, with partitions."""
        device = run_tool(["losetup", "--find", "--show", "--partscan", str(self.file)]).strip()
        try:
            yield device
        finally:
            run_tool(["losetup", "--detach", device])

    @contextlib.contextmanager
    def mounted(self, directory: Path, *, label: str = "ec-root", write: bool = False) -> Iterator[Path]:
        """One of its partitions, by its label, as a power cut would leave it."""
        with self.attached() as device:
            run_tool(["partx", "--update", device], check=False)
            (part,) = re.findall(
                rf'^(\S+) :.*name="{label}"$', run_tool(["sfdisk", "--dump", device]), re.MULTILINE
            )
            directory.mkdir(exist_ok=True)
            run_tool(["mount", "-o", "rw" if write else "ro", part, str(directory)])
            try:
                yield directory
            finally:
                run_tool(["umount", str(directory)])


@dataclass
class Installer:
    """This machine, as one that was booted to install itself. ``disks`` are its own."""

    service: Service
    directory: Path
    nixos_enter: Path
    public_key: str
    disks: list[Disk] = field(default_factory=list)
    mac: str = MAC
    uefi: bool = True
    esp_mib: int = ESP_MIB

    def add_disk(self, name: str, size: int = DISK_BYTES) -> Disk:
        disk = Disk(self.directory / f"{name}.img", name, size).make()
        self.disks.append(disk)
        return disk

    def boot(self) -> Path | None:
        """The kernel's command line of its next boot; None: it boots no release."""
        script = self.service.get(f"/netboot.ipxe?mac={self.mac}&arch=x86_64")
        assert script.status == 200
        words = re.findall(r"(?<= )every_channel\.\S+", script.body.decode())
        if not words:
            return None
        # It has loaded its kernel: what asks next is another boot.
        url = next(word.partition("=")[2] for word in words if word.startswith("every_channel.report="))
        assert self.service.get(f"/{url.rpartition('/')[2]}&stage=loaded").status == 200
        file = self.directory / "cmdline"
        file.write_text(f"init=/nix/store/x/init {' '.join(words)} quiet\n")
        return file

    def install(
        self, cmdline: Path, *, bash_env: Path | None = None, again: bool = False, **env: str
    ) -> subprocess.CompletedProcess[str]:
        """One run of the program, which takes its mounts and processes with it.

        ``again``: systemd has started it once more, on the same boot.
        """
        if not again:
            shutil.rmtree(self.directory / "run", ignore_errors=True)
        for name in ("run", "by-id", "sys/class/net/eth0/device"):
            (self.directory / name).mkdir(parents=True, exist_ok=True)
        (self.directory / "sys/class/net/eth0/address").write_text(f"{self.mac}\n")
        if self.uefi:
            (self.directory / "sys/firmware/efi").mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            devices = [stack.enter_context(disk.attached()) for disk in self.disks]
            for disk, device in zip(self.disks, devices, strict=True):
                link = self.directory / "by-id" / disk.name
                link.unlink(missing_ok=True)
                link.symlink_to(device)
            return self._run(cmdline, devices, bash_env, env)

    def _run(
        self, cmdline: Path, devices: Sequence[str], bash_env: Path | None, more: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        # Not the first process of its namespace: that one does not die of a signal from within.
        beside = ["sh", "-c", '"$@"; exit $?', "sh"]
        return run_alone(
            [*beside, "bash", str(SCRIPT), str(cmdline)],
            programs=self.nixos_enter,
            public_key=self.public_key,
            env={
                "RUNTIME_DIRECTORY": str(self.directory / "run"),
                "INSTALL_DEFINITIONS": str(write_definitions(self.directory / "repart.d", self.esp_mib)),
                "INSTALL_SYS": str(self.directory / "sys"),
                "INSTALL_BY_ID": str(self.directory / "by-id"),
                "INSTALL_DISKS": " ".join(devices),
                **({} if bash_env is None else {"BASH_ENV": str(bash_env)}),
                **more,
            },
        )


def write_definitions(directory: Path, esp_mib: int = ESP_MIB) -> Path:
    """The module's definitions for systemd-repart, smaller, and with a file system that any kernel has."""
    directory.mkdir(exist_ok=True)
    found = re.findall(r"writeText \"(\S+\.conf)\" ''\n(.*?)''", MODULE.read_text(), re.DOTALL)
    assert [name for name, _ in found] == ["10-esp.conf", "20-root.conf"]
    for name, text in found:
        lines = [line.strip() for line in text.strip().splitlines()]
        made = "\n".join(lines).replace("${toString cfg.espMiB}", str(esp_mib))
        (directory / name).write_text(made.replace("Format=vfat", "Format=ext4") + "\n")
    return directory


def write_nixos_enter(nixpkgs: Path, directory: Path) -> Path:
    """A directory with NixOS's own program, whichever place it has in a nixpkgs."""
    places = ("pkgs/by-name/ni/nixos-enter/nixos-enter.sh", "nixos/modules/installer/tools/nixos-enter.sh")
    (source, *_) = [nixpkgs / place for place in places if (nixpkgs / place).exists()]
    directory.mkdir()
    program = directory / "nixos-enter"
    program.write_text(re.sub(r"@runtimeShell@", "/bin/bash", source.read_text()))
    program.chmod(0o755)
    return directory


def describe_installed(disk: Disk, directory: Path) -> dict[str, Any]:
    """What is on a disk that was installed."""
    with disk.mounted(directory) as root:
        system = os.readlink(
            root / "nix/var/nix/profiles" / os.readlink(root / "nix/var/nix/profiles/system")
        )
        found_keys = sorted(root.glob("*/ssh/ssh_host_*")) + sorted(root.glob("var/lib/*/ssh/ssh_host_*"))
        keys = {str(path.relative_to(root)): path.read_text() for path in found_keys}
        modes = {path.name: oct(path.stat().st_mode & 0o777) for path in found_keys}
        report = root / "var/lib/every-channel/report"
        found: dict[str, Any] = {
            "system": system,
            "complete": sorted(path.name for path in (root / system.lstrip("/")).iterdir()),
            "keys": keys,
            "key_modes": modes,
            "marker": (root / "var/lib/every-channel/installed").read_text(),
            "report": (report / "first-boot").read_text(),
            "credential": dict(
                line.split() for line in (report.parent / "disk/credential").read_text().splitlines()
            ),
            "came_with": (report.parent / "disk/systems").read_text(),
            "modes": [
                oct(path.stat().st_mode & 0o777)
                for path in (report, report / "first-boot", report.parent / "disk/credential")
            ],
        }
    with disk.mounted(directory, label="EC-BOOT") as esp:
        found["loader"] = (esp / "loader/entry").read_text()
        found["left"] = sorted(path.name for path in esp.glob("every-channel/*"))
    return found


def replace_disk(installer: Installer, disk: Disk, file: Path) -> Disk:
    """The machine, with another file as that disk."""
    other = dataclasses.replace(disk, file=file)
    installer.disks = [other if each is disk else each for each in installer.disks]
    return other


def is_killed(done: subprocess.CompletedProcess[str]) -> bool:
    """Whether the power was cut."""
    return done.returncode in (-signal.SIGKILL, 128 + signal.SIGKILL)
