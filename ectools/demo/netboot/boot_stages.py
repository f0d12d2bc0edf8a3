"""The stages of a machine's boot, recognised in what the router, the boot host and its console say."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from ectools.demo.netboot.lab import CLIENT_IP
from ectools.demo.netboot.machine import MACHINE_MAC

if TYPE_CHECKING:
    from collections.abc import Mapping

BOOT_FILE = "ec-ipxe.efi"


class NetbootStage(StrEnum):
    """In the order in which they come; the value is what a person reads."""

    DISCOVER = "the firmware asks who boots it"
    LEASE = "the router gives an address, and names the boot host"
    FIRST_STAGE = "the firmware has iPXE, over TFTP"
    SCRIPT = "iPXE has the release's boot script, over HTTP"
    KERNEL = "iPXE has the kernel"
    INITRD = "iPXE has the initrd"
    LINUX = "Linux starts"
    UP = "the machine says that it is up"
    REPORTED = "the boot host has its report: up and healthy"


_OF_THE_ROUTER = {"DHCPDISCOVER": NetbootStage.DISCOVER, "DHCPACK": NetbootStage.LEASE}
# As dnsmasq logs them: DHCPDISCOVER(lan0) MAC, DHCPACK(lan0) ADDRESS MAC.
_ROUTER_LINE = re.compile(rf"(DHCPDISCOVER|DHCPACK)\(\S+\) (?:\S+ )?{re.escape(MACHINE_MAC)}")
_RELEASED = {
    "netboot.ipxe": NetbootStage.SCRIPT,
    "kernel": NetbootStage.KERNEL,
    "initrd": NetbootStage.INITRD,
}


def recognise_router_line(line: str) -> NetbootStage | None:
    """The stage that a line of the router's dnsmasq tells of."""
    found = _ROUTER_LINE.search(line)
    return None if found is None else _OF_THE_ROUTER[found[1]]


def recognise_boot_record(record: Mapping[str, Any]) -> NetbootStage | None:
    """The stage that a record in the log of ``ectools netboot serve`` tells of.

    What the probe fetched is none.
    """
    if CLIENT_IP in (record.get("client"), record.get("peer")):
        return None
    match record:
        case {"event": "TFTP has sent a file", "file": str(file)} if file == BOOT_FILE:
            return NetbootStage.FIRST_STAGE
        case {"event": "a node has reported", "state": "healthy"}:
            return NetbootStage.REPORTED
        case {"event": "request", "method": "GET", "status": 200, "path": str(path)}:
            return None if "aborted" in record else _RELEASED.get(path.rpartition("/")[2])
    return None


def recognise_console_line(line: str, *, mark: str) -> NetbootStage | None:
    """The stage that a line on the machine's console tells of. ``mark``: the line only this run can print."""
    if mark in line:
        return NetbootStage.UP
    return NetbootStage.LINUX if "Linux version" in line else None
