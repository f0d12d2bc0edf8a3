"""The boot binary that a machine gets in place of the others': of the two stock ones, by its group.

DHCP names it, before a machine has said anything but its hardware address and its architecture. So it is
ProxyDHCP that can tell machines apart, and those alone whose address the fleet knows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ectools.errors import InputError
from ectools.names import show_path
from ectools.netboot.protocols import StockBinary, load_protocols
from ectools.netboot.settings.model import StockIpxe

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ectools.netboot.fleet.model import Fleet
    from ectools.netboot.settings.model import NetbootSettings


def find_other_stock(settings: NetbootSettings) -> StockBinary | None:
    """The stock binary that ``ipxe.binary`` is not; None where no machine can be given another one."""
    source = settings.ipxe.x86_64
    if settings.proxy_dhcp is None or not isinstance(source, StockIpxe):
        return None
    return next(each for each in StockBinary if each is not source.binary)


def find_other_filename(settings: NetbootSettings) -> str | None:
    """Its name in the TFTP directory."""
    other = find_other_stock(settings)
    return None if other is None else load_protocols().stock[other]


def list_wanted(fleet: Fleet) -> frozenset[StockBinary]:
    """What groups name, those without nodes too: a node may come any time."""
    return frozenset(binary for _, binary in _list_deciding(fleet))


def check_boot_binaries(settings: NetbootSettings, fleet: Fleet) -> None:
    """Raises InputError where a group names a boot binary, and these settings cannot give machines theirs."""
    name = next((name for name, _ in _list_deciding(fleet)), None)
    if name is not None and find_other_stock(settings) is None:
        option = show_path(("fleet", "groups", name, "bootBinary"))
        raise InputError(
            f"{option}: no machine can be given a boot binary of its own",
            hint='it takes proxyDhcp.enable, and ipxe.strategy "autoexec"',
        )


def list_others(settings: NetbootSettings, fleet: Fleet) -> tuple[str, ...]:
    """The hardware addresses of the machines that get the other one, in order."""
    other = find_other_stock(settings)
    groups = {name for name, binary in _list_deciding(fleet) if binary is other}
    macs = (mac for node in fleet.nodes.values() if node.group in groups for mac in node.match.macs)
    return tuple(sorted(macs))


def _list_deciding(fleet: Fleet) -> Iterator[tuple[str, StockBinary]]:
    """(name, boot binary) of the groups that name one."""
    for name, group in fleet.groups.items():
        if group.boot_binary is not None:
            yield name, group.boot_binary
