"""Further networks beside a lab's: their machines get leases and a gateway, and no way to the boot host.

ec-NAME-TAG   SUBNET.1: leases, boot files over TFTP; it forwards nothing. With a web, it answers in the boot
              host's place
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from support.guests import wait_until
from support.needs import require_tool
from support.netboot_lab import BOOT_IP, Lab, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SILENT_BRIDGE = "silent"
"""A bridge on which nobody answers, beside the networks."""


@dataclass(frozen=True)
class StrayNetwork:
    """``name`` is its bridge's in the lab's switch; ``number`` tells it from others."""

    name: str
    number: int

    @property
    def subnet(self) -> str:
        return f"192.168.{self.number}"


STRAY, PORTAL = StrayNetwork("stray", 99), StrayNetwork("portal", 98)


@contextlib.contextmanager
def build_stray_network(
    lab: Lab, network: StrayNetwork, directory: Path, *, tftp: Path, web: Path | None = None
) -> Iterator[None]:
    """The network, up for the length of the block.

    ``tftp``: a directory of boot files; UEFI machines are given its ``ec-ipxe.efi``, an iPXE its script.
    ``web``: what is served at the boot host's address and port; without it, what is sent there is lost.
    """
    name, subnet = network.name, network.subnet
    namespace = f"ec-{name}-{lab.tag}"
    lab.add_bridge(name)
    run(["ip", "netns", "add", namespace])
    with contextlib.ExitStack() as stack:
        stack.callback(run, ["ip", "netns", "delete", namespace])
        port = ["link", "add", f"{name}port", "type", "veth", "peer", "name", "lan0", "netns", namespace]
        lab.ip(lab.switch, *port)
        lab.ip(lab.switch, "link", "set", f"{name}port", "master", name, "up")
        lab.ip(namespace, "link", "set", "lo", "up")
        lab.ip(namespace, "address", "add", f"{subnet}.1/24", "dev", "lan0")
        # Without IPv6 in the network, iPXE of 2019 waits for it, each time that it configures its card.
        lab.ip(namespace, "address", "add", f"fd{network.number}::1/64", "dev", "lan0", "nodad")
        lab.ip(namespace, "link", "set", "lan0", "up")
        if web is None:
            # Dropped, not refused.
            lab.ip(namespace, "route", "add", "blackhole", f"{BOOT_IP}/32")
        else:
            lab.ip(namespace, "address", "add", f"{BOOT_IP}/32", "dev", "lo")
            server = ["-m", "http.server", "8080", "--bind", BOOT_IP, "--directory", str(web)]
            stack.enter_context(_run_until_end([*lab.inside(namespace), sys.executable, *server]))
        pid_file = directory / f"{name}.pid"
        dnsmasq = require_tool("dnsmasq", "install dnsmasq (Debian: dnsmasq-base)")
        argv = [
            *(*lab.inside(namespace), dnsmasq, "--keep-in-foreground", "--conf-file=/dev/null", "--port=0"),
            *("--interface=lan0", "--bind-interfaces", "--dhcp-authoritative", "--no-ping", "--user=root"),
            *(f"--dhcp-range={subnet}.100,{subnet}.199,10m", f"--pid-file={pid_file}", "--log-dhcp"),
            *(f"--dhcp-leasefile={directory / name}.leases", f"--log-facility={directory / name}.log"),
            *("--enable-ra", f"--dhcp-range=fd{network.number}::,ra-only"),
            *("--enable-tftp", f"--tftp-root={tftp}", "--dhcp-match=set:ipxe,175"),
            *("--dhcp-boot=tag:!ipxe,ec-ipxe.efi", "--dhcp-boot=tag:ipxe,autoexec.ipxe"),
        ]
        process = stack.enter_context(_run_until_end(argv))
        wait_until(lambda: pid_file.exists() or process.poll() is not None, f"the dnsmasq of {name} runs")
        yield


@contextlib.contextmanager
def _run_until_end(argv: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    nowhere = subprocess.DEVNULL
    process = subprocess.Popen(argv, stdin=nowhere, stdout=nowhere, stderr=nowhere)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
