"""From an empty disk to a runner that boots from it and says so, by the boot server's order alone."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from support.boot_host import BootHost, serve_in
from support.kept_boots import read_boots
from support.needs import require_tool
from support.nixos_agent import PATIENT_ARGUMENTS
from support.nixos_build import Flake
from support.nixos_machine import MAC, Hardware, start_nixos

from ectools.netboot.boots.model import BootState, NodeStage

from .disk import Root
from .release import RUNNER, pack_release

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.netboot_lab import Lab

    from ectools.netboot.boots.model import NodeBoot

INSTALLED = "ec-runner-x86_64"
DISK_SERIAL = "EC-DISK-1"
DISK_GIB = 8
_KEY = "every-channel-demo-1"
_WITHIN = 7200
_JOB_SECONDS = 6000
_POLL_SECONDS = 1.0


class InstallStage(StrEnum):
    """In the order in which they come; the value is what a person reads."""

    IMAGE = "the runner that comes over the network is built, and trusts the release's key"
    SYSTEM = "the runner that is installed is built"
    RELEASE = "both are one release, its sums and its store paths signed"
    SERVES = "the boot server serves it, and has the order to install the machine"
    SCRIPT = "the machine's firmware has iPXE, and that the boot script with the order"
    INSTALLING = "it has asked what to install, by its one-time token"
    INSTALLED = "its disk has the system, and the boot server sends it there from now on"
    UP = "the system on the disk is up, and has reported on the same boot"
    SAME = "it is what was built, and the disk is as it should be"


# Not that a kernel runs: a stage 1 that says so, which not every NixOS has, is the network's or the disk's.
_SEEN = {
    NodeStage.SCRIPT: InstallStage.SCRIPT,
    NodeStage.INSTALLING: InstallStage.INSTALLING,
    NodeStage.INSTALLED: InstallStage.INSTALLED,
    NodeStage.UP: InstallStage.UP,
}


@dataclass(frozen=True, kw_only=True)
class InstallOutcome:
    """What boots from the disk now. ``seconds``: from the script to its report."""

    toplevel: str
    disk: str
    seconds: float


def run_install_job(
    flake: Flake, lab: Lab, directory: Path, reached: Callable[[InstallStage], None]
) -> InstallOutcome:
    """A machine with an empty disk, from its switch to its report. ``reached`` is called at each stage.

    Raises AssertionError where something is not as it should be.
    """
    key = directory / "nix-key"
    nix_store = require_tool("nix-store", "install nix (Debian: nix-bin)")
    argv = [nix_store, "--generate-binary-cache-key", _KEY, str(key), str(key.with_suffix(".pub"))]
    subprocess.run(argv, check=True, env=dict(flake.env))
    public = key.with_suffix(".pub").read_text().strip()
    trusting = flake.extend(
        directory / "flake", RUNNER, f"{{ nix.settings.trusted-public-keys = [ {json.dumps(public)} ]; }}\n"
    )
    build = "nixosConfigurations.extended.config.system.build"
    built, netbooted = trusting.build(f"{build}.netboot"), trusting.build(f"{build}.toplevel")
    reached(InstallStage.IMAGE)
    toplevel = flake.build(f"nixosConfigurations.{INSTALLED}.config.system.build.toplevel")
    reached(InstallStage.SYSTEM)
    packed = directory / "release"
    packed.mkdir()
    with_system = ("--with-system", toplevel, "--nix-key-file", key)
    release = pack_release(flake, built, netbooted, packed, *with_system)
    reached(InstallStage.RELEASE)
    host = BootHost(directory / "host")
    host.directory.mkdir()
    signature = {"format": "openssh", "publicKeyFile": str(release.public_key)}
    host.write_settings(
        proxy=False, release={"requireSums": True, "signature": signature}, fleet=_build_fleet()
    )
    host.stage(release.archive)
    host.write_boot_files()
    image = directory / "disk.img"
    with image.open("wb") as file:
        file.truncate(DISK_GIB << 30)
    with serve_in(lab, host):
        reached(InstallStage.SERVES)
        with start_nixos(lab.add_plug(), build_install_machine(image), directory / "machine") as machine:
            boot = _follow(host, reached, machine.read_console)
    assert boot.report is not None
    assert boot.report.system == str(toplevel)
    root = Root(image)
    assert root.label == "ec-root"
    assert root.has("/var/lib/every-channel/ssh/ssh_host_ed25519_key")
    assert f"system {toplevel}\n" in root.read("/var/lib/every-channel/installed")
    reached(InstallStage.SAME)
    return InstallOutcome(
        toplevel=str(toplevel),
        disk=boot.install.disk or "" if boot.install is not None else "",
        seconds=round(boot.stages[NodeStage.UP] - boot.started, 1),
    )


def _build_fleet() -> dict[str, object]:
    group = {
        "boot": "install",
        "install": {"disk": {"serial": DISK_SERIAL}, "within": _WITHIN},
        "kernelArguments": [*PATIENT_ARGUMENTS],
    }
    return {"groups": {"runners": group}, "nodes": {"runner": {"group": "runners", "match": {"mac": [MAC]}}}}


def build_install_machine(image: Path) -> Hardware:
    """UEFI: the network first, then this disk. systemd-boot adds what the firmware says."""
    drive = ["-drive", f"file={image},if=none,id=disk,format=raw,cache=unsafe,discard=unmap"]
    return Hardware(
        uefi=True,
        pxe=True,
        devices=[*drive, "-device", f"virtio-blk-pci,drive=disk,serial={DISK_SERIAL},bootindex=2"],
        strings=[f"io.systemd.boot.kernel-cmdline-extra={' '.join(PATIENT_ARGUMENTS)}"],
        memory_mib=3072,
    )


def _follow(
    host: BootHost, reached: Callable[[InstallStage], None], read_console: Callable[[], str]
) -> NodeBoot:
    """The machine's boot, once it is healthy; each stage of it told as it comes."""
    deadline, seen = time.monotonic() + _JOB_SECONDS, set[NodeStage]()
    while True:
        boot = read_boots(host.state_dir).get("runner")
        for stage, told in _SEEN.items():
            if boot is not None and stage in boot.stages and stage not in seen:
                seen.add(stage)
                reached(told)
        if boot is not None and boot.state is BootState.HEALTHY:
            return boot
        is_over = boot is not None and boot.state in (BootState.FAILED, BootState.UNHEALTHY)
        if is_over or time.monotonic() > deadline:
            raise AssertionError(f"{boot}\n{read_console()[-6000:]}\n{host.log_text[-3000:]}")
        time.sleep(_POLL_SECONDS)
