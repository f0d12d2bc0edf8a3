"""Addresses and networks of either family."""

from __future__ import annotations

import socket
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


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
