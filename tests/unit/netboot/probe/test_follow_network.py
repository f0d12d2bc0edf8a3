"""What a client is told on its way by names, relays and chains of loaders."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address
from typing import Any

import pytest
from support.boot_binaries import ARM64, build_ipxe, build_shim, build_uefi_application
from support.pxe_messages import OTHER, PROXY, ROUTER, client_of, lease, proxy

from ectools.netboot.probe.diagnose.follow import follow_client
from ectools.netboot.probe.diagnose.trace import BootOutcome, BootTrace
from ectools.netboot.probe.faults import FaultCode
from ectools.netboot.probe.simulate.fetcher import Fetched, FetchState
from ectools.netboot.probe.simulate.resolve import NO_NAME_SERVERS, NameServers
from ectools.netboot.probe.wire.dhcp import Option
from ectools.netboot.probe.wire.offers import Answer

TFTP, WEB = "tftp://192.0.2.2", "http://192.0.2.2"
SCRIPT = b"#!ipxe\nkernel kernel\nboot\n"
SERVERS = NameServers(addresses=(ROUTER,))
BY_DNS: dict[int, bytes] = {Option.DNS: ROUTER.packed}


class Files:
    """Files by URI, or what came of them; keeps by which name servers each was asked for."""

    def __init__(self, files: Mapping[str, bytes | Fetched]) -> None:
        self.files = files
        self.asked: dict[str, NameServers] = {}

    def __call__(
        self, uri: str, _headers: object = None, limit: int = 65536, names: NameServers = NO_NAME_SERVERS
    ) -> Fetched:
        self.asked[uri] = names
        content = self.files.get(uri)
        if isinstance(content, Fetched):
            return content
        if content is None:
            return Fetched(uri=uri, state=FetchState.MISSING, detail="not there")
        return Fetched(uri=uri, state=FetchState.FOUND, head=content, whole=True)


def follow(
    number: int,
    offers: tuple[Answer, ...],
    files: Mapping[str, bytes | Fetched],
    *,
    ipxe: tuple[Answer, ...] | None = None,
    **options: Any,
) -> tuple[BootTrace, Files]:
    fetch = Files(files)
    client = client_of(number)
    heard = {client: offers, client_of(number, ipxe=True): offers if ipxe is None else ipxe}
    return follow_client(
        client.architecture, heard, fetch=fetch, ask=lambda *_: None, mac="02:00:00:00:00:01", **options
    ), fetch


# Names


def test_every_file_is_asked_for_by_the_offers_name_servers() -> None:
    files: dict[str, bytes | Fetched] = {
        f"{TFTP}/a.efi": build_ipxe(),
        f"{TFTP}/autoexec.ipxe": b"#!ipxe\nchain http://boot.test/b.ipxe\n",
        "http://boot.test/b.ipxe": SCRIPT,
        "http://boot.test/kernel": b"k",
    }
    trace, asked = follow(7, (lease(siaddr=PROXY, file="a.efi", options=BY_DNS),), files)
    assert trace.outcome is BootOutcome.BOOTS
    assert asked.asked.keys() == files.keys()
    assert set(asked.asked.values()) == {SERVERS}


def test_ipxe_resolves_by_its_own_offers() -> None:
    files = {f"{TFTP}/a.efi": build_ipxe(autoexec="none"), "http://boot.test/b.ipxe": SCRIPT}
    told = (lease(options=BY_DNS), proxy(siaddr=PROXY, file="http://boot.test/b.ipxe"))
    _, asked = follow(7, (lease(siaddr=PROXY, file="a.efi"),), files, ipxe=told)
    assert asked.asked[f"{TFTP}/a.efi"] == NO_NAME_SERVERS
    assert asked.asked["http://boot.test/b.ipxe"] == SERVERS


def test_sums_are_asked_for_by_the_same_servers() -> None:
    script = b"#!ipxe\nkernel http://boot.test/k\nsha256sum --set d k && iseq ${d} 1\nboot\n"
    files = {f"{TFTP}/a.efi": build_ipxe(), f"{TFTP}/autoexec.ipxe": script, "http://boot.test/k": b"k"}
    asked: list[NameServers] = []

    def find_digest(_uri: str, _headers: object, names: NameServers) -> str:
        asked.append(names)
        return "1"

    offers = (lease(siaddr=PROXY, file="a.efi", options=BY_DNS),)
    trace, _ = follow(7, offers, files, find_digest=find_digest)
    assert (trace.outcome, asked) == (BootOutcome.BOOTS, [SERVERS])


def test_what_is_known_of_a_failure_is_its_fault() -> None:
    lost = Fetched(
        uri=f"{TFTP}/a.efi",
        state=FetchState.SILENT,
        detail="no answer",
        fault=FaultCode.TFTP_ANSWER_LOST,
        remedy="this one",
    )
    trace, _ = follow(7, (lease(siaddr=PROXY, file="a.efi"),), {f"{TFTP}/a.efi": lost})
    (fault,) = trace.faults
    assert (fault.code, fault.advice) == (FaultCode.TFTP_ANSWER_LOST, "this one")
    assert fault.message == f"{TFTP}/a.efi: no answer"


def test_a_script_is_told_its_name_server() -> None:
    script = b"#!ipxe\nchain http://192.0.2.2/${dns}/${net0/dns}\n"
    files = {f"{TFTP}/a.efi": build_ipxe(), f"{TFTP}/autoexec.ipxe": script}
    _, asked = follow(7, (lease(siaddr=PROXY, file="a.efi", options=BY_DNS),), files)
    assert f"{WEB}/192.0.2.1/192.0.2.1" in asked.asked


# Relays


def test_behind_a_relay_nobody_says_what_to_boot() -> None:
    trace, _ = follow(7, (lease(giaddr=OTHER),), {})
    (fault,) = trace.faults
    assert fault.code is FaultCode.NO_BOOT_ANSWER
    assert fault.message.endswith("; the address comes through the DHCP relay 192.0.2.3")
    assert "proxyDhcp.subnets" in fault.advice
    (fault,) = follow(7, (lease(),), {})[0].faults
    assert (fault.message, fault.remedy) == ("an address is offered, and nobody says what to boot", None)


# Shims


def chain(*, shim: bytes | None = None, **more: bytes | Fetched) -> tuple[BootTrace, Files]:
    """A shim in a directory, and what stands beside it (``grub__efi`` is grub.efi)."""
    files: dict[str, bytes | Fetched] = {f"{TFTP}/sb/shim.efi": build_shim() if shim is None else shim}
    files |= {f"{TFTP}/sb/{name.replace('__', '.')}": content for name, content in more.items()}
    files |= {f"{TFTP}/sb/kernel": b"k"}
    return follow(7, (lease(siaddr=PROXY, file="sb/shim.efi"),), files)


def test_a_shim_starts_the_ipxe_beside_it() -> None:
    trace, asked = chain(grubx64__efi=build_ipxe(), autoexec__ipxe=SCRIPT)
    assert (trace.outcome, trace.faults) == (BootOutcome.BOOTS, [])
    assert [uri.removeprefix(f"{TFTP}/sb/") for uri in asked.asked] == [
        *("shim.efi", "grubx64.efi", "autoexec.ipxe", "kernel")
    ]


def test_a_shim_without_its_second_stage() -> None:
    trace, _ = chain()
    (fault,) = trace.faults
    assert (trace.outcome, fault.code) == (BootOutcome.STOPS, FaultCode.SECOND_STAGE_MISSING)
    assert fault.message == f"{TFTP}/sb/shim.efi is a shim, which starts {TFTP}/sb/grubx64.efi: not there"


def test_a_shim_that_was_named_in_option_67_looks_in_the_root() -> None:
    """Debian's did, in OVMF: it reads the message's own field, which is empty."""
    offers = (lease(siaddr=PROXY, options={Option.BOOT_FILE: b"sb/shim.efi"}),)
    files: dict[str, bytes | Fetched] = {
        f"{TFTP}/sb/shim.efi": build_shim(),
        f"{TFTP}/sb/grubx64.efi": build_ipxe(),
    }
    trace, _ = follow(7, offers, files)
    (fault,) = trace.faults
    assert fault.code is FaultCode.SECOND_STAGE_MISSING
    assert fault.message == (
        f"{TFTP}/sb/shim.efi is a shim, which starts {TFTP}/grubx64.efi: not there; "
        "it looks in the root, because its name came in option 67 alone"
    )
    files |= {f"{TFTP}/grubx64.efi": build_ipxe(), f"{TFTP}/autoexec.ipxe": SCRIPT, f"{TFTP}/kernel": b"k"}
    assert follow(7, offers, files)[0].outcome is BootOutcome.BOOTS
    both = {Option.BOOT_FILE: b"sb/shim.efi"}
    _, asked = follow(7, (lease(siaddr=PROXY, file="sb/shim.efi", options=both),), files)
    assert f"{TFTP}/sb/grubx64.efi" in asked.asked
    assert f"{TFTP}/grubx64.efi" not in asked.asked


def test_a_second_stage_that_cannot_be_asked_for_is_no_missing_one() -> None:
    silent = Fetched(uri=f"{TFTP}/sb/grubx64.efi", state=FetchState.SILENT, detail="no answer")
    assert [fault.code for fault in chain(grubx64__efi=silent)[0].faults] == [FaultCode.TFTP_SILENT]


def test_a_second_stage_for_another_machine() -> None:
    trace, _ = chain(grubx64__efi=build_ipxe(machine=ARM64))
    assert [fault.code for fault in trace.faults] == [FaultCode.WRONG_ARCHITECTURE]


def test_a_second_stage_that_is_no_ipxe() -> None:
    trace, _ = chain(grubx64__efi=build_uefi_application(body=b"GRUB"))
    assert (trace.outcome, trace.faults) == (BootOutcome.UNKNOWN, [])
    assert trace.notes == [
        f"{TFTP}/sb/grubx64.efi is no iPXE: what it loads next is not known here",
    ]


def test_shims_that_start_each_other_end() -> None:
    trace, asked = chain(grubx64__efi=build_shim())
    assert (trace.outcome, trace.faults) == (BootOutcome.UNKNOWN, [])
    assert len(asked.asked) == 2
    assert trace.notes == [f"{TFTP}/sb/grubx64.efi is a shim: what it loads next is not known here"]


def test_a_shim_by_its_own_name() -> None:
    offers = (lease(siaddr=PROXY, file="sb/snponly-shim.efi"),)
    shim = build_shim("ipxe.efi", by_own_name=True)
    _, asked = follow(7, offers, {f"{TFTP}/sb/snponly-shim.efi": shim})
    assert list(asked.asked)[1] == f"{TFTP}/sb/snponly.efi"


@pytest.mark.parametrize(("directory", "asked"), [("", "//grubx64.efi"), ("/sb", "/sb//grubx64.efi")])
def test_by_http_a_shim_asks_with_two_slashes(directory: str, asked: str) -> None:
    offers = (lease(), proxy(vendor_class="HTTPClient", file=f"{WEB}{directory}/shim.efi"))
    _, files = follow(16, offers, {f"{WEB}{directory}/shim.efi": build_shim()})
    assert list(files.asked)[1] == WEB + asked


def test_name_servers_of_a_proxy_are_those_of_who_gets_no_others() -> None:
    offers = (lease(), proxy(siaddr=PROXY, file="a.efi", options=BY_DNS))
    _, asked = follow(7, offers, {f"{TFTP}/a.efi": build_ipxe()}, ipxe=offers)
    assert IPv4Address("192.0.2.1") in asked.asked.get(f"{TFTP}/a.efi", SERVERS).addresses
