"""Chains of several files on real firmware: Debian's shim, then GRUB with Secure Boot, or an iPXE without."""

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
from support.netboot_lab import build_netboot_lab

from ectools.demo.payload import UP_MARK, build_payload

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.netboot_lab import Lab

pytestmark = [pytest.mark.qemu, pytest.mark.netns, pytest.mark.slow, pytest.mark.timeout(1500)]

SHIM = "x86_64-sb/shimx64.efi"
UP = f"{UP_MARK} chain"
ENDS = (UP, "Shell>", "grub>", "No bootable option", "every.channel: rebooting in")
# What Debian has signed has no module for HTTP, and loads none that is not signed.
GRUB_CFG = """\
linux /boot/kernel console=ttyS0 panic=-1 no_timer_check ec.mark=chain
initrd /boot/initrd
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


def set_up(host: BootHost, second_stage: Path, *, proxy: bool, **extra: Path) -> None:
    """A release, and a shim with its second stage in a directory of their own."""
    files = {"x86_64-sb/grubx64.efi": second_stage, **extra}
    ipxe = {
        "strategy": "local",
        "localFile": str(find_signed_loaders()[0]),
        "extraFiles": {name: str(file) for name, file in files.items()},
        "onFailure": "reboot",
        "rebootSeconds": 0,
        "attempts": 2,
    }
    host.write_settings(proxy=proxy, tftpBootFilename=SHIM, ipxe=ipxe, chainTokenFile=None)
    tarball = host.directory / "ec-runner-x86_64-netboot-test.tar.gz"
    host.stage(build_tarball(tarball, build_payload(), mark="chain"))
    host.write_boot_files()


@contextlib.contextmanager
def start(
    lab: Lab, firmware: Firmware, directory: Path, *, mac: str, secure: bool = False
) -> Iterator[Client]:
    own = directory / mac.replace(":", "")
    own.mkdir()
    with start_client(lab.add_plug(), firmware, own, mac=mac, secure=secure, memory_mib=512) as client:
        yield client


def test_secure_boot_goes_through_shim_and_grub_to_a_signed_kernel(host: BootHost, tmp_path: Path) -> None:
    """The router's dnsmasq names the shim in option 67 alone, so that it asks for GRUB in the root."""
    config = host.directory / "grub.cfg"
    config.write_text(GRUB_CFG)
    payload = build_payload()
    chain = {"grub/grub.cfg": config, "boot/kernel": payload.kernel, "boot/initrd": payload.initrd}
    set_up(host, find_signed_loaders()[1], proxy=False, **chain)
    with build_netboot_lab(tmp_path, boot_file=SHIM) as lab, serve_in(lab, host):
        with start(lab, Firmware.OVMF_PXE, tmp_path, mac="52:54:00:00:00:01", secure=True) as client:
            client.wait_for(*ENDS)
            assert client.shows(UP), client.console
            assert client.shows("Fetching Netboot Image grubx64.efi")
            assert client.shows("Secure boot enabled")


def test_shim_and_ipxe_over_http_and_tftp(host: BootHost, tmp_path: Path) -> None:
    """The proxy names it with its directory, in which iPXE finds its script too."""
    set_up(host, find_ipxe("forky") / "usr/lib/ipxe/ipxe-amd64.efi", proxy=True)
    with build_netboot_lab(tmp_path) as lab, serve_in(lab, host):
        with (
            start(lab, Firmware.OVMF_PXE, tmp_path, mac="52:54:00:00:00:01") as over_tftp,
            start(lab, Firmware.OVMF_HTTP, tmp_path, mac="52:54:00:00:00:02") as over_http,
        ):
            for client in (over_tftp, over_http):
                client.wait_for(*ENDS)
                assert client.shows(UP), client.console
            assert over_tftp.shows("Fetching Netboot Image x86_64-sb/grubx64.efi")
        address = lab.find_address(over_http.mac)
    paths = [entry["path"] for entry in host.events("request", peer=address, method="GET", status=200)]
    # shim joins the two itself, and writes the slash twice.
    assert paths[:3] == [f"/{SHIM}", "/x86_64-sb//grubx64.efi", "/x86_64-sb/autoexec.ipxe"]
    assert {"/netboot.ipxe"} < set(paths)
