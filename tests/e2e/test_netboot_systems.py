"""Machines whose architecture the release has no system for: real firmware shows why, and boots nothing."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import pytest
from support.boot_host import BootHost, serve_in
from support.guests import require_qemu
from support.kernels import system_files
from support.needs import require_tool
from support.netboot_clients import Firmware, start_client
from support.netboot_lab import build_netboot_lab
from support.releases import write_archive

from ectools.ipxe.urls import FAILURE_MARK
from ectools.netboot.kernel import KernelArchitecture

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.qemu, pytest.mark.netns, pytest.mark.slow, pytest.mark.timeout(900)]

SYSTEM = "ec-runner-aarch64-netboot"
END = "every.channel: rebooting in"


def test_x86_firmware_is_told_that_there_is_a_system_for_arm64_alone(tmp_path: Path) -> None:
    """SeaBIOS's iPXE is of 2019 and an i386 one, OVMF loads an x86-64 one."""
    if os.geteuid() != 0:
        pytest.skip("NEEDS ROOT: makes network namespaces")
    require_qemu()
    require_tool("dnsmasq", "install dnsmasq (Debian: dnsmasq-base)")
    host = BootHost(tmp_path / "host")
    host.directory.mkdir()
    host.write_settings(proxy=True)
    archive = system_files(KernelArchitecture.AARCH64)
    host.stage(write_archive(host.directory, archive, f"{SYSTEM}-boot-v1.tar.gz"))
    host.write_boot_files()
    builds = {Firmware.SEABIOS: "i386", Firmware.OVMF_PXE: "x86_64"}
    with build_netboot_lab(tmp_path) as lab, serve_in(lab, host), contextlib.ExitStack() as stack:
        clients = []
        for index, firmware in enumerate(builds):
            own = tmp_path / firmware.name
            own.mkdir()
            mac = f"52:54:00:00:00:{index + 1:02x}"
            clients.append(stack.enter_context(start_client(lab.add_plug(), firmware, own, mac=mac)))
        for client in clients:
            client.wait_for(END)
            assert client.shows(
                f"{FAILURE_MARK} this release has no system for {builds[client.firmware]}: it has {SYSTEM}"
            ), client.console
            address = lab.find_address(client.mac)
            gets = host.events("request", peer=address, method="GET")
            assert [entry["path"] for entry in gets if "/releases/" in entry["path"]] == []
    (told,) = host.events(
        "the release has no system for machines that are let in: they are told so, and boot nothing"
    )
    assert told["machines"] == ["x86_64", "bios"]
