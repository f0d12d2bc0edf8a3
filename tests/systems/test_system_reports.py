"""Runners that a boot server has booted, and what it knows of their boots: healthy, failed, hanging, dead.

All boot one image; an argument of the kernel, which the fleet gives each of them, says what becomes of it.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from support.boot_host import BootHost, serve_in
from support.kept_boots import read_boots
from support.netboot_lab import build_netboot_lab
from support.nixos_agent import PATIENT_ARGUMENTS
from support.nixos_build import Flake
from support.nixos_machine import BOOT_SECONDS, Hardware, NixosMachine, start_nixos

from ectools.netboot.boots.model import BootState, NodeBoot, NodeStage

from .release import RUNNER, Release, pack_release

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.netboot_lab import Lab

pytestmark = [
    pytest.mark.nix,
    pytest.mark.qemu,
    pytest.mark.netns,
    pytest.mark.full,
    pytest.mark.timeout(3600),
]

# A boot of an emulated machine takes minutes. What hangs is told two minutes before the end.
WITHIN = {"healthy": 1500, "fails": 1500, "hangs": 600, "panics": 300}
MACS = {name: f"52:54:00:ec:01:{number:02x}" for number, name in enumerate(WITHIN)}

MODULE = """
let
  service = name: script: {
    wantedBy = [ "multi-user.target" ];
    unitConfig.ConditionKernelCommandLine = "ec.test=${name}";
    serviceConfig = {
      Type = "oneshot";
      TimeoutStartSec = "infinity";
    };
    inherit script;
  };
in
{
  boot.initrd.systemd = {
    enable = true;
    services.ec-panics = {
      requiredBy = [ "initrd.target" ];
      before = [ "initrd.target" ];
      unitConfig = {
        DefaultDependencies = false;
        ConditionKernelCommandLine = "ec.test=panics";
      };
      serviceConfig = {
        Type = "oneshot";
        TimeoutStartSec = "infinity";
      };
      script = ''
        until [ -e /run/every-channel/running ]; do sleep 1; done
        echo c > /proc/sysrq-trigger
      '';
    };
  };
  services.every-channel.report = {
    holdSeconds = 1;
    initrd.enable = true;
  };
  systemd.services.ec-fails = service "fails" ''
    echo "no http://me:s3cret@forge.example/?token=s3cret"
    exit 1
  '';
  systemd.services.ec-hangs = service "hangs" "exec sleep infinity";
}
"""


@dataclass(frozen=True)
class Site:
    """A boot host that serves, in its lab."""

    lab: Lab
    host: BootHost
    release: Release
    directory: Path

    @contextlib.contextmanager
    def boot(self, name: str) -> Iterator[NixosMachine]:
        """The machine of that name, switched on."""
        hardware = Hardware(uefi=False, pxe=True, devices=["-no-reboot"])
        with start_nixos(self.lab.add_plug(), hardware, self.directory / name, mac=MACS[name]) as machine:
            yield machine

    def wait_boot(self, name: str, holds: Callable[[NodeBoot], bool]) -> NodeBoot:
        """Its boot, as the server has kept it, once that is so."""
        deadline = time.monotonic() + BOOT_SECONDS
        while True:
            boot = read_boots(self.host.state_dir).get(name)
            if boot is not None and holds(boot):
                return boot
            assert time.monotonic() < deadline, (boot, self.host.log_text[-3000:])
            time.sleep(1)


@pytest.fixture(scope="module")
def site(flake: Flake, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("reports")
    extended = flake.extend(directory / "flake", RUNNER, MODULE)
    build = "nixosConfigurations.extended.config.system.build"
    (directory / "release").mkdir()
    release = pack_release(
        flake, extended.build(f"{build}.netboot"), extended.build(f"{build}.toplevel"), directory / "release"
    )
    host = BootHost(directory / "host")
    host.directory.mkdir()
    fleet = {
        "groups": {name: {"healthyWithin": within} for name, within in WITHIN.items()},
        "nodes": {
            name: {
                "group": name,
                "match": {"mac": [mac]},
                "kernelArguments": [*PATIENT_ARGUMENTS, f"ec.test={name}"],
            }
            for name, mac in MACS.items()
        },
    }
    signature = {"format": "openssh", "publicKeyFile": str(release.public_key)}
    host.write_settings(proxy=True, release={"requireSums": True, "signature": signature}, fleet=fleet)
    host.stage(release.archive)
    host.write_boot_files()
    with build_netboot_lab(directory) as lab, serve_in(lab, host):
        yield Site(lab, host, release, directory)


def test_a_runner_that_is_up_says_so(site: Site) -> None:
    with site.boot("healthy") as machine:
        boot = site.wait_boot("healthy", lambda boot: boot.report is not None)
        assert (boot.state, boot.why) == (BootState.HEALTHY, None)
        assert [stage for stage in NodeStage if stage in boot.stages][-3:] == [
            NodeStage.LOADED,
            NodeStage.RUNNING,
            NodeStage.UP,
        ]
        assert boot.report is not None
        assert boot.report.system == str(site.release.toplevel)
        assert boot.report.seconds.keys() == {"kernel", "initrd", "userspace"}
        assert (boot.report.failed, boot.report.journal) == ((), "")
        machine.wait_hello()
        figures = machine.run("systemd-analyze", "time")
        assert "(initrd)" in figures, figures
        # What stage 1 had of a network is gone, and stage 2's is as it would be.
        addresses = machine.run("ip", "-4", "-brief", "address", "show", "scope", "global").splitlines()
        assert len(addresses) == 1, addresses
        machine.power_off()


def test_a_runner_with_a_failed_unit_says_which(site: Site) -> None:
    with site.boot("fails"):
        boot = site.wait_boot("fails", lambda boot: boot.report is not None)
        assert (boot.state, boot.why) == (BootState.UNHEALTHY, "failed: ec-fails.service")
        assert boot.report is not None
        assert boot.report.failed == ("ec-fails.service",)
        assert "no http://***@forge.example/?token=***" in boot.report.journal
        assert "s3cret" not in boot.report.journal


def test_a_runner_that_hangs_says_on_what(site: Site) -> None:
    with site.boot("hangs"):
        boot = site.wait_boot("hangs", lambda boot: boot.report is not None)
        assert boot.state is BootState.UNHEALTHY
        assert boot.report is not None
        last = boot.report.journal.rpartition("-- still to be done\n")[2]
        assert "ec-hangs.service" in last, boot.report.journal[-2000:]


def test_of_a_runner_that_panics_the_last_stage_is_known(site: Site) -> None:
    with site.boot("panics") as machine:
        boot = site.wait_boot(
            "panics", lambda boot: boot.state is BootState.FAILED and NodeStage.RUNNING in boot.stages
        )
        assert boot.last_stage is NodeStage.RUNNING
        assert "Kernel panic" in machine.read_console()
