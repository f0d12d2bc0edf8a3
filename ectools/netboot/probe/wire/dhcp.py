"""DHCP messages ↔ bytes, for a client: RFC 2131, RFC 2132, RFC 3396 (long options).

Anybody can send: ``parse_message`` raises PacketError where there is no whole header, and else returns what
can be read, with a note for each thing that cannot.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from enum import IntEnum
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from ectools.errors import EcError

if TYPE_CHECKING:
    from collections.abc import Mapping

_HEADER = struct.Struct("!4BI2H4s4s4s4s16s64s128s4s")
_COOKIE = bytes((99, 130, 83, 99))  # RFC 2131, section 3
_PAD, _END = 0, 255
_MAX_OPTION_BYTES = 255
_MAX_MESSAGE_BYTES = 65507
"""What one UDP datagram holds."""
_MIN_MESSAGE_BYTES = 300
"""BOOTP's own size (RFC 1542, section 2.1): some relays and servers drop a shorter one."""
NO_ADDRESS = IPv4Address(0)


class PacketError(EcError):
    """These bytes are no message of the protocol that they came by."""


class MessageType(IntEnum):
    """Option 53."""

    DISCOVER = 1
    OFFER = 2
    REQUEST = 3
    DECLINE = 4
    ACK = 5
    NAK = 6
    RELEASE = 7
    INFORM = 8


class Option(IntEnum):
    """Numbers of the options that matter to a boot (IANA, BOOTP and DHCP parameters)."""

    SUBNET_MASK = 1
    ROUTER = 3
    DNS = 6
    HOST_NAME = 12
    DOMAIN = 15
    VENDOR = 43
    REQUESTED_ADDRESS = 50
    LEASE_SECONDS = 51
    OVERLOAD = 52
    MESSAGE_TYPE = 53
    SERVER_ID = 54
    PARAMETERS = 55
    MESSAGE = 56
    MAX_SIZE = 57
    VENDOR_CLASS = 60
    CLIENT_ID = 61
    TFTP_SERVER_NAME = 66
    BOOT_FILE = 67
    USER_CLASS = 77
    ARCHITECTURE = 93
    INTERFACE = 94
    MACHINE_ID = 97
    DOMAIN_SEARCH = 119
    IPXE = 175


@dataclass(frozen=True, kw_only=True)
class Message:
    """A DHCP message. ``options``: number → value, parts of a long one joined; pads and the end are left out.

    ``sname`` and ``file`` are the header's fields up to their NUL, empty where option 52 says that they hold
    options. ``notes`` say what could not be read; a message that is built has none.
    """

    op: int
    xid: int
    chaddr: bytes
    secs: int = 0
    broadcast: bool = False
    ciaddr: IPv4Address = NO_ADDRESS
    yiaddr: IPv4Address = NO_ADDRESS
    siaddr: IPv4Address = NO_ADDRESS
    giaddr: IPv4Address = NO_ADDRESS
    sname: bytes = b""
    file: bytes = b""
    options: Mapping[int, bytes] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def kind(self) -> MessageType | None:
        """Option 53; None for BOOTP, or where it is none that is known."""
        value = self.options.get(Option.MESSAGE_TYPE, b"")
        return MessageType(value[0]) if len(value) == 1 and value[0] in set(MessageType) else None

    @property
    def server_id(self) -> IPv4Address | None:
        """Option 54."""
        return self.address(Option.SERVER_ID)

    @property
    def vendor_class(self) -> bytes:
        """Option 60."""
        return self.options.get(Option.VENDOR_CLASS, b"")

    @property
    def boot_file(self) -> str | None:
        """Option 67, else the header's field, as clients read it; None where neither is there."""
        name = self.options.get(Option.BOOT_FILE, b"") or self.file
        return name.partition(b"\0")[0].decode("utf-8", "backslashreplace") or None

    @property
    def tftp_server_name(self) -> str | None:
        """Option 66."""
        name = self.options.get(Option.TFTP_SERVER_NAME, b"").partition(b"\0")[0]
        return name.decode("utf-8", "backslashreplace") or None

    def address(self, option: int) -> IPv4Address | None:
        """The first address of an option; None where it is not there or too short."""
        value = self.options.get(option, b"")
        return IPv4Address(value[:4]) if len(value) >= 4 else None


def build_message(message: Message) -> bytes:
    """The datagram's bytes. An option over 255 bytes is split as RFC 3396 has it; nothing is overloaded.

    Raises PacketError for what does not fit its field: ``chaddr`` over 16 bytes, ``sname`` over 63, ``file``
    over 127, an option that is a pad or the end, the message over a datagram.
    """
    for name, size in (("chaddr", 16), ("sname", 63), ("file", 127)):
        if len(getattr(message, name)) > size:
            raise PacketError(f"{name}: longer than {size} bytes")
    header = _HEADER.pack(
        *(
            message.op,
            1,
            len(message.chaddr),
            0,
            message.xid,
            message.secs,
            0x8000 if message.broadcast else 0,
        ),
        *(each.packed for each in (message.ciaddr, message.yiaddr, message.siaddr, message.giaddr)),
        *(message.chaddr, message.sname, message.file, _COOKIE),
    )
    options = b"".join(_build_option(number, value) for number, value in message.options.items())
    data = (header + options + bytes((_END,))).ljust(_MIN_MESSAGE_BYTES, b"\0")
    if len(data) > _MAX_MESSAGE_BYTES:
        raise PacketError(f"the message has {len(data)} bytes; a datagram holds {_MAX_MESSAGE_BYTES}")
    return data


def _build_option(number: int, value: bytes) -> bytes:
    if not _PAD < number < _END:
        raise PacketError(f"option {number}: expected 1 to 254")
    starts = range(0, max(len(value), 1), _MAX_OPTION_BYTES)
    parts = [value[start : start + _MAX_OPTION_BYTES] for start in starts]
    return b"".join(bytes((number, len(part))) + part for part in parts)


def parse_message(data: bytes) -> Message:
    """The message in a datagram. Raises PacketError where it has no whole header or not DHCP's cookie."""
    if len(data) < _HEADER.size:
        raise PacketError(f"{len(data)} bytes: a DHCP message has {_HEADER.size} at least")
    (op, _htype, hlen, _hops, xid, secs, flags, *rest) = _HEADER.unpack_from(data)
    ciaddr, yiaddr, siaddr, giaddr, chaddr, sname, file, cookie = rest
    if cookie != _COOKIE:
        raise PacketError("no DHCP message: its magic cookie is not 63:82:53:63")
    notes: list[str] = []
    if hlen > 16:
        notes.append(f"the hardware address claims {hlen} bytes of 16")
    options: dict[int, bytes] = {}
    _parse_options(data[_HEADER.size :], into=options, where="options", notes=notes)
    overload = options.get(Option.OVERLOAD, b"\0")
    if len(overload) != 1 or overload[0] > 3:
        notes.append(f"option 52 is {overload[:8].hex(':')}: expected 1, 2 or 3")
        overload = b"\0"
    # RFC 3396, section 5: the parts of an option are joined in this order.
    if overload[0] & 1:
        _parse_options(file, into=options, where="file", notes=notes)
        file = b""
    if overload[0] & 2:
        _parse_options(sname, into=options, where="sname", notes=notes)
        sname = b""
    return Message(
        op=op,
        xid=xid,
        chaddr=chaddr[: min(hlen, 16)],
        secs=secs,
        broadcast=bool(flags & 0x8000),
        ciaddr=IPv4Address(ciaddr),
        yiaddr=IPv4Address(yiaddr),
        siaddr=IPv4Address(siaddr),
        giaddr=IPv4Address(giaddr),
        sname=sname.partition(b"\0")[0],
        file=file.partition(b"\0")[0],
        options=options,
        notes=tuple(notes),
    )


def _parse_options(area: bytes, *, into: dict[int, bytes], where: str, notes: list[str]) -> None:
    for number, value in split_dhcp_options(area, where=where, notes=notes):
        into[number] = into.get(number, b"") + value


def split_dhcp_options(area: bytes, *, where: str, notes: list[str]) -> list[tuple[int, bytes]]:
    """The (number, value) pairs of a run of options, up to its end; what is cut off gives a note."""
    found: list[tuple[int, bytes]] = []
    offset = 0
    while offset < len(area):
        number = area[offset]
        offset += 1
        if number == _END:
            return found
        if number == _PAD:
            continue
        size = area[offset] if offset < len(area) else 0
        value = area[offset + 1 : offset + 1 + size]
        if offset >= len(area) or len(value) < size:
            notes.append(f"{where}: option {number} is cut off")
            return found
        found.append((number, value))
        offset += 1 + size
    return found
