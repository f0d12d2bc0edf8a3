"""The variables that an iPXE script finds set, as far as a network gives them (https://ipxe.org/cfg)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ectools.netboot.probe.simulate.resolve import find_name_servers
from ectools.netboot.probe.wire.dhcp import NO_ADDRESS
from ectools.netboot.protocols import Binary, load_protocols

if TYPE_CHECKING:
    from ectools.netboot.probe.simulate.choose import Choice
    from ectools.netboot.probe.wire.offers import Answer
    from ectools.netboot.protocols import Architecture


def build_variables(choice: Choice, architecture: Architecture, *, mac: str, uri: str) -> dict[str, str]:
    """Name → value, for the script at ``uri``; ``choice`` is iPXE's own."""
    binary = architecture.binary
    variables = {"mac": mac, "net0/mac": mac, "buildarch": load_protocols().binaries[binary].build}
    variables["platform"] = "pcbios" if binary is Binary.BIOS else "efi"
    variables |= {"cwuri": uri, "cwduri": uri.rpartition("/")[0] + "/", "uuid": "0" * 8}
    if choice.proxy is not None:
        variables |= _name_boot("proxydhcp/", choice.proxy) | _name_boot("", choice.proxy)
    if choice.lease is not None:
        lease = choice.lease.message
        address = {"ip": str(lease.yiaddr), "dhcp-server": str(choice.lease.server)}
        if servers := find_name_servers(choice.lease).addresses:
            address["dns"] = str(servers[0])
        variables |= address | {f"net0/{name}": value for name, value in address.items()}
        variables |= _name_boot("", choice.lease) | _name_boot("net0/", choice.lease)
    return variables


def _name_boot(prefix: str, answer: Answer) -> dict[str, str]:
    found = {}
    if answer.message.siaddr != NO_ADDRESS:
        found[f"{prefix}next-server"] = str(answer.message.siaddr)
    if answer.message.boot_file:
        found[f"{prefix}filename"] = answer.message.boot_file
    return found
