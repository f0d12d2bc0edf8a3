"""The part of this host's loopback that the guest may reach: from the settings, as nftables rules, and tried.

QEMU's user-mode network makes 127.0.0.1 of 10.0.2.2 and ::1 of fec0::2, and takes a guest's own packets to
127.0.0.1 as they are (``sotranslate_out`` in libslirp's src/socket.c). The connection is QEMU's, and so its
user's: the rules look at the user and at the address, not at what the guest asked for. QEMU has no option
for this: ``restrict`` cuts the internet too, and libslirp's ``disable_host_loopback`` is not passed on.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ectools.vm.boot_script import HOST_IN_GUEST

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ectools.addresses import Address, Network
    from ectools.vm.settings import Boot, Chain, Http

_LOOPBACK4, _LOOPBACK6 = ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")
_LOOPBACKS = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1"))
# QEMU's defaults (net=, ipv6-net=): the host in them is loopback to it.
_HOST_IN_GUEST6 = "fec0::2"
_GUEST_NETWORK = ipaddress.ip_network("10.0.2.0/24")
_URL_PORTS = {"http": 80, "https": 443}
_DNS_PORT = 53
_TRY_SECONDS = 5.0


class Protocol(StrEnum):
    TCP = "tcp"
    UDP = "udp"


@dataclass(frozen=True, kw_only=True)
class Opening:
    """A port on addresses of the loopback that the guest may reach."""

    protocol: Protocol
    network: Network
    port: int


def find_openings(boot: Boot) -> tuple[Opening, ...]:
    """What the guest has to reach to do what ``boot`` says; each once.

    Port 0, which is known only when the boot HTTP server is bound, opens nothing.
    """
    found = [*_find_server(boot.http), *_find_chain(boot.chain), *_find_dns(boot.user_net.dns)]
    return tuple(dict.fromkeys(opening for opening in found if opening.port))


def _find_server(http: Http) -> Iterator[Opening]:
    """The boot HTTP server, where it listens on the loopback; the runner too asks it whether it lives."""
    if http.root is None:
        return
    bound = http.listen.ip
    addresses: tuple[Address, ...] = (bound,) if bound.is_loopback else ()
    if bound.is_unspecified:
        addresses = (_LOOPBACK4,) if bound.version == 4 else (_LOOPBACK4, _LOOPBACK6)
    for address in addresses:
        yield Opening(protocol=Protocol.TCP, network=ipaddress.ip_network(address), port=http.listen.port)


def _find_chain(chain: Chain | None) -> Iterator[Opening]:
    """The server of a chain URL that names this host. (TFTP at 10.0.2.2 is QEMU's own, and no connection.)"""
    if chain is None:
        return
    parts = urlsplit(chain.url)
    loopbacks = {HOST_IN_GUEST: _LOOPBACK4, _HOST_IN_GUEST6: _LOOPBACK6}
    address = loopbacks.get(parts.hostname or "")
    port = _URL_PORTS.get(parts.scheme)
    if address is not None and port is not None:
        yield Opening(protocol=Protocol.TCP, network=ipaddress.ip_network(address), port=parts.port or port)


def _find_dns(address: ipaddress.IPv4Address) -> Iterator[Opening]:
    """A resolver of this host: named by its address, or by one of the guest's network, which stands for the
    first of resolv.conf(5)."""
    networks: tuple[Network, ...] = ()
    if address.is_loopback:
        networks = (ipaddress.ip_network(address),)
    elif address in _GUEST_NETWORK:
        networks = _LOOPBACKS
    for network in networks:
        for protocol in Protocol:
            yield Opening(protocol=protocol, network=network, port=_DNS_PORT)


def name_table(uid: int) -> str:
    """The name of the table, of the family ``inet``, that holds the rules for a user."""
    return f"every-channel-guest-{uid}"


def build_rules(openings: tuple[Opening, ...], *, uid: int) -> str:
    """nftables rules (nft(8)) that leave the user ``uid`` only ``openings`` of the loopback.

    The table belongs to the process that loads it (``flags owner``, Linux 5.12): no ``flush ruleset`` takes
    it away, and with the process it is gone. TCP is judged by its first segment, so answers of a server
    pass, without connection tracking; whatever is no TCP has no answers here, and must be an opening.
    """
    table = f"table inet {name_table(uid)}"
    allowed = [
        f"{_family(opening.network)} daddr {opening.network} {opening.protocol} dport {opening.port} accept"
        for opening in openings
    ]
    lines = [
        # Replaces what stands there under the name, but for a table that another process has.
        table,
        f"delete {table}",
        f"{table} {{",
        "\tflags owner",
        "\tchain output {",
        "\t\ttype filter hook output priority filter; policy accept;",
        *(f"\t\tmeta skuid {uid} {_family(net)} daddr {net} goto loopback" for net in _LOOPBACKS),
        "\t}",
        "\tchain loopback {",
        "\t\ttcp flags & (fin | syn | rst | ack) != syn accept",
        *(f"\t\t{rule}" for rule in allowed),
        "\t\tmeta l4proto tcp reject with tcp reset",
        "\t\treject",
        "\t}",
        "}",
    ]
    return "".join(f"{line}\n" for line in lines)


def _family(network: Network) -> str:
    return "ip" if network.version == 4 else "ip6"


def find_unfiltered() -> str | None:
    """The first loopback address on which this process's user reaches a port that no opening is for.

    It tries a port of its own, which is free and so nobody's. None: the rules are in place.
    """
    for family, address in ((socket.AF_INET, str(_LOOPBACK4)), (socket.AF_INET6, str(_LOOPBACK6))):
        with contextlib.ExitStack() as stack:
            try:
                server = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
                server.bind((address, 0))
            except OSError as error:
                if error.errno in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    continue  # a host without IPv6
                raise
            server.listen(1)
            client = stack.enter_context(socket.socket(family, socket.SOCK_STREAM))
            client.settimeout(_TRY_SECONDS)
            with contextlib.suppress(OSError):
                client.connect(server.getsockname())
                return address
    return None
