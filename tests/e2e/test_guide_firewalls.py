"""The guide's nftables rules on a router that filters between the machines' network and the boot host's.

TFTP's answer comes from a port of its own (RFC 1350, section 4): to a stateful firewall, a new flow.
"""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.guests import wait_until
from support.needs import give_up, require_root, require_tool
from support.netboot_lab import run

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.netns]

GUIDE = Path(__file__).parents[2] / "docs/NUC_UNIFI_NETBOOT.md"
HELPER, STATIC = re.findall(r"```nft\n(.*?)```", GUIDE.read_text(), re.DOTALL)
BOOT, MACHINE = "192.0.2.10", "198.51.100.77"

# What the guide takes for given on such a router; and counters of answers that reach it, and that leave it.
STATEFUL = f"""
table inet filter {{
  chain forward {{
    type filter hook forward priority filter; policy drop;
    ct state established,related accept
    ip daddr {BOOT} udp dport 69 accept
    ip daddr {BOOT} tcp dport 8080 accept
  }}
}}
table inet lab {{
  counter reached {{ }}
  counter left {{ }}
  chain prerouting {{
    type filter hook prerouting priority 10;
    ip saddr {BOOT} meta l4proto udp counter name reached
  }}
  chain postrouting {{
    type filter hook postrouting priority 10;
    ip saddr {BOOT} meta l4proto udp counter name left
  }}
}}
"""
# Asks for a file as firmware does, and says how the answer begins.
READ = f"""
import socket
endpoint = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
endpoint.settimeout(60)
endpoint.sendto(b"\\0\\1ec-ipxe.efi\\0octet\\0", ("{BOOT}", 69))
answer, (host, port) = endpoint.recvfrom(2048)
print(host, port != 69, answer[:4].hex(), answer[4:].decode())
"""


class FilteringRouter:
    """Namespaces in a row: a machine, a router that filters, a boot host with TFTP."""

    def __init__(self, stack: contextlib.ExitStack, directory: Path) -> None:
        tag = secrets.token_hex(3)
        self.machine, self.router, self.boot = (f"ec-{name}-{tag}" for name in ("machine", "filter", "boot"))
        for namespace in (self.machine, self.router, self.boot):
            made = subprocess.run(
                ["ip", "netns", "add", namespace], capture_output=True, text=True, check=False
            )
            if made.returncode != 0:
                give_up(f"network namespaces cannot be made: {made.stderr.strip()}")
            stack.callback(subprocess.run, ["ip", "netns", "delete", namespace], check=False)
        for namespace, port, address in (
            (self.machine, "machines", MACHINE),
            (self.boot, "servers", BOOT),
        ):
            gateway = address.rpartition(".")[0] + ".1"
            own = ["ip", "-netns", namespace]
            run([*own, "link", "add", "lan0", "type", "veth", "peer", "name", port, "netns", self.router])
            run([*own, "address", "add", f"{address}/24", "dev", "lan0"])
            run([*own, "link", "set", "lan0", "up"])
            run(["ip", "-netns", self.router, "address", "add", f"{gateway}/24", "dev", port])
            run(["ip", "-netns", self.router, "link", "set", port, "up"])
            run([*own, "route", "add", "default", "via", gateway])
        run([*self.inside(self.router), "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward"])
        self.load_rules(STATEFUL)
        self._serve(stack, directory)

    @staticmethod
    def inside(namespace: str) -> list[str]:
        return ["ip", "netns", "exec", namespace]

    def _serve(self, stack: contextlib.ExitStack, directory: Path) -> None:
        (directory / "ec-ipxe.efi").write_text("the binary")
        pid_file = directory / "pid"
        argv = ["dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--port=0", "--user=root"]
        argv += ["--enable-tftp", f"--tftp-root={directory}", f"--pid-file={pid_file}", "--log-facility=-"]
        process = stack.enter_context(
            subprocess.Popen([*self.inside(self.boot), *argv], stderr=subprocess.DEVNULL)
        )
        stack.callback(process.kill)
        wait_until(pid_file.exists, "TFTP is served")

    def load_rules(self, rules: str) -> None:
        argv = [*self.inside(self.router), "nft", "--file", "-"]
        done = subprocess.run(argv, input=rules, capture_output=True, text=True, check=False)
        if "No such file or directory" in done.stderr and "ct helper" in rules:
            give_up("this kernel has no connection tracking of TFTP (nf_conntrack_tftp)")
        assert done.returncode == 0, done.stderr

    def count(self, name: str) -> int:
        """Packets from the boot host that the router has seen, on their way in or on their way out."""
        listed = run([*self.inside(self.router), "nft", "--json", "list", "counter", "inet", "lab", name])
        (counter,) = (each["counter"] for each in json.loads(listed)["nftables"] if "counter" in each)
        return int(counter["packets"])

    def start_reading(self) -> subprocess.Popen[str]:
        argv = [*self.inside(self.machine), sys.executable, "-c", READ]
        return subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)

    def read(self) -> str:
        with self.start_reading() as reader:
            return reader.communicate(timeout=90)[0]


@pytest.fixture
def network(tmp_path: Path) -> Iterator[FilteringRouter]:
    require_root("makes network namespaces")
    require_tool("dnsmasq", "install dnsmasq (Debian: dnsmasq-base)")
    require_tool("nft", "install nftables")
    with contextlib.ExitStack() as stack:
        yield FilteringRouter(stack, tmp_path)


def test_without_a_rule_the_answer_gets_as_far_as_the_router(network: FilteringRouter) -> None:
    with network.start_reading() as reader:
        try:
            wait_until(lambda: network.count("reached") > 0, "the boot host answers")
            assert network.count("left") == 0
        finally:
            reader.kill()


@pytest.mark.parametrize("rules", [HELPER, STATIC], ids=["helper", "static"])
def test_each_way_out_of_the_guide_lets_the_answer_through(network: FilteringRouter, rules: str) -> None:
    network.load_rules(rules)
    assert network.read() == f"{BOOT} True 00030001 the binary\n"
