"""A runner on a disk: installed, booted by systemd-boot, used, rebooted, and left clean."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.netboot_lab import build_netboot_lab
from support.nixos_build import Flake
from support.nixos_machine import MAC, start_nixos

from .disk import Root, build_disk_machine, install
from .journal import Form
from .promises import check_network, check_power_off, check_profile, check_sshd, check_up

if TYPE_CHECKING:
    from pathlib import Path

    from support.machine import Machine

pytestmark = [
    pytest.mark.nix,
    pytest.mark.qemu,
    pytest.mark.netns,
    pytest.mark.timeout(3600),
]

NAME = "ec-runner-x86_64"
REAL, LAYER = "/run/every-channel/root", "/run/every-channel/overlay"

# The table of docs/RUNNER_IMAGES.md.
KEPT = ("/nix/var", "/boot", "/var/lib/every-channel", "/var/lib/nixos", "/var/lib/systemd")
LOST = ("/etc", "/home", "/root", "/var/lib", "/var/tmp")


@pytest.mark.parametrize("stage1", [pytest.param("scripted", marks=pytest.mark.full), "systemd"])
def test_a_runner_is_after_a_reboot_what_was_built(stage1: str, flake: Flake, tmp_path: Path) -> None:
    module = (
        f"{{ lib, ... }}: {{ boot.initrd.systemd.enable = lib.mkForce {str(stage1 == 'systemd').lower()}; }}"
    )
    system = flake.extend(tmp_path / "flake", NAME, module)
    toplevel = system.build("nixosConfigurations.extended.config.system.build.toplevel")
    image = install(tmp_path, toplevel, flake.env)
    with build_netboot_lab(tmp_path) as lab:
        with start_nixos(lab.add_plug(), build_disk_machine(image), tmp_path / "machine") as machine:
            check_up(machine, machine.wait_boot(), Form.DISK)
            assert machine.run("readlink", "--canonicalize", "/run/booted-system").strip() == str(toplevel)
            check_profile(machine, flake.source, NAME)
            check_overlay(machine)
            check_sshd(machine, lab, check_network(machine, lab, MAC))
            keys = machine.run("ls", "/var/lib/every-channel/ssh").split()
            assert keys == ["ssh_host_ed25519_key", "ssh_host_ed25519_key.pub"]
            identity = machine.run("cat", "/etc/machine-id")
            fingerprint = machine.run("cat", "/var/lib/every-channel/ssh/ssh_host_ed25519_key.pub")
            for directory in (*KEPT, *LOST):
                machine.write(f"{directory}/of-the-test", "written")
            written = machine.run("find", f"{LAYER}/upper", "-name", "of-the-test").split()
            assert sorted(written) == sorted(f"{LAYER}/upper{directory}/of-the-test" for directory in LOST)

            check_up(machine, machine.reboot(), Form.DISK)
            for directory in LOST:
                machine.shell('! test -e "$1"', f"{directory}/of-the-test")
            for directory in KEPT:
                assert machine.run("cat", f"{directory}/of-the-test") == "written"
            assert machine.run("cat", "/etc/machine-id") == identity
            assert machine.run("cat", "/var/lib/every-channel/ssh/ssh_host_ed25519_key.pub") == fingerprint
            assert "recover" not in machine.shell(
                "journalctl --boot --dmesg --grep=EXT4-fs --no-pager || true"
            )
            check_overlay(machine)
            check_power_off(machine)
    root = Root(image)
    assert root.is_clean
    assert root.read("/var/lib/every-channel/of-the-test") == "written"
    assert root.read("/etc/of-the-test") == ""
    assert root.read("/etc/machine-id") == identity


def check_overlay(machine: Machine) -> None:
    """The guide's commands find what they name, in stage 2 as well."""

    def mounted(where: str, column: str) -> str:
        return machine.run("findmnt", "--noheadings", "--first-only", f"--output={column}", where).strip()

    assert mounted("/", "FSTYPE") == "overlay"
    assert (mounted(REAL, "FSTYPE"), mounted(LAYER, "FSTYPE")) == ("ext4", "tmpfs")
    assert "ro" in mounted(REAL, "VFS-OPTIONS").split(",")
    assert machine.execute(["touch", f"{REAL}/of-the-test"]).status != 0
    machine.run("find", f"{LAYER}/upper", "-type", "f")
    for unit in ("systemd-remount-fs", "systemd-growfs-root"):
        assert machine.show(f"{unit}.service", "ActiveState")["ActiveState"] == "inactive"
