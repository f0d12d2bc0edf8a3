"""The forge's host on a disk, and the guest that it keeps: a publisher over iPXE."""

from __future__ import annotations

import contextlib
import json
import socket
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.guests import open_way, start_runner
from support.netboot_lab import build_netboot_lab
from support.nixos_agent import build_agent_arguments
from support.nixos_machine import MAC, NixosMachine, connect, start_nixos

from .disk import Root, build_disk_machine, install
from .journal import Form
from .promises import check_network, check_power_off, check_profile, check_sshd, check_up

if TYPE_CHECKING:
    from support.nixos_build import Flake

pytestmark = [
    *(pytest.mark.nix, pytest.mark.qemu, pytest.mark.netns, pytest.mark.full),
    pytest.mark.timeout(7200),
]

NAME, GUEST = "ecp-forge", "ec-publisher-x86_64-netboot"
UNIT = "every-channel-ipxe-qemu.service"
SETTINGS = "etc/every-channel/ipxe-qemu.json"
NESTED_SECONDS = 1800


@pytest.fixture(scope="module")
def toplevel(flake: Flake) -> Path:
    return flake.build(f"nixosConfigurations.{NAME}.config.system.build.toplevel")


def test_the_forge_keeps_a_guest_and_what_is_written(toplevel: Path, flake: Flake, tmp_path: Path) -> None:
    """As far as an emulated machine in an emulated machine gets: the guest's iPXE has the boot script."""
    image = install(tmp_path, toplevel, flake.env, root_mib=6144)
    hardware = build_disk_machine(image, memory_mib=4096)
    with (
        build_netboot_lab(tmp_path) as lab,
        start_nixos(lab.add_plug(), hardware, tmp_path / "machine") as machine,
    ):
        check_up(machine, machine.wait_boot(), Form.DISK)
        assert machine.run("readlink", "--canonicalize", "/run/booted-system").strip() == str(toplevel)
        check_profile(machine, flake.source, NAME)
        check_sshd(machine, lab, check_network(machine, lab, MAC))
        assert machine.run("findmnt", "--noheadings", "--output=FSTYPE", "/").strip() == "ext4"

        def has_script() -> bool:
            requests = [entry for entry in machine.entries(UNIT) if entry["event"] == "request"]
            return any(entry["path"] == "/netboot.ipxe" and entry["status"] == 200 for entry in requests)

        machine.wait(has_script, "the guest's iPXE has the boot script", unit=UNIT, seconds=NESTED_SECONDS)
        listening = machine.run("ss", "--no-header", "--listening", "--tcp", "--numeric").splitlines()
        assert [line.split()[3] for line in listening if ":8080" in line] == ["127.0.0.1:8080"]
        machine.write("/home/of-the-test", "written")
        check_power_off(machine)
    root = Root(image)
    assert root.is_clean
    assert root.read("/home/of-the-test") == "written"


def test_the_guest_boots_the_publisher(toplevel: Path, flake: Flake, tmp_path: Path) -> None:
    """By the settings of the forge's unit, on this host, and at their port: here it is emulated once."""
    built = flake.build(f"nixosConfigurations.{GUEST}.config.system.build.toplevel")
    text = (toplevel / SETTINGS).read_text()
    state = tmp_path / "state"
    state.mkdir()
    settings = json.loads(text.replace(json.loads(text)["stateDir"], str(state)))
    with contextlib.ExitStack() as stack:
        own = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="ec-")))
        own.chmod(0o777)
        # The runner has the first serial port itself.
        settings["enableKvm"] = False
        settings["extraArgs"] = [*settings.get("extraArgs", []), *build_agent_arguments(own / "agent")]
        runner = stack.enter_context(start_runner(settings, tmp_path))
        open_way(tmp_path)
        runner.wait_event("the guest runs")
        channel = stack.enter_context(socket.socket(socket.AF_UNIX))
        for name in ("console", "qemu.log"):
            (tmp_path / name).touch()
        connect(channel, own / "agent", runner.process, tmp_path)
        guest = NixosMachine(runner.process, channel, tmp_path)
        check_up(guest, guest.wait_boot(), Form.NETBOOT)
        assert guest.run("readlink", "--canonicalize", "/run/booted-system").strip() == str(built)
        assert {"/netboot.ipxe", "/kernel", "/initrd"} <= set(runner.requests())
        assert any("login" in entry["line"] for entry in runner.events("console"))
        # Asked to stop, the runner has the guest power itself off.
        runner.terminate()
        assert runner.wait() == 0
