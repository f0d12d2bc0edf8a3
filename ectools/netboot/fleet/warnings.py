"""What a fleet says that comes to nothing, or to something else than was meant: no error, worth a line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ectools.names import show_path

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ectools.netboot.fleet.model import Fleet

MAX_HOSTS = 20_000
"""Hardware addresses that dnsmasq goes through in time: it compares a client with one after the other, at
each of its requests (0.2 to 0.5 ms of a processor with 10,000, 2 to 8 ms with 100,000).
"""
_MOST_NAMES = 5


def list_warnings(fleet: Fleet) -> list[str]:
    """A sentence each, without a dot; none where there is nothing to say."""
    return [*_list_undecided(fleet), *_list_many_hosts(fleet)]


def _list_undecided(fleet: Fleet) -> Iterator[str]:
    """Groups that name a boot binary, with nodes that DHCP cannot tell from others."""
    for group in fleet.groups.values():
        if group.boot_binary is None:
            continue
        nodes = [
            node.name for node in fleet.nodes.values() if node.group == group.name and not node.match.macs
        ]
        if nodes:
            option = show_path(("fleet", "groups", group.name, "bootBinary"))
            yield (
                f"{option} is decided by the hardware address alone, and {_join(nodes)} "
                f"{'has' if len(nodes) == 1 else 'have'} no match.mac"
            )


def _list_many_hosts(fleet: Fleet) -> Iterator[str]:
    """More machines with a boot binary of their own than DHCP can tell from others in time."""
    groups = {group.name for group in fleet.groups.values() if group.boot_binary is not None}
    count = sum(len(node.match.macs) for node in fleet.nodes.values() if node.group in groups)
    if count > MAX_HOSTS:
        yield (
            f"{count} hardware addresses are of groups with a bootBinary: dnsmasq goes through those that "
            f"get another than ipxe.binary at each request, which takes long from {MAX_HOSTS} on"
        )


def _join(names: list[str]) -> str:
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
