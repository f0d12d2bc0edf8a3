"""Frames byte by byte, and the kernel's filter for them, run as the kernel runs it."""

from __future__ import annotations

import ctypes
import struct
from dataclasses import replace
from ipaddress import IPv4Address

import pytest

from ectools.netboot.probe.wire.dhcp import PacketError
from ectools.netboot.probe.wire.frames import (
    BROADCAST,
    BROADCAST_MAC,
    Datagram,
    PortFilter,
    build_frame,
    parse_frame,
)

MAC = bytes.fromhex("020000000001")
HERE, THERE = IPv4Address("192.0.2.9"), IPv4Address("192.0.2.2")
DATAGRAM = Datagram(
    source=THERE, source_port=67, destination=HERE, destination_port=68, payload=b"offer", source_mac=MAC
)


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
