"""Frames, the kernel's filter for them, this host's interfaces, and sockets with a kernel that is faked."""

from __future__ import annotations

import ctypes
import errno
import socket
import struct
import sys
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, ClassVar

import pytest

from ectools.errors import InputError
from ectools.netboot.probe.wire import packet_socket
from ectools.netboot.probe.wire.dhcp import PacketError
from ectools.netboot.probe.wire.frames import (
    BROADCAST,
    BROADCAST_MAC,
    SO_ATTACH_FILTER,
    Datagram,
    PortFilter,
    build_frame,
    parse_frame,
)
from ectools.netboot.probe.wire.packet_socket import (
    CaptureSocket,
    Host,
    Interface,
    LinkError,
    UdpEndpoint,
    find_host,
    hold_address,
    listens_here,
    send_broadcast,
)

MAC = bytes.fromhex("020000000001")
HERE, THERE = IPv4Address("192.0.2.9"), IPv4Address("192.0.2.2")
ETH0 = Interface(name="eth0", index=7, mac=MAC, up=True, addresses=(IPv4Interface("192.0.2.9/24"),))
DATAGRAM = Datagram(
    source=THERE, source_port=67, destination=HERE, destination_port=68, payload=b"offer", source_mac=MAC
)


# Frames


def test_a_frame_byte_by_byte() -> None:
    frame = build_frame(DATAGRAM)
    assert frame[:14] == BROADCAST_MAC + MAC + b"\x08\x00"
    ip, udp = frame[14:34], frame[34:42]
    assert (ip[0], ip[8], ip[9], ip[12:16], ip[16:20]) == (0x45, 64, 17, THERE.packed, HERE.packed)
    assert struct.unpack("!H", ip[2:4]) == (33,)
    assert struct.unpack("!HHH", udp[:6]) == (67, 68, 13)
    assert frame[42:] == b"offer"
    words = struct.unpack("!10H", ip)
    assert sum(words) % 0xFFFF == 0, "the header's checksum (RFC 791)"
    pseudo = THERE.packed + HERE.packed + struct.pack("!HH", 17, 13) + udp + b"offer\0"
    assert sum(struct.unpack(f"!{len(pseudo) // 2}H", pseudo)) % 0xFFFF == 0, "UDP's checksum (RFC 768)"


def test_the_defaults_of_a_datagram() -> None:
    assert (DATAGRAM.destination_mac, str(BROADCAST)) == (b"\xff" * 6, "255.255.255.255")
    bare = Datagram(source=HERE, source_port=1, destination=THERE, destination_port=2, payload=b"")
    assert bare.source_mac == bytes(6)


def changed(at: int, data: bytes) -> bytes:
    frame = bytearray(build_frame(DATAGRAM))
    frame[at : at + len(data)] = data
    return bytes(frame)


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (changed(12, b"\x86\xdd"), "no UDP datagram over IPv4"),
        (changed(23, b"\x06"), "no UDP datagram over IPv4"),
        (b"", "no UDP datagram over IPv4"),
        (changed(20, b"\x20\x00"), "a fragment of a datagram"),
        (changed(20, b"\x00\x01"), "no whole UDP datagram|a fragment of a datagram"),
        (build_frame(DATAGRAM)[:36], "no whole UDP datagram over IPv4|no Ethernet frame"),
    ],
)
def test_what_is_no_datagram(frame: bytes, words: str) -> None:
    with pytest.raises(PacketError, match=words):
        parse_frame(frame)


def test_a_datagram_ends_where_it_says() -> None:
    assert parse_frame(changed(38, struct.pack("!H", 11))).payload == b"off"
    assert parse_frame(changed(38, struct.pack("!H", 3))).payload == b""
    assert parse_frame(build_frame(DATAGRAM) + b"padding").payload == b"offer"


# The filter, run as the kernel runs it


def run_filter(program: PortFilter, frame: bytes, *, tagged: bool = False) -> int:
    """Classic BPF (linux/filter.h) as far as the filter uses it: how many bytes pass, 0 for none."""
    count, address = struct.unpack("@HP", program.program)
    code = ctypes.string_at(address, count * 8)
    instructions = [struct.unpack_from("=HBBI", code, index * 8) for index in range(count)]
    accumulator = index_register = at = 0
    while True:
        opcode, yes, no, operand = instructions[at]
        at += 1
        if opcode == 0x20:
            assert operand == 0xFFFFF000 + 48, "SKF_AD_OFF + SKF_AD_VLAN_TAG_PRESENT"
            accumulator = int(tagged)
        elif opcode in (0x28, 0x48):
            start = operand + (index_register if opcode == 0x48 else 0)
            (accumulator,) = struct.unpack_from("!H", frame, start)
        elif opcode == 0x30:
            accumulator = frame[operand]
        elif opcode == 0xB1:
            index_register = 4 * (frame[operand] & 0xF)
        elif opcode == 0x15:
            at += yes if accumulator == operand else no
        elif opcode == 0x45:
            at += yes if accumulator & operand else no
        elif opcode == 0x06:
            return int(operand)
        else:
            raise AssertionError(hex(opcode))


def with_ip_options(frame: bytes) -> bytes:
    return frame[:14] + b"\x46" + frame[15:34] + bytes(4) + frame[34:]


@pytest.mark.parametrize(
    ("frame", "passes"),
    [
        (build_frame(DATAGRAM), True),
        (with_ip_options(build_frame(DATAGRAM)), True),
        # More fragments follow: the first one still has the ports.
        (changed(20, b"\x20\x00"), True),
        (changed(20, b"\x00\x01"), False),
        (changed(20, b"\x1f\xff"), False),
        (changed(12, b"\x86\xdd"), False),
        (changed(23, b"\x06"), False),
        (build_frame(replace(DATAGRAM, destination_port=67, source_port=68)), False),
        (build_frame(replace(DATAGRAM, destination_port=69)), False),
    ],
)
def test_what_the_kernel_lets_through(frame: bytes, passes: bool) -> None:
    assert run_filter(PortFilter(68), frame) == (0xFFFF if passes else 0)
    assert run_filter(PortFilter(68), frame, tagged=True) == 0


# Interfaces


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


# Sockets


class FakeSocket:
    """Keeps what it is told. ``incoming`` is what it hears; an error in it is raised."""

    made: ClassVar[list[FakeSocket]] = []
    refuse_ports: frozenset[int] = frozenset()
    bind_error: OSError | None = None
    open_error: OSError | None = None

    def __init__(self, *kind: int) -> None:
        if self.open_error is not None:
            raise self.open_error
        self.kind = kind
        self.options: list[tuple[Any, ...]] = []
        self.bound: Any = None
        self.tried: list[Any] = []
        self.blocking = True
        self.closed = False
        self.sent: list[Any] = []
        self.incoming: list[Any] = []
        self.send_error: OSError | None = None
        self.errors_queued = 0
        FakeSocket.made.append(self)

    def __enter__(self) -> FakeSocket:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def setsockopt(self, *option: Any) -> None:
        self.options.append(option)

    def setblocking(self, flag: bool) -> None:
        self.blocking = flag

    def recvmsg(self, *arguments: int) -> None:
        assert arguments == (0, 0, socket.MSG_ERRQUEUE)
        if not self.errors_queued:
            raise BlockingIOError
        self.errors_queued -= 1

    def bind(self, address: Any) -> None:
        self.tried.append(address)
        if self.bind_error is not None:
            raise self.bind_error
        if address[1] in self.refuse_ports:
            raise OSError(errno.EACCES, "Permission denied")
        self.bound = address

    def getsockname(self) -> Any:
        return (self.bound[0], self.bound[1] or 40000)

    def fileno(self) -> int:
        return 1000 + FakeSocket.made.index(self)

    def send(self, data: bytes) -> None:
        self._send(data)

    def sendto(self, data: bytes, address: Any) -> None:
        self._send((data, address))

    def _send(self, what: Any) -> None:
        self.sent.append(what)
        if self.send_error is not None:
            raise self.send_error

    def recv(self, _size: int) -> bytes:
        return self._receive()  # type: ignore[no-any-return]

    def recvfrom(self, _size: int) -> tuple[bytes, tuple[str, int]]:
        return self._receive()  # type: ignore[no-any-return]

    def _receive(self) -> Any:
        if not self.incoming:
            raise BlockingIOError
        found = self.incoming.pop(0)
        if isinstance(found, OSError):
            raise found
        return found

    def close(self) -> None:
        self.closed = True


class Clock:
    """A clock that ``select`` moves on: by nothing where there is something to read, else to the end."""

    def __init__(self) -> None:
        self.now = 100.0
        self.waits: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def select(
        self, reads: list[Any], _w: list[Any], _x: list[Any], left: float
    ) -> tuple[list[Any], list[Any], list[Any]]:
        self.waits.append(left)
        ready = [each for each in reads if FakeSocket.made[each - 1000].incoming]
        if not ready:
            self.now += left
        else:
            self.now += 0.25
        return ready, [], []


@pytest.fixture
def sockets(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[FakeSocket]]:
    made: ClassVar[list[FakeSocket]] = []
    monkeypatch.setattr(FakeSocket, "made", made)
    monkeypatch.setattr(packet_socket.socket, "socket", FakeSocket)
    return made


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(packet_socket, "time", SimpleNamespace(monotonic=clock.monotonic))
    monkeypatch.setattr(packet_socket, "select", SimpleNamespace(select=clock.select))
    return clock


def test_a_capture_of_one_port(sockets: list[FakeSocket]) -> None:
    with CaptureSocket(ETH0, 68) as capture:
        (made,) = sockets
        assert made.kind == (socket.AF_PACKET, socket.SOCK_RAW, 0)
        assert made.bound == ("eth0", 3)
        assert not made.blocking
        assert [option[:2] for option in made.options] == [(socket.SOL_SOCKET, SO_ATTACH_FILTER)]
        assert SO_ATTACH_FILTER == socket.SO_ATTACH_FILTER if hasattr(socket, "SO_ATTACH_FILTER") else 26
        assert capture.fileno() == made.fileno()
        made.incoming = [b"no frame", build_frame(DATAGRAM), build_frame(DATAGRAM)]
        assert [each.payload for each in capture.read()] == [b"offer", b"offer"]
        assert capture.read() == []
        capture.send(DATAGRAM)
        assert made.sent == [build_frame(DATAGRAM)]
    assert made.closed


def test_a_capture_for_another_mac_is_promiscuous(sockets: list[FakeSocket]) -> None:
    with CaptureSocket(ETH0, 68, promiscuous=True):
        option = sockets[0].options[1]
    # struct packet_mreq of packet(7): SOL_PACKET, PACKET_ADD_MEMBERSHIP, PACKET_MR_PROMISC.
    assert option == (263, 1, struct.pack("IHH8s", 7, 1, 0, b""))


def test_a_capture_without_the_right(monkeypatch: pytest.MonkeyPatch, sockets: list[FakeSocket]) -> None:
    monkeypatch.setattr(FakeSocket, "open_error", PermissionError(errno.EPERM, "Operation not permitted"))
    with pytest.raises(LinkError, match="eth0: Operation not permitted") as caught:
        CaptureSocket(ETH0, 68)
    assert "CAP_NET_RAW" in (caught.value.hint or "")
    assert sockets == []


def test_a_capture_on_an_interface_that_is_gone(
    monkeypatch: pytest.MonkeyPatch, sockets: list[FakeSocket]
) -> None:
    monkeypatch.setattr(FakeSocket, "bind_error", OSError(errno.ENODEV, "No such device"))
    with pytest.raises(LinkError, match="eth0: No such device"):
        CaptureSocket(ETH0, 68)
    assert sockets[0].closed


def test_a_frame_that_cannot_be_sent(sockets: list[FakeSocket]) -> None:
    with CaptureSocket(ETH0, 68) as capture:
        sockets[0].send_error = OSError(errno.ENETDOWN, "Network is down")
        with pytest.raises(LinkError, match="Network is down"):
            capture.send(DATAGRAM)


def test_a_broadcast_through_the_kernel(sockets: list[FakeSocket]) -> None:
    send_broadcast(ETH0, b"discover", port=67)
    (made,) = sockets
    assert made.kind == (socket.AF_INET, socket.SOCK_DGRAM)
    assert made.options == [
        (socket.SOL_SOCKET, socket.SO_BROADCAST, 1),
        (socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0"),
        (socket.SOL_SOCKET, socket.SO_REUSEADDR, 1),
    ]
    assert made.bound == ("192.0.2.9", 68)
    assert made.sent == [(b"discover", ("255.255.255.255", 67))]
    assert made.closed


def test_a_broadcast_that_cannot_be_sent(monkeypatch: pytest.MonkeyPatch, sockets: list[FakeSocket]) -> None:
    def fail(_self: FakeSocket, _what: object) -> None:
        raise OSError(errno.ENETUNREACH, "Network is unreachable")

    monkeypatch.setattr(FakeSocket, "_send", fail)
    with pytest.raises(LinkError, match="eth0: cannot send: Network is unreachable"):
        send_broadcast(ETH0, b"discover", port=67)
    assert sockets[0].closed


@pytest.mark.usefixtures("clock")
@pytest.mark.parametrize("here", [False, True])
def test_an_endpoint_and_its_capture(sockets: list[FakeSocket], here: bool) -> None:
    with UdpEndpoint(ETH0, address=HERE, here=here, source_port=68) as endpoint:
        ours, capture = sockets
        device = (socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"eth0")
        assert (device in ours.options) is not here
        assert (socket.SOL_SOCKET, socket.SO_REUSEADDR, 1) in ours.options
        assert (ours.bound, endpoint.port, ours.blocking) == (("192.0.2.9", 68), 68, False)
        assert capture.bound == ("eth0", 3)
        endpoint.send(b"request", to=THERE, port=4011)
        assert ours.sent == [(b"request", ("192.0.2.2", 4011))]
    assert ours.closed
    assert capture.closed


def test_another_port_is_taken_where_the_first_is_not_to_be_had(
    monkeypatch: pytest.MonkeyPatch, sockets: list[FakeSocket]
) -> None:
    monkeypatch.setattr(FakeSocket, "refuse_ports", frozenset({68}))
    with UdpEndpoint(ETH0, address=HERE, here=False, source_port=68) as endpoint:
        assert sockets[0].tried == [("192.0.2.9", 68), ("192.0.2.9", 0)]
        assert endpoint.port == 40000
    with UdpEndpoint(ETH0, address=HERE, here=False) as endpoint:
        assert sockets[2].tried == [("192.0.2.9", 0)]


def test_an_endpoint_that_cannot_be_made_leaves_no_socket(
    monkeypatch: pytest.MonkeyPatch, sockets: list[FakeSocket]
) -> None:
    monkeypatch.setattr(FakeSocket, "bind_error", OSError(errno.EADDRNOTAVAIL, "gone"))
    with pytest.raises(OSError, match="gone"):
        UdpEndpoint(ETH0, address=HERE, here=False)
    assert sockets[0].closed


def test_that_nobody_listens_is_no_failure_of_sending(sockets: list[FakeSocket]) -> None:
    with UdpEndpoint(ETH0, address=HERE, here=False) as endpoint:
        sockets[0].send_error = ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")
        sockets[0].errors_queued = 2
        endpoint.send(b"x", to=THERE, port=69)
        assert (endpoint.errors, sockets[0].errors_queued) == ({errno.ECONNREFUSED}, 0)
        sockets[0].send_error = OSError(errno.EHOSTUNREACH, "No route to host")
        with pytest.raises(LinkError, match=r"192.0.2.2: cannot send: No route to host"):
            endpoint.send(b"x", to=THERE, port=69)
        assert endpoint.errors == {errno.ECONNREFUSED, errno.EHOSTUNREACH}


def test_an_error_of_what_was_sent_before_is_told_once(
    sockets: list[FakeSocket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the first packet's fate would be taken for the second one's."""
    with UdpEndpoint(ETH0, address=HERE, here=False) as endpoint:
        outcomes: list[OSError | None] = [OSError(errno.EHOSTUNREACH, "No route to host"), None]

        def sendto(_data: bytes, _address: Any) -> None:
            outcome = outcomes.pop(0)
            if outcome is not None:
                raise outcome

        monkeypatch.setattr(sockets[0], "sendto", sendto)
        endpoint.send(b"x", to=THERE, port=69)
        assert (endpoint.errors, outcomes) == ({errno.EHOSTUNREACH}, [])


def test_what_comes_by_socket_and_by_capture(sockets: list[FakeSocket], clock: Clock) -> None:
    with UdpEndpoint(ETH0, address=HERE, here=False) as endpoint:
        ours, capture = sockets
        ours.incoming = [ConnectionRefusedError(errno.ECONNREFUSED, ""), (b"one", ("192.0.2.2", 1069))]
        stray = replace(DATAGRAM, destination=IPv4Address("192.0.2.99"))
        capture.incoming = [build_frame(stray), build_frame(DATAGRAM)]
        assert list(endpoint.wait(3.0)) == [(THERE, 67, b"offer"), (THERE, 1069, b"one")]
        assert endpoint.errors == {errno.ECONNREFUSED}
        assert clock.now == 103.0
        assert clock.waits == [3.0, 2.75, 2.5]
        clock.waits.clear()
        assert list(endpoint.wait(0.0)) == []
        assert clock.waits == []
