"""PXE's part of option 43 (PXE 2.1, table 2-1): menu, prompt, boot servers, discovery control."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address

from ectools.netboot.probe.wire.dhcp import split_dhcp_options


class PxeSuboption(IntEnum):
    """Numbers of the sub-options that a boot is chosen by (PXE 2.1, table 2-1)."""

    DISCOVERY_CONTROL = 6
    MULTICAST_ADDRESS = 7
    BOOT_SERVERS = 8
    BOOT_MENU = 9
    MENU_PROMPT = 10
    BOOT_ITEM = 71


_DISCOVERY = frozenset(PxeSuboption) - {PxeSuboption.BOOT_ITEM}
_SKIP_MENU = 1 << 3
WAIT_FOR_EVER = 255
"""The prompt's time that means: show the menu, and wait for a person."""


@dataclass(frozen=True, kw_only=True)
class MenuItem:
    """An entry of the boot menu. ``type`` is what a boot server is asked for; 0 is the local disk."""

    type: int
    text: str


@dataclass(frozen=True, kw_only=True)
class PxeOption43:
    """The sub-options, read.

    ``has_discovery``: whether there is any that makes the client look at menu and servers. ``servers``: item
    type → addresses. ``prompt_seconds`` is None without a prompt, and then no time. ``skip_menu`` is bit 3 of
    the discovery control: the file in the same message is used as it is.
    """

    has_discovery: bool = False
    skip_menu: bool = False
    servers: tuple[tuple[int, tuple[IPv4Address, ...]], ...] = ()
    menu: tuple[MenuItem, ...] = ()
    prompt_seconds: int | None = None
    item: int | None = None
    notes: tuple[str, ...] = ()

    def find_servers(self, item: int) -> tuple[IPv4Address, ...]:
        """The addresses for one item type."""
        return next((addresses for type_, addresses in self.servers if type_ == item), ())


def parse_option43(value: bytes) -> PxeOption43:
    """The sub-options in the value of option 43; what is cut off or too short gives a note."""
    notes: list[str] = []
    parts: dict[int, bytes] = {}
    for number, part in split_dhcp_options(value, where="option 43", notes=notes):
        parts.setdefault(number, part)
    control = parts.get(PxeSuboption.DISCOVERY_CONTROL, b"\0")
    prompt = parts.get(PxeSuboption.MENU_PROMPT)
    item = parts.get(PxeSuboption.BOOT_ITEM, b"")
    least = {PxeSuboption.DISCOVERY_CONTROL: 1, PxeSuboption.MENU_PROMPT: 1, PxeSuboption.BOOT_ITEM: 4}
    for number, size in least.items():
        if len(parts.get(number, bytes(size))) < size:
            notes.append(f"option 43: sub-option {number} is too short")
    return PxeOption43(
        has_discovery=not _DISCOVERY.isdisjoint(parts),
        skip_menu=bool(control[:1] and control[0] & _SKIP_MENU),
        servers=_parse_servers(parts.get(PxeSuboption.BOOT_SERVERS, b""), notes),
        menu=_parse_menu(parts.get(PxeSuboption.BOOT_MENU, b""), notes),
        prompt_seconds=prompt[0] if prompt else None,
        item=struct.unpack_from("!H", item)[0] if len(item) >= 4 else None,
        notes=tuple(notes),
    )


def _parse_servers(area: bytes, notes: list[str]) -> tuple[tuple[int, tuple[IPv4Address, ...]], ...]:
    """Entries of type (2 bytes), count (1), addresses (4 each)."""
    found = []
    while area:
        count = area[2] if len(area) > 2 else 0
        if len(area) < 3 + 4 * count or len(area) < 3:
            notes.append("option 43: the boot server list is cut off")
            break
        addresses = tuple(IPv4Address(area[3 + 4 * each : 7 + 4 * each]) for each in range(count))
        found.append((int.from_bytes(area[:2]), addresses))
        area = area[3 + 4 * count :]
    return tuple(found)


def _parse_menu(area: bytes, notes: list[str]) -> tuple[MenuItem, ...]:
    """Entries of type (2 bytes), length (1), text."""
    found = []
    while area:
        size = area[2] if len(area) > 2 else 0
        if len(area) < 3 + size or len(area) < 3:
            notes.append("option 43: the boot menu is cut off")
            break
        text = area[3 : 3 + size].decode("utf-8", "backslashreplace")
        found.append(MenuItem(type=int.from_bytes(area[:2]), text=text))
        area = area[3 + size :]
    return tuple(found)


def build_boot_item(item: int) -> bytes:
    """The value of option 43 that asks a boot server for an item, layer 0."""
    return bytes((PxeSuboption.BOOT_ITEM, 4)) + struct.pack("!HH", item, 0) + b"\xff"
