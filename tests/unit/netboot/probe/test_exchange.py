"""Asking a network: when each question is sent and sent again, what counts as an answer, and how much of it.

The clock moves only where the code waits, so that the order of events is the same on any machine.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from ipaddress import IPv4Address, IPv4Interface
from types import SimpleNamespace
from typing import Any

import pytest
from support.pxe_messages import OFFERED, OTHER, PROXY, ROUTER, client_of, lease

from ectools.netboot.probe.clients import exchange
from ectools.netboot.probe.clients.client import Client
from ectools.netboot.probe.clients.exchange import LeaseError, Line, ask_boot_server, discover, hold_lease
from ectools.netboot.probe.wire.dhcp import (
    NO_ADDRESS,
    Message,
    MessageType,
    Option,
    build_message,
    parse_message,
)
from ectools.netboot.probe.wire.frames import Datagram
from ectools.netboot.probe.wire.packet_socket import Interface, LinkError
from ectools.netboot.probe.wire.pxe_option43 import parse_option43

MAC = bytes.fromhex("020000000001")
HERE = IPv4Address("192.0.2.9")
ETH0 = Interface(
    name="eth0",
    index=7,
    mac=MAC,
    up=True,
    addresses=(IPv4Interface("198.51.100.9/24"), IPv4Interface("192.0.2.9/24")),
)
LINE = Line(interface=ETH0, mac=MAC, seconds=5.0, local=frozenset({HERE}), answers_here=False)
UEFI, BIOS = client_of(7), client_of(0)


@dataclass
class Sent:
    at: float
    message: Message
    to: IPv4Address
    port: int


@dataclass
class Network:
    """What is sent on it, and what answers: ``answer(message)`` gives datagrams and after how long."""

    answer: Callable[[Message], list[tuple[float, Datagram]]] = lambda _message: []
    now: float = 50.0
    sent: list[Sent] = field(default_factory=list)
    frames: list[Datagram] = field(default_factory=list)
    through_kernel: list[str] = field(default_factory=list)
    due: list[tuple[float, Datagram]] = field(default_factory=list)
    captures: list[tuple[int, bool]] = field(default_factory=list)
    endpoints: list[tuple[IPv4Address, bool, int]] = field(default_factory=list)
    held: list[str] = field(default_factory=list)
    open: int = 0

    def take(self, payload: bytes, *, to: IPv4Address, port: int) -> None:
        message = parse_message(payload)
        self.sent.append(Sent(round(self.now - 50.0, 3), message, to, port))
        self.due += [(self.now + after, datagram) for after, datagram in self.answer(message)]

    def arrive(self, until: float) -> list[Datagram]:
        """Go on to the next arrival, or to ``until``; by a little where that is too near to be a number."""
        self.due.sort(key=lambda each: each[0])
        until = max(until, math.nextafter(self.now, math.inf))
        self.now = max(self.now, min([until, *(at for at, _ in self.due)]))
        here = [datagram for at, datagram in self.due if at <= self.now]
        self.due = [(at, datagram) for at, datagram in self.due if at > self.now]
        return here


def reply(
    message: Message,
    *,
    kind: MessageType | None = MessageType.OFFER,
    op: int = 2,
    source: IPv4Address = ROUTER,
    xid: int | None = None,
    yiaddr: IPv4Address = OFFERED,
    file: bytes = b"",
) -> Datagram:
    options = {} if kind is None else {int(Option.MESSAGE_TYPE): bytes((kind,))}
    made = Message(
        op=op,
        xid=message.xid if xid is None else xid,
        chaddr=message.chaddr,
        yiaddr=yiaddr,
        file=file,
        options=options,
    )
    return Datagram(
        source=source,
        source_port=67,
        destination=IPv4Address("255.255.255.255"),
        destination_port=68,
        payload=build_message(made),
    )


@pytest.fixture
def network(monkeypatch: pytest.MonkeyPatch) -> Iterator[Network]:
    network = Network()
    pending: list[Datagram] = []

    class Capture:
        def __init__(self, interface: Interface, port: int, *, promiscuous: bool) -> None:
            assert interface.name == "eth0"
            network.captures.append((port, promiscuous))

        def __enter__(self) -> Capture:
            network.open += 1
            return self

        def __exit__(self, *_: object) -> None:
            network.open -= 1

        def send(self, datagram: Datagram) -> None:
            network.frames.append(datagram)
            network.take(datagram.payload, to=datagram.destination, port=datagram.destination_port)

        def read(self) -> list[Datagram]:
            found = pending[:]
            pending.clear()
            return found

    class Endpoint:
        def __init__(
            self, interface: Interface, *, address: IPv4Address, here: bool, source_port: int
        ) -> None:
            assert interface.name == "eth0"
            network.endpoints.append((address, here, source_port))

        def __enter__(self) -> Endpoint:
            network.open += 1
            return self

        def __exit__(self, *_: object) -> None:
            network.open -= 1

        def send(self, payload: bytes, *, to: IPv4Address, port: int) -> None:
            network.take(payload, to=to, port=port)

        def wait(self, seconds: float) -> Iterator[tuple[IPv4Address, int, bytes]]:
            until = network.now + seconds
            while network.now < until:
                for each in network.arrive(until):
                    yield each.source, each.source_port, each.payload

    def select(_r: list[Any], _w: list[Any], _x: list[Any], left: float) -> None:
        assert left > 0
        pending.extend(network.arrive(network.now + left))

    def send_broadcast(interface: Interface, payload: bytes, *, port: int) -> None:
        network.through_kernel.append(interface.name)
        network.take(payload, to=IPv4Address("255.255.255.255"), port=port)

    class Holding:
        def __init__(self, interface: Interface, address: IPv4Interface) -> None:
            self.what = f"{interface.name} {address}"

        def __enter__(self) -> None:
            network.held.append(f"+{self.what}")

        def __exit__(self, *_: object) -> None:
            network.held.append(f"-{self.what}")

    xids = iter(range(1000, 2000))
    monkeypatch.setattr(exchange.secrets, "randbits", lambda bits: next(xids) if bits == 32 else None)
    monkeypatch.setattr(exchange, "time", SimpleNamespace(monotonic=lambda: network.now))
    monkeypatch.setattr(exchange, "select", SimpleNamespace(select=select))
    monkeypatch.setattr(exchange, "CaptureSocket", Capture)
    monkeypatch.setattr(exchange, "UdpEndpoint", Endpoint)
    monkeypatch.setattr(exchange, "send_broadcast", send_broadcast)
    monkeypatch.setattr(exchange, "hold_address", Holding)
    yield network
    assert network.open == 0, "every socket is closed"


# The line


def test_the_address_for_a_server_is_the_one_in_its_network() -> None:
    assert LINE.find_address(PROXY) == HERE
    assert LINE.find_address(IPv4Address("203.0.113.1")) == IPv4Address("198.51.100.9")
    bare = replace(LINE, interface=replace(ETH0, addresses=()))
    assert bare.find_address(PROXY) is None
    assert bare.open_endpoint(PROXY) is None


def test_a_socket_for_a_server(network: Network) -> None:
    assert LINE.open_endpoint(PROXY, source_port=68) is not None
    assert LINE.open_endpoint(PROXY) is not None
    # From this host to itself the port is shared with nobody.
    assert LINE.open_endpoint(HERE, source_port=68) is not None
    assert network.endpoints == [(HERE, False, 68), (HERE, False, 0), (HERE, True, 0)]


# The window of offers


def test_every_client_asks_again_until_it_is_answered(network: Network) -> None:
    network.answer = lambda message: (
        [(0.2, reply(message))] if message.vendor_class == UEFI.vendor_class.encode() else []
    )
    found = discover(LINE, [UEFI, BIOS])
    asked = [(each.at, each.message.vendor_class[15:20], each.message.secs) for each in network.sent]
    assert asked == [(0.0, b"00007", 0), (0.0, b"00000", 0), (1.5, b"00000", 1), (3.0, b"00000", 3)]
    assert {(str(each.to), each.port) for each in network.sent} == {("255.255.255.255", 67)}
    assert [each.message.xid for each in network.sent] == [1000, 1001, 1001, 1001]
    assert {each.message.kind for each in network.sent} == {MessageType.DISCOVER}
    assert round(network.now, 6) == 55.0, "the whole window is listened to"
    assert found.notes == ()
    assert list(found.offers) == [UEFI, BIOS]
    assert found.offers[BIOS] == ()
    (offer,) = found.offers[UEFI]
    assert (offer.source, offer.port, round(offer.seconds, 3)) == (ROUTER, 67, 0.2)
    assert offer.message.yiaddr == OFFERED
    assert network.captures == [(68, False)]
    frame = network.frames[0]
    assert (frame.source, frame.source_port, frame.source_mac) == (NO_ADDRESS, 68, MAC)
    assert network.through_kernel == []


@pytest.mark.parametrize(
    ("seconds", "asks"), [(0.5, [0.0]), (1.5, [0.0]), (2.9, [0.0]), (3.0, [0.0, 1.5]), (4.4, [0.0, 1.5])]
)
def test_how_often_is_asked(network: Network, seconds: float, asks: list[float]) -> None:
    discover(replace(LINE, seconds=seconds), [UEFI])
    assert [each.at for each in network.sent] == asks
    assert round(network.now, 6) == 50.0 + seconds


def test_an_answer_after_the_last_question_is_heard(network: Network) -> None:
    network.answer = lambda message: [(4.9, reply(message))]
    assert len(discover(replace(LINE, seconds=5.0), [UEFI]).offers[UEFI]) == 1


def test_another_mac_is_listened_for(network: Network) -> None:
    discover(replace(LINE, mac=b"\2\0\0\0\0\2"), [UEFI])
    assert network.captures == [(68, True)]
    assert network.sent[0].message.chaddr == b"\2\0\0\0\0\2"
    assert network.frames[0].source_mac == b"\2\0\0\0\0\2"


def test_a_server_on_this_host_is_asked_through_the_kernel(network: Network) -> None:
    discover(replace(LINE, answers_here=True, seconds=1.0), [UEFI])
    assert (network.through_kernel, network.frames) == (["eth0"], [])
    bare = replace(ETH0, addresses=())
    discover(replace(LINE, answers_here=True, seconds=1.0, interface=bare), [UEFI])
    assert (network.through_kernel, len(network.frames)) == (["eth0"], 1)


@pytest.mark.parametrize(
    ("changes", "counts"),
    [
        ({}, True),
        # BOOTP has no message type.
        ({"kind": None}, True),
        ({"kind": MessageType.ACK}, False),
        ({"kind": MessageType.NAK}, False),
        ({"op": 1}, False),
        ({"xid": 999}, False),
    ],
)
def test_what_counts_as_an_offer(network: Network, changes: dict[str, Any], counts: bool) -> None:
    network.answer = lambda message: [(0.1, reply(message, **changes))]
    found = discover(replace(LINE, seconds=1.0), [UEFI])
    assert (len(found.offers[UEFI]), found.notes) == (int(counts), ())


def test_the_same_offer_is_kept_once_and_sixteen_at_most(network: Network) -> None:
    network.answer = lambda message: [(0.1, reply(message)), (0.2, reply(message))]
    assert len(discover(replace(LINE, seconds=1.0), [UEFI]).offers[UEFI]) == 1
    # From another relay, or with other contents, it is another one.
    network.answer = lambda message: [
        (0.1, reply(message)),
        (0.2, reply(message, source=OTHER)),
        (0.3, reply(message, file=b"x")),
    ]
    assert len(discover(replace(LINE, seconds=1.0), [UEFI]).offers[UEFI]) == 3
    network.answer = lambda message: [(0.01 * n, reply(message, file=str(n).encode())) for n in range(1, 20)]
    found = discover(replace(LINE, seconds=1.0), [UEFI]).offers[UEFI]
    assert [each.message.file for each in found] == [str(n).encode() for n in range(1, 17)]


def test_what_is_no_message_is_noted_once_and_eight_times_at_most(network: Network) -> None:
    def junk(size: int) -> Datagram:
        return replace(reply(Message(op=2, xid=1, chaddr=MAC)), payload=bytes(size))

    network.answer = lambda _message: [(0.1, junk(3)), (0.2, junk(3)), (0.3, junk(4))]
    notes = discover(replace(LINE, seconds=1.0), [UEFI]).notes
    assert notes == tuple(
        f"192.0.2.1 sent what is no DHCP message to port 68: {size} bytes: a DHCP message has 240 at least"
        for size in (3, 4)
    )
    network.answer = lambda _message: [(0.1, junk(size)) for size in range(10)]
    assert len(discover(replace(LINE, seconds=1.0), [UEFI]).notes) == 8


# Port 4011


def test_port_4011_is_asked_from_the_clients_port(network: Network) -> None:
    network.answer = lambda message: [(0.4, reply(message, kind=MessageType.ACK, source=PROXY, file=b"a"))]
    found = ask_boot_server(LINE, BIOS, PROXY, 0x8000)
    assert found is not None
    assert (found.message.file, found.source, found.port, round(found.seconds, 3)) == (b"a", PROXY, 67, 0.4)
    (sent,) = network.sent
    assert (sent.to, sent.port, sent.message.xid) == (PROXY, 4011, 1000)
    assert (sent.message.ciaddr, sent.message.chaddr) == (HERE, MAC)
    assert parse_option43(sent.message.options[43]).item == 0x8000
    assert network.endpoints == [(HERE, False, 68)]


@pytest.mark.parametrize(
    ("seconds", "asks"), [(0.1, [0.0]), (2.9, [0.0]), (3.0, [0.0, 1.5]), (5.0, [0.0, 1.5, 3.0])]
)
def test_a_silent_port_4011_is_asked_again(network: Network, seconds: float, asks: list[float]) -> None:
    assert ask_boot_server(replace(LINE, seconds=seconds), UEFI, PROXY, None) is None
    assert [each.at for each in network.sent] == asks


@pytest.mark.parametrize("changes", [{"op": 1}, {"xid": 5}])
def test_what_is_no_answer_of_port_4011(network: Network, changes: dict[str, Any]) -> None:
    network.answer = lambda message: [
        (0.1, replace(reply(message), payload=b"junk")),
        (0.2, reply(message, **changes)),
    ]
    assert ask_boot_server(LINE, UEFI, PROXY, None) is None
    assert len(network.sent) == 3


def test_port_4011_without_a_way_to_it_does_not_answer(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **_options: object) -> None:
        raise LinkError("no route")

    monkeypatch.setattr(network, "take", fail)
    assert ask_boot_server(LINE, UEFI, PROXY, None) is None


def test_port_4011_needs_an_address(network: Network) -> None:
    bare = replace(LINE, interface=replace(ETH0, addresses=()))
    assert ask_boot_server(bare, UEFI, PROXY, None) is None
    assert network.sent == []


# A lease


def take_lease(
    network: Network, line: Line = LINE, *, mask: bytes | None = b"\xff\xff\xff\x80", client: Client = UEFI
) -> IPv4Interface:
    options = {} if mask is None else {1: mask}
    offer = lease(options=options)
    with hold_lease(line, client, offer) as address:
        assert network.held == [f"+eth0 {address}"]
        return address


def test_a_lease_is_taken_and_given_back(network: Network) -> None:
    network.answer = lambda message: (
        [(0.1, reply(message, kind=MessageType.ACK, yiaddr=IPv4Address("192.0.2.51")))]
        if message.kind is MessageType.REQUEST
        else []
    )
    assert take_lease(network) == IPv4Interface("192.0.2.51/25")
    request, release = network.sent
    assert request.message.kind is MessageType.REQUEST
    assert request.message.address(Option.REQUESTED_ADDRESS) == OFFERED
    assert (str(request.to), request.port) == ("255.255.255.255", 67)
    assert (release.message.kind, release.to, release.port) == (MessageType.RELEASE, ROUTER, 67)
    assert release.message.ciaddr == IPv4Address("192.0.2.51")
    assert network.endpoints == [(IPv4Address("192.0.2.51"), False, 68)]
    assert network.held == ["+eth0 192.0.2.51/25", "-eth0 192.0.2.51/25"]
    assert network.captures == [(68, False)]


@pytest.mark.parametrize("mask", [None, b"", b"\xff\xff", b"\xff\xff\xff\x00\x00"])
def test_a_lease_without_a_netmask(network: Network, mask: bytes | None) -> None:
    network.answer = lambda message: [(0.1, reply(message, kind=MessageType.ACK))]
    assert take_lease(network, mask=mask) == IPv4Interface("192.0.2.50/24")


def test_a_lease_is_given_back_where_the_block_fails(network: Network) -> None:
    network.answer = lambda message: [(0.1, reply(message, kind=MessageType.ACK))]
    with pytest.raises(ZeroDivisionError), hold_lease(LINE, UEFI, lease()):
        raise ZeroDivisionError
    assert network.sent[-1].message.kind is MessageType.RELEASE
    assert network.held[-1].startswith("-")


def test_a_refused_lease(network: Network) -> None:
    network.answer = lambda message: [(0.1, reply(message, kind=MessageType.NAK))]
    with pytest.raises(LeaseError, match=r"192.0.2.1: refuses the address"):
        take_lease(network)
    assert network.held == []


def test_a_lease_that_does_not_come(network: Network) -> None:
    network.answer = lambda message: [
        (0.1, replace(reply(message), payload=b"junk")),
        (0.2, reply(message, kind=MessageType.ACK, xid=5)),
        (0.3, reply(message, kind=MessageType.NAK, op=1)),
        (0.4, reply(message, kind=MessageType.OFFER)),
    ]
    with pytest.raises(LeaseError, match="no DHCP server gave the address"):
        take_lease(network, replace(LINE, mac=b"\2\0\0\0\0\2"))
    assert round(network.now, 6) == 55.0
    assert network.captures == [(68, True)]


def test_a_lease_after_other_packets(network: Network) -> None:
    network.answer = lambda message: [
        (0.1, reply(message, kind=MessageType.NAK, xid=5)),
        (0.1, reply(message, kind=MessageType.ACK)),
    ]
    assert take_lease(network) == IPv4Interface("192.0.2.50/25")
