"""Addresses and networks of either family."""

from __future__ import annotations

import array
import fcntl
import os
import socket
import struct
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_SIOCGIFCONF = 0x8912  # <linux/sockios.h>
# struct ifreq of <linux/if.h>: a name, and a union whose largest member holds two longs and some.
_IFREQ_BYTES = 16 + (24 if struct.calcsize("P") == 8 else 16)
_MAX_ADDRESSES = 4096


def find_own_address() -> IPv4Address | None:
    """The address that this host reaches others from; None where it has no way to them.

    The kernel chooses it for a socket that is connected, and UDP sends nothing for that (udp(7)).
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            # Documentation's own network (RFC 5737): nobody's, so what leads there leads to the world.
            probe.connect(("192.0.2.1", 9))
        except OSError:
            return None
        return IPv4Address(probe.getsockname()[0])


def list_own_addresses() -> list[tuple[str, IPv4Address]]:
    """Every interface's IPv4 addresses (netdevice(7): SIOCGIFCONF); a netlink library would take 10 MB."""
    buffer = array.array("B", bytes(_MAX_ADDRESSES * _IFREQ_BYTES))
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        asked = struct.pack("iP", len(buffer), buffer.buffer_info()[0])
        (size, _) = struct.unpack("iP", fcntl.ioctl(control, _SIOCGIFCONF, asked))
    found = []
    for start in range(0, size, _IFREQ_BYTES):
        label, _family, _port, packed = struct.unpack_from("=16sHH4s", buffer, start)
        # A further address may have a label behind the interface's name.
        found.append((os.fsdecode(label.partition(b"\0")[0]).partition(":")[0], IPv4Address(packed)))
    return found
