"""ec-netboot's built units behind the host's firewall: what it opens, and machines that boot from them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from support.activation import OFF, Hosts, build_hosts
from support.guests import require_qemu
from support.hosts import merge
from support.machine import Machine
from support.machine_image import LAN_ADDRESS, find_image
from support.machine_nspawn import boot_nspawn
from support.machine_qemu import boot_qemu
from support.machine_store import Store, build_store
from support.netboot_clients import Firmware, start_client
from support.netboot_lab import Lab, build_netboot_lab
from support.ports import find_reached
from support.unit_cases import CASES, find_files

from ectools.demo.payload import UP_MARK

pytestmark = [
    *(pytest.mark.nix, pytest.mark.qemu, pytest.mark.netns),
    pytest.mark.timeout(1200),
]

CASE = CASES["netboot"]
OTHER = "10.77.0"
"""A network that the machine is in too, on an interface that is not the clients'."""


def vary(**options: Any) -> dict[str, Any]:
    return merge(dict(CASE.config), {"services": {"every-channel": {"netboot": options}}})


HOSTS = {
    "proxy": vary(),
    "unifi": vary(proxyDhcp={"enable": False}),
    "everywhere": vary(interface=None, httpPort=8081),
    "closed": vary(openFirewall=False),
}


@pytest.fixture(scope="module")
def hosts(nixpkgs: Path, nix_env: Mapping[str, str]) -> Hosts:
    return build_hosts(HOSTS, nixpkgs=nixpkgs, nix_env=nix_env)


@pytest.fixture(scope="module")
def store(hosts: Hosts, nix_env: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory) -> Store:
    require_qemu()
    directory = tmp_path_factory.mktemp("store")
    return build_store(directory, [hosts.path], nix_env, files=find_files(directory))


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Its DHCP server gives leases alone: what boots, boots by the units' ProxyDHCP."""
    with build_netboot_lab(tmp_path_factory.mktemp("lab")) as built:
        other = ("link", "add", "other0", "type", "veth", "peer", "name", "other0", "netns", built.boot)
        built.ip(built.router, *other)
        for namespace, last in ((built.router, 1), (built.boot, 2)):
            built.ip(namespace, "address", "add", f"{OTHER}.{last}/24", "dev", "other0")
            built.ip(namespace, "link", "set", "other0", "up")
        yield built


@pytest.fixture(scope="module")
def container(lab: Lab, store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine in the boot host's place."""
    with boot_nspawn(tmp_path_factory.mktemp("machine"), find_image(), store, namespace=lab.boot) as machine:
        write_files(machine)
        yield machine


def write_files(machine: Machine) -> None:
    for key, text in CASE.files.items():
        mode, path = key.split(" ")
        machine.write(path, text, mode=mode)


def serve(machine: Machine, hosts: Hosts, name: str) -> None:
    """Make the machine that host, and wait until it serves the release."""
    hosts.activate(machine, name)
    machine.wait_active("nftables.service")
    machine.wait_active(CASE.unit)
    machine.wait(lambda: CASE.serves(machine), "it serves a release", unit=CASE.unit)
    machine.wait_ended(f"{CASE.unit}-stage")
    written = machine.show(f"{CASE.unit}-ipxe", "ActiveState", "SubState", "ExecMainExitTimestampMonotonic")
    started = machine.show(CASE.unit, "ExecMainStartTimestampMonotonic")
    assert (written["ActiveState"], written["SubState"]) == ("active", "exited")
    assert int(written["ExecMainExitTimestampMonotonic"]) < int(started["ExecMainStartTimestampMonotonic"])


def expect_boot(lab: Lab, machine: Machine, firmware: Firmware, directory: Path) -> None:
    with start_client(lab.add_plug(), firmware, directory) as client:
        try:
            client.wait_for(f"{UP_MARK} machine")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{machine.report(CASE.unit)}") from error
        address = lab.find_address(client.mac)
    events = [(entry["event"], entry.get("client")) for entry in machine.entries(CASE.unit)]
    assert ("a node has everything it boots from", address) in events


def test_a_bios_machine_boots_from_a_container(
    lab: Lab, container: Machine, hosts: Hosts, tmp_path: Path
) -> None:
    serve(container, hosts, "proxy")
    expect_boot(lab, container, Firmware.SEABIOS, tmp_path)


def find_dnsmasq(machine: Machine) -> str:
    """The process of dnsmasq itself; an empty text where there is none."""
    return machine.run("pgrep", "--uid", f"{CASE.unit}-dnsmasq", "--exact", "dnsmasq", check=False).strip()


def ask_health(machine: Machine) -> dict[str, Any]:
    url = f"http://{LAN_ADDRESS}:8080/healthz"
    script = (
        "import sys, urllib.request; print(urllib.request.urlopen(sys.argv[1], timeout=60).read().decode())"
    )
    found = json.loads(machine.run("python3", "-c", script, url))
    assert isinstance(found, dict)
    return found


def has_table(machine: Machine) -> bool:
    return machine.execute(["nft", "list", "table", "ip", "every_channel_tftp"]).status == 0


def test_dnsmasqs_unit_follows_the_boot_servers(container: Machine, hosts: Hosts) -> None:
    """Who starts, stops, restarts or reloads the boot server does so to its TFTP too."""
    dnsmasq = f"{CASE.unit}-dnsmasq.service"
    serve(container, hosts, "proxy")
    container.wait_active(dnsmasq)
    assert has_table(container)
    container.wait(lambda: ask_health(container)["dnsmasq"] == "running", "reports", unit=dnsmasq)
    # CAP_NET_BIND_SERVICE and CAP_NET_ADMIN, for the one process alone.
    for unit, expected in ((CASE.unit, 0), (dnsmasq, 1 << 10 | 1 << 12)):
        pid = container.show(unit, "MainPID")["MainPID"]
        text = container.run("cat", f"/proc/{pid}/status")
        held = [int(line.split()[1], 16) for line in text.splitlines() if line.startswith("Cap")]
        assert set(held) <= {0, expected}, unit

    container.run("systemctl", "reload", CASE.unit)
    container.wait(
        lambda: any("read again" in each["event"] for each in container.entries(dnsmasq, this_run=True)),
        "the reload reaches dnsmasq's unit",
        unit=dnsmasq,
    )

    # A firewall that is loaded anew takes all tables away, and has the limit loaded after it.
    container.run("nft", "flush", "ruleset")
    assert not has_table(container)
    container.run("systemctl", "reload", "nftables.service")
    container.wait(lambda: has_table(container), "the limit is loaded again", unit=dnsmasq)

    run = container.show(dnsmasq, "InvocationID")
    container.run("systemctl", "restart", CASE.unit)
    container.wait_active(dnsmasq)
    assert container.show(dnsmasq, "InvocationID") != run

    stopped = find_dnsmasq(container)
    container.run("kill", "-STOP", stopped)
    container.wait(
        lambda: find_dnsmasq(container) not in ("", stopped), "one that hangs is replaced", unit=dnsmasq
    )
    assert container.show(dnsmasq, "NRestarts")["NRestarts"] == "0"

    container.run("kill", "-KILL", container.show(dnsmasq, "MainPID")["MainPID"])
    container.wait(
        lambda: container.show(dnsmasq, "NRestarts")["NRestarts"] == "1", "a restart", unit=dnsmasq
    )
    container.wait_active(dnsmasq)
    assert has_table(container)
    container.wait(lambda: ask_health(container)["dnsmasq"] == "running", "reports", unit=dnsmasq)

    container.run("systemctl", "stop", CASE.unit)
    container.wait(lambda: find_dnsmasq(container) == "", "dnsmasq has ended", unit=dnsmasq)
    assert not has_table(container)
    container.run("systemctl", "start", CASE.unit)
    container.wait_active(dnsmasq)
    assert has_table(container)


@pytest.mark.parametrize(
    ("name", "on_lan", "on_other"),
    [
        ("proxy", {"udp 67", "udp 69", "udp 4011", "tcp 8080"}, set()),
        ("unifi", {"udp 69", "tcp 8080"}, set()),
        (
            "everywhere",
            {"udp 67", "udp 69", "udp 4011", "tcp 8081"},
            {"udp 67", "udp 69", "udp 4011", "tcp 8081"},
        ),
        ("closed", set(), set()),
    ],
    ids=HOSTS,
)
def test_what_the_firewall_opens_is_what_is_reached(
    lab: Lab, container: Machine, hosts: Hosts, name: str, on_lan: set[str], on_other: set[str]
) -> None:
    hosts.activate(container, name)
    container.wait_active("nftables.service")
    container.run("systemctl", "stop", CASE.unit, f"{CASE.unit}-stage")
    outside = lab.inside(lab.router)
    assert find_reached(container, outside, LAN_ADDRESS) == on_lan
    assert find_reached(container, outside, f"{OTHER}.2") == on_other


def test_a_uefi_machine_boots_from_a_machine(
    lab: Lab, hosts: Hosts, store: Store, tmp_path: Path, container: Machine
) -> None:
    # The container's address is the machine's from here on.
    hosts.activate(container, OFF)
    container.run("ip", "link", "set", "lan0", "down")
    plug = lab.add_plug()
    card = ["-netdev", f"{plug.netdev},id=lan"]
    card += ["-device", "virtio-net-pci,netdev=lan,romfile=,mac=52:54:00:77:00:02"]
    with boot_qemu(tmp_path, find_image(), store, wrapper=plug.wrapper, devices=card) as machine:
        write_files(machine)
        serve(machine, hosts, "proxy")
        directory = tmp_path / "client"
        directory.mkdir()
        expect_boot(lab, machine, Firmware.OVMF_PXE, directory)
