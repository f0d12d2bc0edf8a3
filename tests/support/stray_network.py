"""A second network beside a lab's: its machines get leases and a gateway, and no way to the boot host.

lab.stray   192.168.99.1: leases, boot files over TFTP where it is given some; it forwards nothing
"""

from __future__ import annotations

import contextlib
import subprocess
from typing import TYPE_CHECKING

from support.guests import wait_until
from support.needs import require_tool
from support.netboot_lab import Lab, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STRAY_SUBNET = "192.168.99"
STRAY_BRIDGE = "stray"
SILENT_BRIDGE = "silent"
"""A bridge on which nobody answers."""


@contextlib.contextmanager
def build_stray_network(lab: Lab, directory: Path, *, tftp: Path | None = None) -> Iterator[None]:
    """Both bridges in the lab's switch, up for the length of the block.

    ``tftp``: a directory of boot files; UEFI machines are given its ``ec-ipxe.efi``, an iPXE its script.
    """
    dnsmasq = require_tool("dnsmasq", "install dnsmasq (Debian: dnsmasq-base)")
    namespace = f"ec-stray-{lab.tag}"
    for bridge in (STRAY_BRIDGE, SILENT_BRIDGE):
        lab.add_bridge(bridge)
    run(["ip", "netns", "add", namespace])
    try:
        port = ["link", "add", "strayport", "type", "veth", "peer", "name", "lan0", "netns", namespace]
        lab.ip(lab.switch, *port)
        lab.ip(lab.switch, "link", "set", "strayport", "master", STRAY_BRIDGE, "up")
        lab.ip(namespace, "address", "add", f"{STRAY_SUBNET}.1/24", "dev", "lan0")
        # Without IPv6 in the network, iPXE of 2019 waits for it, each time that it configures its card.
        lab.ip(namespace, "address", "add", "fd99::1/64", "dev", "lan0", "nodad")
        lab.ip(namespace, "link", "set", "lan0", "up")
        # What is sent to the boot host is dropped, not refused.
        run([*lab.inside(namespace), "ip", "route", "add", "blackhole", "192.168.77.0/24"])
        pid_file = directory / "stray.pid"
        argv = [
            *(*lab.inside(namespace), dnsmasq, "--keep-in-foreground", "--conf-file=/dev/null", "--port=0"),
            *("--interface=lan0", "--bind-interfaces", "--dhcp-authoritative", "--no-ping", "--user=root"),
            *(f"--dhcp-range={STRAY_SUBNET}.100,{STRAY_SUBNET}.199,10m", f"--pid-file={pid_file}"),
            *(f"--dhcp-leasefile={directory / 'stray.leases'}", f"--log-facility={directory / 'stray.log'}"),
            *("--enable-ra", "--dhcp-range=fd99::,ra-only", "--log-dhcp"),
            *(_serve_boot_files(tftp) if tftp is not None else []),
        ]
        process = subprocess.Popen(argv)
        try:
            wait_until(lambda: pid_file.exists() or process.poll() is not None, "the stray dnsmasq runs")
            yield
        finally:
            process.kill()
            process.wait()
    finally:
        run(["ip", "netns", "delete", namespace])


def _serve_boot_files(tftp: Path) -> list[str]:
    return [
        *("--enable-tftp", f"--tftp-root={tftp}", "--dhcp-match=set:ipxe,175"),
        *("--dhcp-boot=tag:!ipxe,ec-ipxe.efi", "--dhcp-boot=tag:ipxe,autoexec.ipxe"),
    ]
