"""The client of a request that came by reverse proxies: ``Forwarded`` (RFC 7239) and ``X-Forwarded-For``.

Both are lists to which each proxy appends whom it was asked by. Only what trusted proxies appended means
anything: so they are read from the right, up to the first address that is no trusted proxy's.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from multidict import MultiMapping

    from ectools.addresses import Address, Network


# RFC 7239, section 4, and a little more: who does not quote an IPv6 address is understood as well.
_PAIR = re.compile(
    r"[ \t]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)=(?:\"((?:[^\"\\]|\\.)*)\"|([^\s\",;]*))[ \t]*(?:([;,])|\Z)"
)
_EMPTY = re.compile(r"[ \t]*(?:,|\Z)")
_NODE = re.compile(
    r"\[(?P<v6>[0-9A-Fa-f:.]+)\](?::[0-9A-Za-z._-]+)?|(?P<v4>[0-9.]+)(?::[0-9A-Za-z._-]+)?|(?P<bare>[0-9A-Fa-f:.]+)",
    re.ASCII,
)
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")


class Networks:
    """A set of networks. IPv4-mapped IPv6 (RFC 4291, section 2.5.5.2) counts as IPv4."""

    def __init__(self, networks: Iterable[Network]) -> None:
        self._networks = tuple(_unmap(network) for network in networks)

    def __bool__(self) -> bool:
        return bool(self._networks)

    def __contains__(self, address: Address) -> bool:
        return any(address.version == each.version and address in each for each in self._networks)


def _unmap(network: Network) -> Network:
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED):
        bits = int(network.network_address) & 0xFFFFFFFF
        return ipaddress.IPv4Network((bits, network.prefixlen - 96))
    return network


def parse_address(text: str) -> Address | None:
    """An address, an IPv4-mapped one as IPv4; None for what is none."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def find_client(peer: str, headers: MultiMapping[str], *, proxies: Networks) -> Address | None:
    """The address of whoever asked in the first place; None where nobody can tell.

    Headers from anyone but a trusted proxy mean nothing. Where a trusted one sends both headers and they
    disagree, one of them may be the client's own invention: nobody can tell which.
    """
    address = parse_address(peer)
    if address is None or address not in proxies:
        return address
    lists = []
    if forwarded := headers.getall("Forwarded", []):
        lists.append(parse_forwarded(",".join(forwarded)))
    if x_forwarded_for := headers.getall("X-Forwarded-For", []):
        lists.append(parse_x_forwarded_for(",".join(x_forwarded_for)))
    clients = {_last_untrusted(hops, proxies) for hops in lists if hops}
    if not clients:
        return address
    return clients.pop() if len(clients) == 1 else None


def _last_untrusted(hops: Sequence[Address | None], proxies: Networks) -> Address | None:
    for hop in reversed(hops):
        if hop is None or hop not in proxies:
            return hop
    return hops[0]


def parse_forwarded(value: str) -> list[Address | None]:
    """The ``for`` of each element, None where it names no address. One None for what cannot be read."""
    hops: list[Address | None] = []
    nodes: list[str] = []
    position, in_element = 0, False
    while position < len(value):
        if not in_element and (empty := _EMPTY.match(value, position)):
            position = empty.end()
            continue
        pair = _PAIR.match(value, position)
        if pair is None:
            return [None]
        if pair[1].lower() == "for":
            nodes.append(pair[3] if pair[2] is None else re.sub(r"\\(.)", r"\1", pair[2]))
        position, in_element = pair.end(), pair[4] == ";"
        if not in_element:
            hops.append(_parse_node(nodes[0]) if len(nodes) == 1 else None)
            nodes = []
    return [None] if in_element else hops


def parse_x_forwarded_for(value: str) -> list[Address | None]:
    """The elements, None where one is no address."""
    return [_parse_node(element.strip(" \t")) for element in value.split(",") if element.strip(" \t")]


def _parse_node(text: str) -> Address | None:
    node = _NODE.fullmatch(text)
    return None if node is None else parse_address(node["v6"] or node["v4"] or node["bare"])
