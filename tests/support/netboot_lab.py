"""A network to boot machines on: a bridge, its DHCP authority and a boot host, in namespaces of their own.

lab.switch   the bridge, and the taps of the machines
lab.router   192.168.77.1: leases, and the boot options that somebody set in it (UniFi's "Network Boot")
lab.boot     192.168.77.2: for ``ectools netboot serve``
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import secrets
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from support.guests import wait_until
from support.needs import give_up, require_tool
from support.netboot_clients import Plug

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

SUBNET = "192.168.77"
NETWORK = f"{SUBNET}.0/24"
ROUTER_IP = f"{SUBNET}.1"
BOOT_IP = f"{SUBNET}.2"
LAB_BRIDGE = "bridge"


@dataclass
class Lab:
    """The namespaces' names; ``directory`` holds logs and leases."""

    directory: Path
    tag: str = field(default_factory=lambda: secrets.token_hex(3))
    _taps: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    @property
    def switch(self) -> str:
        return f"ec-switch-{self.tag}"

    @property
    def router(self) -> str:
        return f"ec-router-{self.tag}"

    @property
    def boot(self) -> str:
        return f"ec-boot-{self.tag}"

    def inside(self, namespace: str) -> list[str]:
        """Runs a command in a namespace."""
        return ["ip", "netns", "exec", namespace]

    def ip(self, namespace: str, *words: str) -> str:
        return run(["ip", "-netns", namespace, *words])

    def add_bridge(self, name: str) -> None:
        self.ip(self.switch, "link", "add", name, "type", "bridge", "forward_delay", "0", "stp_state", "0")
        self.ip(self.switch, "link", "set", name, "up")

    def add_plug(self, bridge: str = LAB_BRIDGE) -> Plug:
        """A new tap on a bridge, for one machine."""
        name = f"tap{next(self._taps)}"
        self.ip(self.switch, "tuntap", "add", name, "mode", "tap")
        self.ip(self.switch, "link", "set", name, "master", bridge, "up")
        netdev = f"tap,ifname={name},script=no,downscript=no"
        return Plug(netdev=netdev, wrapper=tuple(self.inside(self.switch)), tap=name)

    def count_received(self) -> dict[str, int]:
        """Tap → bytes that the machine behind it has been sent."""
        links = json.loads(self.ip(self.switch, "-json", "-statistics", "link", "show"))
        return {link["ifname"]: link["stats64"]["tx"]["bytes"] for link in links}

    def find_address(self, mac: str) -> str | None:
        """The address that the router leased to a card."""
        leases = self.directory / "leases"
        lines = leases.read_text().splitlines() if leases.exists() else []
        return next((line.split()[2] for line in lines if line.split()[1] == mac), None)

    @property
    def router_log(self) -> str:
        """What the router's dnsmasq logged."""
        return (self.directory / "router.log").read_text()


def run(argv: Sequence[str]) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (argv, done.stderr)
    return done.stdout


@contextlib.contextmanager
def build_netboot_lab(directory: Path, *, boot_file: str | None = None, leases: bool = True) -> Iterator[Lab]:
    """The network, up and with DHCP, for the length of the block. Takes root.

    ``boot_file``: the router names the boot host (siaddr) and this file to every client, as UniFi's "Network
    Boot" does; None: it gives leases alone. ``leases``: whether it has a DHCP server.
    """
    if os.geteuid() != 0:
        pytest.skip("NEEDS ROOT: makes network namespaces")
    require_tool("ip", "install iproute2")
    dnsmasq = require_tool("dnsmasq", "install dnsmasq (Debian: dnsmasq-base)")
    lab = Lab(directory)
    with contextlib.ExitStack() as stack:
        for namespace in (lab.switch, lab.router, lab.boot):
            made = subprocess.run(
                ["ip", "netns", "add", namespace], capture_output=True, text=True, check=False
            )
            if made.returncode != 0:
                give_up(f"network namespaces cannot be made: {made.stderr.strip()}")
            stack.callback(subprocess.run, ["ip", "netns", "delete", namespace], check=False)
            lab.ip(namespace, "link", "set", "lo", "up")
        lab.add_bridge(LAB_BRIDGE)
        for namespace, address in ((lab.router, ROUTER_IP), (lab.boot, BOOT_IP)):
            port = namespace[3:9].rstrip("-")
            lab.ip(
                lab.switch, "link", "add", port, "type", "veth", "peer", "name", "lan0", "netns", namespace
            )
            lab.ip(lab.switch, "link", "set", port, "master", LAB_BRIDGE, "up")
            lab.ip(namespace, "address", "add", f"{address}/24", "dev", "lan0")
            lab.ip(namespace, "link", "set", "lan0", "up")
        lab.ip(lab.router, "address", "add", "fd77::1/64", "dev", "lan0", "nodad")
        if leases:
            stack.enter_context(_run_router(lab, dnsmasq, boot_file))
        yield lab


@contextlib.contextmanager
def _run_router(lab: Lab, dnsmasq: str, boot_file: str | None) -> Iterator[None]:
    pid_file = lab.directory / "router.pid"
    argv = [
        *(*lab.inside(lab.router), dnsmasq, "--keep-in-foreground", "--conf-file=/dev/null", "--port=0"),
        *("--interface=lan0", "--bind-interfaces", "--dhcp-authoritative", "--no-ping", "--log-dhcp"),
        *(f"--dhcp-range={SUBNET}.100,{SUBNET}.199,10m", f"--dhcp-option=option:router,{ROUTER_IP}"),
        *(f"--dhcp-leasefile={lab.directory / 'leases'}", f"--pid-file={pid_file}", "--user=root"),
        # Without IPv6 in the network, iPXE of 2019 waits for it, each time that it configures its card.
        *("--enable-ra", "--dhcp-range=fd77::,ra-only"),
        f"--log-facility={lab.directory / 'router.log'}",
        *([] if boot_file is None else [f"--dhcp-boot={boot_file},,{BOOT_IP}"]),
    ]
    process = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: pid_file.exists() or process.poll() is not None, "the router's dnsmasq runs")
        if process.poll() is not None:
            assert process.stderr is not None
            pytest.fail(f"the router's dnsmasq: {process.stderr.read()}")
        yield
    finally:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()
