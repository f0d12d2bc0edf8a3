"""A LAN in two network namespaces: the host with its interface, and a router with a DHCP server."""

from __future__ import annotations

import contextlib
import json
import secrets
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from support.guests import wait_until
from support.needs import give_up, require_root, require_tool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SUBNET = "192.168.77"


@dataclass(frozen=True)
class Lan:
    """``host`` and ``router`` are the namespaces' names; the host's interface is ``uplink``."""

    host: str
    router: str
    leases: Path
    uplink: str = "uplink"

    @property
    def wrapper(self) -> list[str]:
        """Runs a command in the host's namespace."""
        return ["ip", "netns", "exec", self.host]

    def ip(self, *words: str, namespace: str | None = None) -> str:
        return run(["ip", "-netns", namespace or self.host, *words])

    def link(self, name: str) -> dict[str, Any] | None:
        """``ip -json -details link`` of a link in the host's namespace; None where it is not there."""
        links = json.loads(self.ip("-json", "-details", "link", "show") or "[]")
        return next((link for link in links if link["ifname"] == name), None)

    def macs(self) -> list[str]:
        """The hardware addresses that the DHCP server gave a lease."""
        return (
            [line.split()[1] for line in self.leases.read_text().splitlines()] if self.leases.exists() else []
        )


def run(argv: list[str]) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (argv, done.stderr)
    return done.stdout


@contextlib.contextmanager
def build_lan(directory: Path) -> Iterator[Lan]:
    """The namespaces, up and with a DHCP server, for the length of the block."""
    require_root("makes network namespaces")
    require_tool("ip", "install iproute2")
    dnsmasq = require_tool("dnsmasq", "install dnsmasq (Debian: dnsmasq-base)")
    tag = secrets.token_hex(4)
    lan = Lan(f"ec-host-{tag}", f"ec-router-{tag}", directory / "leases")
    with contextlib.ExitStack() as stack:
        for namespace in (lan.host, lan.router):
            made = subprocess.run(
                ["ip", "netns", "add", namespace], capture_output=True, text=True, check=False
            )
            if made.returncode != 0:
                give_up(f"network namespaces cannot be made: {made.stderr.strip()}")
            stack.callback(subprocess.run, ["ip", "netns", "delete", namespace], check=False)
            lan.ip("link", "set", "lo", "up", namespace=namespace)
        lan.ip("link", "add", lan.uplink, "type", "veth", "peer", "name", "port", "netns", lan.router)
        lan.ip("link", "set", lan.uplink, "up")
        lan.ip("address", "add", f"{SUBNET}.1/24", "dev", "port", namespace=lan.router)
        lan.ip("link", "set", "port", "up", namespace=lan.router)
        probe = ["link", "add", "link", lan.uplink, "name", "probe", "type", "macvtap"]
        if (
            subprocess.run(["ip", "-netns", lan.host, *probe], capture_output=True, check=False).returncode
            != 0
        ):
            give_up("this kernel has no macvtap (modprobe macvtap)")
        lan.ip("link", "delete", "probe")
        server = subprocess.Popen(
            [
                *[
                    "ip",
                    "netns",
                    "exec",
                    lan.router,
                    dnsmasq,
                    "--keep-in-foreground",
                    "--conf-file=/dev/null",
                ],
                *["--port=0", "--interface=port", "--bind-interfaces", "--dhcp-authoritative", "--no-ping"],
                *[f"--dhcp-range={SUBNET}.10,{SUBNET}.99,5m", f"--dhcp-leasefile={lan.leases}"],
                *[f"--pid-file={directory / 'dnsmasq.pid'}", "--user=root", "--log-facility=-"],
            ],
            stderr=subprocess.PIPE,
            text=True,
        )
        stack.callback(server.wait)
        stack.callback(server.kill)
        wait_until(lambda: (directory / "dnsmasq.pid").exists() or server.poll() is not None, "dnsmasq runs")
        if server.poll() is not None:
            assert server.stderr is not None
            pytest.fail(f"dnsmasq: {server.stderr.read()}")
        yield lan
