"""What a TFTP server's silence means: nobody is there, a firewall, or an answer that is lost on its way.

A read request goes to UDP 69, and the answer comes from a new port (RFC 1350, section 4): for a firewall that
keeps states it belongs to nothing that it knows.
"""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ectools.netboot.probe.faults import FaultCode
from ectools.netboot.probe.wire.packet_socket import LinkError

if TYPE_CHECKING:
    from ipaddress import IPv4Address

    from ectools.netboot.probe.clients.exchange import Line
    from ectools.netboot.probe.wire.tftp import TftpReply

_UNUSED_PORT = 33434
"""traceroute(8)'s first: nobody listens there, and a host says so that is reached and has no firewall."""
_UNUSED_SECONDS = 1.0
_ASKED_TIMES = 3

_FIREWALL_BETWEEN = (
    "start the TFTP server at that address; open UDP 69 in its firewall and in those between the networks;"
    " and let these pass UDP from the boot host to the clients, because TFTP answers from a new port (or turn"
    " their TFTP helper on: conntrack, ALG)"
)
_NOT_STARTED = (
    "start the TFTP server at that address (dnsmasq: enable-tftp; no-dhcp-interface turns TFTP off too)"
)
_FIREWALL_THERE = (
    "open UDP 69 in the firewall of that host; and see that its TFTP server answers this interface (dnsmasq:"
    " interface, listen-address)"
)


@dataclass(frozen=True, kw_only=True)
class Silence:
    """``fault`` and ``remedy`` are None where those of a silent TFTP server fit."""

    detail: str
    fault: FaultCode | None = None
    remedy: str | None = None


def explain_silence(line: Line, server: IPv4Address, reply: TftpReply) -> Silence:
    """Why ``server`` did not answer a read request, by what else came, and by one more question.

    A host that refuses an unused port, and is silent at 69, is there, and takes what is sent to 69.
    """
    detail = "no answer on UDP port 69"
    if reply.stranger is not None:
        detail = f"{reply.stranger} answers in the place of {server}, which was asked: firmware drops that"
        return Silence(detail=detail, fault=FaultCode.TFTP_OTHER_ADDRESS)
    if errno.ECONNREFUSED in reply.errors:
        return Silence(detail=f"{detail}: nobody listens there", remedy=_NOT_STARTED)
    if errno.EHOSTUNREACH in reply.errors:
        return Silence(detail=f"{detail}: the host cannot be reached, or a firewall says no")
    routed = not any(server in each.network for each in line.interface.addresses)
    # On this very host nothing lies between.
    there = server not in line.local and _refuses_unused_port(line, server)
    if routed and there:
        detail += f", where {server} takes the request: its answer is lost between the networks"
        return Silence(detail=detail, fault=FaultCode.TFTP_ANSWER_LOST)
    if routed:
        return Silence(detail=f"{detail} of {server}, which is in another network", remedy=_FIREWALL_BETWEEN)
    return Silence(detail=detail, remedy=_FIREWALL_THERE if there else None)


def _refuses_unused_port(line: Line, server: IPv4Address) -> bool:
    """Whether the host says that nobody listens at a port that nobody uses (ICMP: port unreachable)."""
    endpoint = line.open_endpoint(server)
    if endpoint is None:
        return False
    with endpoint:
        # A host says so once a second at most (icmp(7): icmp_ratelimit).
        for _ in range(_ASKED_TIMES):
            try:
                endpoint.send(b"", to=server, port=_UNUSED_PORT)
            except LinkError:
                return False
            for _ in endpoint.wait(_UNUSED_SECONDS):
                pass
            if errno.ECONNREFUSED in endpoint.errors:
                return True
    return False
