"""DHCP messages and PXE's options: what is written is read again, and nothing that comes can break it."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address
from typing import Any

import dpkt.ethernet
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.needs import give_up
from support.pxe_messages import client_of, menu

from ectools.netboot.probe.clients.client import build_boot_request, build_discover
from ectools.netboot.probe.wire.dhcp import (
    Message,
    MessageType,
    Option,
    PacketError,
    build_message,
    parse_message,
)
from ectools.netboot.probe.wire.frames import Datagram, build_frame, parse_frame
from ectools.netboot.probe.wire.pxe_option43 import MenuItem, build_boot_item, parse_option43
from ectools.netboot.probe.wire.tftp import parse_options

MAC = bytes.fromhex("020000000001")
addresses = st.ip_addresses(v=4)
names = st.binary(max_size=63).filter(lambda name: b"\0" not in name)
messages = st.builds(
    Message,
    op=st.integers(1, 2),
    xid=st.integers(0, 2**32 - 1),
    chaddr=st.binary(max_size=16),
    secs=st.integers(0, 2**16 - 1),
    broadcast=st.booleans(),
    ciaddr=addresses,
    yiaddr=addresses,
    siaddr=addresses,
    giaddr=addresses,
    sname=names,
    file=names,
    options=st.dictionaries(
        st.integers(1, 254).filter(lambda number: number != Option.OVERLOAD),
        st.binary(max_size=700),
        max_size=20,
    ),
)


@given(messages)
def test_what_is_built_is_parsed_again(message: Message) -> None:
    assert parse_message(build_message(message)) == message


@given(st.binary(max_size=600))
def test_any_bytes_are_a_message_or_a_packet_error(data: bytes) -> None:
    try:
        message = parse_message(data)
    except PacketError:
        return
    _ = (message.kind, message.server_id, message.boot_file, message.tftp_server_name)


@given(st.binary(max_size=300), st.binary(max_size=64), st.binary(max_size=128), st.integers(0, 255))
def test_any_options_are_read_or_noted(options: bytes, sname: bytes, file: bytes, overload: int) -> None:
    head = build_message(Message(op=2, xid=1, chaddr=MAC))[:240]
    fields = head[:44] + sname.ljust(64, b"\0") + file.ljust(128, b"\0") + head[236:240]
    message = parse_message(fields + bytes((52, 1, overload)) + options)
    assert overload in (0, 1, 2, 3) or message.notes


@given(st.binary(max_size=255))
def test_any_vendor_options_are_read_or_noted(value: bytes) -> None:
    option43 = parse_option43(value)
    assert all(0 <= item.type < 65536 for item in option43.menu)


@given(st.binary(max_size=200))
def test_any_tftp_options_are_read(payload: bytes) -> None:
    assert all(isinstance(value, str) for value in parse_options(payload).values())


@given(st.binary(max_size=200))
def test_any_bytes_are_a_datagram_or_a_packet_error(frame: bytes) -> None:
    try:
        datagram = parse_frame(frame)
    except PacketError:
        return
    assert len(datagram.payload) <= len(frame)


@given(st.binary(max_size=1400), addresses, addresses, st.integers(1, 65535), st.integers(1, 65535))
def test_a_frame_carries_its_datagram(
    payload: bytes, source: IPv4Address, destination: IPv4Address, sport: int, dport: int
) -> None:
    datagram = Datagram(
        source=source,
        source_port=sport,
        destination=destination,
        destination_port=dport,
        payload=payload,
        source_mac=MAC,
    )
    frame = build_frame(datagram)
    assert parse_frame(frame) == datagram
    # Ethernet pads what is short.
    assert parse_frame(frame.ljust(60, b"\0")) == datagram


def test_a_tunnel_is_no_datagram() -> None:
    """IPv6 in IPv4, with hop-by-hop options behind a fragment header: it broke the library."""
    ipv4 = bytes((0x45, 0, 0, 140, 0, 0, 0, 0, 64, 41, 0, 0)) + bytes(8)
    ipv6 = bytes((0x60, 0, 0, 0, 0, 80, 44, 64)) + bytes(32)
    fragment, options = bytes(8), bytes((59, 0)) + bytes(6)
    frame = bytes(12) + b"\x08\x00" + ipv4 + ipv6 + fragment + options + bytes(64)
    with pytest.raises(AttributeError):  # once the library holds, the guard may go
        dpkt.ethernet.Ethernet(frame)
    with pytest.raises(PacketError, match="no UDP datagram"):
        parse_frame(frame)


def require_scapy() -> Any:
    """Its DHCP layer."""
    try:
        from scapy.layers import dhcp
    except ImportError:
        give_up("scapy is not installed (pip install scapy)")
    return dhcp


def test_long_options_are_joined_also_across_overloaded_fields() -> None:
    """RFC 3396, section 5: options, then file, then sname."""
    message = Message(op=2, xid=1, chaddr=MAC, options={52: b"\x03", 67: b"ab"})
    data = bytearray(build_message(message))
    data[108 : 108 + 6] = bytes((67, 3)) + b"cde" + b"\xff"
    data[44 : 44 + 5] = bytes((67, 2)) + b"fg" + b"\xff"
    parsed = parse_message(bytes(data))
    assert parsed.boot_file == "abcdefg"
    assert parsed.notes == ()
    assert (parsed.file, parsed.sname) == (b"", b"")


def test_what_is_cut_off_gives_a_note_and_the_rest_is_read() -> None:
    data = build_message(Message(op=2, xid=1, chaddr=MAC))[:240]
    message = parse_message(data + bytes((54, 4, 192, 0, 2, 1, 67, 200)) + b"ab")
    assert message.server_id == IPv4Address("192.0.2.1")
    assert message.notes == ("options: option 67 is cut off",)
    assert parse_option43(bytes((6, 1))).notes == ("option 43: option 6 is cut off",)
    assert parse_option43(bytes((8, 3, 0x80, 0, 9))).notes == ("option 43: the boot server list is cut off",)
    assert parse_option43(bytes((9, 4, 0x80, 0, 9, 65))).notes == ("option 43: the boot menu is cut off",)
    assert parse_option43(bytes((71, 2, 0, 0))).notes == ("option 43: sub-option 71 is too short",)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "0 bytes"),
        (bytes(239), "239 bytes"),
        (bytes(300), "magic cookie"),
    ],
)
def test_what_is_no_message_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(PacketError, match=words):
        parse_message(data)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"file": bytes(128)}, "file: longer than 127"),
        ({"sname": bytes(64)}, "sname: longer than 63"),
        ({"chaddr": bytes(17)}, "chaddr: longer than 16"),
        ({"options": {0: b""}}, "option 0: expected 1 to 254"),
        ({"options": {255: b""}}, "option 255: expected 1 to 254"),
        ({"options": {43: bytes(70000)}}, "a datagram holds"),
    ],
)
def test_what_does_not_fit_is_not_built(changes: dict[str, object], words: str) -> None:
    fields: dict[str, object] = {"op": 1, "xid": 1, "chaddr": MAC, **changes}
    with pytest.raises(PacketError, match=words):
        build_message(Message(**fields))  # type: ignore[arg-type]


def test_a_message_type_of_another_length_is_none() -> None:
    for value in (b"", b"\x09", b"\x02\x02"):
        data = build_message(Message(op=2, xid=1, chaddr=MAC, options={53: value}))
        assert parse_message(data).kind is None


@pytest.mark.parametrize("number", [0, 6, 7, 9, 11, 16, 19])
@pytest.mark.parametrize("ipxe", [False, True])
def test_another_library_reads_what_a_client_says(number: int, ipxe: bool) -> None:
    dhcp = require_scapy()
    client = client_of(number, ipxe=ipxe)
    data = build_message(build_discover(client, mac=MAC, xid=7, seconds=3))
    packet = dhcp.BOOTP(data)
    assert (packet.op, packet.xid, packet.secs, int(packet.flags)) == (1, 7, 3, 0x8000)
    options = dict(option[:2] for option in packet[dhcp.DHCP].options if isinstance(option, tuple))
    assert options["message-type"] == MessageType.DISCOVER
    assert options["vendor_class_id"].decode() == client.vendor_class
    expected = 0 if number == 0 else client.architecture.number
    assert options["pxe_client_architecture"] in (struct.pack("!H", expected), expected)
    assert ("user_class" in options or 77 in options) is ipxe


def test_what_another_library_writes_is_read() -> None:
    dhcp = require_scapy()
    written = dhcp.BOOTP(op=2, xid=9, yiaddr="192.0.2.9", siaddr="192.0.2.2", chaddr=MAC, file=b"a.efi")
    written /= dhcp.DHCP(
        options=[
            ("message-type", "offer"),
            ("server_id", "192.0.2.1"),
            ("vendor_class_id", b"PXEClient"),
            (43, b"\x06\x01\x08\xff"),
            "end",
        ]
    )
    message = parse_message(bytes(written))
    assert message.kind is MessageType.OFFER
    assert (message.server_id, message.siaddr) == (IPv4Address("192.0.2.1"), IPv4Address("192.0.2.2"))
    assert (message.boot_file, message.vendor_class) == ("a.efi", b"PXEClient")
    assert parse_option43(message.options[43]).skip_menu


def test_a_menu_is_read() -> None:
    server = IPv4Address("192.0.2.2")
    value = menu((0x8000, "one", server), (0, "disk", None), prompt=255, control=8)[Option.VENDOR]
    option43 = parse_option43(value)
    assert option43.menu == (MenuItem(type=0x8000, text="one"), MenuItem(type=0, text="disk"))
    assert option43.find_servers(0x8000) == (server,)
    assert option43.find_servers(1) == ()
    assert (option43.prompt_seconds, option43.skip_menu, option43.has_discovery) == (255, True, True)
    assert parse_option43(build_boot_item(0x8000)).item == 0x8000
    assert not parse_option43(build_boot_item(1)).has_discovery


def test_what_each_client_says() -> None:
    firmware = build_discover(client_of(7), mac=MAC, xid=1)
    assert firmware.vendor_class == b"PXEClient:Arch:00007:UNDI:003016"
    assert firmware.options[Option.ARCHITECTURE] == b"\x00\x07"
    assert firmware.options[Option.INTERFACE] == b"\x01\x03\x10"
    assert len(firmware.options[Option.MACHINE_ID]) == 17
    assert {43, 60, 66, 67} <= set(firmware.options[Option.PARAMETERS])
    assert Option.USER_CLASS not in firmware.options
    ipxe = build_discover(client_of(7, ipxe=True), mac=MAC, xid=1)
    assert ipxe.options[Option.USER_CLASS] == b"iPXE"
    assert 175 in ipxe.options[Option.PARAMETERS]
    http = build_discover(client_of(16), mac=MAC, xid=1)
    assert http.vendor_class == b"HTTPClient:Arch:00016:UNDI:003016"
    # iPXE started by HTTP boot is the one that PXE starts.
    assert client_of(16, ipxe=True).architecture.number == 7
    assert client_of(9, ipxe=True).architecture.number == 7
    assert client_of(19, ipxe=True).architecture.number == 11


def test_port_4011_is_asked_as_each_client_asks_it() -> None:
    here, there = IPv4Address("192.0.2.9"), IPv4Address("192.0.2.2")
    plain = build_boot_request(client_of(7), mac=MAC, xid=1, address=here, server=there, item=None)
    assert (plain.kind, plain.ciaddr, plain.broadcast) == (MessageType.REQUEST, here, False)
    assert not {Option.SERVER_ID, Option.REQUESTED_ADDRESS, Option.VENDOR} & set(plain.options)
    item = build_boot_request(client_of(0), mac=MAC, xid=1, address=here, server=there, item=0x8001)
    assert parse_option43(item.options[Option.VENDOR]).item == 0x8001
    ipxe = build_boot_request(client_of(7, ipxe=True), mac=MAC, xid=1, address=here, server=there, item=None)
    assert ipxe.server_id == there
