"""DHCP messages and PXE's options byte by byte: each field's place, each limit met and passed by one."""

from __future__ import annotations

import struct
from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from support.pxe_messages import PROXY, ROUTER, answer, client_of, lease, menu, proxy

from ectools.netboot.probe.clients.client import (
    build_boot_request,
    build_discover,
    build_lease_request,
    build_release,
)
from ectools.netboot.probe.wire.dhcp import (
    NO_ADDRESS,
    Message,
    MessageType,
    Option,
    PacketError,
    build_message,
    parse_message,
    split_dhcp_options,
)
from ectools.netboot.probe.wire.offers import Answer
from ectools.netboot.probe.wire.pxe_option43 import (
    WAIT_FOR_EVER,
    MenuItem,
    PxeOption43,
    PxeSuboption,
    build_boot_item,
    parse_option43,
)

MAC = bytes.fromhex("020000000001")
COOKIE = bytes((99, 130, 83, 99))


def build_header(
    *, hlen: int = 6, overload: bytes | None = None, sname: bytes = b"", file: bytes = b""
) -> bytes:
    """RFC 2131, figure 1, with the cookie; ``overload`` is option 52's value."""
    fixed = struct.pack("!4BI2H", 2, 1, hlen, 0, 7, 0, 0) + bytes(16)
    head = fixed + MAC.ljust(16, b"\1") + sname.ljust(64, b"\0") + file.ljust(128, b"\0") + COOKIE
    return head if overload is None else head + bytes((52, len(overload))) + overload


def test_each_field_has_its_place() -> None:
    addresses = [IPv4Address(f"10.0.0.{last}") for last in range(1, 5)]
    message = Message(
        op=2,
        xid=0x01020304,
        chaddr=MAC,
        secs=0x0506,
        broadcast=True,
        ciaddr=addresses[0],
        yiaddr=addresses[1],
        siaddr=addresses[2],
        giaddr=addresses[3],
        sname=b"server",
        file=b"a.efi",
        options={53: b"\2", 43: b""},
    )
    data = build_message(message)
    assert data[:12] == bytes((2, 1, 6, 0, 1, 2, 3, 4, 5, 6, 0x80, 0))
    assert data[12:28] == b"".join(each.packed for each in addresses)
    assert data[28:44] == MAC + bytes(10)
    assert data[44:108] == b"server".ljust(64, b"\0")
    assert data[108:236] == b"a.efi".ljust(128, b"\0")
    assert data[236:247] == COOKIE + b"\x35\x01\x02\x2b\x00\xff" + b"\0"
    assert len(data) == 300
    assert parse_message(data) == message
    assert parse_message(build_message(replace(message, broadcast=False))).broadcast is False


@pytest.mark.parametrize(
    ("size", "parts"),
    [(0, [0]), (1, [1]), (255, [255]), (256, [255, 1]), (510, [255, 255]), (511, [255, 255, 1])],
)
def test_a_long_option_is_split_at_255_bytes(size: int, parts: list[int]) -> None:
    value = bytes(index % 251 for index in range(size))
    data = build_message(Message(op=1, xid=1, chaddr=MAC, options={43: value}))
    found = split_dhcp_options(data[240:], where="options", notes=[])
    assert [(number, len(part)) for number, part in found] == [(43, part) for part in parts]
    assert b"".join(part for _, part in found) == value


def test_the_largest_message_and_one_that_is_too_large() -> None:
    # Header, the end, and the option's own two bytes for each 255 of the value.
    room = 65507 - 240 - 1
    size = room - 2 * -(-room // 257)
    data = build_message(Message(op=1, xid=1, chaddr=MAC, options={43: bytes(size)}))
    assert len(data) == 65507
    with pytest.raises(PacketError, match="the message has 65508 bytes; a datagram holds 65507"):
        build_message(Message(op=1, xid=1, chaddr=MAC, options={43: bytes(size + 1)}))


@pytest.mark.parametrize(("name", "size"), [("chaddr", 16), ("sname", 63), ("file", 127)])
def test_the_longest_fields(name: str, size: int) -> None:
    fields: dict[str, object] = {"op": 1, "xid": 1, "chaddr": MAC, name: b"x" * size}
    message = Message(**fields)  # type: ignore[arg-type]
    assert parse_message(build_message(message)) == message


def test_the_first_and_the_last_option() -> None:
    message = Message(op=1, xid=1, chaddr=MAC, options={1: b"a", 254: b"b"})
    assert parse_message(build_message(message)).options == {1: b"a", 254: b"b"}


def test_a_message_of_a_header_alone() -> None:
    message = parse_message(build_header())
    assert (message.options, message.notes, message.chaddr) == ({}, (), MAC)
    with pytest.raises(PacketError, match="239 bytes: a DHCP message has 240 at least"):
        parse_message(build_header()[:-1])
    with pytest.raises(PacketError, match="63:82:53:63"):
        parse_message(build_header()[:-1] + b"\0")


@pytest.mark.parametrize(
    ("hlen", "length", "notes"),
    [
        (0, 0, ()),
        (6, 6, ()),
        (16, 16, ()),
        (17, 16, ("the hardware address claims 17 bytes of 16",)),
    ],
)
def test_hardware_addresses(hlen: int, length: int, notes: tuple[str, ...]) -> None:
    message = parse_message(build_header(hlen=hlen))
    assert (len(message.chaddr), message.notes) == (length, notes)


@pytest.mark.parametrize(
    ("overload", "options", "names", "notes"),
    [
        (None, b"", (b"C\1s", b"C\1f"), ()),
        (b"\0", b"", (b"C\1s", b"C\1f"), ()),
        (b"\1", b"f", (b"C\1s", b""), ()),
        (b"\2", b"s", (b"", b"C\1f"), ()),
        # RFC 3396, section 5: options, file, sname.
        (b"\3", b"fs", (b"", b""), ()),
        (b"\4", b"", (b"C\1s", b"C\1f"), ("option 52 is 04: expected 1, 2 or 3",)),
        (b"", b"", (b"C\1s", b"C\1f"), ("option 52 is : expected 1, 2 or 3",)),
        (b"\1\1", b"", (b"C\1s", b"C\1f"), ("option 52 is 01:01: expected 1, 2 or 3",)),
    ],
)
def test_overload(
    overload: bytes | None, options: bytes, names: tuple[bytes, bytes], notes: tuple[str, ...]
) -> None:
    """Option 67 ("C") in both fields, which are names where option 52 does not say otherwise."""
    message = parse_message(build_header(overload=overload, sname=b"C\1s\xff", file=b"C\1f\xff"))
    assert message.options.get(67, b"") == options
    ends = tuple(name + b"\xff" if name else b"" for name in names)
    assert ((message.sname, message.file), message.notes) == (ends, notes)


def test_what_is_cut_off_in_an_overloaded_field_is_named() -> None:
    message = parse_message(build_header(overload=b"\3", sname=bytes(63) + b"C", file=bytes(126) + b"D\5"))
    assert message.notes == ("file: option 68 is cut off", "sname: option 67 is cut off")


@pytest.mark.parametrize(
    ("area", "found", "notes"),
    [
        (b"", [], []),
        (b"\0\0", [], []),
        (b"\xff\x01\x01", [], []),
        (b"\x01\x00\x02\x01x", [(1, b""), (2, b"x")], []),
        (b"\x00\x01\x01x\x00\x02\x01y\xff\x03\x01z", [(1, b"x"), (2, b"y")], []),
        (b"\x01\x01x\x02", [(1, b"x")], ["here: option 2 is cut off"]),
        (b"\x01\x01x\x02\x01", [(1, b"x")], ["here: option 2 is cut off"]),
        (b"\x01\x02x", [], ["here: option 1 is cut off"]),
        (b"\x01\x00", [(1, b"")], []),
    ],
)
def test_runs_of_options(area: bytes, found: list[tuple[int, bytes]], notes: list[str]) -> None:
    told: list[str] = []
    assert split_dhcp_options(area, where="here", notes=told) == found
    assert told == notes


@pytest.mark.parametrize("kind", MessageType)
def test_message_types(kind: MessageType) -> None:
    assert Message(op=1, xid=1, chaddr=MAC, options={53: bytes((kind,))}).kind is kind


def test_the_numbers_are_iana_s() -> None:
    """https://www.iana.org/assignments/bootp-dhcp-parameters"""
    assert [int(kind) for kind in MessageType] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert {option.name: int(option) for option in Option} == {
        "SUBNET_MASK": 1,
        "ROUTER": 3,
        "DNS": 6,
        "HOST_NAME": 12,
        "DOMAIN": 15,
        "VENDOR": 43,
        "REQUESTED_ADDRESS": 50,
        "LEASE_SECONDS": 51,
        "OVERLOAD": 52,
        "MESSAGE_TYPE": 53,
        "SERVER_ID": 54,
        "PARAMETERS": 55,
        "MESSAGE": 56,
        "MAX_SIZE": 57,
        "VENDOR_CLASS": 60,
        "CLIENT_ID": 61,
        "TFTP_SERVER_NAME": 66,
        "BOOT_FILE": 67,
        "USER_CLASS": 77,
        "ARCHITECTURE": 93,
        "INTERFACE": 94,
        "MACHINE_ID": 97,
        "DOMAIN_SEARCH": 119,
        "IPXE": 175,
    }
    assert {part.name: int(part) for part in PxeSuboption} == {
        "DISCOVERY_CONTROL": 6,
        "MULTICAST_ADDRESS": 7,
        "BOOT_SERVERS": 8,
        "BOOT_MENU": 9,
        "MENU_PROMPT": 10,
        "BOOT_ITEM": 71,
    }


def test_what_options_say() -> None:
    def of(**options: bytes) -> Message:
        numbers = {int(name.removeprefix("o")): value for name, value in options.items()}
        return Message(op=2, xid=1, chaddr=MAC, file=b"field\xff", options=numbers)

    assert of().kind is None
    assert (of().server_id, of(o54=b"\1\2\3").server_id) == (None, None)
    assert of(o54=bytes((1, 2, 3, 4, 9))).server_id == IPv4Address("1.2.3.4")
    assert (of().vendor_class, of(o60=b"x").vendor_class) == (b"", b"x")
    assert of().boot_file == "field\\xff"
    assert of(o67=b"").boot_file == "field\\xff"
    assert of(o67=b"a\0b").boot_file == "a"
    assert of(o67=b"\0b").boot_file is None
    assert Message(op=2, xid=1, chaddr=MAC).boot_file is None
    assert (of().tftp_server_name, of(o66=b"h\0x").tftp_server_name) == (None, "h")
    assert of(o66=b"h\xff").tftp_server_name == "h\\xff"


# PXE's part of option 43


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"", PxeOption43()),
        (b"\x06\x01\x08", PxeOption43(has_discovery=True, skip_menu=True)),
        (b"\x06\x01\x07", PxeOption43(has_discovery=True)),
        (b"\x06\x01\x0f", PxeOption43(has_discovery=True, skip_menu=True)),
        (b"\x07\x04\x01\x02\x03\x04", PxeOption43(has_discovery=True)),
        (b"\x0a\x02\x05P", PxeOption43(has_discovery=True, prompt_seconds=5)),
        (b"\x0a\x01\xff", PxeOption43(has_discovery=True, prompt_seconds=WAIT_FOR_EVER)),
        (b"\x47\x04\x80\x01\x00\x00", PxeOption43(item=0x8001)),
        # The first of a number counts.
        (b"\x06\x01\x08\x06\x01\x00", PxeOption43(has_discovery=True, skip_menu=True)),
        (
            b"\x06\x00",
            PxeOption43(has_discovery=True, notes=("option 43: sub-option 6 is too short",)),
        ),
        (b"\x0a\x00", PxeOption43(has_discovery=True, notes=("option 43: sub-option 10 is too short",))),
        (b"\x47\x03\x80\x01\x00", PxeOption43(notes=("option 43: sub-option 71 is too short",))),
        (
            b"\x08\x0a\x00\x01\x01\x01\x02\x03\x04\x80\x00\x00",
            PxeOption43(has_discovery=True, servers=((1, (IPv4Address("1.2.3.4"),)), (0x8000, ()))),
        ),
        (
            b"\x08\x0b\x00\x01\x02\x01\x02\x03\x04\x05\x06\x07\x08",
            PxeOption43(has_discovery=True, servers=((1, (IPv4Address("1.2.3.4"), IPv4Address("5.6.7.8"))),)),
        ),
        (
            b"\x08\x02\x00\x01",
            PxeOption43(has_discovery=True, notes=("option 43: the boot server list is cut off",)),
        ),
        (
            b"\x08\x06\x00\x01\x01\x01\x02\x03",
            PxeOption43(has_discovery=True, notes=("option 43: the boot server list is cut off",)),
        ),
        (
            b"\x09\x08\x00\x01\x02ab\x80\x00\x00",
            PxeOption43(
                has_discovery=True, menu=(MenuItem(type=1, text="ab"), MenuItem(type=0x8000, text=""))
            ),
        ),
        (
            b"\x09\x04\x00\x01\x02a",
            PxeOption43(has_discovery=True, notes=("option 43: the boot menu is cut off",)),
        ),
        (
            b"\x09\x02\x00\x01",
            PxeOption43(has_discovery=True, notes=("option 43: the boot menu is cut off",)),
        ),
        (
            b"\x09\x04\x00\x01\x01\xff",
            PxeOption43(has_discovery=True, menu=(MenuItem(type=1, text="\\xff"),)),
        ),
        (b"\x09\x05\x00", PxeOption43(notes=("option 43: option 9 is cut off",))),
    ],
)
def test_option_43(value: bytes, expected: PxeOption43) -> None:
    assert parse_option43(value) == expected


def test_servers_of_an_item() -> None:
    first, second = IPv4Address("1.2.3.4"), IPv4Address("5.6.7.8")
    option43 = PxeOption43(servers=((1, (first,)), (2, (second,)), (2, (first,))))
    assert (option43.find_servers(2), option43.find_servers(1)) == ((second,), (first,))
    assert option43.find_servers(3) == ()


def test_a_boot_item_is_asked_for_in_layer_0() -> None:
    assert build_boot_item(0x8001) == b"\x47\x04\x80\x01\x00\x00\xff"


# What an answer says


def test_who_answers() -> None:
    assert (lease().is_proxy, proxy().is_proxy) == (False, True)
    assert (proxy().is_pxe, proxy().is_http) == (True, False)
    http = proxy(vendor_class="HTTPClient:Arch:00016")
    assert (http.is_pxe, http.is_http) == (False, True)
    assert not proxy(vendor_class="xPXEClient").is_pxe
    assert not proxy(vendor_class="xHTTPClient").is_http
    nameless = replace(lease(), message=replace(lease().message, options={}))
    assert (lease(PROXY).server, nameless.server) == (PROXY, ROUTER)
    assert lease(siaddr=PROXY).boot_server == PROXY
    assert lease().boot_server == ROUTER


def test_option_43_is_read_where_it_is_pxes() -> None:
    options = menu((1, "a", PROXY))
    assert proxy(options=options).option43.menu == (MenuItem(type=1, text="a"),)
    assert proxy().option43 == PxeOption43()
    assert lease(options=options).option43 == PxeOption43()


@pytest.mark.parametrize(
    ("value", "priority", "forbids"),
    [
        (b"", 0, False),
        (b"\x01\x01\x05", 5, False),
        (b"\x01\x01\xff", -1, False),
        (b"\x01\x02\x02\x09", 2, False),
        (b"\xb0\x01\x01", 0, True),
        (b"\xb0\x01\x02", 0, True),
        (b"\xb0\x01\x00", 0, False),
        (b"\xb0\x02\x00\x01", 0, False),
        (b"\xb0\x00", 0, False),
        (b"\x02\x01\x07\xb1\x01\x01", 0, False),
    ],
)
def test_ipxes_own_options(value: bytes, priority: int, forbids: bool) -> None:
    found = lease(options={175: value})
    assert (found.ipxe_priority, found.forbids_proxy) == (priority, forbids)


def test_notes_of_a_message_and_of_its_option_43() -> None:
    message = replace(proxy(options={43: b"\x09\x09"}).message, notes=("of the message",))
    found = Answer(message=message, source=PROXY, port=67, seconds=0.0)
    assert found.notes == ("of the message", "option 43: option 9 is cut off")


# What clients say

_UEFI_ASKED = bytes.fromhex(
    "01 02 03 04 05 06 0c 0d 0f 11 12 16 17 1c 28 29 2a 2b 32 33 36 3a 3b 3c 42 43 61"
)
_VENDORS = bytes(range(128, 136))


@pytest.mark.parametrize(
    ("number", "ipxe", "expected"),
    [
        (
            0,
            False,
            {
                53: b"\1",
                57: b"\x05\xc0",
                55: _UEFI_ASKED + _VENDORS,
                97: bytes(17),
                12: b"ectools-probe",
                94: b"\1\2\1",
                93: b"\0\0",
                60: b"PXEClient:Arch:00000:UNDI:002001",
            },
        ),
        (
            16,
            False,
            {
                53: b"\1",
                57: b"\x05\xc0",
                55: _UEFI_ASKED.replace(b"\x42", b""),
                97: bytes(17),
                12: b"ectools-probe",
                94: b"\1\3\x10",
                93: b"\0\x10",
                60: b"HTTPClient:Arch:00016:UNDI:003016",
            },
        ),
        (
            11,
            True,
            {
                53: b"\1",
                57: b"\x05\xc0",
                55: bytes.fromhex("01 03 06 07 0c 0f 11 1a 2a 2b 3c 42 43 77 79") + _VENDORS + b"\xaf\xcb",
                97: bytes(17),
                12: b"ectools-probe",
                94: b"\1\3\x0a",
                93: b"\0\x0b",
                60: b"PXEClient:Arch:00011:UNDI:003010",
                77: b"iPXE",
                175: bytes.fromhex("130101 140101 150101 170101 270101 eb03011501"),
                61: b"\1" + MAC,
            },
        ),
        (
            0,
            True,
            {94: b"\1\2\1", 93: b"\0\0", 60: b"PXEClient:Arch:00000:UNDI:002001"},
        ),
    ],
)
def test_each_clients_discover(number: int, ipxe: bool, expected: dict[int, bytes]) -> None:
    message = build_discover(client_of(number, ipxe=ipxe), mac=MAC, xid=9, seconds=4)
    assert (message.op, message.xid, message.chaddr, message.secs) == (1, 9, MAC, 4)
    assert (message.broadcast, message.ciaddr) == (True, NO_ADDRESS)
    assert {number: message.options[number] for number in expected} == expected
    if 53 in expected:
        assert message.options.keys() == expected.keys()
    assert build_discover(client_of(number, ipxe=ipxe), mac=MAC, xid=9).secs == 0


def test_titles() -> None:
    assert [client_of(7).title, client_of(16).title, client_of(7, ipxe=True).title] == [
        "7 (firmware)",
        "16 (http)",
        "7 (ipxe)",
    ]
    assert (client_of(7).is_uefi, client_of(0).is_uefi) == (True, False)


def test_port_4011_by_ipxe_for_a_menus_item() -> None:
    """An item names its server by the list; option 54 is for the proxy alone."""
    request = build_boot_request(
        client_of(7, ipxe=True), mac=MAC, xid=5, address=ROUTER, server=PROXY, item=0x8000
    )
    assert request.server_id is None
    assert request.options[43] == build_boot_item(0x8000)
    assert (request.op, request.xid, request.secs, request.ciaddr) == (1, 5, 0, ROUTER)
    first = build_boot_request(client_of(7), mac=MAC, xid=5, address=ROUTER, server=PROXY, item=0)
    assert first.options[43] == build_boot_item(0)


def test_a_lease_is_taken_and_given_back() -> None:
    offer = replace(lease().message, xid=77, chaddr=MAC)
    request = build_lease_request(offer, client_of(7), server=ROUTER)
    assert (request.kind, request.xid, request.chaddr) == (MessageType.REQUEST, 77, MAC)
    assert (request.broadcast, request.ciaddr) == (True, NO_ADDRESS)
    assert request.address(Option.REQUESTED_ADDRESS) == offer.yiaddr
    assert request.server_id == ROUTER
    assert request.vendor_class == b"PXEClient:Arch:00007:UNDI:003016"
    release = build_release(offer, server=PROXY)
    assert (release.op, release.kind, release.xid, release.chaddr) == (1, MessageType.RELEASE, 77, MAC)
    assert (release.ciaddr, release.server_id, len(release.options)) == (offer.yiaddr, PROXY, 2)
    assert not release.broadcast


def test_an_answer_keeps_its_default_of_no_address() -> None:
    assert answer(PROXY).message.yiaddr == NO_ADDRESS == IPv4Address("0.0.0.0")
