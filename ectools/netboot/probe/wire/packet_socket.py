"""One interface of this host: its addresses, frames sent and heard on it, and what listens here itself."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import struct
import time
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ectools.errors import EcError, InputError
from ectools.netboot.probe.wire.dhcp import PacketError
from ectools.netboot.probe.wire.frames import (
    BROADCAST,
    SO_ATTACH_FILTER,
    Datagram,
    PortFilter,
    build_frame,
    parse_frame,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

_ETH_P_ALL = 3
_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, _PACKET_MR_PROMISC = 263, 1, 1  # <linux/if_packet.h>
_IP_RECVERR = 11  # <linux/in.h>
_IFF_UP, _IFF_LOOPBACK = 0x1, 0x8
_FRAME_BYTES = 65536
_PRIVILEGE_HINT = (
    "frames need CAP_NET_RAW: run it as root (sudo ectools netboot probe …), or with that capability alone:"
    " systemd-run --pty -p User=$USER -p AmbientCapabilities=CAP_NET_RAW ectools netboot probe …"
)


class LinkError(EcError):
    """The interface cannot be used; the message names it and the reason."""


@dataclass(frozen=True, kw_only=True)
class Interface:
    """An Ethernet interface; ``addresses`` are its IPv4 ones, the first of them its main one."""

    name: str
    index: int
    mac: bytes
    up: bool
    addresses: tuple[IPv4Interface, ...]


@dataclass(frozen=True, kw_only=True)
class Host:
    """This host. ``local`` are all its addresses, ``gateway_interface`` is its default route's."""

    interfaces: tuple[Interface, ...]
    local: frozenset[IPv4Address]
    gateway_interface: str | None

    def choose(self, name: str | None) -> Interface:
        """The interface ``name``; without a name the default route's, or the only one. Raises InputError."""
        known = ", ".join(each.name for each in self.interfaces) or "none"
        if name is None:
            name = self.gateway_interface or (self.interfaces[0].name if len(self.interfaces) == 1 else None)
            if name is None:
                raise InputError(
                    "--interface: there is no default route, and more than one interface, or none",
                    hint=f"name one; there are: {known}",
                )
        found = next((each for each in self.interfaces if each.name == name), None)
        if found is None:
            raise InputError(
                f"--interface: there is no Ethernet interface {name}", hint=f"there are: {known}"
            )
        if not found.up:
            raise LinkError(f"{name}: the interface is down", hint=f"ip link set {name} up")
        return found


def find_host() -> Host:
    """Look at this host's interfaces, addresses and default route."""
    from pyroute2 import IPRoute

    with IPRoute() as netlink:
        addresses: dict[int, list[IPv4Interface]] = {}
        for each in netlink.get_addr(family=socket.AF_INET):
            address = each.get_attr("IFA_LOCAL") or each.get_attr("IFA_ADDRESS")
            addresses.setdefault(each["index"], []).append(IPv4Interface(f"{address}/{each['prefixlen']}"))
        links = list(netlink.get_links())
        names = {link["index"]: str(link.get_attr("IFLA_IFNAME")) for link in links}
        routes = [route.get_attr("RTA_OIF") for route in netlink.get_default_routes(family=socket.AF_INET)]
    interfaces = [
        Interface(
            name=names[link["index"]],
            index=link["index"],
            mac=_parse_mac(link),
            up=bool(link["flags"] & _IFF_UP),
            addresses=tuple(addresses.get(link["index"], ())),
        )
        for link in links
        if not link["flags"] & _IFF_LOOPBACK and len(_parse_mac(link)) == 6
    ]
    return Host(
        interfaces=tuple(interfaces),
        local=frozenset(each.ip for group in addresses.values() for each in group),
        gateway_interface=next((names[index] for index in routes if index in names), None),
    )


def _parse_mac(link: Any) -> bytes:
    return bytes.fromhex(str(link.get_attr("IFLA_ADDRESS") or "").replace(":", ""))


def listens_here(port: int) -> bool:
    """Whether a program on this host has the UDP port, for one address or for all."""
    try:
        lines = Path("/proc/net/udp").read_text(encoding="ascii").splitlines()[1:]
    except OSError:
        return False
    return any(int(line.split()[1].partition(":")[2], 16) == port for line in lines)


class CaptureSocket:
    """Hears the UDP datagrams to one port on an interface, before any firewall of this host.

    Those that this host sends are heard too: so are the answers of a server on this very host.
    """

    def __init__(self, interface: Interface, port: int, *, promiscuous: bool = False) -> None:
        try:
            self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        except PermissionError as error:
            raise LinkError(f"{interface.name}: {error.strerror}", hint=_PRIVILEGE_HINT) from error
        with contextlib.ExitStack() as cleanup:
            cleanup.callback(self._socket.close)
            filter_ = PortFilter(port)
            self._socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, filter_.program)
            self._socket.setblocking(False)
            try:
                self._socket.bind((interface.name, _ETH_P_ALL))
            except OSError as error:
                raise LinkError(f"{interface.name}: {error.strerror}") from error
            if promiscuous:
                membership = struct.pack("IHH8s", interface.index, _PACKET_MR_PROMISC, 0, b"")
                self._socket.setsockopt(_SOL_PACKET, _PACKET_ADD_MEMBERSHIP, membership)
            cleanup.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def fileno(self) -> int:
        return self._socket.fileno()

    def send(self, datagram: Datagram) -> None:
        """Put a frame on the wire as it is. Raises LinkError."""
        try:
            self._socket.send(build_frame(datagram))
        except OSError as error:
            raise LinkError(f"cannot send: {error.strerror}") from error

    def read(self) -> list[Datagram]:
        """What has been heard since the last call; what is no datagram is left out."""
        found = []
        with contextlib.suppress(BlockingIOError):
            while True:
                frame = self._socket.recv(_FRAME_BYTES)
                with contextlib.suppress(PacketError):
                    found.append(parse_frame(frame))
        return found


def send_broadcast(interface: Interface, payload: bytes, *, port: int) -> None:
    """Broadcast a datagram through the kernel, so that a server on this very host hears it too.

    The source is the interface's address, where a client's would be 0.0.0.0; servers do not look at it.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.name.encode())
        _bind(sender, str(interface.addresses[0].ip), 68)
        try:
            sender.sendto(payload, (str(BROADCAST), port))
        except OSError as error:
            raise LinkError(f"{interface.name}: cannot send: {error.strerror}") from error


class UdpEndpoint:
    """A UDP socket of ours that hears its answers even where a firewall of this host drops them.

    A TFTP server answers from a new port, so a firewall takes that for a stranger. Answers of a server on
    this host itself come through the socket alone. ``source_port`` is tried first; another is taken where it
    is not free. ``errors`` are the numbers of the errors that came back for what was sent (ICMP).
    """

    def __init__(
        self, interface: Interface, *, address: IPv4Address, here: bool, source_port: int = 0
    ) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with contextlib.ExitStack() as cleanup:
            cleanup.callback(self._socket.close)
            if not here:
                self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface.name.encode())
            # Else a socket that is not connected hears of no error (ip(7)).
            self._socket.setsockopt(socket.IPPROTO_IP, _IP_RECVERR, 1)
            _bind(self._socket, str(address), source_port)
            self._socket.setblocking(False)
            self.port: int = self._socket.getsockname()[1]
            self._address = address
            self.errors: set[int] = set()
            self._capture = CaptureSocket(interface, self.port)
            cleanup.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._capture.__exit__(kind, error, trace)
        self._socket.close()

    def send(self, payload: bytes, *, to: IPv4Address, port: int) -> None:
        """Raises LinkError where it cannot be sent. That nobody listens there is for ``wait`` to find."""
        try:
            self._socket.sendto(payload, (str(to), port))
        except OSError as error:
            # It may be of what was sent before: that is told once.
            self._take_errors(error)
            try:
                self._socket.sendto(payload, (str(to), port))
            except OSError as again:
                self._take_errors(again)
                if again.errno != errno.ECONNREFUSED:
                    raise LinkError(f"{to}: cannot send: {again.strerror}") from again

    def _take_errors(self, error: OSError) -> None:
        """Keep an error's number, and empty their queue: with one in it the socket counts as readable."""
        self.errors.add(error.errno or 0)
        with contextlib.suppress(OSError):
            while True:
                self._socket.recvmsg(0, 0, socket.MSG_ERRQUEUE)

    def wait(self, seconds: float) -> Iterator[tuple[IPv4Address, int, bytes]]:
        """What comes in within ``seconds``: its sender, its port, its bytes. The same one may come twice."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            ours, captured = self._socket.fileno(), self._capture.fileno()
            ready, _, _ = select.select([ours, captured], [], [], left)
            if ours in ready:
                try:
                    payload, (source, port) = self._socket.recvfrom(_FRAME_BYTES)
                except OSError as error:
                    self._take_errors(error)
                else:
                    yield IPv4Address(source), port, payload
            if captured in ready:
                for each in self._capture.read():
                    if each.destination == self._address:
                        yield each.source, each.source_port, each.payload


def _bind(sock: socket.socket, address: str, port: int) -> None:
    """Bind to the port, or to any where that one is taken or needs a right that this process has not."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((address, port))
    except OSError:
        sock.bind((address, 0))


@contextlib.contextmanager
def hold_address(interface: Interface, address: IPv4Interface) -> Iterator[None]:
    """Give the interface an address for the length of the block."""
    from pyroute2 import IPRoute, NetlinkError

    arguments = {"index": interface.index, "address": str(address.ip), "prefixlen": address.network.prefixlen}
    with IPRoute() as netlink:
        try:
            netlink.addr("add", **arguments)
        except NetlinkError as error:
            raise LinkError(
                f"{interface.name}: cannot be given {address}: {os.strerror(error.code)}",
                hint="--lease needs CAP_NET_ADMIN: run it as root",
            ) from error
        try:
            yield
        finally:
            with contextlib.suppress(NetlinkError):
                netlink.addr("del", **arguments)
