"""A node's resolver: the name servers that its DHCP offer names, asked by the probe, and nobody else.

What this host's own resolver says is no evidence: it asks other servers, and has files of its own.
"""

from __future__ import annotations

import ipaddress
import secrets
import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import TYPE_CHECKING

from ectools.netboot.probe.faults import FaultCode
from ectools.netboot.probe.wire import dns
from ectools.netboot.probe.wire.dhcp import Option, PacketError
from ectools.netboot.probe.wire.packet_socket import LinkError

if TYPE_CHECKING:
    from ectools.netboot.probe.clients.exchange import Line
    from ectools.netboot.probe.wire.offers import Answer
    from ectools.netboot.probe.wire.packet_socket import UdpEndpoint

_RESEND_SECONDS = 1.0
_MAX_SERVERS, _MAX_ALIASES = 4, 8


@dataclass(frozen=True, kw_only=True)
class NameServers:
    """What a node knows of DNS: the servers (option 6), and the domains that a name without a dot is in."""

    addresses: tuple[IPv4Address, ...] = ()
    search: tuple[str, ...] = ()


NO_NAME_SERVERS = NameServers()


def find_name_servers(*answers: Answer | None) -> NameServers:
    """Those of the first answer that names any; options 6, 119 and 15 (RFC 2132, RFC 3397)."""
    for each in answers:
        value = b"" if each is None else each.message.options.get(Option.DNS, b"")
        addresses = tuple(IPv4Address(value[at : at + 4]) for at in range(0, len(value) - 3, 4))
        if each is not None and addresses:
            options = each.message.options
            domain = options.get(Option.DOMAIN, b"").partition(b"\0")[0].decode("ascii", "backslashreplace")
            search = dns.parse_search_list(options.get(Option.DOMAIN_SEARCH, b""))
            return NameServers(addresses=addresses, search=search or ((domain,) if domain else ()))
    return NO_NAME_SERVERS


def parse_name_servers(value: str) -> NameServers:
    """What a script sets ``dns`` to; none where it is no address, as iPXE fails to set it then."""
    try:
        return NameServers(addresses=(IPv4Address(value.partition(" ")[0]),))
    except ipaddress.AddressValueError:
        return NO_NAME_SERVERS


@dataclass(frozen=True, kw_only=True)
class Resolution:
    """A host's address, None where it has none: ``fault`` says what that is. ``detail``: who said so."""

    address: IPv4Address | None = None
    fault: FaultCode | None = None
    detail: str = ""


class Resolver:
    """The names of one probe, each asked for once of the same servers, by whatever thread comes first."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._known: dict[tuple[str, NameServers], Resolution] = {}
        self._locks: defaultdict[tuple[str, NameServers], threading.Lock] = defaultdict(threading.Lock)

    def resolve(self, host: str, names: NameServers) -> Resolution:
        """The address of a host as a node finds it that has these name servers."""
        try:
            return Resolution(address=IPv4Address(host))
        except ipaddress.AddressValueError:
            pass
        key = host, names
        with self._locks[key]:
            if key not in self._known:
                self._known[key] = self._ask_all(host, names)
            return self._known[key]

    def _ask_all(self, host: str, names: NameServers) -> Resolution:
        if not names.addresses:
            detail = f"{host!r} is a name, and the DHCP offer names no DNS server (option 6)"
            return Resolution(fault=FaultCode.URL_WITHOUT_DNS, detail=detail)
        # As iPXE: a name with a dot is whole, one without is looked for in the domains alone.
        tried = [host] if "." in host or not names.search else [f"{host}.{each}" for each in names.search]
        found = Resolution()
        for name in tried:
            found = self._ask_servers(name, names.addresses[:_MAX_SERVERS])
            if found.address is not None:
                break
        return found

    def _ask_servers(self, name: str, servers: tuple[IPv4Address, ...]) -> Resolution:
        """The first server's word that says anything: a client asks the next one where one is silent."""
        for server in servers:
            try:
                found = self._follow_aliases(name, server)
            except LinkError as error:
                return Resolution(fault=FaultCode.NAME_UNRESOLVED, detail=f"{name!r}: {error.message}")
            except PacketError as error:
                detail = f"{name!r} cannot be asked for, or not be read: {error.message}"
                return Resolution(fault=FaultCode.NAME_UNRESOLVED, detail=detail)
            if found is not None:
                return found
        who = ", ".join(map(str, servers))
        detail = f"{name!r}: the DNS server of the DHCP offer does not answer ({who})"
        return Resolution(fault=FaultCode.NAME_UNRESOLVED, detail=detail)

    def _follow_aliases(self, name: str, server: IPv4Address) -> Resolution | None:
        """What ``server`` says of the name; None for silence."""
        reply = self._ask(name, server)
        for _ in range(_MAX_ALIASES):
            if reply is None or reply.addresses or reply.alias is None:
                break
            # As iPXE: the end of a chain of aliases that came without its address is asked for by itself.
            reply = self._ask(reply.alias, server)
        if reply is None:
            return None
        if reply.addresses:
            address = reply.addresses[0]
            return Resolution(address=address, detail=f"{name} is {address} by {server}")
        said = f"response code {reply.code}" if reply.code else "no IPv4 address"
        if reply.code == dns.NO_SUCH_NAME:
            said = "no such name"
        detail = f"{name!r}: {said}, says {server}, the DNS server of the DHCP offer"
        return Resolution(fault=FaultCode.NAME_UNRESOLVED, detail=detail)

    def _ask(self, name: str, server: IPv4Address) -> dns.DnsReply | None:
        endpoint = self._line.open_endpoint(server)
        if endpoint is None:
            return None
        with endpoint:
            return ask_name_server(endpoint, server, name, seconds=self._line.seconds)


def ask_name_server(
    endpoint: UdpEndpoint, server: IPv4Address, name: str, *, seconds: float
) -> dns.DnsReply | None:
    """The reply of ``server``, asked again each second; None where none came in time.

    Raises PacketError for what is no name or no DNS message, LinkError.
    """
    xid = secrets.randbits(16)
    query = dns.build_query(name, xid)
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0:
        endpoint.send(query, to=server, port=dns.PORT)
        for source, port, payload in endpoint.wait(min(left, _RESEND_SECONDS)):
            if source != server or port != dns.PORT:
                continue
            reply = dns.parse_reply(payload, name=name, xid=xid)
            if reply is not None:
                return reply
    return None
