"""The whole way of a client, over a network that is made of offers and files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from ipaddress import IPv4Address

import pytest
from support.boot_binaries import ARM64, UNDIONLY, build_ipxe, build_uefi_application
from support.kernels import build_bzimage, build_image, build_zboot
from support.pxe_messages import (
    OTHER,
    PROXY,
    ROUTER,
    answer,
    client_of,
    lease,
    menu,
    proxy,
)
from support.staged import make_release, make_systems

from ectools.netboot.boot_files.scripts.first_stage import build_autoexec
from ectools.netboot.boot_files.scripts.second_stage import build_netboot
from ectools.netboot.boot_files.scripts.unbooted import build_disk, build_hold, build_refusal
from ectools.netboot.kernel import KernelArchitecture
from ectools.netboot.probe.clients.client import Client
from ectools.netboot.probe.diagnose.follow import follow_client
from ectools.netboot.probe.diagnose.network import collect_faults, find_network_faults
from ectools.netboot.probe.diagnose.trace import BootOutcome, BootTrace
from ectools.netboot.probe.faults import REMEDIES, FaultCode, Severity
from ectools.netboot.probe.report import ProbeReport, build_json
from ectools.netboot.probe.report_text import show_report
from ectools.netboot.probe.simulate.fetcher import Fetched, FetchState
from ectools.netboot.probe.wire.offers import Answer
from ectools.netboot.release.manifest import Release
from ectools.netboot.settings.load import load_netboot_settings
from ectools.redact import redact_tokens

IPXE, OLD_IPXE = build_ipxe(), build_ipxe("1.0.0", autoexec="none")
TFTP, WEB = "tftp://192.0.2.2", "http://192.0.2.2:8080"
AUTOEXEC = f"#!ipxe\ndhcp\nchain {WEB}/netboot.ipxe?token=geheim || shell\n".encode()
NETBOOT = b"#!ipxe\nkernel kernel\ninitrd initrd\nboot\n"
GOOD = {
    f"{TFTP}/ec-ipxe.efi": IPXE,
    f"{TFTP}/autoexec.ipxe": AUTOEXEC,
    f"{WEB}/ec-ipxe.efi": IPXE,
    f"{WEB}/autoexec.ipxe": AUTOEXEC,
    f"{WEB}/netboot.ipxe?token=geheim": NETBOOT,
    f"{WEB}/netboot.ipxe": NETBOOT,
    f"{WEB}/kernel": b"k" * 9,
    f"{WEB}/initrd": b"i" * 9,
}
NETWORK_BOOT = lease(siaddr=PROXY, file="ec-ipxe.efi")


def boot_trace(
    number: int,
    offers: tuple[Answer, ...],
    *,
    ipxe_offers: tuple[Answer, ...] | None = None,
    files: Mapping[str, bytes | Fetched] | None = None,
    boot_servers: Mapping[IPv4Address, Answer] | None = None,
    fetching: bool = True,
) -> BootTrace:
    known = GOOD if files is None else files

    def fetch(uri: str, headers: object = None, limit: int = 65536, names: object = None) -> Fetched:
        # Who asks for the second stage says who it is.
        content = known.get(uri.partition("?mac=")[0])
        if isinstance(content, Fetched):
            return content
        if content is None:
            detail = "error 1: file not found" if uri.startswith("tftp") else "HTTP status 404"
            return Fetched(uri=uri, state=FetchState.MISSING, detail=detail)
        head = content[:limit]
        return Fetched(
            uri=uri, state=FetchState.FOUND, size=len(content), head=head, whole=len(head) == len(content)
        )

    def ask(_client: Client, server: IPv4Address, _item: int | None) -> Answer | None:
        return (boot_servers or {}).get(server)

    client = client_of(number)
    heard = {client: offers, client_of(number, ipxe=True): offers if ipxe_offers is None else ipxe_offers}
    return follow_client(
        client.architecture, heard, fetch=fetch if fetching else None, ask=ask, mac="02:00:00:00:00:01"
    )


def codes(found: BootTrace) -> list[FaultCode]:
    return [fault.code for fault in found.faults]


def test_a_router_with_network_boot_leads_to_the_kernel() -> None:
    found = boot_trace(7, (NETWORK_BOOT,))
    assert found.outcome is BootOutcome.BOOTS
    assert found.faults == []
    assert found.boot is not None
    assert found.boot.kernel == f"{WEB}/kernel"
    assert len(found.stages) == 1


def test_http_boot_leads_to_the_kernel() -> None:
    found = boot_trace(16, (lease(), proxy(vendor_class="HTTPClient", file=f"{WEB}/ec-ipxe.efi")))
    assert found.outcome is BootOutcome.BOOTS


def test_bios_is_told_its_script_by_the_user_class() -> None:
    files = {**GOOD, f"{TFTP}/undionly.kpxe": UNDIONLY}
    servers = {PROXY: answer(PROXY, siaddr=PROXY, file="undionly.kpxe", vendor_class="PXEClient")}
    found = boot_trace(
        0,
        (lease(), proxy(options=menu((0x8000, "EC", PROXY)))),
        ipxe_offers=(lease(), proxy(siaddr=PROXY, file=f"{WEB}/netboot.ipxe")),
        files=files,
        boot_servers=servers,
    )
    assert (found.outcome, found.faults) == (BootOutcome.BOOTS, [])
    assert [stage.client.stage.value for stage in found.stages] == ["firmware", "ipxe"]


def product(number: int, release: Release, kernels: Mapping[str, bytes]) -> BootTrace:
    """The way through the boot scripts that are served for a release."""
    settings = load_netboot_settings(None, flags={"hostname": str(PROXY)}, environment={})
    home = f"{WEB}/releases/{release.id}"
    files = {
        **{name: build_ipxe(machine={11: ARM64}.get(number, 0x8664)) for name in (f"{TFTP}/ec-ipxe.efi",)},
        f"{TFTP}/autoexec.ipxe": build_autoexec(settings, None).encode(),
        f"{WEB}/netboot.ipxe": build_netboot(settings, release, None).encode(),
        **{f"{home}/{name}": kernels.get(name, b"i" * 9) for name in release.files},
    }
    return boot_trace(number, (NETWORK_BOOT,), files=files)


@pytest.mark.parametrize(("number", "system"), [(7, "pc"), (11, "arm")])
def test_each_architecture_is_given_its_own_kernel(number: int, system: str) -> None:
    release, _ = make_systems({"pc": KernelArchitecture.X86_64, "arm": KernelArchitecture.AARCH64})
    kernels = {"pc/bzImage": build_bzimage(), "arm/bzImage": build_image()}
    found = product(number, release, kernels)
    assert (found.outcome, found.faults) == (BootOutcome.BOOTS, [])
    assert found.boot is not None
    assert found.boot.kernel.endswith(f"/{system}/bzImage")


@pytest.mark.parametrize(
    ("number", "architecture", "build"),
    [(11, KernelArchitecture.X86_64, "arm64"), (7, KernelArchitecture.AARCH64, "x86_64")],
)
def test_a_release_without_a_system_for_it(number: int, architecture: KernelArchitecture, build: str) -> None:
    found = product(number, make_release(architecture=architecture), {})
    assert (found.outcome, codes(found)) == (BootOutcome.STOPS, [FaultCode.NO_SYSTEM])
    assert found.faults[0].message.endswith(f": the release that is served has no system for {build}")


@pytest.mark.parametrize(
    ("number", "kernel", "outcome"),
    [
        (7, build_bzimage(), BootOutcome.BOOTS),
        (7, build_image(), BootOutcome.STOPS),
        (7, build_zboot(), BootOutcome.STOPS),
        (7, build_bzimage(is_64_bit=False), BootOutcome.STOPS),
        (11, build_image(), BootOutcome.BOOTS),
        (11, build_zboot(), BootOutcome.BOOTS),
        (11, build_bzimage(), BootOutcome.STOPS),
        # It does not say for what it is.
        (11, b"k" * 9, BootOutcome.BOOTS),
    ],
)
def test_a_kernel_for_other_machines_does_not_boot(number: int, kernel: bytes, outcome: BootOutcome) -> None:
    binary = build_ipxe(machine={11: ARM64}.get(number, 0x8664))
    files = {**GOOD, f"{TFTP}/ec-ipxe.efi": binary, f"{WEB}/kernel": kernel}
    found = boot_trace(number, (NETWORK_BOOT,), files=files)
    assert found.outcome is outcome
    assert codes(found) == ([] if outcome is BootOutcome.BOOTS else [FaultCode.FOREIGN_KERNEL])
    if found.faults:
        assert f"{WEB}/kernel is a kernel for " in found.faults[0].message
        assert f"a client of architecture {number} (" in found.faults[0].message


@pytest.mark.parametrize(
    ("script", "outcome", "faults"),
    [
        ("hold", BootOutcome.STOPS, [FaultCode.HELD]),
        ("refuse", BootOutcome.STOPS, [FaultCode.HELD]),
        ("disk", BootOutcome.UNKNOWN, []),
    ],
)
def test_a_machine_that_the_fleet_boots_nothing_on(
    script: str, outcome: BootOutcome, faults: list[FaultCode]
) -> None:
    """A script that asks again for ever is not gone through for ever."""
    settings = load_netboot_settings(None, flags={"hostname": str(PROXY)}, environment={})
    scripts = {
        "hold": build_hold(settings, None, why=["x"]),
        "refuse": build_refusal(why=["x"]),
        "disk": build_disk(why=["x"]),
    }
    files = {
        f"{TFTP}/ec-ipxe.efi": build_ipxe(),
        f"{TFTP}/autoexec.ipxe": build_autoexec(settings, None).encode(),
        f"{WEB}/netboot.ipxe": scripts[script].encode(),
    }
    found = boot_trace(7, (NETWORK_BOOT,), files=files)
    assert (found.outcome, codes(found)) == (outcome, faults)


def test_without_autoexec_the_binary_loads_itself() -> None:
    files = {name: content for name, content in GOOD.items() if "autoexec" not in name}
    found = boot_trace(7, (NETWORK_BOOT,), files=files)
    assert codes(found) == [FaultCode.NO_AUTOEXEC, FaultCode.LOOP]
    assert found.outcome is BootOutcome.STOPS
    # An empty one is not used either.
    assert FaultCode.NO_AUTOEXEC in codes(
        boot_trace(7, (NETWORK_BOOT,), files={**files, f"{TFTP}/autoexec.ipxe": b""})
    )


def test_an_old_ipxe_beside_an_autoexec() -> None:
    found = boot_trace(7, (NETWORK_BOOT,), files={**GOOD, f"{TFTP}/ec-ipxe.efi": OLD_IPXE})
    assert codes(found) == [FaultCode.OLD_IPXE, FaultCode.LOOP]


def test_an_ipxe_that_is_too_old_for_http_boot_alone() -> None:
    files = {**GOOD, f"{TFTP}/ec-ipxe.efi": build_ipxe(autoexec="both")}
    files[f"{WEB}/ec-ipxe.efi"] = build_ipxe(autoexec="both")
    assert boot_trace(7, (NETWORK_BOOT,), files=files).outcome is BootOutcome.BOOTS
    offers = (lease(), proxy(vendor_class="HTTPClient", file=f"{WEB}/ec-ipxe.efi"))
    found = boot_trace(16, offers, ipxe_offers=(NETWORK_BOOT,), files=files)
    assert FaultCode.OLD_IPXE in codes(found)


def test_an_old_ipxe_that_is_told_its_script_is_no_fault() -> None:
    found = boot_trace(
        7,
        (NETWORK_BOOT,),
        ipxe_offers=(lease(), proxy(siaddr=PROXY, file=f"{WEB}/netboot.ipxe")),
        files={**GOOD, f"{TFTP}/ec-ipxe.efi": OLD_IPXE},
    )
    assert (found.outcome, found.faults) == (BootOutcome.BOOTS, [])


def test_a_script_built_in_comes_first() -> None:
    embedded = build_uefi_application(body=b"iPXE\0#!ipxe \0" + AUTOEXEC + b"\0")
    files = {**GOOD, f"{TFTP}/ec-ipxe.efi": embedded, f"{TFTP}/autoexec.ipxe": b"#!ipxe\nshell\n"}
    assert boot_trace(7, (NETWORK_BOOT,), files=files).outcome is BootOutcome.BOOTS


def test_a_bios_ipxe_that_is_sent_to_itself_may_have_a_script() -> None:
    offer = lease(siaddr=PROXY, file="undionly.kpxe")
    found = boot_trace(0, (offer,), files={f"{TFTP}/undionly.kpxe": UNDIONLY})
    assert [(fault.code, fault.severity) for fault in found.faults] == [(FaultCode.LOOP, Severity.WARNING)]
    assert found.outcome is BootOutcome.UNKNOWN


@pytest.mark.parametrize(
    ("number", "content", "words"),
    [
        (0, IPXE, "a UEFI program for x64 UEFI"),
        (7, UNDIONLY, "a program or data"),
        (7, build_ipxe(machine=ARM64), "a UEFI program for ARM 64-bit UEFI"),
        (11, IPXE, "a UEFI program for x64 UEFI"),
        (7, b"#!ipxe\nshell\n", "an iPXE script"),
        (7, b"", "an empty file"),
    ],
)
def test_a_file_of_another_architecture(number: int, content: bytes, words: str) -> None:
    found = boot_trace(number, (NETWORK_BOOT,), files={f"{TFTP}/ec-ipxe.efi": content})
    assert codes(found) == [FaultCode.WRONG_ARCHITECTURE]
    assert words in found.faults[0].message


def test_ebc_is_served_as_x64() -> None:
    assert boot_trace(9, (NETWORK_BOOT,)).outcome is BootOutcome.BOOTS


def test_another_program_than_ipxe_ends_what_can_be_seen() -> None:
    found = boot_trace(
        7, (NETWORK_BOOT,), files={f"{TFTP}/ec-ipxe.efi": build_uefi_application(body=b"GRUB")}
    )
    assert (found.outcome, found.faults) == (BootOutcome.UNKNOWN, [])


def stated(uri: str, state: FetchState, detail: str = "why") -> dict[str, bytes | Fetched]:
    return {**GOOD, uri: Fetched(uri=uri, state=state, detail=detail)}


@pytest.mark.parametrize(
    ("uri", "state", "code"),
    [
        (f"{TFTP}/ec-ipxe.efi", FetchState.MISSING, FaultCode.FILE_MISSING_TFTP),
        (f"{TFTP}/ec-ipxe.efi", FetchState.SILENT, FaultCode.TFTP_SILENT),
        (f"{WEB}/netboot.ipxe?token=geheim", FetchState.MISSING, FaultCode.FILE_MISSING_HTTP),
        (f"{WEB}/netboot.ipxe?token=geheim", FetchState.REFUSED, FaultCode.FILE_MISSING_HTTP),
        (f"{WEB}/netboot.ipxe?token=geheim", FetchState.SILENT, FaultCode.HTTP_SILENT),
        (f"{WEB}/kernel", FetchState.MISSING, FaultCode.KERNEL_MISSING),
        (f"{WEB}/initrd", FetchState.REFUSED, FaultCode.INITRD_MISSING),
    ],
)
def test_a_file_that_is_not_got(uri: str, state: FetchState, code: FaultCode) -> None:
    found = boot_trace(7, (NETWORK_BOOT,), files=stated(uri, state))
    assert codes(found) == [code]
    assert found.outcome is BootOutcome.STOPS
    fault = found.faults[0]
    assert redact_tokens(uri) in fault.message
    assert "geheim" not in fault.message
    assert ("httpAllowedCIDRs" in fault.advice) is (state is FetchState.REFUSED)


def test_a_mirror_that_is_missing_is_a_warning() -> None:
    script = f"#!ipxe\nchain http://192.0.2.9/x || chain {WEB}/netboot.ipxe\n".encode()
    found = boot_trace(7, (NETWORK_BOOT,), files={**GOOD, f"{TFTP}/autoexec.ipxe": script})
    assert found.outcome is BootOutcome.BOOTS
    assert [(fault.code, fault.severity) for fault in found.faults] == [
        (FaultCode.FILE_MISSING_HTTP, Severity.WARNING)
    ]


def test_a_page_in_place_of_a_script() -> None:
    files = {**GOOD, f"{WEB}/netboot.ipxe?token=geheim": b"<!DOCTYPE html><title>log in</title>"}
    assert FaultCode.SCRIPT_UNREADABLE in codes(boot_trace(7, (NETWORK_BOOT,), files=files))
    found = boot_trace(
        0,
        (lease(siaddr=PROXY, file="undionly.kpxe"),),
        ipxe_offers=(lease(siaddr=PROXY, file="page"),),
        files={f"{TFTP}/undionly.kpxe": UNDIONLY, f"{TFTP}/page": b"<html>"},
    )
    assert codes(found) == [FaultCode.SCRIPT_UNREADABLE]


def test_a_script_that_boots_nothing() -> None:
    found = boot_trace(7, (NETWORK_BOOT,), files={**GOOD, f"{TFTP}/autoexec.ipxe": b"#!ipxe\nshell\n"})
    assert codes(found) == [FaultCode.NO_KERNEL_NAMED]
    found = boot_trace(7, (NETWORK_BOOT,), files={**GOOD, f"{TFTP}/autoexec.ipxe": b"#!ipxe\nprompt\n"})
    assert codes(found) == [FaultCode.MENU]


def test_next_server_is_the_routers_beside_a_proxy() -> None:
    script = b"#!ipxe\nchain http://${next-server}:8080/netboot.ipxe || shell\n"
    servers = {PROXY: answer(PROXY, siaddr=PROXY, file="ec-ipxe.efi", vendor_class="PXEClient")}
    offers = (lease(siaddr=ROUTER), proxy(siaddr=PROXY))
    files = {**GOOD, f"{TFTP}/autoexec.ipxe": script}
    found = boot_trace(7, offers, files=files, boot_servers=servers)
    assert FaultCode.NEXT_SERVER_IS_ROUTER in codes(found)
    # One that asks for the proxy's is right.
    files[f"{TFTP}/autoexec.ipxe"] = script.replace(b"{next", b"{proxydhcp/next")
    ipxe_offers = (lease(siaddr=ROUTER), proxy(siaddr=PROXY, file=f"{WEB}/netboot.ipxe"))
    found = boot_trace(7, offers, ipxe_offers=ipxe_offers, files=files, boot_servers=servers)
    assert (found.outcome, found.faults) == (BootOutcome.BOOTS, [])


def test_nobody_tells_ipxe_what_to_load() -> None:
    files = {f"{TFTP}/ec-ipxe.efi": IPXE}
    found = boot_trace(7, (NETWORK_BOOT,), ipxe_offers=(lease(),), files=files)
    assert codes(found) == [FaultCode.NO_AUTOEXEC, FaultCode.NO_BOOT_ANSWER]


def test_a_lease_alone_is_no_offer() -> None:
    found = boot_trace(7, (lease(),))
    assert (found.outcome, codes(found)) == (BootOutcome.NOT_OFFERED, [FaultCode.NO_BOOT_ANSWER])
    assert boot_trace(7, ()).outcome is BootOutcome.NOT_OFFERED


def test_a_proxy_alone_gives_no_address() -> None:
    """It does say what to boot: what is missing is the DHCP server's answer."""
    found = boot_trace(7, (proxy(siaddr=PROXY),))
    assert (found.outcome, codes(found)) == (BootOutcome.NOT_OFFERED, [FaultCode.NO_DHCP_ANSWER])
    booting = boot_trace(
        16, (lease(), proxy(vendor_class="HTTPClient", siaddr=PROXY, file=f"{WEB}/ec-ipxe.efi"))
    )
    assert [fault.severity for fault in collect_faults([booting, found], asked_for=())] == [Severity.WARNING]


def test_without_fetching_it_ends_at_the_first_file() -> None:
    found = boot_trace(7, (NETWORK_BOOT,), fetching=False)
    assert (found.outcome, found.faults) == (BootOutcome.UNKNOWN, [])


def test_what_nobody_asked_for_is_a_warning_where_somebody_boots() -> None:
    booting, bios = boot_trace(7, (NETWORK_BOOT,)), boot_trace(0, (NETWORK_BOOT,))
    assert [fault.severity for fault in collect_faults([booting, bios], asked_for=())] == [Severity.WARNING]
    assert [fault.severity for fault in collect_faults([booting, bios], asked_for=(0, 7))] == [Severity.ERROR]
    assert [fault.severity for fault in collect_faults([bios], asked_for=())] == [Severity.ERROR]


def test_two_of_a_kind() -> None:
    uefi, bios = client_of(7), client_of(0)

    def find(*offers: Answer) -> list[FaultCode]:
        return [fault.code for fault in find_network_faults({uefi: offers, bios: ()}, interface="eth0")]

    assert find() == [FaultCode.NO_DHCP_ANSWER]
    assert find(lease(), proxy()) == []
    assert find(lease(), lease(OTHER)) == [FaultCode.TWO_DHCP_SERVERS]
    assert find(lease(), proxy(), proxy(OTHER)) == [FaultCode.TWO_PROXIES]
    assert find(proxy()) == [FaultCode.NO_DHCP_ANSWER]
    apart = {uefi: (lease(), proxy()), bios: (lease(), proxy(OTHER))}
    assert find_network_faults(apart, interface="eth0") == []


def report_of(*boot_traces: BootTrace) -> ProbeReport:
    return ProbeReport(
        interface="eth0",
        mac="02:00:00:00:00:01",
        address="192.0.2.9/24",
        seconds=5.0,
        boot_traces=boot_traces,
        faults=tuple(collect_faults(boot_traces, asked_for=())),
        notes=("a note",),
    )


def test_the_report_as_json_and_for_people() -> None:
    report = report_of(boot_trace(7, (NETWORK_BOOT,)), boot_trace(0, (NETWORK_BOOT,)))
    shown = json.loads(json.dumps(build_json(report)))
    assert list(shown) == [
        *("format", "interface", "mac", "address", "seconds", "architectures", "faults", "notes")
    ]
    first = shown["architectures"][0]
    assert (first["number"], first["outcome"]) == (7, "boots")
    assert first["boot"]["kernel"] == f"{WEB}/kernel"
    assert first["steps"][0]["offers"][0] == {
        "server": "192.0.2.1",
        "source": "192.0.2.1",
        "kind": "dhcp",
        "seconds": 0.1,
        "address": "192.0.2.50",
        "siaddr": "192.0.2.2",
        "file": "ec-ipxe.efi",
        "option_66": None,
        "vendor_class": None,
        "menu": [],
    }
    assert shown["faults"][0]["code"] == "wrong-architecture"
    assert shown["faults"][0]["architecture"] == 0
    assert not report.failed
    text = show_report(report, colour=False)
    assert "geheim" not in text + json.dumps(shown)
    assert "token=***" in text
    assert "\x1b" not in text
    assert "\x1b" in show_report(report, colour=True)


def test_a_servers_words_do_not_steer_the_terminal() -> None:
    offer = lease(siaddr=PROXY, file="a\x1b[2Jb\u202e.efi", vendor_class="X\x1b]0;x\x07")
    text = show_report(report_of(boot_trace(7, (offer,))), colour=False)
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_malformed_options_are_noted() -> None:
    offer = proxy(options={43: bytes((9, 200))})
    found = boot_trace(7, (lease(), offer))
    assert any("malformed packet: option 43: option 9 is cut off" in note for note in found.notes)


def test_every_code_has_a_remedy() -> None:
    assert set(REMEDIES) == set(FaultCode)
