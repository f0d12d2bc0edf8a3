"""Ethernet frames that carry one UDP datagram over IPv4, both ways, and the kernel's filter for them."""

from __future__ import annotations

import ctypes
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address

import dpkt.ethernet
import dpkt.ip
import dpkt.udp

from ectools.netboot.probe.wire.dhcp import PacketError

BROADCAST_MAC = b"\xff" * 6
BROADCAST = IPv4Address("255.255.255.255")
_IPV4, _UDP = b"\x08\x00", bytes((17,))
SO_ATTACH_FILTER = 26  # <asm-generic/socket.h>; Python has no name for it


@dataclass(frozen=True, kw_only=True)
class Datagram:
    """A UDP datagram and its addresses."""

    source: IPv4Address
    source_port: int
    destination: IPv4Address
    destination_port: int
    payload: bytes
    source_mac: bytes = bytes(6)
    destination_mac: bytes = BROADCAST_MAC


def build_frame(datagram: Datagram) -> bytes:
    """The frame, with its lengths and checksums."""
    udp = dpkt.udp.UDP(sport=datagram.source_port, dport=datagram.destination_port, data=datagram.payload)
    udp.ulen = len(udp)
    ip = dpkt.ip.IP(
        src=datagram.source.packed, dst=datagram.destination.packed, p=dpkt.ip.IP_PROTO_UDP, ttl=64, data=udp
    )
    ip.len = len(ip)
    frame = dpkt.ethernet.Ethernet(dst=datagram.destination_mac, src=datagram.source_mac, data=ip)
    return bytes(frame)


def parse_frame(frame: bytes) -> Datagram:
    """The datagram in a frame. Raises PacketError where there is none, or only a fragment of one."""
    # dpkt would take all else apart too, tunnels in tunnels, and break on some (IPv6's fragment header).
    if frame[12:14] != _IPV4 or frame[23:24] != _UDP:
        raise PacketError("no UDP datagram over IPv4")
    try:
        ethernet = dpkt.ethernet.Ethernet(frame)
    except dpkt.Error as error:
        raise PacketError(f"no Ethernet frame: {error}") from error
    ip = ethernet.data
    if not isinstance(ip, dpkt.ip.IP) or not isinstance(ip.data, dpkt.udp.UDP):
        raise PacketError("no whole UDP datagram over IPv4")
    udp = ip.data
    if ip.mf or ip.offset:
        raise PacketError("a fragment of a datagram")
    return Datagram(
        source=IPv4Address(ip.src),
        source_port=udp.sport,
        destination=IPv4Address(ip.dst),
        destination_port=udp.dport,
        # Short frames are padded: what is past the datagram's own length is none of it.
        payload=bytes(udp.data)[: max(udp.ulen - 8, 0)],
        source_mac=bytes(ethernet.src),
        destination_mac=bytes(ethernet.dst),
    )


class PortFilter:
    """A socket filter that passes untagged, whole UDP datagrams over IPv4 to one port.

    Without it, every frame of a busy server would be copied to a program that wants a few. ``program`` is the
    value of SO_ATTACH_FILTER; it points into this object.
    """

    def __init__(self, port: int) -> None:
        # Classic BPF (linux/filter.h): code, jump if true, jump if false, operand.
        instructions = (
            (0x20, 0, 0, 0xFFFFF030),  # A = SKF_AD_VLAN_TAG_PRESENT: another VLAN's frame is no answer
            (0x15, 0, 10, 0),
            (0x28, 0, 0, 12),  # A = EtherType
            (0x15, 0, 8, 0x0800),
            (0x30, 0, 0, 23),  # A = protocol
            (0x15, 0, 6, 17),
            (0x28, 0, 0, 20),  # A = fragment offset
            (0x45, 4, 0, 0x1FFF),
            (0xB1, 0, 0, 14),  # X = length of the IP header
            (0x48, 0, 0, 16),  # A = destination port
            (0x15, 0, 1, port),
            (0x06, 0, 0, 0xFFFF),
            (0x06, 0, 0, 0),
        )
        code = b"".join(struct.pack("=HBBI", *each) for each in instructions)
        self._code = ctypes.create_string_buffer(code, len(code))
        self.program = struct.pack("@HP", len(instructions), ctypes.addressof(self._code))
