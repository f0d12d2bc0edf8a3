"""A client's question for the address of a name, over UDP: RFC 1035, and nothing of it that firmware lacks.

iPXE asks for A records, follows CNAMEs, and has neither TCP nor EDNS:
https://github.com/ipxe/ipxe/blob/master/src/net/udp/dns.c. A resolver library would ask as this host is set
up to ask, not as a node does.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from ectools.netboot.probe.wire.dhcp import PacketError

if TYPE_CHECKING:
    from collections.abc import Iterator

PORT = 53
_HEADER = struct.Struct("!6H")
_RECURSION_DESIRED, _RESPONSE, _TRUNCATED, _CODE = 0x0100, 0x8000, 0x0200, 0x000F
_A, _CNAME, _IN = 1, 5, 1
_MAX_LABEL, _MAX_NAME = 63, 253
_POINTER = 0xC0
_MAX_CHAIN = 16
NO_SUCH_NAME = 3
"""The response code of a name that is not there (RFC 1035, section 4.1.1)."""


@dataclass(frozen=True, kw_only=True)
class DnsReply:
    """What a name server says of a name.

    ``code`` is the response code, 0 for none. ``addresses`` are those at the end of its chain of aliases;
    ``alias`` is where that chain leads, None where the name has none.
    """

    code: int
    addresses: tuple[IPv4Address, ...] = ()
    alias: str | None = None


def build_query(name: str, xid: int) -> bytes:
    """The datagram that asks for the A records of a name. Raises PacketError for what is no name."""
    header = _HEADER.pack(xid, _RECURSION_DESIRED, 1, 0, 0, 0)
    return header + _build_name(name) + struct.pack("!2H", _A, _IN)


def _build_name(name: str) -> bytes:
    plain = name.removesuffix(".")
    labels = plain.split(".")
    if (
        not plain.isascii()
        or len(plain) > _MAX_NAME
        or not all(0 < len(each) <= _MAX_LABEL for each in labels)
    ):
        raise PacketError(f"{name[:300]!r} is no host name")
    return b"".join(bytes((len(each),)) + each.encode("ascii") for each in labels) + b"\0"


def parse_reply(data: bytes, *, name: str, xid: int) -> DnsReply | None:
    """The reply to the question for ``name``; None where it is the reply to another one.

    Raises PacketError where it is none, is cut off, or its names lead nowhere.
    """
    if len(data) < _HEADER.size:
        raise PacketError(f"{len(data)} bytes: a DNS message has {_HEADER.size} at least")
    id_, flags, questions, answers, _, _ = _HEADER.unpack_from(data)
    if id_ != xid or not flags & _RESPONSE:
        return None
    offset = _HEADER.size
    if questions != 1:
        return None
    question, offset = _parse_name(data, offset)
    if question != _fold(name):
        return None
    if flags & _CODE:
        return DnsReply(code=flags & _CODE)
    try:
        return _follow_records(question, data, offset + 4, answers)
    except PacketError:
        # What is left out of a truncated one is asked for by TCP: iPXE has none.
        if flags & _TRUNCATED:
            return DnsReply(code=0)
        raise


def _follow_records(name: str, data: bytes, offset: int, count: int) -> DnsReply:
    """The reply that the answers make, whatever their order."""
    addresses: dict[str, list[IPv4Address]] = {}
    aliases: dict[str, str] = {}
    for owner, kind, value, at in _parse_records(data, offset, count):
        if kind == _A and len(value) == 4:
            addresses.setdefault(owner, []).append(IPv4Address(value))
        elif kind == _CNAME:
            aliases[owner] = _parse_name(data, at)[0]
    end = name
    for _ in range(_MAX_CHAIN):
        if end in addresses or end not in aliases:
            break
        end = aliases[end]
    return DnsReply(code=0, addresses=tuple(addresses.get(end, ())), alias=None if end == name else end)


def _fold(name: str) -> str:
    """Names are compared without regard to case (RFC 1035, section 2.3.3)."""
    return name.removesuffix(".").lower()


def _parse_records(data: bytes, offset: int, count: int) -> Iterator[tuple[str, int, bytes, int]]:
    """(owner, type, value, the value's offset) of each record of the Internet's class."""
    for _ in range(count):
        owner, offset = _parse_name(data, offset)
        if len(data) < offset + 10:
            raise PacketError("a DNS record is cut off")
        kind, class_, _seconds, size = struct.unpack_from("!2HIH", data, offset)
        offset += 10
        value = data[offset : offset + size]
        if len(value) < size:
            raise PacketError("a DNS record is cut off")
        if class_ == _IN:
            yield owner, kind, value, offset
        offset += size


def parse_search_list(area: bytes) -> tuple[str, ...]:
    """The domains of DHCP's option 119 (RFC 3397, section 2), as far as they can be read."""
    found = []
    offset = 0
    try:
        while offset < len(area):
            domain, offset = _parse_name(area, offset)
            if domain:
                found.append(domain)
    except PacketError:
        pass
    return tuple(found)


def _parse_name(data: bytes, offset: int) -> tuple[str, int]:
    """The name at ``offset``, and where what follows it begins. Pointers lead backwards alone."""
    labels: list[str] = []
    end: int | None = None
    lowest = offset
    while True:
        size = data[offset] if offset < len(data) else -1
        if size == 0:
            return ".".join(labels), offset + 1 if end is None else end
        if size >= _POINTER and offset + 1 < len(data):
            target = (size & ~_POINTER) << 8 | data[offset + 1]
            end = offset + 2 if end is None else end
            if target >= lowest:
                raise PacketError("a DNS name leads round in a circle")
            offset = lowest = target
            continue
        label = data[offset + 1 : offset + 1 + size]
        if not 0 < size <= _MAX_LABEL or len(label) < size:
            raise PacketError("a DNS name is cut off, or none")
        labels.append(label.decode("ascii", "backslashreplace").lower())
        offset += 1 + size
