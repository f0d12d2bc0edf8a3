"""Captures and endpoints, with a kernel that is faked."""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest

from ectools.netboot.probe.wire import packet_socket
from ectools.netboot.probe.wire.frames import (
    SO_ATTACH_FILTER,
    Datagram,
    build_frame,
)
from ectools.netboot.probe.wire.packet_socket import (
    CaptureSocket,
    Interface,
    LinkError,
    UdpEndpoint,
    send_broadcast,
)

MAC = bytes.fromhex("020000000001")
HERE, THERE = IPv4Address("192.0.2.9"), IPv4Address("192.0.2.2")
ETH0 = Interface(name="eth0", index=7, mac=MAC, up=True, addresses=(IPv4Interface("192.0.2.9/24"),))
DATAGRAM = Datagram(
    source=THERE, source_port=67, destination=HERE, destination_port=68, payload=b"offer", source_mac=MAC
)


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
