"""A fleet on real firmware: each machine boots what it should, waits, is refused, or goes on to its disk."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from support.boot_binaries import find_ipxe
from support.boot_host import TOKEN, BootHost, build_tarball, serve_in
from support.guests import require_qemu, wait_until
from support.kept_boots import read_boots
from support.needs import require_root, require_tool
from support.netboot_clients import Firmware, start_client
from support.netboot_lab import build_netboot_lab

from ectools.demo.payload import build_payload
from ectools.netboot.boot_files.install import install_boot_files
from ectools.netboot.boots.model import BootState, NodeStage
from ectools.netboot.protocols import StockBinary
from ectools.netboot.settings.load import load_netboot_settings
from ectools.netboot.settings.model import StockIpxe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.netboot_clients import Client
    from support.netboot_lab import Lab

pytestmark = [pytest.mark.qemu, pytest.mark.netns, pytest.mark.timeout(1200)]

FLEET = """
unknown = "hold"

[groups.runners]
kernelArguments = ["ec.group=runners"]

[groups.installed]
boot = "disk"

[nodes.nuc-07]
group = "runners"
match.mac = ["52-54-00-00-00-01"]
kernelArguments = ["ec.node=nuc-07"]

[nodes.nuc-08]
group = "runners"
match.serial = "GEBN1234567A"

[nodes.pc-on-disk]
group = "installed"
match.mac = ["52:54:00:00:00:03"]

[nodes.nuc-on-disk]
group = "installed"
match.uuid = "6F1C2D3E-0000-4000-8000-020000123456"
"""
RUNNER, PUBLISHER = "ec-runner-x86_64-netboot", "ec-publisher-x86_64-netboot"
TWO_GROUPS = f"""
[groups.runners]
system = "{RUNNER}"

[groups.publishers]
system = "{PUBLISHER}"
bootBinary = "snponly"

[nodes.runner]
group = "runners"
match.mac = ["52:54:00:00:00:01"]

[nodes.publisher]
group = "publishers"
match.mac = ["52:54:00:00:00:02"]
"""
NEWCOMER = """
[nodes.newcomer]
match.mac = ["52:54:00:00:00:05"]
"""
# Teletype output, a character at a time, until it is told that there is none.
BOOT_SECTOR = bytes.fromhex("be137cac84c07407b40ecd10ebf5f4ebfd9090") + b"THE DISK BOOTS\r\n\0"
DISK_OF_BIOS = "THE DISK BOOTS"
DISK_OF_UEFI = 'loading Boot0002 "UEFI'


@pytest.fixture
def host(tmp_path: Path) -> BootHost:
    require_root("makes network namespaces")
    require_qemu()
    require_tool("dnsmasq", "install dnsmasq (Debian: dnsmasq-base)")
    host = BootHost(tmp_path / "host")
    host.directory.mkdir()
    (host.directory / "fleet.toml").write_text(FLEET)
    host.write_settings(proxy=True, fleet={"file": str(host.directory / "fleet.toml")})
    host.stage(build_tarball(host.directory / "release.tar.gz", build_payload(), mark="fleet"))
    host.write_boot_files()
    return host


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with build_netboot_lab(tmp_path) as lab:
        yield lab


def write_disk(path: Path) -> list[str]:
    """A disk with a boot sector that says so, as QEMU's words; UEFI finds nothing to start on it."""
    sector = BOOT_SECTOR.ljust(510, b"\0") + b"\x55\xaa"
    path.write_bytes(sector + bytes(1 << 20))
    return ["-drive", f"if=virtio,format=raw,file={path}"]


@contextlib.contextmanager
def machine(lab: Lab, directory: Path, number: int, firmware: Firmware, *extra: str) -> Iterator[Client]:
    own = directory / f"machine-{number}"
    own.mkdir()
    mac = f"52:54:00:00:00:{number:02x}"
    words = [*extra, *write_disk(own / "disk")]
    with start_client(lab.add_plug(), firmware, own, mac=mac, extra=words) as client:
        yield client


def test_each_machine_gets_what_its_node_boots(host: BootHost, lab: Lab, tmp_path: Path) -> None:
    """Known by MAC and by serial number, over both firmwares; the group's arguments before the node's."""
    with (
        serve_in(lab, host),
        machine(lab, tmp_path, 1, Firmware.SEABIOS) as first,
        machine(lab, tmp_path, 2, Firmware.OVMF_PXE, "-smbios", "type=1,serial=GEBN1234567A") as second,
    ):
        first.wait_for("EC-GUEST-UP fleet")
        assert first.shows("ec.group=runners ec.node=nuc-07"), first.console
        assert first.shows("every.channel: nuc-07: starting sha256-"), first.console
        second.wait_for("EC-GUEST-UP fleet")
        wait_until(lambda: len(host.events("a node has reported")) == 2, "both have reported")
        assert second.shows("every.channel: nuc-08: starting sha256-"), second.console
        assert not second.shows("ec.node="), second.console
    nodes = {entry["node"] for entry in host.events("a node has everything it boots from")}
    assert nodes == {"nuc-07", "nuc-08"}
    boots = read_boots(host.state_dir)
    assert boots.keys() == nodes
    for boot in boots.values():
        seen = [NodeStage.FIRST_STAGE, NodeStage.SCRIPT, NodeStage.KERNEL, NodeStage.INITRD, NodeStage.LOADED]
        assert [stage for stage in seen if stage not in boot.stages] == [], boot
        assert boot.state is BootState.HEALTHY, boot
    console = first.console + second.console
    assert "every_channel.report=http://" in console  # the kernel says what it was given


def test_two_groups_boot_two_systems_by_two_binaries_at_once(
    host: BootHost, lab: Lab, tmp_path: Path
) -> None:
    """One release, one network; each group has its system, and one of them an iPXE of its own."""
    fleet = {"file": str(host.directory / "fleet.toml")}
    host.write_settings(proxy=True, fleet=fleet, ipxe={"strategy": "autoexec", "onFailure": "reboot"})
    (host.directory / "fleet.toml").write_text(TWO_GROUPS)
    payload = build_payload()
    archives = (
        build_tarball(host.directory / f"{system}-test.tar.gz", payload, mark=mark)
        for system, mark in ((RUNNER, "runs"), (PUBLISHER, "publishes"))
    )
    host.stage(*archives)
    settings = load_netboot_settings(host.directory / "netboot.json", environment={})
    # A package that is no store path can be given here alone.
    stock = StockIpxe(package=find_ipxe("trixie") / "usr/lib/ipxe")
    settings = replace(settings, ipxe=replace(settings.ipxe, x86_64=stock))
    install_boot_files(settings, TOKEN, stock=[StockBinary.SNPONLY])
    with (
        serve_in(lab, host),
        machine(lab, tmp_path, 1, Firmware.OVMF_PXE) as runner,
        machine(lab, tmp_path, 2, Firmware.OVMF_PXE) as publisher,
    ):
        runner.wait_for("EC-GUEST-UP runs")
        publisher.wait_for("EC-GUEST-UP publishes")
        addresses = [lab.find_address(client.mac) for client in (runner, publisher)]
    loaded = [host.events("TFTP has sent a file", client=address)[0]["file"] for address in addresses]
    assert loaded == ["ec-ipxe.efi", "ec-stock-snponly.efi"]


def test_a_node_that_boots_from_its_disk(host: BootHost, lab: Lab, tmp_path: Path) -> None:
    uuid = ("-uuid", "6f1c2d3e-0000-4000-8000-020000123456")
    with (
        serve_in(lab, host),
        machine(lab, tmp_path, 3, Firmware.SEABIOS) as bios,
        machine(lab, tmp_path, 4, Firmware.OVMF_PXE, *uuid) as uefi,
    ):
        bios.wait_for(DISK_OF_BIOS)
        assert bios.shows("every.channel: pc-on-disk ("), bios.console
        uefi.wait_for(DISK_OF_UEFI)
        assert uefi.shows("every.channel: nuc-on-disk ("), uefi.console
    assert not host.events("a node has everything it boots from")


def test_a_machine_that_waits_until_it_has_a_name(host: BootHost, lab: Lab, tmp_path: Path) -> None:
    with serve_in(lab, host), machine(lab, tmp_path, 5, Firmware.OVMF_PXE) as client:
        client.wait_for("the fleet has no node that is this machine: mac 52:54:00:00:00:05")
        (told,) = host.events("a machine that no node is asks what to boot")
        assert told["machine"] == "mac 52:54:00:00:00:05"  # QEMU sends no UUID, of zeros
        with (host.directory / "fleet.toml").open("a") as file:
            file.write(NEWCOMER)
        assert host.process is not None
        host.process.send_signal(signal.SIGHUP)
        wait_until(lambda: host.events("the settings have been read again"), "it is reloaded")
        client.wait_for("every.channel: newcomer: starting sha256-")
        client.wait_for("EC-GUEST-UP fleet")


def test_a_node_that_is_held_and_a_machine_that_has_no_name(host: BootHost, lab: Lab, tmp_path: Path) -> None:
    """By ``unknown = "default"`` a stranger boots the current release; a node waits until it is let go."""
    file = host.directory / "fleet.toml"
    text = file.read_text().replace('unknown = "hold"', 'unknown = "default"')
    held = "[nodes.nuc-07]\nhold = true\n"
    file.write_text(text.replace("[nodes.nuc-07]\n", held))
    with (
        serve_in(lab, host),
        machine(lab, tmp_path, 1, Firmware.SEABIOS) as node,
        machine(lab, tmp_path, 9, Firmware.OVMF_PXE) as stranger,
    ):
        node.wait_for("every.channel: nuc-07 (mac 52:54:00:00:00:01) is held")
        stranger.wait_for("EC-GUEST-UP fleet")
        assert not stranger.shows("ec.group="), stranger.console
        assert not node.shows("EC-GUEST-UP"), node.console
        file.write_text(text)
        assert host.process is not None
        host.process.send_signal(signal.SIGHUP)
        node.wait_for("EC-GUEST-UP fleet")
        assert node.shows("ec.group=runners ec.node=nuc-07"), node.console


def test_a_node_that_is_held_boots_once_and_then_waits_again(
    host: BootHost, lab: Lab, tmp_path: Path
) -> None:
    """By ``ectools fleet``: from the network, at the next time from its disk, and never by itself."""
    sock = host.directory / "control.sock"
    held = "every.channel: nuc-07 (mac 52:54:00:00:00:01) is held"

    def order(*words: str) -> None:
        argv = [sys.executable, "-m", "ectools.cli.main", "fleet", *words, "--socket", str(sock)]
        subprocess.run(argv, check=True, capture_output=True)

    with serve_in(lab, host, "--control-socket", str(sock)):
        order("hold", "nuc-07")
        with machine(lab, tmp_path, 1, Firmware.SEABIOS) as client:
            client.wait_for(held)
            order("boot-once", "nuc-07")
            client.wait_for("EC-GUEST-UP fleet")
            assert client.shows("ec.group=runners ec.node=nuc-07"), client.console
        again = tmp_path / "again"
        again.mkdir()
        with machine(lab, again, 1, Firmware.SEABIOS) as client:
            client.wait_for(held)
            order("boot-once", "nuc-07", "--disk")
            client.wait_for(DISK_OF_BIOS)
            assert not client.shows("EC-GUEST-UP"), client.console


def test_a_machine_that_is_refused_goes_on_to_its_disk(host: BootHost, lab: Lab, tmp_path: Path) -> None:
    file = host.directory / "fleet.toml"
    file.write_text(file.read_text().replace('unknown = "hold"', 'unknown = "refuse"'))
    with serve_in(lab, host), machine(lab, tmp_path, 6, Firmware.OVMF_PXE) as client:
        client.wait_for("it boots nothing from here")
        client.wait_for(DISK_OF_UEFI)
