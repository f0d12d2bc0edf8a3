"""A runner whose stage 1 fetches its Nix store, from the product's own boot server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.boot_host import BOOT_FILE, BootHost, serve_in
from support.netboot_lab import build_netboot_lab
from support.nixos_agent import PATIENT_ARGUMENTS
from support.nixos_build import Flake
from support.nixos_machine import MAC, Hardware, start_nixos

from .journal import Form
from .promises import check_memory_system, check_network, check_power_off, check_system, check_up
from .release import RUNNER, pack_release

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [
    pytest.mark.nix,
    pytest.mark.qemu,
    pytest.mark.netns,
    pytest.mark.slow,
    pytest.mark.full,
    pytest.mark.timeout(3600),
]

# Names are looked up by systemd-resolved, which a nixpkgs of another distribution's packages may lack.
MODULE = """
{
  services.every-channel.runner.store = "http";
  boot.initrd.systemd.enable = true;
  boot.initrd.services.resolved.enable = false;
}
"""


def test_a_machine_fetches_its_store(flake: Flake, tmp_path: Path) -> None:
    extended = flake.extend(tmp_path / "flake", RUNNER, MODULE)
    build = "nixosConfigurations.extended.config.system.build"
    built, toplevel = extended.build(f"{build}.netboot"), extended.build(f"{build}.toplevel")
    (tmp_path / "release").mkdir()
    release = pack_release(flake, built, toplevel, tmp_path / "release")

    host = BootHost(tmp_path / "host")
    host.directory.mkdir()
    signature = {"format": "openssh", "publicKeyFile": str(release.public_key)}
    node = {"match": {"mac": [MAC]}, "kernelArguments": [*PATIENT_ARGUMENTS]}
    host.write_settings(
        proxy=False,
        release={"requireSums": True, "signature": signature},
        fleet={"nodes": {"runner": node}},
    )
    host.stage(release.archive)
    host.write_boot_files()
    hardware = Hardware(uefi=True, pxe=True, devices=["-no-reboot"], memory_mib=1024)
    with (
        build_netboot_lab(tmp_path, boot_file=BOOT_FILE) as lab,
        serve_in(lab, host),
        start_nixos(lab.add_plug(), hardware, tmp_path / "machine") as machine,
    ):
        check_up(machine, machine.wait_boot(), Form.NETBOOT)
        check_system(machine, release.toplevel, release.closure)
        check_memory_system(machine)
        check_network(machine, lab, MAC)
        said = machine.run("journalctl", "--boot", "--unit=every-channel-store.service", "--output=cat")
        assert "the Nix store: whole, and as it was released" in said
        assert "100 % of " in machine.read_console()
        check_power_off(machine)
