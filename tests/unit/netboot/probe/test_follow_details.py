"""What a client is told of on its way: notes, the settings that iPXE has, and which fault of several."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Address
from typing import Any

import pytest
from support.boot_binaries import ARM64, UNDIONLY, build_ipxe, build_uefi_application
from support.pxe_messages import OTHER, PROXY, ROUTER, answer, client_of, lease, menu, proxy

from ectools.netboot.probe.clients.client import Client
from ectools.netboot.probe.diagnose.follow import follow_client
from ectools.netboot.probe.diagnose.trace import BootOutcome, BootTrace
from ectools.netboot.probe.faults import FaultCode, Severity
from ectools.netboot.probe.simulate.fetcher import Fetched, FetchState
from ectools.netboot.probe.simulate.ipxe_trace import ScriptEnd
from ectools.netboot.probe.wire.offers import Answer

MAC = "02:00:00:00:00:01"
TFTP, WEB = "tftp://192.0.2.2", "http://192.0.2.2"
FIRMWARE = lease(siaddr=PROXY, file="d/x.efi")
PROGRAM = f"{TFTP}/d/x.efi"


class World:
    """Files by URI (bytes, or what came of it), and port 4011; keeps what was asked for."""

    def __init__(self, files: Mapping[str, bytes | Fetched], servers: Mapping[IPv4Address, Answer]) -> None:
        self.files, self.servers = files, servers
        self.fetched: list[tuple[str, int]] = []
        self.asked: list[tuple[Client, IPv4Address, int | None]] = []

    def fetch(self, uri: str, _headers: object = None, limit: int = 65536, names: object = None) -> Fetched:
        self.fetched.append((uri, limit))
        content = self.files.get(uri)
        if isinstance(content, Fetched):
            return content
        if content is None:
            return Fetched(uri=uri, state=FetchState.MISSING, detail="not there")
        return Fetched(uri=uri, state=FetchState.FOUND, head=content, whole=True)

    def ask(self, client: Client, server: IPv4Address, item: int | None) -> Answer | None:
        self.asked.append((client, server, item))
        return self.servers.get(server)


def follow(
    number: int,
    *offers: Answer,
    ipxe: tuple[Answer, ...] = (),
    files: Mapping[str, bytes | Fetched] | None = None,
    servers: Mapping[IPv4Address, Answer] | None = None,
    **options: Any,
) -> tuple[BootTrace, World]:
    world = World(files or {}, servers or {})
    client = client_of(number)
    given = {"fetch": world.fetch, "ask": world.ask, **options}
    heard = {client: offers, client_of(number, ipxe=True): ipxe}
    return follow_client(client.architecture, heard, mac=MAC, **given), world


def told(trace: BootTrace) -> list[tuple[FaultCode, str, Severity]]:
    return [(fault.code, fault.message, fault.severity) for fault in trace.faults]


def messages(trace: BootTrace) -> list[str]:
    return [fault.message for fault in trace.faults]


# The firmware


def test_a_program_is_asked_for_whole() -> None:
    _, world = follow(
        7, FIRMWARE, files={PROGRAM: build_ipxe(), f"{TFTP}/d/autoexec.ipxe": b"#!ipxe\nshell\n"}
    )
    assert world.fetched[:2] == [(PROGRAM, 4 * 1024 * 1024), (f"{TFTP}/d/autoexec.ipxe", 65536)]


def test_a_program_that_is_not_whole_ends_what_can_be_seen() -> None:
    cut = Fetched(uri=PROGRAM, state=FetchState.FOUND, head=build_ipxe())
    trace, world = follow(7, FIRMWARE, files={PROGRAM: cut})
    assert (trace.outcome, trace.notes, trace.faults) == (
        BootOutcome.UNKNOWN,
        [f"{PROGRAM} is too large to look into"],
        [],
    )
    assert len(world.fetched) == 1


def test_another_program_is_a_note() -> None:
    trace, _ = follow(7, FIRMWARE, files={PROGRAM: build_uefi_application(body=b"GRUB")})
    assert trace.notes == [f"{PROGRAM} is no iPXE: what it loads next is not known here"]


def test_a_script_built_in_is_a_note() -> None:
    program = build_uefi_application(body=b"iPXE\0#!ipxe\nshell\0")
    trace, _ = follow(7, FIRMWARE, files={PROGRAM: program})
    assert trace.notes == [f"{PROGRAM} has a script built in, which comes first"]
    assert trace.stages[0].end is ScriptEnd.SHELL
    # Of a program that is no iPXE, those bytes are nothing.
    other = build_uefi_application(body=b"#!ipxe\nshell\0")
    assert follow(7, FIRMWARE, files={PROGRAM: other})[0].stages[0].end is None


def test_nothing_is_offered() -> None:
    trace, _ = follow(7)
    assert (trace.outcome, trace.faults) == (BootOutcome.NOT_OFFERED, [])
    trace, _ = follow(7, lease())
    assert messages(trace) == ["an address is offered, and nobody says what to boot"]
    trace, _ = follow(7, proxy())
    assert messages(trace) == ["a proxy answers, and nobody offers an address"]


def test_a_fault_of_the_choice_is_why_nothing_is_loaded() -> None:
    trace, _ = follow(7, lease(), proxy())
    assert (trace.outcome, [code for code, _, _ in told(trace)]) == (
        BootOutcome.STOPS,
        [FaultCode.MISSING_4011],
    )


def test_what_could_not_be_asked_is_not_known() -> None:
    trace, _ = follow(7, lease(), proxy(), ask=None)
    assert (trace.outcome, trace.faults) == (BootOutcome.UNKNOWN, [])
    # A note of another kind does not make it so.
    trace, _ = follow(7, lease(), proxy(options=menu((7, "one", None))))
    assert trace.outcome is BootOutcome.NOT_OFFERED


def test_malformed_packets_are_noted_of_each_client() -> None:
    offer = replace(FIRMWARE, message=replace(FIRMWARE.message, notes=("odd",)), source=OTHER)
    trace, _ = follow(7, offer, ipxe=(offer,), files={PROGRAM: build_ipxe()})
    assert trace.notes == ["192.0.2.3 sent a malformed packet: odd"] * 2


def test_port_4011_is_asked_as_each_client() -> None:
    servers = {PROXY: answer(PROXY, siaddr=PROXY, file="d/x.efi", vendor_class="PXEClient")}
    offers = (lease(), proxy())
    _, world = follow(7, *offers, ipxe=offers, files={PROGRAM: build_ipxe()}, servers=servers)
    assert world.asked == [(client_of(7), PROXY, None), (client_of(7, ipxe=True), PROXY, None)]


# autoexec.ipxe


def test_autoexec_is_looked_for_beside_the_program_then_in_the_root() -> None:
    root = f"{TFTP}/autoexec.ipxe"
    trace, world = follow(7, FIRMWARE, files={PROGRAM: build_ipxe(), root: b"#!ipxe\nshell\n"})
    assert [uri for uri, _ in world.fetched][1:] == [f"{TFTP}/d/autoexec.ipxe", root]
    assert [file.fetched.uri for file in trace.stages[0].files] == [PROGRAM, root]
    assert trace.stages[0].end is ScriptEnd.SHELL
    # An empty one is none.
    empty = {PROGRAM: build_ipxe(), f"{TFTP}/d/autoexec.ipxe": b"", root: b"#!ipxe\nreboot\n"}
    trace, _ = follow(7, FIRMWARE, files=empty)
    assert trace.stages[0].end is ScriptEnd.REBOOT
    assert len(trace.stages[0].files) == 3


def test_in_the_root_it_is_looked_for_once() -> None:
    program = f"{TFTP}/x.efi"
    trace, _ = follow(
        7, lease(siaddr=PROXY, file="x.efi"), files={program: build_ipxe(), f"{TFTP}/autoexec.ipxe": b""}
    )
    assert [file.fetched.uri for file in trace.stages[0].files] == [program, f"{TFTP}/autoexec.ipxe"]


HTTP_OFFERS = (lease(), proxy(vendor_class="HTTPClient", file=f"{WEB}/d/x.efi"))


@pytest.mark.parametrize(
    ("autoexec", "over_tftp", "over_http"),
    [("ascii", True, True), ("both", True, False), ("none", False, False)],
)
def test_which_ipxe_fetches_autoexec(autoexec: str, over_tftp: bool, over_http: bool) -> None:
    binary = build_ipxe("1.21.1", autoexec=autoexec)
    for number, offers, base, reads in (
        (7, (FIRMWARE,), TFTP, over_tftp),
        (16, HTTP_OFFERS, WEB, over_http),
    ):
        files = {f"{base}/d/x.efi": binary, f"{base}/d/autoexec.ipxe": b"#!ipxe\nshell\n"}
        trace, _ = follow(number, *offers, files=files)
        assert (trace.stages[0].end is ScriptEnd.SHELL) is reads
        if not reads:
            assert messages(trace) == [
                f"{base}/d/x.efi is iPXE 1.21.1, which fetches no autoexec.ipxe over {base[:4].upper()}",
                "nobody tells iPXE what to load next",
            ]
            assert trace.faults[0].code is FaultCode.OLD_IPXE


def test_both_causes_are_told_in_order() -> None:
    trace, _ = follow(7, FIRMWARE, files={PROGRAM: build_ipxe("1.0.0", autoexec="none")})
    assert told(trace) == [
        (FaultCode.NO_AUTOEXEC, f"there is no autoexec.ipxe beside {PROGRAM}", Severity.ERROR),
        (
            FaultCode.OLD_IPXE,
            f"{PROGRAM} is iPXE 1.0.0, which fetches no autoexec.ipxe over TFTP",
            Severity.ERROR,
        ),
        (FaultCode.NO_BOOT_ANSWER, "nobody tells iPXE what to load next", Severity.ERROR),
    ]


# iPXE's own DHCP


def ipxe_stage(
    *offers: Answer, number: int = 7, binary: bytes | None = None, **files: bytes
) -> tuple[BootTrace, World]:
    """An iPXE without autoexec.ipxe, and what it is offered."""
    given = {f"{TFTP}/{name.replace('_', '.')}": data for name, data in files.items()}
    return follow(number, FIRMWARE, ipxe=offers, files={PROGRAM: binary or build_ipxe(), **given})


def test_a_fault_of_its_choice_is_told_in_place_of_another() -> None:
    trace, _ = ipxe_stage(lease(), proxy())
    assert [code for code, _, _ in told(trace)] == [FaultCode.MISSING_4011, FaultCode.NO_AUTOEXEC]


def test_the_file_that_it_came_from() -> None:
    trace, _ = ipxe_stage(FIRMWARE)
    assert messages(trace)[1:] == [f"iPXE is given {PROGRAM} again, the file that it came from"]
    assert trace.faults[1].severity is Severity.ERROR
    assert trace.outcome is BootOutcome.STOPS


def test_the_file_that_a_bios_came_from() -> None:
    trace, _ = follow(0, FIRMWARE, ipxe=(FIRMWARE,), files={PROGRAM: UNDIONLY})
    assert told(trace) == [
        (
            FaultCode.LOOP,
            (
                f"iPXE is given {PROGRAM} again, the file that it came from, and loads itself for ever,"
                " unless a script is built into it"
            ),
            Severity.WARNING,
        )
    ]
    assert trace.outcome is BootOutcome.UNKNOWN


def test_the_same_bytes_under_another_name_are_a_loop_too() -> None:
    trace, _ = ipxe_stage(lease(siaddr=PROXY, file="y.efi"), y_efi=build_ipxe())
    assert [code for code, _, _ in told(trace)] == [FaultCode.NO_AUTOEXEC, FaultCode.LOOP]
    padded = build_ipxe().ljust(4096, b"\0")
    trace, _ = ipxe_stage(lease(siaddr=PROXY, file="y.efi"), binary=padded + b"1", y_efi=padded + b"2")
    assert FaultCode.LOOP in [code for code, _, _ in told(trace)]
    trace, _ = ipxe_stage(
        lease(siaddr=PROXY, file="y.efi"), binary=padded[:-1] + b"1", y_efi=padded[:-1] + b"2"
    )
    assert (trace.outcome, trace.faults) == (BootOutcome.UNKNOWN, [])


@pytest.mark.parametrize(
    ("data", "outcome", "code", "note"),
    [
        (build_uefi_application(body=b"GRUB"), BootOutcome.UNKNOWN, None, True),
        (bytes(0x202) + b"HdrS", BootOutcome.STOPS, FaultCode.WRONG_ARCHITECTURE, False),
        (build_uefi_application(ARM64), BootOutcome.STOPS, FaultCode.WRONG_ARCHITECTURE, False),
        (b"data", BootOutcome.STOPS, FaultCode.WRONG_ARCHITECTURE, False),
        (b"<html>", BootOutcome.STOPS, FaultCode.SCRIPT_UNREADABLE, False),
        (b"", BootOutcome.STOPS, FaultCode.SCRIPT_UNREADABLE, False),
    ],
)
def test_what_ipxe_is_offered_is_no_script(
    data: bytes, outcome: BootOutcome, code: FaultCode | None, note: bool
) -> None:
    trace, _ = ipxe_stage(lease(siaddr=PROXY, file="y.efi"), y_efi=data)
    assert trace.outcome is outcome
    assert [found for found, _, _ in told(trace)] == ([] if code is None else [code])
    expected = [f"{TFTP}/y.efi is no script: what it loads next is not known here"] if note else []
    assert trace.notes == expected


def test_what_ipxe_is_offered_is_not_there() -> None:
    trace, _ = ipxe_stage(lease(siaddr=PROXY, file="y.ipxe"))
    # That it had to ask DHCP is no fault where DHCP did answer.
    assert told(trace) == [(FaultCode.FILE_MISSING_TFTP, f"{TFTP}/y.ipxe: not there", Severity.ERROR)]
    assert [file.fetched.uri for file in trace.stages[1].files] == [f"{TFTP}/y.ipxe"]


# The script


def run(script: str, *, files: Mapping[str, bytes | Fetched] | None = None, **options: Any) -> BootTrace:
    given = {PROGRAM: build_ipxe(), f"{TFTP}/d/autoexec.ipxe": f"#!ipxe\n{script}".encode()}
    return follow(7, FIRMWARE, files={**given, **(files or {})}, **options)[0]


@pytest.mark.parametrize(
    ("script", "outcome", "codes"),
    [
        ("sanboot", BootOutcome.UNKNOWN, []),
        ("config", BootOutcome.STOPS, [FaultCode.MENU]),
        ("shell", BootOutcome.STOPS, [FaultCode.NO_KERNEL_NAMED]),
        ("echo", BootOutcome.STOPS, [FaultCode.NO_KERNEL_NAMED]),
        (":a\ngoto a", BootOutcome.STOPS, [FaultCode.NO_KERNEL_NAMED]),
        (f"chain {WEB}/p", BootOutcome.UNKNOWN, []),
        (f"chain {WEB}/none", BootOutcome.STOPS, [FaultCode.FILE_MISSING_HTTP]),
        (f"chain {WEB}/page.ipxe || shell", BootOutcome.STOPS, [FaultCode.SCRIPT_UNREADABLE]),
        (f"imgfetch {WEB}/x\nshell", BootOutcome.STOPS, [FaultCode.NO_KERNEL_NAMED]),
    ],
)
def test_how_a_script_ends(script: str, outcome: BootOutcome, codes: list[FaultCode]) -> None:
    files = {f"{WEB}/p": build_uefi_application(), f"{WEB}/page.ipxe": b"<html>", f"{WEB}/x": b"x"}
    trace = run(script, files=files)
    assert (trace.outcome, [code for code, _, _ in told(trace)]) == (outcome, codes)


def test_the_end_of_a_script_is_told_with_its_uri() -> None:
    assert messages(run("shell")) == [
        f"{TFTP}/d/autoexec.ipxe: the script ends in a shell, and boots no kernel"
    ]
    assert messages(run("login")) == [f"{TFTP}/d/autoexec.ipxe: the script waits for a person"]


def test_mirrors_that_are_missing_are_warnings_where_it_boots() -> None:
    files = {f"{WEB}/k": b"k"}
    trace = run(f"kernel {WEB}/none ||\nkernel {WEB}/k\nboot", files=files)
    assert (trace.outcome, told(trace)) == (
        BootOutcome.BOOTS,
        [(FaultCode.KERNEL_MISSING, f"{WEB}/none: not there", Severity.WARNING)],
    )
    assert trace.boot is not None
    trace = run(f"kernel {WEB}/none ||\nshell", files=files)
    assert told(trace) == [(FaultCode.KERNEL_MISSING, f"{WEB}/none: not there", Severity.ERROR)]


def test_digests() -> None:
    script = f"kernel {WEB}/k\nsha256sum --set d k\niseq ${{d}} 123 || "
    files = {f"{WEB}/k": b"k"}
    for rest, severity in (("shell", Severity.ERROR), ("boot", Severity.WARNING)):
        trace = run(script + rest, files=files, find_digest=lambda _uri, _headers, **_: "456")
        assert told(trace) == [
            (FaultCode.WRONG_SHA256, f"{WEB}/k has the SHA-256 456; the script expects 123", severity)
        ]
    assert told(run(script + "shell\nboot", files=files, find_digest=lambda _uri, _headers, **_: "123")) == []


def test_notes_of_a_script_are_told_once() -> None:
    trace = run("frob\nfrob\nshell")
    assert len(trace.notes) == 1


# What iPXE knows


def setting(name: str, number: int = 7, **options: Any) -> str:
    """The value that a script sees, by what it fetches."""
    script = f"#!ipxe\nimgfetch x://${{{name}}} ||\nshell\n".encode()
    binary = {0: UNDIONLY, 6: build_ipxe(machine=0x14C), 11: build_ipxe(machine=ARM64)}.get(
        number, build_ipxe()
    )
    files = {PROGRAM: binary, f"{TFTP}/d/autoexec.ipxe": script, f"{TFTP}/s.ipxe": script}
    offers = options.pop("offers", (FIRMWARE,))
    _, world = follow(number, FIRMWARE, ipxe=offers, files=files, **options)
    return next(uri for uri, _ in world.fetched if uri.startswith("x://")).removeprefix("x://")


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mac", MAC),
        ("net0/mac", MAC),
        ("ip", "192.0.2.50"),
        ("net0/ip", "192.0.2.50"),
        ("dhcp-server", "192.0.2.1"),
        ("net0/dhcp-server", "192.0.2.1"),
        ("next-server", "192.0.2.2"),
        ("net0/next-server", "192.0.2.2"),
        ("filename", "d/x.efi"),
        ("net0/filename", "d/x.efi"),
        ("proxydhcp/next-server", ""),
        ("cwuri", f"{TFTP}/d/autoexec.ipxe"),
        ("cwduri", f"{TFTP}/d/"),
        ("uuid", "00000000"),
        ("platform", "efi"),
        ("buildarch", "x86_64"),
    ],
)
def test_settings(name: str, expected: str) -> None:
    assert setting(name) == expected


@pytest.mark.parametrize(
    ("number", "platform", "build"),
    [(7, "efi", "x86_64"), (9, "efi", "x86_64"), (6, "efi", "i386"), (11, "efi", "arm64")],
)
def test_the_platform(number: int, platform: str, build: str) -> None:
    assert (setting("platform", number), setting("buildarch", number)) == (platform, build)


def test_the_platform_of_a_bios() -> None:
    offers = (lease(siaddr=PROXY, file="s.ipxe"),)
    assert setting("platform", 0, offers=offers) == "pcbios"
    assert setting("buildarch", 0, offers=offers) == "i386"


def test_a_proxys_settings_and_the_dhcp_servers_over_them() -> None:
    named = proxy(siaddr=OTHER, file="p.ipxe")
    silent = lease()
    assert setting("proxydhcp/next-server", offers=(silent, named)) == "192.0.2.3"
    assert setting("proxydhcp/filename", offers=(silent, named)) == "p.ipxe"
    assert setting("next-server", offers=(silent, named)) == "192.0.2.3"
    assert setting("filename", offers=(silent, named)) == "p.ipxe"
    assert setting("net0/filename", offers=(silent, named)) == ""
    assert setting("next-server", offers=(FIRMWARE, named)) == "192.0.2.2"
    assert setting("filename", offers=(FIRMWARE, named)) == "d/x.efi"


@pytest.mark.parametrize(
    ("name", "router", "faulty"),
    [
        ("next-server", ROUTER, True),
        ("net0/next-server", ROUTER, True),
        ("proxydhcp/next-server", ROUTER, False),
        ("filename", ROUTER, False),
        ("next-server", PROXY, False),
        ("next-server", IPv4Address(0), False),
    ],
)
def test_next_server(name: str, router: IPv4Address, faulty: bool) -> None:
    offers = (lease(siaddr=router), proxy(siaddr=PROXY, file="p.ipxe"))
    script = f"#!ipxe\necho ${{{name}}}\nsanboot\n".encode()
    files = {PROGRAM: build_ipxe(), f"{TFTP}/d/autoexec.ipxe": script}
    trace, _ = follow(7, FIRMWARE, ipxe=offers, files=files)
    assert messages(trace) == (
        [
            (
                "the script uses ${next-server}, which the DHCP server sets to 192.0.2.1, not to the boot"
                " server 192.0.2.2"
            )
        ]
        if faulty
        else []
    )


def test_what_ipxe_hears_for_a_firmwares_script_is_asked_once() -> None:
    script = b"#!ipxe\necho ${next-server}\nsanboot\n"
    offers = (lease(siaddr=ROUTER), proxy())
    files = {PROGRAM: build_ipxe(), f"{TFTP}/d/autoexec.ipxe": script}
    _, world = follow(7, FIRMWARE, ipxe=offers, files=files)
    assert world.asked == [(client_of(7, ipxe=True), PROXY, None)]
