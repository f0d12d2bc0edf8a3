"""Offers and answers as servers send them, for tests of what a client makes of them."""

from __future__ import annotations

import struct
from ipaddress import IPv4Address
from typing import Any

from ectools.netboot.probe.clients.client import Client, first_client, ipxe_client
from ectools.netboot.probe.wire.dhcp import NO_ADDRESS, Message, MessageType, Option
from ectools.netboot.probe.wire.offers import Answer
from ectools.netboot.protocols import load_protocols

ROUTER, PROXY, OTHER = (IPv4Address(f"192.0.2.{last}") for last in (1, 2, 3))
OFFERED = IPv4Address("192.0.2.50")


def client_of(number: int, *, ipxe: bool = False) -> Client:
    architecture = load_protocols().find_architecture(number)
    assert architecture is not None
    return ipxe_client(architecture) if ipxe else first_client(architecture)


def answer(
    server: IPv4Address,
    *,
    yiaddr: IPv4Address = NO_ADDRESS,
    siaddr: IPv4Address = NO_ADDRESS,
    file: str = "",
    vendor_class: str = "",
    options: dict[int, bytes] | None = None,
    seconds: float = 0.1,
    **more: Any,
) -> Answer:
    given: dict[int, bytes] = {
        Option.MESSAGE_TYPE: bytes((MessageType.OFFER,)),
        Option.SERVER_ID: server.packed,
    }
    if vendor_class:
        given[Option.VENDOR_CLASS] = vendor_class.encode()
    message = Message(
        op=2,
        xid=1,
        chaddr=bytes(6),
        yiaddr=yiaddr,
        siaddr=siaddr,
        file=file.encode(),
        options={**given, **(options or {})},
        **more,
    )
    return Answer(message=message, source=server, port=67, seconds=seconds)


def lease(server: IPv4Address = ROUTER, **more: Any) -> Answer:
    """What a DHCP server offers."""
    return answer(server, yiaddr=OFFERED, **more)


def proxy(server: IPv4Address = PROXY, **more: Any) -> Answer:
    """What a ProxyDHCP server offers to PXE."""
    return answer(server, **{"vendor_class": "PXEClient", **more})


def menu(
    *entries: tuple[int, str, IPv4Address | None], prompt: int | None = 0, control: int = 3
) -> dict[int, bytes]:
    """Option 43 with a menu: type, text, server."""
    items = b"".join(struct.pack("!HB", kind, len(text)) + text.encode() for kind, text, _ in entries)
    servers = b"".join(
        struct.pack("!HB", kind, 1) + server.packed for kind, _, server in entries if server is not None
    )
    parts = {6: bytes((control,)), 8: servers, 9: items}
    if prompt is not None:
        parts[10] = bytes((prompt,)) + b"PXE"
    value = b"".join(bytes((number, len(part))) + part for number, part in parts.items() if part)
    return {Option.VENDOR: value + b"\xff"}
