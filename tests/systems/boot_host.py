"""A NixOS system of its own that is the boot host: the module's units, on a systemd in a container."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from typing import TYPE_CHECKING

from support.boot_binaries import find_ipxe
from support.machine_nspawn import run_container
from support.nixos_agent import PATIENT_ARGUMENTS
from support.nixos_build import Flake
from support.nixos_machine import MAC

from ectools.demo.netboot.lab import BOOT_IP, LAN, NETWORK

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.machine_nspawn import NspawnMachine
    from support.netboot_lab import Lab

    from .release import Release

STAGE, SERVE = "every-channel-netboot-stage.service", "every-channel-netboot.service"
_PROGRAMS = "/run/current-system/sw/bin"

_FLAKE = """\
{
  inputs.every-channel.url = "@SOURCE@";
  outputs = { self, every-channel }: {
    nixosConfigurations.boot-host = every-channel.inputs.nixpkgs.lib.nixosSystem {
      modules = [ every-channel.nixosModules.ec-netboot ./boot-host.nix ];
    };
  };
}
"""


def build_boot_host(flake: Flake, release: Release, directory: Path) -> Path:
    """The system that serves ``release``, by a flake of its own, as a user has one."""
    directory.mkdir()
    values = {"ADDRESS": BOOT_IP, "INTERFACE": LAN, "NETWORK": NETWORK, "MAC": MAC}
    values["ARCHIVE"] = release.archive.name
    # A Nix string in which JSON stands.
    values["ARGUMENTS"] = json.dumps(PATIENT_ARGUMENTS).replace('"', '\\"')
    module = (flake.source / "tests/systems/boot_host.nix").read_text()
    for name, value in values.items():
        module = module.replace(f"@{name}@", value)
    (directory / "boot-host.nix").write_text(module)
    (directory / "flake.nix").write_text(_FLAKE.replace("@SOURCE@", flake.reference))
    own = flake.of(directory)
    return own.build("nixosConfigurations.boot-host.config.system.build.toplevel")


@contextlib.contextmanager
def run_boot_host(toplevel: Path, release: Release, lab: Lab, directory: Path) -> Iterator[NspawnMachine]:
    """The boot host in the lab, its first jobs done, for the length of the block."""
    tree, given = directory / "boot-host", directory / "given"
    # What systemd-nspawn wants of a tree before it starts anything in it.
    (tree / "usr").mkdir(parents=True)
    (tree / "etc").mkdir()
    (tree / "etc/os-release").touch()
    given.mkdir()
    for file in release.published:
        shutil.copyfile(file, given / file.name)
    shutil.copyfile(release.public_key, given / "release-key.pub")
    shutil.copyfile(find_ipxe("forky") / "usr/lib/ipxe/ipxe-amd64.efi", given / "ipxe-amd64.efi")
    arguments = [
        *("--directory", str(tree), "--kill-signal=SIGRTMIN+3"),
        *("--bind-ro=/nix/store", f"--bind-ro={given}:/srv"),
        str(toplevel / "init"),
    ]
    console = directory / "boot-host.console"
    try:
        with run_container(arguments, console, namespace=lab.boot, path=_PROGRAMS) as host:
            for unit in (STAGE, SERVE):
                wait_good(host, unit)
            yield host
    finally:
        # NixOS makes it immutable; then nobody could remove the tree.
        subprocess.run(["chattr", "-i", tree / "var/empty"], capture_output=True, check=False)


def wait_good(host: NspawnMachine, unit: str) -> None:
    """Until a unit runs, or has run to its end, well."""

    def is_good() -> bool:
        state = host.show(unit, "ActiveState", "Result", "Type")
        assert state["Result"] == "success", host.report(unit)
        if state["Type"] == "notify":
            return state["ActiveState"] == "active"
        return host.show(unit, "ExecMainExitTimestamp")["ExecMainExitTimestamp"] != ""

    host.wait(is_good, f"{unit} has done its work", unit=unit)
