"""This host's interfaces: which is chosen, an address that is held for a while, who has a port."""

from __future__ import annotations

import errno
import socket
import sys
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest

from ectools.errors import InputError
from ectools.netboot.probe.wire.packet_socket import (
    Host,
    Interface,
    LinkError,
    find_host,
    hold_address,
    listens_here,
)

MAC = bytes.fromhex("020000000001")
ETH0 = Interface(name="eth0", index=7, mac=MAC, up=True, addresses=(IPv4Interface("192.0.2.9/24"),))


def choose(name: str | None, *interfaces: Interface, gateway: str | None = None) -> Interface:
    return Host(interfaces=interfaces, local=frozenset(), gateway_interface=gateway).choose(name)


def test_the_interface_that_is_named_or_the_default_routes_or_the_only_one() -> None:
    eth1 = replace(ETH0, name="eth1")
    assert choose("eth1", ETH0, eth1, gateway="eth0") == eth1
    assert choose(None, ETH0, eth1, gateway="eth1") == eth1
    assert choose(None, ETH0) == ETH0


@pytest.mark.parametrize(
    ("name", "interfaces", "gateway", "message", "hint"),
    [
        (None, ("eth0", "eth1"), None, "no default route", "there are: eth0, eth1"),
        (None, (), None, "no default route", "there are: none"),
        ("wlan0", ("eth0",), None, "there is no Ethernet interface wlan0", "there are: eth0"),
        (None, ("eth0",), "tun0", "there is no Ethernet interface tun0", "there are: eth0"),
    ],
)
def test_an_interface_that_cannot_be_chosen(
    name: str | None, interfaces: tuple[str, ...], gateway: str | None, message: str, hint: str
) -> None:
    with pytest.raises(InputError, match=message) as caught:
        choose(name, *(replace(ETH0, name=each) for each in interfaces), gateway=gateway)
    assert hint in (caught.value.hint or "")


def test_an_interface_that_is_down() -> None:
    with pytest.raises(LinkError, match="eth0: the interface is down") as caught:
        choose("eth0", replace(ETH0, up=False))
    assert caught.value.hint == "ip link set eth0 up"


class Entry(dict[str, Any]):
    """A message of netlink: fields, and attributes."""

    def __init__(self, fields: dict[str, Any], **attributes: Any) -> None:
        super().__init__(fields)
        self._attributes = attributes

    def get_attr(self, name: str) -> Any:
        return self._attributes.get(name)


class NetlinkError(Exception):
    def __init__(self, code: int) -> None:
        self.code = code


class FakeNetlink:
    """pyroute2.IPRoute, with three interfaces. ``calls`` are those of ``addr``."""

    calls: ClassVar[list[tuple[str, dict[str, Any]]]] = []
    fails: ClassVar[dict[str, int]] = {}

    def __enter__(self) -> FakeNetlink:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def get_addr(self, *, family: int) -> list[Entry]:
        assert family == socket.AF_INET
        return [
            Entry({"index": 1, "prefixlen": 8}, IFA_ADDRESS="127.0.0.1", IFA_LOCAL="127.0.0.1"),
            Entry({"index": 2, "prefixlen": 24}, IFA_ADDRESS="192.0.2.9"),
            # Point to point: IFA_ADDRESS is the peer's.
            Entry({"index": 2, "prefixlen": 32}, IFA_ADDRESS="10.0.0.1", IFA_LOCAL="10.0.0.2"),
        ]

    def get_links(self) -> list[Entry]:
        return [
            Entry({"index": 1, "flags": 0x49}, IFLA_IFNAME="lo", IFLA_ADDRESS="00:00:00:00:00:00"),
            Entry({"index": 2, "flags": 0x1003}, IFLA_IFNAME="eth0", IFLA_ADDRESS="02:00:00:00:00:01"),
            Entry({"index": 3, "flags": 0x1002}, IFLA_IFNAME="eth1", IFLA_ADDRESS="02:00:00:00:00:02"),
            Entry({"index": 4, "flags": 0x1001}, IFLA_IFNAME="tun0"),
            Entry({"index": 5, "flags": 0x1001}, IFLA_IFNAME="ib0", IFLA_ADDRESS="02:" * 19 + "01"),
        ]

    def get_default_routes(self, *, family: int) -> list[Entry]:
        assert family == socket.AF_INET
        return [Entry({}, RTA_OIF=99), Entry({}, RTA_OIF=2), Entry({}, RTA_OIF=3)]

    def addr(self, action: str, **arguments: Any) -> None:
        self.calls.append((action, arguments))
        if action in self.fails:
            raise NetlinkError(self.fails[action])


@pytest.fixture
def netlink(monkeypatch: pytest.MonkeyPatch) -> type[FakeNetlink]:
    module = ModuleType("pyroute2")
    monkeypatch.setattr(FakeNetlink, "calls", [])
    monkeypatch.setattr(FakeNetlink, "fails", {})
    module.IPRoute, module.NetlinkError = FakeNetlink, NetlinkError  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pyroute2", module)
    return FakeNetlink


@pytest.mark.usefixtures("netlink")
def test_this_hosts_ethernet_interfaces() -> None:
    host = find_host()
    assert host.interfaces == (
        Interface(
            name="eth0",
            index=2,
            mac=MAC,
            up=True,
            addresses=(IPv4Interface("192.0.2.9/24"), IPv4Interface("10.0.0.2/32")),
        ),
        Interface(name="eth1", index=3, mac=bytes.fromhex("020000000002"), up=False, addresses=()),
    )
    assert host.local == {IPv4Address(each) for each in ("127.0.0.1", "192.0.2.9", "10.0.0.2")}
    assert host.gateway_interface == "eth0"


def test_an_address_is_held_for_a_block(netlink: type[FakeNetlink]) -> None:
    arguments = {"index": 7, "address": "192.0.2.50", "prefixlen": 25}
    with hold_address(ETH0, IPv4Interface("192.0.2.50/25")):
        assert netlink.calls == [("add", arguments)]
    assert netlink.calls == [("add", arguments), ("del", arguments)]


def test_an_address_that_is_gone_by_then_is_no_fault(netlink: type[FakeNetlink]) -> None:
    netlink.fails["del"] = errno.EADDRNOTAVAIL
    with hold_address(ETH0, IPv4Interface("192.0.2.50/25")):
        pass
    assert [action for action, _ in netlink.calls] == ["add", "del"]


def test_an_address_that_cannot_be_had(netlink: type[FakeNetlink]) -> None:
    netlink.fails["add"] = errno.EPERM
    with (
        pytest.raises(LinkError, match=r"eth0: cannot be given 192.0.2.50/25: Operation not") as caught,
        hold_address(ETH0, IPv4Interface("192.0.2.50/25")),
    ):
        pytest.fail("the block was entered")
    assert "--lease needs CAP_NET_ADMIN" in (caught.value.hint or "")
    assert len(netlink.calls) == 1


def test_whether_a_program_has_the_port(monkeypatch: pytest.MonkeyPatch) -> None:
    table = (
        "  sl  local_address rem_address   st\n"
        "  43: 00000000:0043 00000000:0000 07\n"
        "  44: 0100007F:0FAB 00000000:0000 07\n"
    )
    monkeypatch.setattr(Path, "read_text", lambda _self, **_: table)
    assert [listens_here(port) for port in (67, 4011, 68, 0)] == [True, True, False, False]

    def fail(_self: Path, **_: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", fail)
    assert not listens_here(67)
