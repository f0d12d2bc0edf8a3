"""What is in a boot host's way, on a host where it is: nftables, and a second dnsmasq; libvirt's is not."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.boot_binaries import build_ipxe
from support.guests import wait_until
from support.needs import require_tool
from support.netboot_lab import BOOT_IP, NETWORK, Lab, build_netboot_lab

pytestmark = [pytest.mark.netns, pytest.mark.timeout(300)]

ECTOOLS = [sys.executable, "-m", "ectools.cli.main"]
RULES = """
table inet filter {
  chain input {
    type filter hook input priority 0; policy drop;
    ct state established,related accept
    iifname "lo" accept
    tcp dport 22 accept
    %s
  }
}
"""


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with build_netboot_lab(tmp_path, leases=False) as lab:
        yield lab


@pytest.fixture
def config(tmp_path: Path) -> Path:
    file = tmp_path / "netboot.json"
    settings = {
        "listenIP": BOOT_IP,
        "hostname": BOOT_IP,
        "stateDir": str(tmp_path / "state"),
        "proxyDhcp": {"enable": True, "subnet": NETWORK},
        # The kernel's are those of the machine that runs the tests.
        "tftp": {"receiveBuffer": None},
        "maxNeighbours": None,
    }
    file.write_text(json.dumps(settings))
    return file


def check(lab: Lab, config: Path) -> list[str]:
    """The warnings of ``serve --check``, which is content with the settings."""
    argv = [*lab.inside(lab.boot), *ECTOOLS, "netboot", "serve", "--check", "--config", str(config)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "the settings can be used" in done.stderr
    return [line for line in done.stderr.splitlines() if line.startswith("warning: ")]


def examine(lab: Lab, config: Path) -> dict[str, str]:
    """What ``doctor netboot`` finds: name → state."""
    argv = [*lab.inside(lab.boot), *ECTOOLS, "doctor", "netboot", "--json", "--config", str(config)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    return {finding["name"]: finding["state"] for finding in json.loads(done.stdout)}


@contextlib.contextmanager
def run_dnsmasq(lab: Lab, directory: Path, *arguments: str) -> Iterator[None]:
    """A dnsmasq on the boot host that is not its own, once it has its ports."""
    dnsmasq = require_tool("dnsmasq", "install dnsmasq (Debian: dnsmasq-base)")
    pid_file = directory / "other.pid"
    argv = [*lab.inside(lab.boot), dnsmasq, "--keep-in-foreground", "--conf-file=/dev/null", "--port=0"]
    files = [f"--pid-file={pid_file}", f"--dhcp-leasefile={directory / 'other.leases'}", "--user=root"]
    process = subprocess.Popen([*argv, *files, *arguments], stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: pid_file.exists() or process.poll() is not None, "the other dnsmasq runs")
        assert process.poll() is None
        yield
    finally:
        process.kill()
        process.wait()


def test_a_firewall_that_lets_no_client_in(lab: Lab, config: Path) -> None:
    nft = require_tool("nft", "install nftables")

    def load(rule: str) -> None:
        argv = [*lab.inside(lab.boot), nft, "-f", "-"]
        subprocess.run(argv, input="flush ruleset\n" + RULES % rule, text=True, check=True)

    assert check(lab, config) == []
    load("")
    (warning,) = check(lab, config)
    assert "inet filter input" in warning
    assert warning.endswith("none lets in TCP 8080, UDP 69, UDP 67, UDP 4011")
    assert examine(lab, config)["firewall"] == "limited"
    load(f"ip saddr {NETWORK} udp dport {{ 67, 69, 4011 }} accept\ntcp dport 8000-8100 accept")
    assert check(lab, config) == []
    load("udp dport { 67, 69 } accept\ntcp dport 8080 accept")
    assert check(lab, config)[0].endswith("lets in UDP 4011")


def test_a_second_dnsmasq_that_hears_the_same_clients(lab: Lab, config: Path, tmp_path: Path) -> None:
    with run_dnsmasq(lab, tmp_path, "--dhcp-range=192.168.77.50,192.168.77.60", "--interface=lan0"):
        (warning,) = check(lab, config)
        assert "dnsmasq has UDP 0.0.0.0:67" in warning
        found = examine(lab, config)
        assert (found["another server"], found["port 67/udp"]) == ("limited", "limited")


def test_libvirts_dnsmasq_on_its_own_bridge_is_no_fault(lab: Lab, config: Path, tmp_path: Path) -> None:
    lab.ip(lab.boot, "link", "add", "virbr0", "type", "bridge")
    lab.ip(lab.boot, "address", "add", "192.168.122.1/24", "dev", "virbr0")
    lab.ip(lab.boot, "link", "set", "virbr0", "up")
    # What libvirt writes to /var/lib/libvirt/dnsmasq/default.conf, with TFTP, which a network may have.
    arguments = ["--strict-order", "--except-interface=lo", "--bind-dynamic", "--interface=virbr0"]
    ranges = ["--dhcp-range=192.168.122.2,192.168.122.254", "--dhcp-no-override", "--dhcp-authoritative"]
    with run_dnsmasq(lab, tmp_path, *arguments, *ranges, "--enable-tftp", f"--tftp-root={tmp_path}"):
        assert check(lab, config) == []
        found = examine(lab, config)
        assert "another server" not in found
        assert {found[f"port {port}/udp"] for port in (67, 69, 4011)} == {"ok"}
        # And the boot server does start beside it.
        (tmp_path / "state/tftp").mkdir(parents=True)
        (tmp_path / "state/tftp/ec-ipxe.efi").write_bytes(build_ipxe())
        (tmp_path / "state/tftp/autoexec.ipxe").write_text("#!ipxe\n")
        argv = [*lab.inside(lab.boot), *ECTOOLS, "netboot", "serve", "--config", str(config), "--json"]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as server:
            try:
                assert server.stdout is not None
                assert json.loads(server.stdout.readline() or "{}").get("ip") == BOOT_IP
                assert check(lab, config) == [], "its own dnsmasq is no other server"
            finally:
                server.terminate()
                _, said = server.communicate(timeout=60)
                assert server.returncode == 0, said
