"""A network for the probe: a switch; a router, a boot host, another one and a client, each a namespace."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from support.guests import wait_until
from support.lan import run
from support.needs import give_up, require_tool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROUTER, BOOT, OTHER, CLIENT = (f"192.168.77.{last}" for last in (1, 2, 3, 4))
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
        common = ["port=0", "interface=eth0", "bind-interfaces", "no-ping", "user=root", "log-facility=-"]
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
        self.start_dnsmasq(
            "router", "dhcp-authoritative", "dhcp-range=192.168.77.10,192.168.77.99,5m", *options
        )

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
    if os.geteuid() != 0:
        pytest.skip("NEEDS ROOT: makes network namespaces")
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
