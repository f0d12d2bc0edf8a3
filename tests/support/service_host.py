"""A Debian machine over several boots of it, on which services are installed without NixOS."""

from __future__ import annotations

import contextlib
import io
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from support.boot_binaries import find_ipxe
from support.machine import Machine
from support.machine_image import LAN_ADDRESS, Image, find_image
from support.machine_nspawn import boot_nspawn, keep_writes
from support.machine_store import Store, build_product_store
from support.unit_cases import fetch

UNIT = "every-channel-netboot"
STATE = "/var/lib/every-channel/netboot"
SYSTEM = "/etc/systemd/system"
HOST = f"""\
[services.every-channel.netboot]
enable = true
listenIP = "{LAN_ADDRESS}"
hostname = "{LAN_ADDRESS}"
interface = "lan0"
chainTokenFile = "/etc/chain-token"
proxyDhcp.enable = true
proxyDhcp.subnet = "192.168.77.0/24"
release.tarball = "/nix/files/release.tar.gz"
release.refresh = "daily"
fleet.groups.runners.healthyWithin = 300
ipxe.strategy = "local"
ipxe.localFile = "/nix/files/ipxe-amd64.efi"

[services.every-channel.ipxe-qemu]
enable = true
package = "pkgs.qemu_kvm"
vcpus = 1
memoryMiB = 128
disk.size = "64M"
boot.http.root = "/srv/netboot"
boot.http.port = 8081
boot.userNet.model = "virtio-net-pci"
shutdown.powerdownSeconds = 1
"""
TOKEN = "a-token-of-some-length"
PROGRAMS = {"ectools": "ectools.cli.main", "every-channel-ipxe-qemu": "ectools.cli.vm"}
PROGRAM = """#!/usr/bin/python3
import sys
from {module} import main
sys.exit(main())
"""


@dataclass
class Host:
    """One machine over several boots of it."""

    directory: Path
    image: Image
    store: Store
    tree: Path
    stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    boots: int = 0
    machine: Machine = field(init=False)

    def boot(self) -> Machine:
        """End the machine, where it runs, and start it with the files that it has."""
        self.stack.close()
        self.boots += 1
        own = self.directory / str(self.boots)
        own.mkdir()
        self.machine = self.stack.enter_context(boot_nspawn(own, self.image, self.store, tree=self.tree))
        return self.machine

    def ectools(self, *arguments: str, status: int = 0) -> str:
        done = self.machine.execute(["ectools", *arguments])
        assert done.status == status, (arguments, done.stdout, done.stderr)
        return done.stdout + done.stderr

    def wait_serving(self) -> None:
        self.machine.wait_active(f"{UNIT}.service")
        self.machine.wait(
            lambda: fetch(self.machine, f"http://{LAN_ADDRESS}:8080/initrd") == 200, "a release", unit=UNIT
        )
        self.machine.wait_active(f"{UNIT}-dnsmasq.service")


def build_release(path: Path, kernel: bytes = b"k") -> Path:
    files = {
        "kernel": kernel,
        "initrd": b"i",
        "netboot.ipxe": b"#!ipxe\nkernel kernel\ninitrd initrd\nboot\n",
    }
    with tarfile.open(path, "w:gz") as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


@contextlib.contextmanager
def boot_service_host(directory: Path, *, has_product: bool = True) -> Iterator[Host]:
    """A machine with a host description at /etc/host.toml, and what it names.

    ``has_product``: with this checkout's programs in /usr/bin.
    """
    image = find_image()
    ipxe = find_ipxe("forky") / "usr/lib/ipxe/ipxe-amd64.efi"
    release = build_release(directory / "release.tar.gz")
    newer = build_release(directory / "newer.tar.gz", b"newer")
    files = {"release.tar.gz": release, "newer.tar.gz": newer, "ipxe-amd64.efi": ipxe}
    store = build_product_store(directory, files=files)
    with keep_writes(directory, image) as tree:
        host = Host(directory, image, store, tree)
        with contextlib.ExitStack() as stack:
            host.stack = stack
            machine = host.boot()
            if has_product:
                for name, module in PROGRAMS.items():
                    machine.write(f"/usr/bin/{name}", PROGRAM.format(module=module), mode="0755")
            machine.write("/etc/chain-token", f"{TOKEN}\n", mode="0600")
            machine.write("/srv/netboot/netboot.ipxe", "#!ipxe\nshell\n")
            machine.write("/etc/host.toml", HOST)
            yield host


def list_ours(machine: Machine) -> list[str]:
    """The files below /etc that have our name on their way."""
    return machine.shell("find /etc -path '*every-channel*' ! -type d | sort").splitlines()
