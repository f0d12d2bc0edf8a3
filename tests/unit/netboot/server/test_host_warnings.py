"""What is in a boot host's way: its name, its tokens, and who else hears its ports."""

from __future__ import annotations

import resource
import socket
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest
from support.staged import make_release, make_systems, put_release

from ectools.addresses import find_own_address, list_own_addresses
from ectools.netboot.kernel import KernelArchitecture
from ectools.netboot.server import host_warnings, udp_listeners
from ectools.netboot.server.host_warnings import find_host_warnings
from ectools.netboot.server.udp_listeners import UdpListener, list_udp_listeners
from ectools.netboot.settings.kernel_settings import NEIGHBOURS, RECEIVE_BUFFER
from ectools.netboot.settings.load import load_server_settings
from ectools.netboot.settings.model import ProxyDhcp, ServerSettings
from ectools.processes import ProgramMissingError


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No firewall, no other server, a resolver that knows no name, and a kernel that says nothing."""

    def resolve(*_arguments: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    monkeypatch.setattr(host_warnings, "find_blocked_ports", lambda _ports: {})
    monkeypatch.setattr(host_warnings, "list_udp_listeners", lambda *_ports: [])
    monkeypatch.setattr(host_warnings, "_KERNEL_SETTINGS", tmp_path / "sys")
    monkeypatch.setattr(host_warnings, "find_dnsmasq", lambda: str(tmp_path / "dnsmasq"))
    monkeypatch.setattr(socket, "getaddrinfo", resolve)


def load(**flags: Any) -> ServerSettings:
    given = {"listenIP": "127.0.0.1", "hostname": "127.0.0.1", **flags}
    return load_server_settings(None, flags=given, environment={})


def load_proxy() -> ServerSettings:
    """ProxyDHCP on this host alone, which a settings file cannot have: it has no clients."""
    return replace(load(), proxy_dhcp=ProxyDhcp(subnet=IPv4Network("127.0.0.0/8")))


def find(settings: ServerSettings) -> list[str]:
    prefix = "services.every-channel.netboot."
    return [each.subject.removeprefix(prefix) for each in find_host_warnings(settings)]


def test_nothing_is_said_where_nothing_is_wrong(tmp_path: Path) -> None:
    assert find(load()) == []
    assert find(load(chainTokenFile=str(tmp_path / "absent"))) == []


def test_the_default_name_is_told_unless_it_is_this_host(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(hostname=None)
    assert find(settings) == ["hostname"]
    assert find(load(hostname="boot.example.org")) == []
    answer = [(socket.AF_INET, 1, 6, "", ("127.0.0.1", 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_arguments: answer)
    assert find(settings) == []
    answer[0] = (socket.AF_INET, 1, 6, "", ("192.0.2.77", 0))
    assert find(settings) == ["hostname"]
    monkeypatch.setattr(socket, "gethostname", lambda: "boot.every.channel")
    assert find(settings) == []


def test_a_token_that_others_read_or_that_is_short_is_told(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("short\n")
    token.chmod(0o600)
    tmp_path.chmod(0o755)
    settings = load(chainTokenFile=str(token))
    (warning,) = find_host_warnings(settings)
    assert warning.subject.endswith("chainTokenFile")
    assert "5 characters" in warning.message
    assert "short" not in warning.message
    token.write_text(f"{'a' * 16}\n{'b' * 15}\n")
    assert "15 characters" in find_host_warnings(settings)[0].message
    token.write_text(f"{'a' * 16}\n")
    assert find(settings) == []


def test_who_can_read_a_token_takes_the_whole_way_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = tmp_path / "token"
    token.write_text("a" * 32)
    token.chmod(0o644)
    settings = load(**{"release.tokenFile": str(token)})
    open_ways = [each for each in tmp_path.parents if not each.stat().st_mode & 0o001]
    for mode, told in ((0o755, not open_ways), (0o700, False)):
        tmp_path.chmod(mode)
        assert (find(settings) == ["release.tokenFile"]) == told
    tmp_path.chmod(0o755)
    token.chmod(0o640)
    assert find(settings) == []


def test_a_firewall_is_told_with_its_chain_and_the_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_warnings, "find_blocked_ports", lambda ports: {"inet filter input": ports})
    (warning,) = find_host_warnings(load_proxy())
    assert warning.subject == "firewall"
    assert "inet filter input" in warning.message
    assert warning.message.endswith("TCP 8080, UDP 69, UDP 67, UDP 4011")


def listener(address: str, interface: str | None = None, *, is_own: bool = False) -> UdpListener:
    return UdpListener(
        address=IPv4Address(address), port=67, interface=interface, process="dnsmasq", is_own=is_own
    )


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (listener("0.0.0.0"), True),
        (listener("0.0.0.0", "lo"), True),
        (listener("127.0.0.1"), True),
        # libvirt's, on a bridge of its own.
        (listener("0.0.0.0", "virbr0"), False),
        (listener("192.168.122.1"), False),
        (listener("0.0.0.0", is_own=True), False),
    ],
)
def test_another_server_is_told_where_it_hears_our_clients(
    monkeypatch: pytest.MonkeyPatch, found: UdpListener, told: bool
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(host_warnings, "list_udp_listeners", lambda *ports: [asked.extend(ports), found][1:])
    assert find(load()) == (["another server"] if told else [])
    assert asked == [69]
    find(load_proxy())
    assert asked[1:] == [69, 67, 4011]


def test_the_kernel_tells_who_has_a_port_and_on_which_interface() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        (found,) = list_udp_listeners(port)
        assert (str(found.address), found.port, found.interface) == ("127.0.0.1", port, None)
        assert found.process is not None
    assert list_udp_listeners(port) == []


def test_a_kernel_that_tells_nothing_has_no_listeners(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> Any:
        raise OSError(2, "No such file or directory")

    monkeypatch.setattr(udp_listeners, "_dump", fails)
    assert list_udp_listeners(67) == []
    assert udp_listeners._find_interface(1 << 30) == f"#{1 << 30}"
    assert udp_listeners._find_interface(0) is None


def test_this_hosts_addresses() -> None:
    assert ("lo", IPv4Address("127.0.0.1")) in list_own_addresses()
    own = find_own_address()
    assert own is None or own in {address for _, address in list_own_addresses()}


def test_an_archive_that_leaves_arm64_machines_out_is_told_by_its_name() -> None:
    arm64 = {"ipxe.arm64File": "/srv/ipxe-arm64.efi"}
    pc, arm = "/srv/a-x86_64-netboot.tar.gz", "/srv/a-aarch64-netboot.tar.gz"
    assert find(load(**arm64, **{"release.tarball": pc})) == ["release.tarball"]
    assert find(load(**{"release.tarball": pc})) == []
    for tarballs in ([pc, arm], [arm], ["/srv/a.tar.gz"], [pc, "/srv/a.tar.gz"]):
        assert find(load(**arm64, **{"release.tarball": tarballs})) == []
    assert find(load(**arm64)) == []


def test_machines_that_the_current_release_has_no_system_for_are_told(tmp_path: Path) -> None:
    options = {"stateDir": str(tmp_path), "ipxe.arm64File": "/srv/ipxe-arm64.efi"}
    assert find(load(**options)) == []
    both, files = make_systems({"pc": KernelArchitecture.X86_64, "arm": KernelArchitecture.AARCH64})
    put_release(tmp_path, both, files)
    assert find(load(**options)) == []
    files = {"bzImage": b"kernel", "initrd": b"initrd"}
    alone = make_release(files, architecture=KernelArchitecture.X86_64)
    put_release(tmp_path, alone, files)
    (found,) = find_host_warnings(load(**options))
    assert (found.subject, found.message) == (
        f"the release {alone.title}",
        "has no system for arm64, whose machines are let in: it has release for x86_64",
    )
    assert find(load(stateDir=str(tmp_path))) == []
    # What cannot be read is another command's to tell.
    (tmp_path / "releases" / alone.id / "release.json").write_text("x")
    assert find(load(**options)) == []


def say(directory: Path, name: str, value: str) -> None:
    """One of the kernel's numbers."""
    file = directory / "sys" / name.replace(".", "/")
    file.parent.mkdir(parents=True)
    file.write_text(value)


@pytest.mark.parametrize(
    ("found", "wanted", "is_told"),
    [
        ("212992\n", None, True),
        ("8388608\n", None, False),
        ("77", 78, True),
        ("78", 78, False),
        ("?", 1, False),
    ],
)
def test_a_receive_buffer_that_is_small_is_told_with_the_line_that_makes_it_larger(
    tmp_path: Path, found: str, wanted: int | None, is_told: bool
) -> None:
    say(tmp_path, RECEIVE_BUFFER, found)
    settings = load(**({} if wanted is None else {"tftp.receiveBuffer": wanted}))
    assert find(settings) == (["net.core.rmem_default"] if is_told else [])
    for each in find_host_warnings(settings):
        assert f"sysctl -w net.core.rmem_default={wanted or 8388608}" in each.hint
        assert f"about {int(found) // 832} are heard" in each.message


def test_a_receive_buffer_of_the_hosts_own_is_not_looked_at(tmp_path: Path) -> None:
    say(tmp_path, RECEIVE_BUFFER, "4096")
    settings = load()
    assert find(replace(settings, tftp=replace(settings.tftp, receive_buffer=None))) == []


@pytest.mark.parametrize(("found", "is_told"), [("8191", True), ("8192", False)])
def test_a_table_of_neighbours_that_is_small_is_told(tmp_path: Path, found: str, is_told: bool) -> None:
    say(tmp_path, NEIGHBOURS, found)
    settings = load()
    assert find(settings) == ([NEIGHBOURS] if is_told else [])
    for each in find_host_warnings(settings):
        kin = "net.ipv4.neigh.default.gc_thresh2=4096 net.ipv4.neigh.default.gc_thresh3=8192"
        assert f"sysctl -w {kin}, before" in each.hint
        assert f"can send something to {found} at a time" in each.message
    assert find(replace(settings, max_neighbours=None)) == []


@pytest.mark.parametrize(
    ("hard", "transfers"), [(4224, None), (4223, 4095), (100, 1), (resource.RLIM_INFINITY, None)]
)
def test_more_transfers_than_there_may_be_files_are_told(
    monkeypatch: pytest.MonkeyPatch, hard: int, transfers: int | None
) -> None:
    monkeypatch.setattr(host_warnings.resource, "getrlimit", lambda _which: (10, hard))
    warnings = find_host_warnings(load())
    assert len(warnings) == (transfers is not None)
    for each in warnings:
        assert each.subject.endswith("tftp.maxTransfers")
        assert f"there will be {transfers} transfers at most" in each.message
        assert "ulimit -Hn 4224" in each.hint


@pytest.mark.parametrize(
    ("version", "is_told"),
    [("2.91", False), ("2.92", True), ("2.92rc1", True), ("2.93", False), ("2.920", False)],
)
def test_a_dnsmasq_whose_proxy_dhcp_is_wrong_is_told(tmp_path: Path, version: str, is_told: bool) -> None:
    program = tmp_path / "dnsmasq"
    program.write_text(f"#!/bin/sh\necho 'Dnsmasq version {version}  Copyright (c)'\n")
    program.chmod(0o755)
    assert find(load_proxy()) == (["dnsmasq"] if is_told else [])
    assert find(load()) == []


def test_where_dnsmasq_is_not_installed_nothing_is_known_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def find_dnsmasq() -> str:
        raise ProgramMissingError("dnsmasq: program not found", argv=["dnsmasq"])

    monkeypatch.setattr(host_warnings, "find_dnsmasq", find_dnsmasq)
    assert find(load_proxy()) == []
