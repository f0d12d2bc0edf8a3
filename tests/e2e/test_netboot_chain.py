"""Chains of several files on real firmware: Debian's shim, then GRUB with Secure Boot, or an iPXE without."""

from __future__ import annotations

import contextlib
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
from support.boot_binaries import copy_ovmf, find_ipxe, find_signed_loaders
from support.boot_host import BootHost, build_tarball, serve_in
from support.guests import require_qemu
from support.needs import require_root, require_tool
from support.netboot_clients import Client, Firmware, start_client
from support.netboot_lab import build_netboot_lab

from ectools.demo.payload import UP_MARK, build_payload

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.netboot_lab import Lab

pytestmark = [pytest.mark.qemu, pytest.mark.netns, pytest.mark.timeout(1500)]

SHIM = "x86_64-sb/shimx64.efi"
UP = f"{UP_MARK} chain"
# GRUB is locked down where Secure Boot is on, so that the word is not in what it was given.
GRUB_UP = "EC-GRUB-UP lockdown=y"
GRUB_CFG = "echo EC-GRUB-UP lockdown=$lockdown\n"
ENDS = (UP, GRUB_UP, "Shell>", "grub>", "No bootable option", "every.channel: rebooting in")
# What Debian has signed has no module for HTTP, and loads none that is not signed.
GRUB_BOOTS = """\
linux /boot/kernel console=ttyS0 panic=-1 no_timer_check ec.mark=chain
initrd /boot/initrd
boot
"""


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Future[Network]]]:
    """Both at once, under way."""
    require_root("makes network namespaces")
    require_qemu()
    require_tool("dnsmasq", "install dnsmasq (Debian: dnsmasq-base)")
    find_signed_loaders()
    find_ipxe("forky")
    build_payload()
    copy_ovmf(tmp_path_factory.mktemp("ovmf"), secure=True)
    with ThreadPoolExecutor() as pool:
        yield {
            run.__name__: pool.submit(run, tmp_path_factory.mktemp(run.__name__))
            for run in (run_grub, run_ipxe)
        }


@dataclass(frozen=True, kw_only=True)
class Network:
    """What became of a network: each machine's console, and the paths that one was given over HTTP."""

    consoles: tuple[str, ...]
    paths: tuple[str, ...] = ()


def make_host(directory: Path) -> BootHost:
    host = BootHost(directory / "host")
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


def run_grub(directory: Path, config: str = GRUB_CFG, **extra: Path) -> Network:
    """The router's dnsmasq names the shim in option 67 alone, so that it asks for GRUB in the root."""
    host = make_host(directory)
    file = host.directory / "grub.cfg"
    file.write_text(config)
    set_up(host, find_signed_loaders()[1], proxy=False, **{"grub/grub.cfg": file}, **extra)
    with build_netboot_lab(directory, boot_file=SHIM) as lab, serve_in(lab, host):
        with start(lab, Firmware.OVMF_PXE, directory, mac="52:54:00:00:00:01", secure=True) as client:
            client.wait_for(*ENDS)
            return Network(consoles=(client.console.replace("\n", ""),))


def run_ipxe(directory: Path) -> Network:
    """The proxy names the shim with its directory, in which iPXE finds its script too."""
    host = make_host(directory)
    set_up(host, find_ipxe("forky") / "usr/lib/ipxe/ipxe-amd64.efi", proxy=True)
    with build_netboot_lab(directory) as lab, serve_in(lab, host):
        with (
            start(lab, Firmware.OVMF_PXE, directory, mac="52:54:00:00:00:01") as over_tftp,
            start(lab, Firmware.OVMF_HTTP, directory, mac="52:54:00:00:00:02") as over_http,
        ):
            for client in (over_tftp, over_http):
                client.wait_for(*ENDS)
            consoles = tuple(client.console.replace("\n", "") for client in (over_tftp, over_http))
        address = lab.find_address(over_http.mac)
    given = host.events("request", peer=address, method="GET", status=200)
    return Network(consoles=consoles, paths=tuple(entry["path"] for entry in given))


def test_secure_boot_goes_through_shim_to_grub_and_what_it_is_told(
    networks: dict[str, Future[Network]],
) -> None:
    (console,) = networks["run_grub"].result().consoles
    assert GRUB_UP in console, console
    assert "Fetching Netboot Image grubx64.efi" in console


@pytest.mark.full
def test_secure_boot_goes_on_to_a_signed_kernel(networks: dict[str, Future[Network]], tmp_path: Path) -> None:
    """A kernel takes GRUB's TFTP a minute."""
    for each in networks.values():
        each.result()
    payload = build_payload()
    files = {"boot/kernel": payload.kernel, "boot/initrd": payload.initrd}
    (console,) = run_grub(tmp_path, GRUB_BOOTS, **files).consoles
    assert UP in console, console
    assert "Secure boot enabled" in console


def test_shim_and_ipxe_over_tftp_and_over_http(networks: dict[str, Future[Network]]) -> None:
    network = networks["run_ipxe"].result()
    over_tftp, over_http = network.consoles
    assert UP in over_tftp, over_tftp
    assert UP in over_http, over_http
    assert "Fetching Netboot Image x86_64-sb/grubx64.efi" in over_tftp
    # shim joins the two itself, and writes the slash twice.
    assert network.paths[:3] == (f"/{SHIM}", "/x86_64-sb//grubx64.efi", "/x86_64-sb/autoexec.ipxe")
    assert "/netboot.ipxe" in network.paths
