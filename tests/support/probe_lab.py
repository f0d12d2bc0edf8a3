"""A network for the probe: a switch; a router, a boot host, another one and a client, each a namespace."""

from __future__ import annotations

import contextlib
import json
import secrets
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from support.guests import wait_until
from support.lan import run
from support.needs import give_up, require_root, require_tool
from support.netboot_clients import Plug

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROUTER, BOOT, OTHER, CLIENT = (f"192.168.77.{last}" for last in (1, 2, 3, 4))
FAR_ROUTER, FAR_CLIENT = "192.168.88.1", "192.168.88.4"
"""Of the network that a client can be moved to, behind a router."""
PORT = 8123
WEB = f"http://{BOOT}:{PORT}"
ECTOOLS = [sys.executable, "-m", "ectools.cli.main"]
SECONDS = 1.5
"""The probe's window: local servers answer at once, and a loaded machine within it."""


@dataclass(frozen=True)
class Probed:
    """What the probe said: its status, its JSON (None where it printed none), its standard error."""

    status: int
    report: dict[str, Any] | None
    errors: str

    @property
    def codes(self) -> set[str]:
        """The faults that are errors."""
        return {fault["code"] for fault in self._faults() if fault["severity"] == "error"}

    @property
    def warnings(self) -> set[str]:
        return {fault["code"] for fault in self._faults() if fault["severity"] == "warning"}

    def fault(self, code: str) -> dict[str, Any]:
        """The first fault of a code."""
        return next(fault for fault in self._faults() if fault["code"] == code)

    def outcome(self, number: int) -> str:
        return str(self.architecture(number)["outcome"])

    def architecture(self, number: int) -> dict[str, Any]:
        assert self.report is not None, self.errors
        found: dict[str, Any] = next(
            each for each in self.report["architectures"] if each["number"] == number
        )
        return found

    def _faults(self) -> list[dict[str, Any]]:
        assert self.report is not None, self.errors
        faults: list[dict[str, Any]] = self.report["faults"]
        return faults


@dataclass
class ProbeLab:
    """``directory`` holds what the servers need: ``tftp`` and ``web`` are what the boot host serves."""

    directory: Path
    tag: str
    stack: contextlib.ExitStack
    leases: Path = field(init=False)
    _started: int = 0
    _bridge: str = "br0"

    def __post_init__(self) -> None:
        self.leases = self.directory / "leases"
        self.tftp.mkdir()
        self.web.mkdir()

    @property
    def tftp(self) -> Path:
        return self.directory / "tftp"

    @property
    def web(self) -> Path:
        return self.directory / "web"

    def namespace(self, name: str) -> str:
        return f"ec-{name}-{self.tag}"

    def inside(self, name: str) -> list[str]:
        """Runs a command in a namespace."""
        return ["ip", "netns", "exec", self.namespace(name)]

    def start_dnsmasq(self, name: str, *options: str) -> None:
        """A dnsmasq in a namespace until the test's end; ``options`` without their dashes."""
        dnsmasq = require_tool("dnsmasq", "install dnsmasq (Debian: dnsmasq-base)")
        self._started += 1
        pid_file = self.directory / f"dnsmasq-{self._started}.pid"
        common = ["interface=eth0", "bind-interfaces", "no-ping", "user=root", "log-facility=-"]
        common += [] if any(option.startswith("port=") for option in options) else ["port=0"]
        common += [f"pid-file={pid_file}", f"dhcp-leasefile={self.leases}-{self._started}"]
        words = [f"--{option}" for option in (*common, *options)]
        server = subprocess.Popen(
            [*self.inside(name), dnsmasq, "--keep-in-foreground", "--conf-file=/dev/null", *words],
            stderr=subprocess.PIPE,
            text=True,
        )
        self.stack.callback(server.wait)
        self.stack.callback(server.kill)
        wait_until(lambda: pid_file.exists() or server.poll() is not None, "dnsmasq runs")
        if server.poll() is not None:
            assert server.stderr is not None
            pytest.fail(f"dnsmasq: {server.stderr.read()}")

    def start_router(self, *options: str) -> None:
        """The network's DHCP server."""
        ranges = ("dhcp-range=192.168.77.10,192.168.77.99,5m",)
        if self._bridge != "br0":
            far = "192.168.88.10,192.168.88.99,255.255.255.0,5m"
            ranges = (*ranges, f"dhcp-range=set:far,{far}", f"dhcp-option=tag:far,3,{FAR_ROUTER}")
        self.start_dnsmasq("router", "dhcp-authoritative", *ranges, *options)

    def start_tftp(self, *options: str) -> None:
        """The boot host's TFTP server, which answers no DHCP unless ``options`` say so."""
        self.start_dnsmasq("boot", "enable-tftp", f"tftp-root={self.tftp}", *options)

    def start_proxy(self, *options: str) -> None:
        """The boot host as ProxyDHCP, with TFTP."""
        self.start_tftp("dhcp-range=192.168.77.0,proxy", "dhcp-match=set:ipxe,175", *options)

    def start_web(self) -> None:
        """The project's own HTTP server on the boot host."""
        argv = [*self.inside("boot"), *ECTOOLS, "netboot", "http", "--root", str(self.web)]
        server = subprocess.Popen(
            [*argv, "--bind-ip", BOOT, "--port", str(PORT), "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.stack.callback(server.wait)
        self.stack.callback(server.kill)
        assert server.stdout is not None
        assert json.loads(server.stdout.readline())["port"] == PORT

    def start_program(self, name: str, source: str, *arguments: str) -> None:
        """A Python program in a namespace until the test's end; it prints a line when it is ready."""
        argv = [*self.inside(name), sys.executable, "-c", source, *arguments]
        server = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        self.stack.callback(server.wait)
        self.stack.callback(server.kill)
        assert server.stdout is not None
        assert server.stdout.readline(), "the program did not start"

    def add_plug(self) -> Plug:
        """A tap on the client's network, for a machine."""
        self._started += 1
        name = f"tap{self._started}"
        switch = ["ip", "-netns", self.namespace("switch")]
        run([*switch, "tuntap", "add", name, "mode", "tap"])
        run([*switch, "link", "set", name, "master", self._bridge, "up"])
        netdev = f"tap,ifname={name},script=no,downscript=no"
        return Plug(netdev=netdev, wrapper=tuple(self.inside("switch")), tap=name)

    def move_client_behind_router(self) -> None:
        """Another network for the client; what is ``other`` on the first one routes between the two."""
        switch = ["ip", "-netns", self.namespace("switch")]
        self._bridge = "br1"
        run([*switch, "link", "add", "br1", "type", "bridge"])
        run([*switch, "link", "set", "br1", "up"])
        run([*switch, "link", "set", "client", "master", "br1"])
        peer = ["peer", "name", "far0", "netns", self.namespace("other")]
        run([*switch, "link", "add", "far", "type", "veth", *peer])
        run([*switch, "link", "set", "far", "master", "br1", "up"])
        other, client = (["ip", "-netns", self.namespace(name)] for name in ("other", "client"))
        run([*other, "address", "add", f"{FAR_ROUTER}/24", "dev", "far0"])
        run([*other, "link", "set", "far0", "up"])
        run([*self.inside("other"), "sysctl", "-qw", "net.ipv4.ip_forward=1"])
        run([*client, "address", "flush", "dev", "eth0"])
        run([*client, "address", "add", f"{FAR_CLIENT}/24", "dev", "eth0"])
        run([*client, "route", "add", "default", "via", FAR_ROUTER])
        for name in ("router", "boot"):
            run(["ip", "-netns", self.namespace(name), "route", "add", "192.168.88.0/24", "via", OTHER])

    def start_relay(self, *servers: str) -> None:
        """A DHCP relay on the router between the networks."""
        relays = [f"dhcp-relay={FAR_ROUTER},{server}" for server in servers]
        self.start_dnsmasq("other", "interface=far0", *relays)

    def start_dns(self, name: str, address: str) -> None:
        """A DNS server on the router that knows one name."""
        self.start_dnsmasq("router", "port=53", "no-resolv", "no-hosts", f"host-record={name},{address}")

    def forward_answers_alone(self, *, besides: str = "") -> None:
        """The router between the networks passes what clients begin, its answers, and ``besides``."""
        rules = "add table inet t; add chain inet t f { type filter hook forward priority 0; policy drop; }"
        rules += "; add rule inet t f ct state established,related accept"
        rules += "; add rule inet t f iifname far0 accept"
        rules += f"; add rule inet t f {besides} accept" if besides else ""
        run([*self.inside("other"), require_tool("nft", "install nftables"), rules])

    def translate_tftp(self, address: str) -> None:
        """The boot host's TFTP answers leave it from another address, as from behind a container's NAT."""
        run(["ip", "-netns", self.namespace("boot"), "address", "add", f"{address}/24", "dev", "eth0"])
        rules = "add table ip n; add chain ip n c { type nat hook postrouting priority 100; }"
        rules += f"; add rule ip n c udp sport 1024-65535 ip saddr {BOOT} snat to {address}"
        run([*self.inside("boot"), require_tool("nft", "install nftables"), rules])

    def drop(self, name: str, *, port: int) -> None:
        """A firewall in a namespace that drops what comes to a UDP port."""
        nft = require_tool("nft", "install nftables")
        run([*self.inside(name), nft, "add table inet t"])
        run([*self.inside(name), nft, "add chain inet t c { type filter hook input priority 0; }"])
        run([*self.inside(name), nft, f"add rule inet t c udp dport {port} drop"])

    def probe(
        self, *arguments: str, name: str = "client", seconds: float = SECONDS, json_: bool = True
    ) -> Probed:
        """Run the probe in a namespace."""
        words = ["netboot", "probe", "--interface", "eth0", "--timeout", str(seconds), *arguments]
        argv = [*self.inside(name), *ECTOOLS, *words, *(["--json"] if json_ else [])]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)
        assert "Traceback" not in done.stderr, done.stderr
        report = json.loads(done.stdout) if json_ and done.stdout else None
        return Probed(done.returncode, report, done.stderr if json_ else done.stdout + done.stderr)

    def leased(self) -> list[str]:
        """The leases that DHCP servers have given and not got back."""
        files = sorted(self.directory.glob("leases-*"))
        return [line for file in files for line in file.read_text().splitlines()]


@contextlib.contextmanager
def build_probe_lab(directory: Path) -> Iterator[ProbeLab]:
    """The namespaces, up and without any server, for the length of the block."""
    require_root("makes network namespaces")
    require_tool("ip", "install iproute2")
    with contextlib.ExitStack() as stack:
        lab = ProbeLab(directory, secrets.token_hex(4), stack)
        for name in ("switch", "router", "boot", "other", "client"):
            made = subprocess.run(
                ["ip", "netns", "add", lab.namespace(name)], capture_output=True, text=True, check=False
            )
            if made.returncode != 0:
                give_up(f"network namespaces cannot be made: {made.stderr.strip()}")
            stack.callback(subprocess.run, ["ip", "netns", "delete", lab.namespace(name)], check=False)
        switch = ["ip", "-netns", lab.namespace("switch")]
        run([*switch, "link", "add", "br0", "type", "bridge"])
        run([*switch, "link", "set", "br0", "up"])
        hosts = (("router", ROUTER), ("boot", BOOT), ("other", OTHER), ("client", CLIENT))
        for name, address in hosts:
            peer = ["peer", "name", "eth0", "netns", lab.namespace(name)]
            run([*switch, "link", "add", name, "type", "veth", *peer])
            run([*switch, "link", "set", name, "master", "br0", "up"])
            inside = ["ip", "-netns", lab.namespace(name)]
            run([*inside, "link", "set", "lo", "up"])
            run([*inside, "address", "add", f"{address}/24", "dev", "eth0"])
            run([*inside, "link", "set", "eth0", "up"])
        yield lab


def list_transfer_table(lab: ProbeLab) -> str:
    """The boot host's table that bounds transfers over TFTP, as nft shows it; empty: there is none."""
    table = f"every_channel_tftp_{BOOT.replace('.', '_')}"
    argv = [*lab.inside("boot"), "nft", "list", "table", "ip", table]
    return subprocess.run(argv, capture_output=True, text=True, check=False).stdout
