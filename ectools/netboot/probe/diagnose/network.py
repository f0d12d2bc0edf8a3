"""Faults that only the answers to all clients together show."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING

from ectools.netboot.probe.diagnose.trace import BootOutcome
from ectools.netboot.probe.faults import BootFault, FaultCode, Severity
from ectools.netboot.probe.wire.dhcp import Option

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from ectools.netboot.probe.clients.client import Client
    from ectools.netboot.probe.diagnose.follow import AskClient
    from ectools.netboot.probe.diagnose.trace import BootTrace
    from ectools.netboot.probe.wire.offers import Answer

_MILD = frozenset(
    {
        FaultCode.NO_BOOT_ANSWER,
        FaultCode.NO_DHCP_ANSWER,
        FaultCode.WRONG_ARCHITECTURE,
        FaultCode.HTTP_BOOT_WITHOUT_URL,
    }
)


def find_network_faults(
    offers: Mapping[Client, tuple[Answer, ...]], *, interface: str, ask: AskClient | None = None
) -> list[BootFault]:
    """The network's faults: no DHCP server, several of them, several proxies for one client.

    ``ask`` asks port 4011, by which several proxies are compared that send their clients there.
    """
    leases = _find_servers(each for group in offers.values() for each in group if not each.is_proxy)
    faults: list[BootFault] = []
    if not leases:
        faults.append(
            BootFault(
                code=FaultCode.NO_DHCP_ANSWER, message=f"no DHCP server offers an address on {interface}"
            )
        )
    if len(leases) > 1:
        groups = [[each for each in group if not each.is_proxy] for group in offers.values()]
        message = f"{len(leases)} DHCP servers answer: {_join(leases)}"
        faults.append(_compare(FaultCode.TWO_DHCP_SERVERS, message, groups, with_network=True))
    # Two proxies for different clients do no harm.
    several = {}
    for client, group in offers.items():
        proxies = [each for each in group if each.is_proxy and (each.is_pxe or each.is_http)]
        if len(_find_servers(proxies)) > 1:
            several[client] = proxies
    if several:
        servers = _find_servers(next(iter(several.values())))
        message = f"{len(servers)} proxies answer: {_join(servers)}"
        groups = [_ask_boot_servers(client, group, ask) for client, group in several.items()]
        faults.append(_compare(FaultCode.TWO_PROXIES, message, groups, with_network=False))
    return faults


def _ask_boot_servers(client: Client, proxies: Sequence[Answer], ask: AskClient | None) -> list[Answer]:
    """What the proxies say of the boot file: of one that names none in its offer, its port 4011 does."""
    if ask is None:
        return list(proxies)
    return [
        each
        if each.message.boot_file or each.option43.has_discovery
        else ask(client, each.boot_server, None) or each
        for each in proxies
    ]


def _compare(
    code: FaultCode, message: str, groups: Sequence[Sequence[Answer]], *, with_network: bool
) -> BootFault:
    """A warning where the answers to each client are of one mind: whichever it takes leads to the same."""
    if any(len({_tell_boot(each) for each in group}) > 1 for group in groups):
        return BootFault(code=code, message=f"{message}; they do not say the same of what to boot")
    if with_network and any(len({_find_network(each) for each in group}) > 1 for group in groups):
        return BootFault(code=code, message=f"{message}; their addresses are of different networks")
    ways = [
        name
        for name, option in (("router", Option.ROUTER), ("DNS server", Option.DNS))
        if any(len({each.message.options.get(option) for each in group}) > 1 for group in groups)
    ]
    differ = f", but for the {' and the '.join(ways)}" if ways and with_network else ""
    return BootFault(
        code=code,
        message=f"{message}; they say the same of what to boot{differ}",
        severity=Severity.WARNING,
        remedy="leave it where both are meant (failover); else turn one of them off",
    )


def _tell_boot(answer: Answer) -> tuple[object, ...] | None:
    """What a client boots by it; None where it says nothing of that."""
    message = answer.message
    if not (message.boot_file or answer.is_pxe or answer.is_http):
        return None
    return answer.boot_server, message.boot_file, message.vendor_class, message.options.get(Option.VENDOR)


def _find_network(answer: Answer) -> IPv4Network:
    mask = answer.message.address(Option.SUBNET_MASK) or IPv4Address("255.255.255.255")
    try:
        return IPv4Network(f"{answer.message.yiaddr}/{mask}", strict=False)
    except ValueError:
        return IPv4Network(answer.message.yiaddr)


def _find_servers(answers: Iterable[Answer]) -> list[IPv4Address]:
    return sorted({each.server for each in answers})


def _join(addresses: Sequence[IPv4Address]) -> str:
    return ", ".join(map(str, addresses))


def collect_faults(boot_traces: Sequence[BootTrace], *, asked_for: Collection[int]) -> list[BootFault]:
    """The faults of all clients, with their severity in this network.

    Few networks have every kind of machine: what is not offered at all, or only another architecture's file,
    is a warning where somebody does boot and nobody asked for that architecture by its number
    (``asked_for``).
    """
    served = any(boot_trace.outcome in (BootOutcome.BOOTS, BootOutcome.UNKNOWN) for boot_trace in boot_traces)
    found: list[BootFault] = []
    for boot_trace in boot_traces:
        for fault in boot_trace.faults:
            mild = fault.code in _MILD and served and boot_trace.architecture.number not in asked_for
            found.append(replace(fault, severity=Severity.WARNING) if mild else fault)
    return found
