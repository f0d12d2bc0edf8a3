"""Exchanges with a network: every client's DISCOVER in one window, port 4011, and a lease."""

from __future__ import annotations

import contextlib
import secrets
import select
import time
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Interface
from typing import TYPE_CHECKING

from ectools.errors import EcError
from ectools.netboot.probe.clients.client import (
    Client,
    build_boot_request,
    build_discover,
    build_lease_request,
    build_release,
)
from ectools.netboot.probe.wire.dhcp import (
    NO_ADDRESS,
    Message,
    MessageType,
    PacketError,
    build_message,
    parse_message,
)
from ectools.netboot.probe.wire.frames import BROADCAST, Datagram
from ectools.netboot.probe.wire.offers import Answer
from ectools.netboot.probe.wire.packet_socket import (
    CaptureSocket,
    Interface,
    LinkError,
    UdpEndpoint,
    hold_address,
    send_broadcast,
)
from ectools.netboot.protocols import load_protocols

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_CLIENT_PORT = 68
_BOOT_REPLY = 2
_RESEND_SECONDS = 1.5
_NETMASK = 1
_MAX_OFFERS, _MAX_NOTES = 16, 8
"""EDK2 keeps 16 offers."""


class LeaseError(EcError):
    """The DHCP server did not give the address that it had offered."""


@dataclass(frozen=True, kw_only=True)
class Line:
    """The interface that the probe speaks on, as whom, and for how long it waits.

    ``local`` are all of this host's addresses; ``answers_here`` says that a DHCP server or proxy runs on this
    very host, so that questions must go through the kernel for it to hear them.
    """

    interface: Interface
    mac: bytes
    seconds: float
    local: frozenset[IPv4Address]
    answers_here: bool

    def find_address(self, server: IPv4Address) -> IPv4Address | None:
        """Our address for talking to ``server``: the one in its network, else the first."""
        addresses = self.interface.addresses
        near = [each.ip for each in addresses if server in each.network]
        return next(iter(near or [each.ip for each in addresses]), None)

    def open_endpoint(self, server: IPv4Address, *, source_port: int = 0) -> UdpEndpoint | None:
        """A socket for talking to ``server``; None where the interface has no address."""
        address = self.find_address(server)
        if address is None:
            return None
        here = server in self.local
        # From here to here nothing is heard but by the socket: several must not share its port.
        return UdpEndpoint(self.interface, address=address, here=here, source_port=0 if here else source_port)


@dataclass(frozen=True, kw_only=True)
class Offers:
    """All offers to each client, as they came; ``notes`` are about packets that are no message."""

    offers: Mapping[Client, tuple[Answer, ...]]
    notes: tuple[str, ...]


def discover(line: Line, clients: Sequence[Client]) -> Offers:
    """The offers to every client within ``line.seconds``. Who has none is asked for again every 1.5 s.

    Raises LinkError.
    """
    asked = {secrets.randbits(32): client for client in clients}
    collector = _OfferCollector(asked)
    with CaptureSocket(line.interface, _CLIENT_PORT, promiscuous=line.mac != line.interface.mac) as capture:
        for round_ in range(max(1, int(line.seconds / _RESEND_SECONDS))):
            for xid, client in asked.items():
                # As a client does: it asks again while nobody has answered.
                if not collector.offers[client]:
                    seconds = int(collector.elapsed)
                    _send(line, capture, build_discover(client, mac=line.mac, xid=xid, seconds=seconds))
            collector.collect(capture, until=min((round_ + 1) * _RESEND_SECONDS, line.seconds))
        collector.collect(capture, until=line.seconds)
    return Offers(
        offers={client: tuple(found) for client, found in collector.offers.items()},
        notes=tuple(collector.notes),
    )


class _OfferCollector:
    """What comes in, sorted by the client that it answers. Bounded, because anybody can send."""

    def __init__(self, asked: Mapping[int, Client]) -> None:
        self._asked = asked
        self._started = time.monotonic()
        self.offers: dict[Client, list[Answer]] = {client: [] for client in asked.values()}
        self.notes: list[str] = []

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self._started

    def collect(self, capture: CaptureSocket, *, until: float) -> None:
        """Listen until so many seconds after the start."""
        while (left := until - self.elapsed) > 0:
            select.select([capture], [], [], left)
            for datagram in capture.read():
                self._take(datagram)

    def _take(self, datagram: Datagram) -> None:
        try:
            answer = _read_answer(datagram, seconds=self.elapsed)
        except PacketError as error:
            note = f"{datagram.source} sent what is no DHCP message to port 68: {error.message}"
            if note not in self.notes and len(self.notes) < _MAX_NOTES:
                self.notes.append(note)
            return
        client = self._asked.get(answer.message.xid)
        if client is None or answer.message.op != _BOOT_REPLY:
            return
        if answer.message.kind not in (MessageType.OFFER, None):
            return
        found = self.offers[client]
        known = any((one.message, one.source) == (answer.message, answer.source) for one in found)
        if not known and len(found) < _MAX_OFFERS:
            found.append(answer)


def _send(line: Line, capture: CaptureSocket, message: Message) -> None:
    payload, port = build_message(message), load_protocols().ports.dhcp
    if line.answers_here and line.interface.addresses:
        send_broadcast(line.interface, payload, port=port)
        return
    capture.send(
        Datagram(
            source=NO_ADDRESS,
            source_port=_CLIENT_PORT,
            destination=BROADCAST,
            destination_port=port,
            payload=payload,
            source_mac=line.mac,
        )
    )


def _read_answer(datagram: Datagram, *, seconds: float) -> Answer:
    """The message in a datagram. Raises PacketError."""
    message = parse_message(datagram.payload)
    return Answer(message=message, source=datagram.source, port=datagram.source_port, seconds=seconds)


def ask_boot_server(line: Line, client: Client, server: IPv4Address, item: int | None) -> Answer | None:
    """What ``server`` answers on port 4011 to a client that has the interface's address; None for silence."""
    port = load_protocols().ports.pxe
    endpoint = line.open_endpoint(server, source_port=_CLIENT_PORT)
    if endpoint is None:
        return None
    address = line.find_address(server)
    xid = secrets.randbits(32)
    request = build_boot_request(
        client, mac=line.mac, xid=xid, address=address or NO_ADDRESS, server=server, item=item
    )
    started = time.monotonic()
    with endpoint:
        for _ in range(max(1, int(line.seconds / _RESEND_SECONDS))):
            try:
                endpoint.send(build_message(request), to=server, port=port)
            except LinkError:
                # There is no way to it: a client gets no answer either.
                return None
            for source, source_port, payload in endpoint.wait(_RESEND_SECONDS):
                with contextlib.suppress(PacketError):
                    message = parse_message(payload)
                    if message.op == _BOOT_REPLY and message.xid == xid:
                        seconds = time.monotonic() - started
                        return Answer(message=message, source=source, port=source_port, seconds=seconds)
    return None


@contextlib.contextmanager
def hold_lease(line: Line, client: Client, offer: Answer) -> Iterator[IPv4Interface]:
    """The offered address, leased and the interface's for the length of the block.

    Raises LeaseError where the server does not give it, and LinkError.
    """
    request = build_lease_request(offer.message, client, server=offer.server)
    lease = _wait_for_lease(line, request)
    mask = offer.message.options.get(_NETMASK, b"")
    netmask = IPv4Address(mask) if len(mask) == 4 else IPv4Address("255.255.255.0")
    address = IPv4Interface(f"{lease.yiaddr}/{netmask}")
    leased = replace(line, interface=replace(line.interface, addresses=(address,)))
    with hold_address(line.interface, address):
        try:
            yield address
        finally:
            endpoint = leased.open_endpoint(offer.server, source_port=_CLIENT_PORT)
            if endpoint is not None:
                with endpoint:
                    release = build_message(build_release(lease, server=offer.server))
                    endpoint.send(release, to=offer.server, port=load_protocols().ports.dhcp)


def _wait_for_lease(line: Line, request: Message) -> Message:
    with CaptureSocket(line.interface, _CLIENT_PORT, promiscuous=line.mac != line.interface.mac) as capture:
        _send(line, capture, request)
        deadline = time.monotonic() + line.seconds
        while (left := deadline - time.monotonic()) > 0:
            select.select([capture], [], [], left)
            for each in capture.read():
                with contextlib.suppress(PacketError):
                    message = parse_message(each.payload)
                    if message.xid != request.xid or message.op != _BOOT_REPLY:
                        continue
                    if message.kind is MessageType.ACK:
                        return message
                    if message.kind is MessageType.NAK:
                        raise LeaseError(f"{each.source}: refuses the address that it had offered")
    raise LeaseError("no DHCP server gave the address that it had offered")
