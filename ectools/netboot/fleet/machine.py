"""What a machine says of itself as it boots, normalized, so that one machine is always the same text.

iPXE sends ``${mac}``, ``${uuid}``, ``${serial}`` and ``${asset}`` (https://ipxe.org/cfg): the last three are
SMBIOS's (DSP0134, 7.2 and 7.4), and hold what a maker has left in them where nobody has set them.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ectools.netboot.fleet.model import Match

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

MAX_LENGTH = 255
"""Characters of a value that a machine sends; SMBIOS bounds its strings by a byte of their own."""

_KEYS = re.compile(r"(?:^|, )(?=(?:mac|uuid|serial|asset) )")
_MAC = re.compile(r"[0-9a-f]{2}(?:[:-][0-9a-f]{2}){5}", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_BUILD = re.compile(r"[a-z0-9_]{1,16}", re.ASCII)
# Left in by the maker: no two machines are told apart by them.
_PLACEHOLDERS = frozenset(
    {
        *("to be filled by o.e.m.", "to be filled by oem", "default string", "system serial number"),
        *("not specified", "not applicable", "not available", "none", "n/a", "unknown", "invalid", "empty"),
        *("no asset tag", "no asset information", "asset tag", "asset-1234567890", "chassis serial number"),
        *("123456789", "1234567890", "0123456789", "serial", "oem", "o.e.m.", "x", "xxxxxxxxxx"),
    }
)
_BLANK = re.compile(r"[0 .\-]*|[fF]+|[xX*]+")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What one machine says of itself, normalized; None where it sent nothing that tells it from others.

    ``build`` is iPXE's ``${buildarch}``.
    """

    mac: str | None = None
    uuid: str | None = None
    serial: str | None = None
    asset: str | None = None
    build: str | None = None

    def __str__(self) -> str:
        return (
            ", ".join(f"{kind} {value}" for kind, value in list_keys(self)) or "nothing that it is known by"
        )


def parse_machine(query: Mapping[str, str]) -> Machine | None:
    """The machine of a query; None where it names none of what machines are known by: nobody has asked it.

    What cannot be used of it counts as not sent.
    """
    if not any(kind in query for kind in ("mac", "uuid", "serial", "asset")):
        return None
    build = query.get("arch", "")
    return Machine(
        mac=normalize_mac(query.get("mac", "")),
        uuid=normalize_uuid(query.get("uuid", "")),
        serial=normalize_text(query.get("serial", "")),
        asset=normalize_text(query.get("asset", "")),
        build=build if _BUILD.fullmatch(build) else None,
    )


def list_keys(known: Machine | Match) -> Iterator[tuple[str, str]]:
    """(kind, value) of all that a machine or a node is known by: MAC addresses first."""
    macs = known.macs if isinstance(known, Match) else (known.mac,)
    yield from (("mac", mac) for mac in macs if mac is not None)
    for kind, value in (("uuid", known.uuid), ("serial", known.serial), ("asset", known.asset)):
        if value is not None:
            yield kind, value


def parse_keys(text: str) -> list[tuple[str, str]]:
    """(kind, value) of each of what ``str(machine)`` names: ``mac 02:…, serial PF1234``."""
    return [(kind, value) for kind, _, value in (each.partition(" ") for each in _KEYS.split(text)) if value]


def normalize_mac(text: str) -> str | None:
    """``02:00:00:12:34:56``; None for what is none, or is nobody's own (a group's, all zeros)."""
    mac = text.strip().lower()
    if _MAC.fullmatch(mac) is None:
        return None
    mac = mac.replace("-", ":")
    return None if int(mac[1], 16) & 1 or mac == "00:00:00:00:00:00" else mac


def normalize_uuid(text: str) -> str | None:
    """A UUID in lower case; None for what is none, or is not set (all zeros or ones)."""
    uuid = text.strip().lower()
    return uuid if _UUID.fullmatch(uuid) and len({*uuid} - {"-"}) > 1 else None


def normalize_text(text: str) -> str | None:
    """A serial number or an asset tag, without blanks around it; None where the maker has left it unset."""
    said = text.strip()
    is_set = _BLANK.fullmatch(said) is None and said.lower() not in _PLACEHOLDERS
    return said if is_set and len(said) <= MAX_LENGTH and said.isprintable() and said.isascii() else None


_RULES = {
    "mac": normalize_mac,
    "uuid": normalize_uuid,
    "serial": normalize_text,
    "asset": normalize_text,
}


def normalize_keys(known_by: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """(kind, value) of what a running machine says of itself, without what tells it from no other."""
    return [(kind, value) for kind, raw in known_by if (value := _RULES[kind](raw)) is not None]
