"""The report as JSON and for people: golden files of one probe that met everything that can be told."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import IPv4Address

import pytest
from support import golden
from support.boot_binaries import build_uefi_application
from support.pxe_messages import OTHER, PROXY, ROUTER, answer, client_of, lease, menu, proxy

from ectools.netboot.probe.diagnose.trace import BootOutcome, BootStage, BootTrace
from ectools.netboot.probe.faults import REMEDIES, BootFault, FaultCode, Severity
from ectools.netboot.probe.report import ProbeReport, build_json
from ectools.netboot.probe.report_text import show_report
from ectools.netboot.probe.simulate.choose import BootTarget, Choice
from ectools.netboot.probe.simulate.fetcher import Fetched, FetchState
from ectools.netboot.probe.simulate.ipxe_trace import KernelBoot, ScriptEnd
from ectools.netboot.probe.simulate.requested_file import RequestedFile, Role
from ectools.netboot.probe.wire.offers import BootQuestion

WEB = "http://192.0.2.2:8080"
UEFI, BIOS, IPXE = client_of(7), client_of(0), client_of(7, ipxe=True)


def requested(
    role: Role, uri: str, state: FetchState, *, head: bytes = b"", detail: str = ""
) -> RequestedFile:
    size = 1234 if head else None
    return RequestedFile(
        role=role, fetched=Fetched(uri=uri, state=state, size=size, head=head, detail=detail)
    )


def build_uefi_trace() -> BootTrace:
    offer = lease(siaddr=PROXY, file="ec-ipxe.efi", options={66: b"boot.example.org"}, seconds=0.12345)
    relayed = replace(offer, source=OTHER)
    by = answer(PROXY, siaddr=PROXY, file="ec-ipxe.efi", vendor_class="PXEClient")
    first = Choice(client=UEFI, offers=(relayed, proxy(options=menu((0x8000, "EC", PROXY)))))
    first.target = BootTarget(uri="tftp://192.0.2.2/ec-ipxe.efi", by=by, server=PROXY)
    first.asked = [
        BootQuestion(server=PROXY, item=None, answer=by),
        BootQuestion(server=OTHER, item=0x8000, answer=None),
        BootQuestion(server=ROUTER, item=None, answer=answer(ROUTER)),
    ]
    second = Choice(client=IPXE, offers=(answer(OTHER),))
    second.target = BootTarget(uri=f"{WEB}/netboot.ipxe?token=geheim", by=by)
    program = requested(
        Role.PROGRAM,
        "tftp://192.0.2.2/ec-ipxe.efi",
        FetchState.FOUND,
        head=build_uefi_application(),
    )
    return BootTrace(
        architecture=UEFI.architecture,
        outcome=BootOutcome.BOOTS,
        stages=[
            BootStage(client=UEFI, choice=first, files=[program]),
            BootStage(
                client=IPXE,
                choice=second,
                files=[
                    requested(
                        Role.SCRIPT,
                        f"{WEB}/netboot.ipxe?token=geheim",
                        FetchState.FOUND,
                        head=b"#!ipxe\n",
                        detail=f"redirected to {WEB}/x?token=geheim",
                    ),
                    requested(Role.KERNEL, f"{WEB}/kernel", FetchState.UNKNOWN),
                    requested(Role.INITRD, f"{WEB}/initrd\x1b[2J", FetchState.SILENT, detail="no answer"),
                    requested(Role.FILE, f"{WEB}/x", FetchState.REFUSED, detail="HTTP status 403"),
                ],
                end=ScriptEnd.BOOT,
            ),
        ],
        boot=KernelBoot(
            kernel=f"{WEB}/kernel?token=geheim",
            arguments="init=/x token=geheim",
            initrds=(f"{WEB}/initrd?token=geheim",),
        ),
        notes=["a note of token=geheim", "a note of token=geheim", "another"],
    )


def build_bios_trace() -> BootTrace:
    return BootTrace(
        architecture=BIOS.architecture,
        stages=[BootStage(client=BIOS, choice=Choice(client=BIOS, offers=()))],
        boot=KernelBoot(kernel="http://192.0.2.2/k", arguments="", initrds=()),
    )


FAULTS = (
    BootFault(
        code=FaultCode.LOOP, message="loads itself\x07 token=geheim", client=BIOS, severity=Severity.WARNING
    ),
    BootFault(code=FaultCode.TWO_PROXIES, message="2 proxies answer"),
    BootFault(code=FaultCode.MENU, message="a menu", client=UEFI),
    BootFault(code=FaultCode.MENU, message="a menu", client=IPXE),
    BootFault(code=FaultCode.MENU, message="a menu", client=IPXE),
    BootFault(code=FaultCode.MENU, message="a menu", client=BIOS, remedy="ask its owner"),
)
REPORT = ProbeReport(
    interface="eth0",
    mac="02:00:00:00:00:01",
    address="192.0.2.9/24",
    seconds=2.5,
    boot_traces=(build_uefi_trace(), build_bios_trace()),
    faults=FAULTS,
    notes=("a proxy sent\x1b[1m token=geheim", "a proxy sent\x1b[1m token=geheim", "more"),
)


def test_as_json() -> None:
    golden.compare("probe/report.json", json.dumps(build_json(REPORT), indent=2) + "\n")


@pytest.mark.parametrize("colour", [False, True])
def test_for_people(colour: bool) -> None:
    text = show_report(REPORT, colour=colour)
    # An escape that is seen in a review.
    golden.compare(f"probe/report{'-colour' if colour else ''}.txt", text.replace("\x1b", "<ESC>") + "\n")
    assert "geheim" not in text


def test_an_interface_without_an_address_and_notes_that_are_none() -> None:
    bare = replace(REPORT, address=None, boot_traces=(), faults=(), notes=())
    assert build_json(bare)["address"] is None
    assert show_report(bare, colour=False) == (
        "eth0 (no address), as 02:00:00:00:00:01, 2.5 s for answers\n\nno fault found"
    )


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (BootOutcome.BOOTS, "no fault found"),
        (BootOutcome.NOT_OFFERED, "no fault found"),
        (BootOutcome.UNKNOWN, "no fault found in what could be seen"),
    ],
)
def test_without_a_fault(outcome: BootOutcome, words: str) -> None:
    seen = replace(build_uefi_trace(), outcome=BootOutcome.BOOTS)
    traces = (seen, replace(build_bios_trace(), outcome=outcome))
    text = show_report(replace(REPORT, faults=(), boot_traces=traces), colour=False)
    assert text.splitlines()[-1] == words


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (BootOutcome.BOOTS, 32),
        (BootOutcome.NOT_OFFERED, 2),
        (BootOutcome.STOPS, 31),
        (BootOutcome.UNKNOWN, 33),
    ],
)
def test_outcomes_have_colours(outcome: BootOutcome, code: int) -> None:
    traces = (replace(build_bios_trace(), outcome=outcome),)
    text = show_report(replace(REPORT, boot_traces=traces), colour=True)
    assert f"\x1b[1m 0 x86 BIOS\x1b[0m: \x1b[{code}m{outcome}\x1b[0m" in text


def test_a_warning_is_no_failure() -> None:
    assert REPORT.failed
    assert not replace(REPORT, faults=FAULTS[:1]).failed
    assert not replace(REPORT, faults=()).failed


def test_an_address_is_told_where_one_is_offered() -> None:
    """``0.0.0.0`` is none, in both reports."""
    offer = answer(IPv4Address("192.0.2.7"))
    stage = BootStage(client=BIOS, choice=Choice(client=BIOS, offers=(offer,)))
    report = replace(REPORT, boot_traces=(replace(build_bios_trace(), stages=[stage]),))
    assert "     proxy 192.0.2.7: nothing\n" in show_report(report, colour=False)
    shown = build_json(report)["architectures"][0]["steps"][0]["offers"][0]
    assert (shown["address"], shown["siaddr"], shown["file"]) == (None, None, None)


def test_the_advice_of_a_fault() -> None:
    assert FAULTS[1].advice == REMEDIES[FaultCode.TWO_PROXIES]
    assert FAULTS[-1].advice == "ask its owner"
