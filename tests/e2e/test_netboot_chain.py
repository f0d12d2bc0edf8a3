"""Chains of several files on real firmware: Debian's shim, with Secure Boot and without, then GRUB or an iPXE."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

import pytest
from support.boot_binaries import find_ipxe, find_signed_loaders
from support.boot_host import BootHost, build_tarball, serve_in
from support.guests import require_qemu
from support.needs import require_tool
from support.netboot_clients import Client, Firmware, start_client
from support.netboot_lab import BOOT_IP, build_netboot_lab

from ectools.demo.payload import UP_MARK, build_payload

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.netboot_lab import Lab

pytestmark = [pytest.mark.qemu, pytest.mark.netns, pytest.mark.slow, pytest.mark.timeout(1500)]

SHIM = "x86_64-sb/shimx64.efi"
UP = f"{UP_MARK} chain"
HTTP = f"(http,{BOOT_IP}:8080)"
GRUB_CFG = f"""\
echo EC-GRUB-UP on $net_default_mac
linux {HTTP}/kernel console=ttyS0 panic=-1 no_timer_check ec.mark=chain
initrd {HTTP}/initrd
boot
"""


@pytest.fixture
def host(tmp_path: Path) -> BootHost:
    if os.geteuid() != 0:
        pytest.skip("NEEDS ROOT: makes network namespaces")
    require_qemu()
    require_tool("dnsmasq", "install dnsmasq (Debian: dnsmasq-base)")
    host = BootHost(tmp_path / "host")
    host.directory.mkdir()
    return host


def set_up(host: BootHost, second_stage: Path, *, proxy: bool, **extra: str) -> None:
    """A release, and a shim with its second stage in a directory of their own."""
    shim, _ = find_signed_loaders()
    ipxe = {
        "strategy": "local",
        "localFile": str(shim),
        "extraFiles": {"x86_64-sb/grubx64.efi": str(second_stage), **extra},
        "onFailure": "reboot",
        "rebootSeconds": 0,
        "attempts": 2,
    }
    host.write_settings(proxy=proxy, tftpBootFilename=SHIM, ipxe=ipxe, chainTokenFile=None)
    tarball = host.directory / "ec-runner-x86_64-netboot-test.tar.gz"
    host.stage(build_tarball(tarball, build_payload(), mark="chain"))
    host.write_boot_files()


@contextlib.contextmanager
def start(lab: Lab, firmware: Firmware, directory: Path, *, mac: str, secure: bool = False) -> Iterator[Client]:
    own = directory / mac.replace(":", "")
    own.mkdir()
    with start_client(lab.add_plug(), firmware, own, mac=mac, secure=secure, memory_mib=384) as client:
        yield client


def test_shim_and_grub_over_tftp_and_over_http(host: BootHost, tmp_path: Path) -> None:
    _, grub = find_signed_loaders()
    (host.directory / "grub.cfg").write_text(GRUB_CFG)
    config = str(host.directory / "grub.cfg")
    set_up(host, grub, proxy=True, **{"grub/x86_64-efi/grub.cfg": config})
    with build_netboot_lab(tmp_path) as lab, serve_in(lab, host):
        with (
            start(lab, Firmware.OVMF_PXE, tmp_path, mac="52:54:00:00:00:01", secure=True) as secure,
            start(lab, Firmware.OVMF_HTTP, tmp_path, mac="52:54:00:00:00:02") as over_http,
        ):
            for client in (secure, over_http):
                try:
                    client.wait_for(UP, "Shell>", "grub>", "grub rescue>")
                finally:
                    print(client.console[-3000:], host.log_text[-3000:])
                assert client.shows(UP), client.console


def test_shim_and_an_ipxe_that_finds_its_script_in_the_directory(host: BootHost, tmp_path: Path) -> None:
    set_up(host, find_ipxe("forky") / "usr/lib/ipxe/ipxe-amd64.efi", proxy=False)
    with build_netboot_lab(tmp_path, boot_file=SHIM) as lab, serve_in(lab, host):
        with start(lab, Firmware.OVMF_PXE, tmp_path, mac="52:54:00:00:00:03") as client:
            try:
                client.wait_for(UP, "every.channel: rebooting in", seconds=120)
            finally:
                print(client.console[-3000:], host.log_text[-3000:])
