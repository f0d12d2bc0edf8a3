"""What the settings ask of the kernel (sysctl(8)), where Linux's own values are too little for a crowd.

nix/modules/ec-netboot.nix sets the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ectools.netboot.settings.model import NetbootSettings

RECEIVE_BUFFER = "net.core.rmem_default"
"""The bytes that wait at a socket which names no other number: dnsmasq's is one."""
NEIGHBOURS = "net.ipv4.neigh.default.gc_thresh3"
"""The entries of the table of neighbours (arp(7)), which is one for the whole kernel."""
_KEPT_NEIGHBOURS = "net.ipv4.neigh.default.gc_thresh2"


def list_kernel_settings(settings: NetbootSettings) -> Mapping[str, int]:
    """Name → the least that it is to be."""
    wanted = {}
    if settings.tftp.receive_buffer is not None:
        wanted[RECEIVE_BUFFER] = settings.tftp.receive_buffer
    if settings.max_neighbours is not None:
        wanted[_KEPT_NEIGHBOURS] = settings.max_neighbours // 2
        wanted[NEIGHBOURS] = settings.max_neighbours
    return wanted
