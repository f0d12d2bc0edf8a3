"""What a guest reaches from the built units on a real systemd: of the host's loopback, and past the host.

The guest is iPXE, and its boot script tries the addresses; each service writes down who came.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.activation import Hosts, build_hosts
from support.guests import require_qemu
from support.hosts import merge
from support.machine import Machine
from support.machine_image import find_image
from support.machine_nspawn import boot_nspawn
from support.machine_store import build_store
from support.unit_cases import CASES

pytestmark = [pytest.mark.nix, pytest.mark.qemu, pytest.mark.timeout(1200)]

CASE = CASES["ipxe-qemu"]
UNIT, FILTER = CASE.unit, f"{CASE.unit}-loopback"
OUTSIDE = "192.168.77.9"

TRIED = {
    "loopback": ("tcp", "127.0.0.1", 9001),
    "loopback-udp": ("udp", "127.0.0.1", 9001),
    "loopback-other": ("tcp", "127.9.9.9", 9001),
    "outside": ("tcp", OUTSIDE, 9001),
}
"""Services by name: protocol, address, port."""

# 10.0.2.2 is 127.0.0.1 to QEMU; other addresses of the loopback it takes as they are.
URLS = {
    "loopback": "http://10.0.2.2:9001/loopback",
    "loopback-udp": "tftp://10.0.2.2:9001/loopback-udp",
    "loopback-other": "http://127.9.9.9:9001/loopback-other",
    "outside": f"http://{OUTSIDE}:9001/outside",
}
SCRIPT = "".join(
    [
        "#!ipxe\n",
        *(f"imgfetch --timeout 5000 {url} ||\n" for url in URLS.values()),
        "imgfetch tried ||\nshell\n",
    ]
)

# Writes a line for whoever comes to it, and refuses them.
SERVICE = """
import socket, sys
kind = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}[sys.argv[1]]
server = socket.socket(socket.AF_INET, kind)
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.bind((sys.argv[2], int(sys.argv[3])))
if sys.argv[1] == "tcp":
    server.listen()
while True:
    if sys.argv[1] == "tcp":
        server.accept()[0].close()
    else:
        server.recv(2048)
    print("CAME", flush=True)
"""

TRY = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), 10)
    print("yes")
except OSError as error:
    print(error.strerror)
"""


@dataclass(frozen=True)
class Host:
    """A machine with the services that a guest tries to reach."""

    machine: Machine
    hosts: Hosts

    def came(self, name: str) -> int:
        """How often somebody came to a service."""
        return self.machine.journal(f"try-{name}").splitlines().count("CAME")

    def reached(self, config: str) -> set[str]:
        """Which of the services the guest of a host reaches, once it has tried all of them."""
        before = {name: self.came(name) for name in TRIED}
        self.hosts.activate(self.machine, config)
        self.wait_tried()
        return {name for name in TRIED if self.came(name) > before[name]}

    def wait_tried(self) -> None:
        """Until the guest of this run has come to the end of its script."""

        def has_tried() -> bool:
            return any(
                entry["event"] == "request" and entry["path"] == "/tried"
                for entry in self.machine.entries(UNIT, this_run=True)
            )

        self.machine.wait(has_tried, "the guest's tries", unit=UNIT)

    def try_as_guest(self, port: int) -> str:
        """What the guest's user gets that connects to a port of 127.0.0.1."""
        uid = self.machine.run("id", "--user", UNIT).strip()
        as_guest = ["setpriv", f"--reuid={uid}", "--regid=65534", "--clear-groups", "--"]
        return self.machine.run(*as_guest, "python3", "-c", TRY, "127.0.0.1", str(port)).strip()

    def tables(self) -> str:
        return self.machine.run("nft", "list", "tables").strip()

    def show(self, unit: str, name: str) -> str:
        return self.machine.show(unit, name)[name]


def move_nft(machine: Machine, before: str, after: str) -> None:
    machine.run("mv", f"/usr/bin/nft{before}", f"/usr/bin/nft{after}")
    machine.run("mv", f"/usr/sbin/nft{before}", f"/usr/sbin/nft{after}", check=False)


@pytest.fixture(scope="module")
def host(
    nixpkgs: Path, nix_env: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Host]:
    require_qemu()
    directory = tmp_path_factory.mktemp("loopback")

    def configure(options: Mapping[str, object]) -> dict[str, object]:
        return merge(dict(CASE.config), {"services": {"every-channel": {"ipxe-qemu": options}}})

    hosts = build_hosts(
        {
            "boot-server": configure({}),
            "all": configure({"boot": {"userNet": {"hostLoopback": "all"}}}),
            "chained": configure({"boot": {"chainUrl": "http://10.0.2.2:9001/netboot.ipxe"}}),
        },
        nixpkgs=nixpkgs,
        nix_env=nix_env,
    )
    store = build_store(directory, [hosts.path], nix_env)
    with boot_nspawn(directory, find_image(), store) as machine:
        machine.write("/etc/chain-token", CASE.files["0600 /etc/chain-token"], mode="0600")
        machine.write("/srv/netboot/netboot.ipxe", SCRIPT)
        machine.run("systemctl", "start", "network-online.target")
        # The other end of the machine's LAN becomes another machine.
        machine.run("ip", "netns", "add", "outside")
        machine.run("ip", "link", "set", "lan1", "netns", "outside")
        machine.run("ip", "-n", "outside", "address", "add", f"{OUTSIDE}/24", "dev", "lan1")
        machine.run("ip", "-n", "outside", "link", "set", "lan1", "up")
        machine.write("/usr/lib/try_service.py", SERVICE)
        for name, (protocol, address, port) in TRIED.items():
            enter = ["ip", "netns", "exec", "outside"] if name == "outside" else []
            argv = [*enter, "python3", "/usr/lib/try_service.py", protocol, address, str(port)]
            machine.run("systemd-run", f"--unit=try-{name}", *argv)
        yield Host(machine, hosts)


def test_a_guest_reaches_the_boot_server_and_the_outside_and_nothing_else_of_the_loopback(host: Host) -> None:
    assert host.reached("boot-server") == {"outside"}
    assert host.show(UNIT, "NRestarts") == "0"
    assert host.try_as_guest(9001) == "Connection refused"
    assert host.try_as_guest(8080) == "yes"
    # Nobody else is kept from anything.
    assert host.machine.run("python3", "-c", TRY, "127.0.0.1", "9001").strip() == "yes"


def test_the_rules_outlive_a_flush_of_all_rules(host: Host) -> None:
    tables = host.tables()
    host.machine.run("nft", "flush", "ruleset")
    assert host.tables() == tables
    assert host.try_as_guest(9001) == "Connection refused"


def test_after_the_death_of_the_runner_the_guest_is_kept_from_the_loopback_again(host: Host) -> None:
    before = host.came("loopback")
    host.machine.run("kill", "-KILL", host.show(UNIT, "MainPID"))
    host.machine.wait(lambda: host.show(UNIT, "NRestarts") == "1", "a restart", unit=UNIT)
    host.machine.wait_active(UNIT)
    host.wait_tried()
    assert host.came("loopback") == before


def test_a_filter_that_dies_comes_back_and_the_guest_runs_on(host: Host) -> None:
    guest, filtering = host.show(UNIT, "InvocationID"), host.show(FILTER, "InvocationID")
    host.machine.run("kill", "-KILL", host.show(FILTER, "MainPID"))
    host.machine.wait(lambda: host.show(FILTER, "InvocationID") != filtering, "another filter", unit=FILTER)
    host.machine.wait_active(FILTER)
    assert host.try_as_guest(9001) == "Connection refused"
    assert host.show(UNIT, "InvocationID") == guest


def test_a_filter_that_cannot_be_loaded_for_a_while_is_tried_until_it_can(host: Host) -> None:
    machine, guest = host.machine, host.show(UNIT, "InvocationID")
    move_nft(machine, "", ".away")
    before = int(host.show(FILTER, "NRestarts"))
    machine.run("kill", "-KILL", host.show(FILTER, "MainPID"))
    # More often than systemd does by default within ten seconds.
    machine.wait(lambda: int(host.show(FILTER, "NRestarts")) >= before + 7, "seven tries", unit=FILTER)
    move_nft(machine, ".away", "")
    machine.wait_active(FILTER)
    assert host.try_as_guest(9001) == "Connection refused"
    assert host.show(UNIT, "InvocationID") == guest


def test_stopped_it_leaves_no_rules(host: Host) -> None:
    assert host.tables()
    host.machine.run("systemctl", "stop", UNIT)
    host.machine.wait(lambda: host.tables() == "", "no tables", unit=FILTER)
    assert host.show(FILTER, "Result") == "success"


def test_without_the_filter_the_guest_does_not_start_and_says_why(host: Host) -> None:
    machine = host.machine
    move_nft(machine, "", ".away")
    machine.run("systemctl", "start", UNIT, check=False)
    assert host.show(UNIT, "ActiveState") != "active"
    said = machine.journal(UNIT)
    assert "the guest can reach every service on this host's loopback" in said
    assert "nft: program not found" in machine.journal(FILTER)
    move_nft(machine, ".away", "")
    machine.wait(lambda: host.show(UNIT, "ActiveState") == "active", "the guest", unit=UNIT)


def test_the_port_of_a_chain_url_on_this_host_is_open(host: Host) -> None:
    before = host.came("loopback")
    host.hosts.activate(host.machine, "chained")
    host.machine.wait(lambda: host.came("loopback") > before, "a request at the chain URL", unit=UNIT)
    assert host.try_as_guest(9001) == "yes"


def test_with_all_it_reaches_all(host: Host) -> None:
    assert host.reached("all") == set(TRIED)
    assert host.show(FILTER, "LoadState") == "not-found"
    assert host.tables() == ""


def test_the_service_has_bounds(host: Host) -> None:
    shown = host.machine.show(UNIT, "MemoryMax", "TasksMax")
    assert shown == {"MemoryMax": str((128 + 32 + 1536) << 20), "TasksMax": str(1 + 256)}
