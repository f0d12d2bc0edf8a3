"""What is told of a network, by all that was offered there; and of one architecture, once a stage."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

import pytest
from support.boot_binaries import build_uefi_application
from support.choices import BIOS, HTTP, IPXE, LAST, UEFI
from support.pxe_messages import OTHER, PROXY, ROUTER, answer, client_of, lease, proxy

from ectools.netboot.probe.clients.client import Client
from ectools.netboot.probe.diagnose.network import collect_faults, find_network_faults
from ectools.netboot.probe.diagnose.trace import BootOutcome, BootStage, BootTrace
from ectools.netboot.probe.faults import BootFault, FaultCode, Severity
from ectools.netboot.probe.simulate.choose import Choice
from ectools.netboot.probe.simulate.fetcher import Fetched, FetchState
from ectools.netboot.probe.simulate.requested_file import RequestedFile, Role
from ectools.netboot.probe.wire.dhcp import Option
from ectools.netboot.probe.wire.offers import Answer

# Of the network


def test_servers_of_the_network_are_named_in_order() -> None:
    faults = find_network_faults(
        {UEFI: (lease(PROXY), lease(ROUTER), lease(ROUTER)), BIOS: (lease(OTHER),)}, interface="eth0"
    )
    assert [(fault.code, fault.message, fault.client) for fault in faults] == [
        (
            FaultCode.TWO_DHCP_SERVERS,
            "3 DHCP servers answer: 192.0.2.1, 192.0.2.2, 192.0.2.3; they say the same of what to boot",
            None,
        )
    ]


def compare_leases(*leases: Answer) -> tuple[Severity, str]:
    (fault,) = find_network_faults({UEFI: leases, BIOS: ()}, interface="eth0")
    assert fault.code is FaultCode.TWO_DHCP_SERVERS
    return fault.severity, fault.message.partition("; ")[2]


def test_dhcp_servers_of_one_mind_are_a_warning() -> None:
    mask = {Option.SUBNET_MASK: bytes((255, 255, 255, 0))}
    way = {**mask, Option.ROUTER: ROUTER.packed, Option.DNS: ROUTER.packed}
    boot: dict[str, Any] = {"siaddr": PROXY, "file": "a.efi"}
    same = "they say the same of what to boot"
    assert compare_leases(lease(ROUTER, options=way), lease(OTHER, options=way)) == (Severity.WARNING, same)
    assert compare_leases(
        lease(ROUTER, options=way, **boot), lease(OTHER, options={**way, Option.ROUTER: OTHER.packed}, **boot)
    ) == (Severity.WARNING, f"{same}, but for the router")
    assert compare_leases(lease(ROUTER, options=way, **boot), lease(OTHER, options=mask, **boot)) == (
        Severity.WARNING,
        f"{same}, but for the router and the DNS server",
    )
    # Each is its own siaddr, and names no file.
    assert compare_leases(lease(ROUTER, siaddr=ROUTER), lease(OTHER, siaddr=OTHER)) == (
        Severity.WARNING,
        same,
    )


@pytest.mark.parametrize(
    "other",
    [
        lease(OTHER),
        lease(OTHER, siaddr=OTHER, file="a.efi"),
        lease(OTHER, siaddr=PROXY, file="b.efi"),
        lease(OTHER, siaddr=PROXY, file="a.efi", vendor_class="PXEClient"),
        lease(OTHER, siaddr=PROXY, file="a.efi", options={Option.VENDOR: b"\x06\x01\x08"}),
    ],
)
def test_dhcp_servers_that_differ_are_an_error(other: Answer) -> None:
    severity, message = compare_leases(lease(siaddr=PROXY, file="a.efi"), other)
    assert (severity, message) == (Severity.ERROR, "they do not say the same of what to boot")


def test_dhcp_servers_of_different_networks() -> None:
    mask = {Option.SUBNET_MASK: bytes((255, 255, 255, 0))}
    elsewhere = answer(OTHER, yiaddr=IPv4Address("198.51.100.7"), options=mask)
    expected = (Severity.ERROR, "their addresses are of different networks")
    assert compare_leases(lease(options=mask), elsewhere) == expected
    nonsense = answer(OTHER, yiaddr=IPv4Address("198.51.100.7"), options={Option.SUBNET_MASK: b"\1\2\3\4"})
    assert compare_leases(lease(options=mask), nonsense) == expected


def test_proxies_of_one_mind_are_a_warning() -> None:
    (fault,) = find_network_faults(
        {UEFI: (lease(), proxy(siaddr=PROXY), proxy(OTHER, siaddr=PROXY))}, interface="eth0"
    )
    assert (fault.code, fault.severity) == (FaultCode.TWO_PROXIES, Severity.WARNING)
    (fault,) = find_network_faults({UEFI: (lease(), proxy(), proxy(OTHER))}, interface="eth0")
    assert (fault.code, fault.severity) == (FaultCode.TWO_PROXIES, Severity.ERROR)


@pytest.mark.parametrize(("file", "severity"), [("a.efi", Severity.WARNING), ("b.efi", Severity.ERROR)])
def test_proxies_are_compared_by_their_port_4011(file: str, severity: Severity) -> None:
    asked = []

    def ask(client: Client, server: IPv4Address, item: int | None) -> Answer | None:
        asked.append((client, server, item))
        return answer(
            server, siaddr=LAST, file="a.efi" if server == PROXY else file, vendor_class="PXEClient"
        )

    offers = {UEFI: (lease(), proxy(), proxy(OTHER)), BIOS: (lease(), proxy())}
    (fault,) = find_network_faults(offers, interface="eth0", ask=ask)
    assert (fault.code, fault.severity) == (FaultCode.TWO_PROXIES, severity)
    assert asked == [(UEFI, PROXY, None), (UEFI, OTHER, None)]


def test_proxies_that_name_their_file_need_not_be_asked() -> None:
    boot = {"siaddr": LAST, "file": "a.efi"}
    named = {UEFI: (lease(), proxy(**boot), proxy(OTHER, **boot))}
    (fault,) = find_network_faults(named, interface="eth0", ask=lambda *_: None)
    assert fault.severity is Severity.WARNING
    silent = {UEFI: (lease(), proxy(), proxy(OTHER))}
    (fault,) = find_network_faults(silent, interface="eth0", ask=lambda *_: None)
    assert fault.severity is Severity.ERROR


def test_proxies_of_one_client_are_told_once() -> None:
    two = (lease(), proxy(OTHER), proxy(vendor_class="HTTPClient"))
    faults = find_network_faults({BIOS: (lease(),), UEFI: two, HTTP: two}, interface="eth0")
    assert [(fault.code, fault.message) for fault in faults] == [
        (
            FaultCode.TWO_PROXIES,
            "2 proxies answer: 192.0.2.2, 192.0.2.3; they do not say the same of what to boot",
        )
    ]
    # What says neither is no proxy for a boot.
    assert (
        find_network_faults({UEFI: (lease(), proxy(), proxy(OTHER, vendor_class="x"))}, interface="e") == []
    )


def trace_of(outcome: BootOutcome, code: FaultCode, *, number: int = 7) -> BootTrace:
    client = client_of(number)
    return BootTrace(
        architecture=client.architecture,
        outcome=outcome,
        faults=[BootFault(code=code, message="m", client=client)],
    )


@pytest.mark.parametrize(
    ("code", "outcome", "asked_for", "severity"),
    [
        (FaultCode.NO_BOOT_ANSWER, BootOutcome.BOOTS, (), Severity.WARNING),
        (FaultCode.NO_DHCP_ANSWER, BootOutcome.BOOTS, (), Severity.WARNING),
        (FaultCode.WRONG_ARCHITECTURE, BootOutcome.UNKNOWN, (), Severity.WARNING),
        (FaultCode.WRONG_ARCHITECTURE, BootOutcome.STOPS, (), Severity.ERROR),
        (FaultCode.WRONG_ARCHITECTURE, BootOutcome.NOT_OFFERED, (), Severity.ERROR),
        (FaultCode.WRONG_ARCHITECTURE, BootOutcome.BOOTS, (7,), Severity.ERROR),
        (FaultCode.WRONG_ARCHITECTURE, BootOutcome.BOOTS, (0,), Severity.WARNING),
        (FaultCode.MENU, BootOutcome.BOOTS, (), Severity.ERROR),
    ],
)
def test_what_is_mild(
    code: FaultCode, outcome: BootOutcome, asked_for: tuple[int, ...], severity: Severity
) -> None:
    other = BootTrace(architecture=client_of(0).architecture, outcome=outcome)
    (fault,) = collect_faults([other, trace_of(BootOutcome.STOPS, code)], asked_for=asked_for)
    assert (fault.severity, fault.code, fault.message) == (severity, code, "m")


# Of one architecture


def start_trace() -> BootTrace:
    stage = BootStage(client=UEFI, choice=Choice(client=UEFI, offers=()))
    last = BootStage(client=IPXE, choice=Choice(client=IPXE, offers=()))
    return BootTrace(architecture=UEFI.architecture, stages=[stage, last])


def test_a_fault_is_of_the_present_stage_and_told_once() -> None:
    trace = start_trace()
    trace.add_fault(FaultCode.MENU, "m")
    trace.add_fault(FaultCode.MENU, "m")
    trace.add_fault(FaultCode.MENU, "m", severity=Severity.WARNING, remedy="r")
    assert trace.faults == [
        BootFault(code=FaultCode.MENU, message="m", client=IPXE),
        BootFault(code=FaultCode.MENU, message="m", client=IPXE, severity=Severity.WARNING, remedy="r"),
    ]
    assert trace.outcome is BootOutcome.STOPS


@pytest.mark.parametrize(
    ("scheme", "state", "role", "code"),
    [
        ("tftp", FetchState.SILENT, Role.KERNEL, FaultCode.TFTP_SILENT),
        ("http", FetchState.SILENT, Role.INITRD, FaultCode.HTTP_SILENT),
        ("tftp", FetchState.MISSING, Role.KERNEL, FaultCode.KERNEL_MISSING),
        ("http", FetchState.REFUSED, Role.INITRD, FaultCode.INITRD_MISSING),
        ("tftp", FetchState.MISSING, Role.SCRIPT, FaultCode.FILE_MISSING_TFTP),
        ("https", FetchState.MISSING, Role.PROGRAM, FaultCode.FILE_MISSING_HTTP),
    ],
)
def test_a_file_that_was_not_got(scheme: str, state: FetchState, role: Role, code: FaultCode) -> None:
    trace = start_trace()
    file = RequestedFile(role=role, fetched=Fetched(uri=f"{scheme}://h/a?token=x", state=state, detail="why"))
    trace.add_missing(file, severity=Severity.WARNING)
    (fault,) = trace.faults
    assert (fault.code, fault.message, fault.severity) == (
        code,
        f"{scheme}://h/a?token=***: why",
        Severity.WARNING,
    )
    assert (fault.remedy is not None) is (state is FetchState.REFUSED)
    trace.add_missing(replace(file, role=Role.FILE))
    assert trace.faults[1].severity is Severity.ERROR


def test_a_file_that_could_not_be_asked_for() -> None:
    trace = start_trace()
    trace.add_missing(
        RequestedFile(
            role=Role.KERNEL, fetched=Fetched(uri="nfs://h/a", state=FetchState.UNKNOWN, detail="not asked")
        )
    )
    assert (trace.faults, trace.notes, trace.outcome) == ([], ["nfs://h/a: not asked"], BootOutcome.UNKNOWN)


@pytest.mark.parametrize(
    ("state", "what"),
    [(FetchState.MISSING, "nothing"), (FetchState.FOUND, "a UEFI program for ARM 64-bit UEFI")],
)
def test_a_file_that_is_something_else(state: FetchState, what: str) -> None:
    trace = start_trace()
    file = RequestedFile(
        role=Role.SCRIPT,
        fetched=Fetched(uri="tftp://h/a", state=state, head=build_uefi_application(0xAA64)),
    )
    trace.add_unreadable(file)
    trace.add_wrong_architecture(file)
    assert [(fault.code, fault.message) for fault in trace.faults] == [
        (FaultCode.SCRIPT_UNREADABLE, f"tftp://h/a is {what}, where iPXE expects a script"),
        (
            FaultCode.WRONG_ARCHITECTURE,
            f"tftp://h/a is {what}: a client of architecture 7 (x64 UEFI) cannot start it",
        ),
    ]
