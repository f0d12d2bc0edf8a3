"""The clients that the probe plays, and their messages.

Sources: PXE 2.1 and RFC 4578 (options 93, 94, 97); UEFI 2.10, section 24.7.3 (HTTP boot's class). The options
asked for are those that EDK2 and iPXE ask for, because servers answer by them:
https://github.com/tianocore/edk2/blob/master/NetworkPkg/UefiPxeBcDxe/PxeBcDhcp4.c (PxeBcBuildDhcp4Options),
https://github.com/ipxe/ipxe/blob/master/src/net/udp/dhcp.c (dhcp_request_options_data).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from ectools.netboot.probe.wire.dhcp import NO_ADDRESS, Message, MessageType, Option
from ectools.netboot.probe.wire.pxe_option43 import build_boot_item
from ectools.netboot.protocols import PROBE_NAME, Binary, Transport, load_protocols

if TYPE_CHECKING:
    from ipaddress import IPv4Address

    from ectools.netboot.protocols import Architecture

_BOOT_REQUEST = 1
_ETHERNET = 1
_MAX_SIZE = 1472
_PXE_VENDOR_OPTIONS = tuple(range(128, 136))
_PXE_PARAMETERS = (
    *(1, 2, 3, 4, 5, 6, 12, 13, 15, 17, 18, 22, 23, 28, 40, 41, 42, 43, 50, 51, 54, 58, 59, 60, 66, 67, 97),
    *_PXE_VENDOR_OPTIONS,
)
_HTTP_PARAMETERS = (
    *(1, 2, 3, 4, 5, 6, 12, 13, 15, 17, 18, 22, 23, 28, 40, 41, 42, 43, 50, 51, 54, 58, 59, 60, 67, 97),
)
_IPXE_PARAMETERS = (
    *(1, 3, 6, 7, 12, 15, 17, 26, 42, 43, 60, 66, 67, 119, 121),
    *_PXE_VENDOR_OPTIONS,
    *(175, 203),
)
_UEFI_INTERFACE = bytes((1, 3, 16))
_BIOS_INTERFACE = bytes((1, 2, 1))
_IPXE_UEFI_INTERFACE = bytes((1, 3, 10))
# Encapsulated: HTTP, HTTPS, TFTP, DNS, menus (1 each) and version 1.21.1, as iPXE's own feature list.
_IPXE_FEATURES = bytes.fromhex("130101 140101 150101 170101 270101 eb03011501")


class ClientStage(StrEnum):
    """The program that asks: a firmware's PXE, a firmware's HTTP boot, or iPXE."""

    FIRMWARE = "firmware"
    HTTP = "http"
    IPXE = "ipxe"


_PARAMETERS = {
    ClientStage.FIRMWARE: _PXE_PARAMETERS,
    ClientStage.HTTP: _HTTP_PARAMETERS,
    ClientStage.IPXE: _IPXE_PARAMETERS,
}
"""Option 55: the numbers of the options that each asks for."""


@dataclass(frozen=True, kw_only=True)
class Client:
    """One kind of client."""

    architecture: Architecture
    stage: ClientStage

    @property
    def title(self) -> str:
        """``7 (firmware)``."""
        return f"{self.architecture.number} ({self.stage})"

    @property
    def is_uefi(self) -> bool:
        return self.architecture.binary is not Binary.BIOS

    @property
    def vendor_class(self) -> str:
        """Option 60."""
        major, minor = self.interface[1:]
        kind = "HTTPClient" if self.stage is ClientStage.HTTP else "PXEClient"
        return f"{kind}:Arch:{self.architecture.number:05d}:UNDI:{major:03d}{minor:03d}"

    @property
    def interface(self) -> bytes:
        """Option 94."""
        if not self.is_uefi:
            return _BIOS_INTERFACE
        return _IPXE_UEFI_INTERFACE if self.stage is ClientStage.IPXE else _UEFI_INTERFACE


def first_client(architecture: Architecture) -> Client:
    """The client that a machine of the architecture starts with."""
    stage = ClientStage.HTTP if architecture.transport is Transport.HTTP else ClientStage.FIRMWARE
    return Client(architecture=architecture, stage=stage)


def ipxe_client(architecture: Architecture) -> Client:
    """The iPXE that a machine of the architecture runs. It tells how it was built: never HTTP boot."""
    table = load_protocols().architectures
    built = next(
        each for each in table if each.binary is architecture.binary and each.transport is Transport.TFTP
    )
    return Client(architecture=built, stage=ClientStage.IPXE)


def build_discover(client: Client, *, mac: bytes, xid: int, seconds: int = 0) -> Message:
    """The client's DHCPDISCOVER. It asks for broadcast answers, because the probe has no address there."""
    return _build(client, MessageType.DISCOVER, mac=mac, xid=xid, seconds=seconds)


def build_boot_request(
    client: Client, *, mac: bytes, xid: int, address: IPv4Address, server: IPv4Address, item: int | None
) -> Message:
    """The DHCPREQUEST for a proxy's port 4011. ``item`` asks a boot server for a menu's entry."""
    more: dict[int, bytes] = {}
    if client.stage is ClientStage.IPXE and item is None:
        more[Option.SERVER_ID] = server.packed
    if item is not None:
        more[Option.VENDOR] = build_boot_item(item)
    return _build(client, MessageType.REQUEST, mac=mac, xid=xid, address=address, more=more)


def build_lease_request(offer: Message, client: Client, *, server: IPv4Address) -> Message:
    """The DHCPREQUEST that takes what ``offer`` offers."""
    more: dict[int, bytes] = {Option.REQUESTED_ADDRESS: offer.yiaddr.packed, Option.SERVER_ID: server.packed}
    return _build(client, MessageType.REQUEST, mac=offer.chaddr, xid=offer.xid, more=more)


def build_release(lease: Message, *, server: IPv4Address) -> Message:
    """The DHCPRELEASE that gives a lease back."""
    options: dict[int, bytes] = {
        Option.MESSAGE_TYPE: bytes((MessageType.RELEASE,)),
        Option.SERVER_ID: server.packed,
    }
    return Message(op=_BOOT_REQUEST, xid=lease.xid, chaddr=lease.chaddr, ciaddr=lease.yiaddr, options=options)


def _build(
    client: Client,
    kind: MessageType,
    *,
    mac: bytes,
    xid: int,
    seconds: int = 0,
    address: IPv4Address | None = None,
    more: dict[int, bytes] | None = None,
) -> Message:
    # The PXE of a firmware tells its machine's UUID. All zeros say that it has none.
    options: dict[int, bytes] = {
        Option.MESSAGE_TYPE: bytes((kind,)),
        Option.MAX_SIZE: _MAX_SIZE.to_bytes(2),
        Option.PARAMETERS: bytes(_PARAMETERS[client.stage]),
        Option.MACHINE_ID: bytes(17),
        Option.INTERFACE: client.interface,
        Option.ARCHITECTURE: client.architecture.number.to_bytes(2),
        Option.VENDOR_CLASS: client.vendor_class.encode(),
    }
    if kind is MessageType.DISCOVER or address is not None:
        options[Option.HOST_NAME] = PROBE_NAME.encode()
    if client.stage is ClientStage.IPXE:
        options[Option.USER_CLASS] = b"iPXE"
        options[Option.IPXE] = _IPXE_FEATURES
        options[Option.CLIENT_ID] = bytes((_ETHERNET,)) + mac
    return Message(
        op=_BOOT_REQUEST,
        xid=xid,
        chaddr=mac,
        secs=seconds,
        broadcast=address is None,
        ciaddr=address or NO_ADDRESS,
        options={**options, **(more or {})},
    )
