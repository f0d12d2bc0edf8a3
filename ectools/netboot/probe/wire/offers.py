"""Answers of DHCP servers and proxies: offers, and those of port 4011."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ectools.netboot.probe.wire.dhcp import NO_ADDRESS, Message, Option, split_dhcp_options
from ectools.netboot.probe.wire.pxe_option43 import PxeOption43, parse_option43

if TYPE_CHECKING:
    from collections.abc import Mapping
    from ipaddress import IPv4Address

_IPXE_PRIORITY, _IPXE_NO_PROXY = 0x01, 0xB0


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A message and where it came from; ``seconds`` after the question."""

    message: Message
    source: IPv4Address
    port: int
    seconds: float

    @property
    def is_proxy(self) -> bool:
        """Whether it offers no address."""
        return self.message.yiaddr == NO_ADDRESS

    @property
    def is_pxe(self) -> bool:
        return self.message.vendor_class.startswith(b"PXEClient")

    @property
    def is_http(self) -> bool:
        return self.message.vendor_class.startswith(b"HTTPClient")

    @property
    def server(self) -> IPv4Address:
        """Option 54, else the sender."""
        return self.message.server_id or self.source

    @property
    def boot_server(self) -> IPv4Address:
        """siaddr, else option 54, as EDK2 takes it."""
        return self.message.siaddr if self.message.siaddr != NO_ADDRESS else self.server

    @functools.cached_property
    def option43(self) -> PxeOption43:
        """Option 43; empty where it is not PXE's."""
        if not self.is_pxe:
            return PxeOption43()
        return parse_option43(self.message.options.get(Option.VENDOR, b""))

    @property
    def ipxe_priority(self) -> int:
        """iPXE's own option that prefers an offer."""
        return int.from_bytes(self._ipxe.get(_IPXE_PRIORITY, b"")[:1], signed=True)

    @property
    def forbids_proxy(self) -> bool:
        """iPXE's own option ``no-pxedhcp``."""
        return any(self._ipxe.get(_IPXE_NO_PROXY, b"")[:1])

    @property
    def notes(self) -> tuple[str, ...]:
        """What could not be read of it."""
        return (*self.message.notes, *self.option43.notes)

    @functools.cached_property
    def _ipxe(self) -> Mapping[int, bytes]:
        """iPXE's own options, in option 175 (https://ipxe.org/howto/dhcpd)."""
        area = self.message.options.get(Option.IPXE, b"")
        return dict(split_dhcp_options(area, where="option 175", notes=[]))


@dataclass(frozen=True, kw_only=True)
class BootQuestion:
    """A question to port 4011 of ``server``, and its answer: None for silence. ``item`` is a menu's."""

    server: IPv4Address
    item: int | None
    answer: Answer | None
