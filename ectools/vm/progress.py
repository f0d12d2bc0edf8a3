"""Signs that a guest's first boot gets somewhere, as QEMU shows them."""

from __future__ import annotations

from typing import Any


def find_network_progress(usernet: str) -> str | None:
    """A connection that the guest opened, in what HMP ``info usernet`` prints; None where there is none.

    DHCP and TFTP are answered inside QEMU and make no row. Forwarded ports are the host's.
    """
    for line in usernet.splitlines():
        words = line.split()
        if (
            len(words) > 2
            and words[0].startswith(("TCP[", "UDP[", "ICMP["))
            and "HOST_FORWARD" not in words[0]
        ):
            return f"a connection of the user-mode network ({words[0]})"
    return None


def find_disk_progress(blockstats: list[dict[str, Any]]) -> str | None:
    """A read from a disk, in what QMP ``query-blockstats`` returns; None where there is none.

    A drive without a medium has no node; the firmware looks at it all the same.
    """
    for device in blockstats:
        if device.get("node-name") and device.get("stats", {}).get("rd_operations", 0) > 0:
            return f"a read from the disk {device['node-name']}"
    return None
