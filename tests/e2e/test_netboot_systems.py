"""Machines whose architecture the release has no system for: real firmware shows why, and boots nothing."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pytest
from support.arm64_client import start_arm64_client
from support.boot_host import BootHost, serve_in
from support.guests import require_qemu
from support.kernels import system_files
from support.needs import require_root, require_tool
from support.netboot_clients import Firmware, start_client
from support.netboot_lab import build_netboot_lab
from support.releases import write_archive

from ectools.netboot.kernel import KernelArchitecture

if TYPE_CHECKING:
    from pathlib import Path

    from support.netboot_clients import Client
    from support.netboot_lab import Lab

pytestmark = [pytest.mark.qemu, pytest.mark.netns, pytest.mark.timeout(900)]

END = "every.channel: asking again every 30 s"
NOTHING = "the release has no system for machines that are let in: they are told so, and boot nothing"


def prepare(directory: Path, architecture: KernelArchitecture) -> BootHost:
    """A boot host that lets all machines in, and whose release has one system, for this architecture."""
    require_root("makes network namespaces")
    require_qemu()
    require_tool("dnsmasq", "install dnsmasq (Debian: dnsmasq-base)")
    host = BootHost(directory / "host")
    host.directory.mkdir()
    host.write_settings(proxy=True, arm64=True)
    archive = f"ec-runner-{architecture}-netboot-boot-v1.tar.gz"
    host.stage(write_archive(host.directory, system_files(architecture), archive))
    host.write_boot_files()
    return host


def expect_refusal(lab: Lab, host: BootHost, client: Client, build: str) -> None:
    """The screen says what is missing, and nothing of the release was asked for."""
    client.wait_for(END)
    assert client.shows(f"has nothing for this machine, whose iPXE is for {build}: "), client.console
    gets = host.events("request", peer=lab.find_address(client.mac), method="GET")
    paths = [entry["path"] for entry in gets]
    assert "/netboot.ipxe" in paths
    assert not [path for path in paths if "/releases/" in path]


def test_x86_firmware_is_told_that_there_is_a_system_for_arm64_alone(tmp_path: Path) -> None:
    """SeaBIOS's iPXE is of 2019 and an i386 one, OVMF loads an x86-64 one."""
    host = prepare(tmp_path, KernelArchitecture.AARCH64)
    builds = {Firmware.SEABIOS: "i386", Firmware.OVMF_PXE: "x86_64"}
    with build_netboot_lab(tmp_path) as lab, serve_in(lab, host), contextlib.ExitStack() as stack:
        clients = []
        for index, firmware in enumerate(builds):
            own = tmp_path / firmware.name
            own.mkdir()
            mac = f"52:54:00:00:00:{index + 1:02x}"
            clients.append(stack.enter_context(start_client(lab.add_plug(), firmware, own, mac=mac)))
        for client in clients:
            expect_refusal(lab, host, client, builds[client.firmware])
    (told,) = host.events(NOTHING)
    assert {"x86_64", "bios"} <= set(told["machines"])


@pytest.mark.full
def test_arm64_firmware_is_told_that_there_is_a_system_for_x86_64_alone(tmp_path: Path) -> None:
    host = prepare(tmp_path, KernelArchitecture.X86_64)
    own = tmp_path / "arm64"
    own.mkdir()
    with (
        build_netboot_lab(tmp_path) as lab,
        serve_in(lab, host),
        start_arm64_client(lab.add_plug(), own, mac="52:54:00:00:00:64") as client,
    ):
        expect_refusal(lab, host, client, "arm64")
    (told,) = host.events(NOTHING)
    assert told["machines"] == ["arm64"]
