"""A machine that a boot server of the product boots from a release, in a network of its own."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from support.boot_host import BOOT_FILE, BootHost, serve_in
from support.netboot_lab import build_netboot_lab
from support.nixos_agent import PATIENT_ARGUMENTS
from support.nixos_machine import MAC, Hardware, NixosMachine, start_nixos

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from support.netboot_lab import Lab

    from .release import Release


@dataclass(frozen=True, kw_only=True)
class Booted:
    """The machine, which is starting; the network; and the boot host."""

    machine: NixosMachine
    lab: Lab
    host: BootHost


@contextmanager
def boot_release(
    release: Release,
    directory: Path,
    *,
    uefi: bool = True,
    memory_mib: int = Hardware.memory_mib,
    devices: Sequence[str] = (),
) -> Iterator[Booted]:
    """The router names the boot host to UEFI firmware; for BIOS the boot host speaks ProxyDHCP."""
    host = BootHost(directory / "host")
    host.directory.mkdir()
    signature = {"format": "openssh", "publicKeyFile": str(release.public_key)}
    node = {"match": {"mac": [MAC]}, "kernelArguments": [*PATIENT_ARGUMENTS]}
    host.write_settings(
        proxy=not uefi,
        release={"requireSums": True, "signature": signature},
        fleet={"nodes": {"runner": node}},
    )
    host.stage(release.archive)
    host.write_boot_files()
    hardware = Hardware(uefi=uefi, pxe=True, devices=["-no-reboot", *devices], memory_mib=memory_mib)
    with (
        build_netboot_lab(directory, boot_file=BOOT_FILE if uefi else None) as lab,
        serve_in(lab, host),
        start_nixos(lab.add_plug(), hardware, directory / "machine") as machine,
    ):
        yield Booted(machine=machine, lab=lab, host=host)
