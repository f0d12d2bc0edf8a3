"""Faults that only the answers to all clients together show."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ectools.netboot.probe.diagnose.trace import BootOutcome
from ectools.netboot.probe.faults import BootFault, FaultCode, Severity

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from ipaddress import IPv4Address

    from ectools.netboot.probe.clients.client import Client
    from ectools.netboot.probe.diagnose.trace import BootTrace
    from ectools.netboot.probe.wire.offers import Answer

_MILD = frozenset({FaultCode.NO_BOOT_ANSWER, FaultCode.NO_DHCP_ANSWER, FaultCode.WRONG_ARCHITECTURE})


def find_network_faults(offers: Mapping[Client, tuple[Answer, ...]], *, interface: str) -> list[BootFault]:
    """The network's faults: no DHCP server, several of them, several proxies for one client."""
    leases = _find_servers(each for group in offers.values() for each in group if not each.is_proxy)
    faults = []
    if not leases:
        faults.append(
            BootFault(
                code=FaultCode.NO_DHCP_ANSWER, message=f"no DHCP server offers an address on {interface}"
            )
        )
    if len(leases) > 1:
        faults.append(
            BootFault(
                code=FaultCode.TWO_DHCP_SERVERS, message=f"{len(leases)} DHCP servers answer: {_join(leases)}"
            )
        )
    # Two proxies for different clients do no harm.
    for group in offers.values():
        proxies = _find_servers(each for each in group if each.is_proxy and (each.is_pxe or each.is_http))
        if len(proxies) > 1:
            message = f"{len(proxies)} proxies answer: {_join(proxies)}"
            faults.append(BootFault(code=FaultCode.TWO_PROXIES, message=message))
            break
    return faults


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
