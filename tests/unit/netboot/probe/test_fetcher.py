"""Whether a file is there, by what TFTP or HTTP said of it; each URI is asked for once."""

from __future__ import annotations

import errno
import threading
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface
from typing import Any
from urllib.parse import urlsplit

import pytest
from support.boot_binaries import build_uefi_application
from support.pxe_messages import client_of

from ectools.netboot.probe.clients.exchange import Line
from ectools.netboot.probe.simulate import fetcher
from ectools.netboot.probe.simulate.contents import ContentKind, Contents, identify_contents
from ectools.netboot.probe.simulate.fetcher import BEGINNING, Fetched, Fetcher, FetchState
from ectools.netboot.probe.simulate.requested_file import RequestedFile, Role, guess_role
from ectools.netboot.probe.wire.http_probe import HttpReply
from ectools.netboot.probe.wire.packet_socket import Interface, LinkError
from ectools.netboot.probe.wire.tftp import TftpReply

ETH0 = Interface(name="eth0", index=7, mac=bytes(6), up=True, addresses=(IPv4Interface("192.0.2.9/24"),))
LINE = Line(
    interface=ETH0,
    mac=bytes(6),
    seconds=3.0,
    local=frozenset({IPv4Address("192.0.2.9")}),
    answers_here=False,
)
WEB = "http://192.0.2.2:8080"


class Wire:
    """What TFTP and HTTP answer, and what they were asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.tftp = TftpReply(size=3, data=b"abc", whole=True)
        self.http = HttpReply(status=200, size=3, data=b"abc", whole=True)
        self.digest = HttpReply(status=200, data=b"d1gest")
        self.asked: list[tuple[Any, ...]] = []
        self.opened: list[IPv4Address] = []
        monkeypatch.setattr(fetcher.tftp, "read_tftp_beginning", self._read_tftp)
        monkeypatch.setattr(fetcher.http_probe, "read_http_beginning", self._read_http)
        monkeypatch.setattr(fetcher.http_probe, "read_http_digest", self._read_digest)
        monkeypatch.setattr(Line, "open_endpoint", self._open_endpoint)

    def _open_endpoint(self, server: IPv4Address) -> Wire:
        self.opened.append(server)
        return self

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.opened.clear()

    def _read_tftp(self, endpoint: Wire, server: IPv4Address, name: str, **options: Any) -> TftpReply:
        assert endpoint.opened == [server]
        self.asked.append((str(server), name, options["limit"], options["seconds"]))
        return self.tftp

    def _read_http(self, url: str, **options: Any) -> HttpReply:
        assert options["seconds"] == 3.0
        source = options["locate"](urlsplit(url).hostname)[1]
        self.asked.append((url, options["limit"], source, options["headers"]))
        return self.http

    def _read_digest(self, url: str, **options: Any) -> HttpReply:
        assert options["seconds"] == 3.0
        self.asked.append((url, options["locate"](urlsplit(url).hostname)[1], options["headers"]))
        return self.digest


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    return Wire(monkeypatch)


# TFTP


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("tftp://192.0.2.2/a.efi", "a.efi"),
        ("tftp://192.0.2.2/d/a.efi?b#c%20", "d/a.efi?b#c%20"),
        ("tftp://192.0.2.2//a", "/a"),
        ("tftp://192.0.2.2/", ""),
        ("tftp://192.0.2.2", ""),
    ],
)
def test_a_name_of_tftp_is_taken_byte_for_byte(wire: Wire, uri: str, name: str) -> None:
    found = Fetcher(LINE)(uri)
    assert found == Fetched(uri=uri, state=FetchState.FOUND, size=3, head=b"abc", whole=True)
    assert wire.asked == [("192.0.2.2", name, 65536, 3.0)]
    assert wire.opened == [], "the socket is closed"


@pytest.mark.parametrize(
    ("reply", "state", "detail", "size"),
    [
        (
            TftpReply(silent=True, errors=frozenset({errno.ECONNREFUSED})),
            FetchState.SILENT,
            "no answer on UDP port 69: nobody listens there",
            None,
        ),
        (TftpReply(error="error 1: none", size=7), FetchState.MISSING, "error 1: none", 7),
        (TftpReply(size=9, data=b"a"), FetchState.FOUND, "", 9),
        (TftpReply(error=""), FetchState.MISSING, "", None),
    ],
)
def test_what_tftp_says(
    wire: Wire, reply: TftpReply, state: FetchState, detail: str, size: int | None
) -> None:
    wire.tftp = reply
    found = Fetcher(LINE)("tftp://192.0.2.2/a")
    assert (found.state, found.detail, found.size, found.head) == (state, detail, size, reply.data)
    assert not found.whole


def test_a_link_that_fails_is_silence(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **_options: object) -> None:
        raise LinkError("192.0.2.2: cannot send: No route to host")

    monkeypatch.setattr(fetcher.tftp, "read_tftp_beginning", fail)
    found = Fetcher(LINE)("tftp://192.0.2.2/a")
    assert (found.state, found.detail) == (FetchState.SILENT, "192.0.2.2: cannot send: No route to host")
    monkeypatch.setattr(Line, "open_endpoint", lambda *_: None)
    assert Fetcher(LINE)("tftp://192.0.2.2/a").state is FetchState.UNKNOWN


# HTTP


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (
            HttpReply(status=206, size=9, data=b"ab"),
            Fetched(uri=WEB, state=FetchState.FOUND, size=9, head=b"ab"),
        ),
        (
            HttpReply(status=200, whole=True, redirected=f"{WEB}/b?token=geheim"),
            Fetched(uri=WEB, state=FetchState.FOUND, whole=True, detail=f"redirected to {WEB}/b?token=***"),
        ),
        (
            HttpReply(status=416, data=b"no", size=4, redirected=f"{WEB}/b"),
            Fetched(uri=WEB, state=FetchState.FOUND, size=0, whole=True, detail=f"redirected to {WEB}/b"),
        ),
        (HttpReply(status=None), Fetched(uri=WEB, state=FetchState.SILENT, detail="no answer")),
        (
            HttpReply(status=None, error="refused"),
            Fetched(uri=WEB, state=FetchState.SILENT, detail="refused"),
        ),
        (
            HttpReply(status=401, data=b" who?\nmore"),
            Fetched(uri=WEB, state=FetchState.REFUSED, detail="HTTP status 401: who?"),
        ),
        (HttpReply(status=403), Fetched(uri=WEB, state=FetchState.REFUSED, detail="HTTP status 403")),
        (
            HttpReply(status=404, data=b"\x1b[2J"),
            Fetched(uri=WEB, state=FetchState.MISSING, detail="HTTP status 404"),
        ),
        (
            HttpReply(status=500, data=b"x" * 300),
            Fetched(uri=WEB, state=FetchState.MISSING, detail=f"HTTP status 500: {'x' * 200}"),
        ),
        (HttpReply(status=402), Fetched(uri=WEB, state=FetchState.MISSING, detail="HTTP status 402")),
        (HttpReply(status=201), Fetched(uri=WEB, state=FetchState.MISSING, detail="HTTP status 201")),
    ],
)
def test_what_http_says(wire: Wire, reply: HttpReply, expected: Fetched) -> None:
    wire.http = reply
    assert Fetcher(LINE)(WEB) == expected


def test_http_is_asked_from_the_interfaces_address_but_for_this_host(wire: Wire) -> None:
    here = IPv4Address("192.0.2.9")
    Fetcher(LINE)(f"{WEB}/a", {"A": "b"}, 7)
    Fetcher(LINE)("https://192.0.2.9/a")
    assert wire.asked == [(f"{WEB}/a", 7, here, {"A": "b"}), ("https://192.0.2.9/a", BEGINNING, None, {})]
    assert BEGINNING == 65536


# What is not asked


@pytest.mark.parametrize(
    ("uri", "state", "detail"),
    [
        ("http://[::/a", FetchState.UNKNOWN, "Invalid IPv6 URL"),
        ("nfs://192.0.2.2/a", FetchState.UNKNOWN, "nfs: not asked here"),
        ("/a", FetchState.UNKNOWN, "it: not asked here"),
        (
            "http://boot.test/a",
            FetchState.UNRESOLVED,
            "'boot.test' is a name, and the DHCP offer names no DNS server (option 6)",
        ),
    ],
)
def test_what_cannot_be_asked(wire: Wire, uri: str, state: FetchState, detail: str) -> None:
    found = Fetcher(LINE)(uri)
    assert (found.state, found.detail) == (state, detail)
    assert wire.asked == []


def test_nothing_is_asked_without_an_address(wire: Wire) -> None:
    bare = replace(LINE, interface=replace(ETH0, addresses=()))
    found = Fetcher(bare)(f"{WEB}/a")
    assert found.state is FetchState.UNKNOWN
    assert "no IPv4 address (--lease takes one)" in found.detail
    assert wire.asked == []


# Once


def test_a_uri_is_asked_for_once_with_the_same_headers(wire: Wire) -> None:
    fetch = Fetcher(LINE)
    wire.http = HttpReply(status=404)
    assert fetch(f"{WEB}/a") is fetch(f"{WEB}/a")
    fetch(f"{WEB}/a", {"B": "1", "A": "2"})
    fetch(f"{WEB}/a", {"A": "2", "B": "1"}, 10**6)
    fetch(f"{WEB}/b")
    assert [each[0] for each in wire.asked] == [f"{WEB}/a", f"{WEB}/a", f"{WEB}/b"]


@pytest.mark.parametrize(
    ("whole", "limit", "again"), [(False, 10, False), (False, 11, True), (True, 11, False)]
)
def test_more_of_a_file_is_asked_for_where_there_is_more(
    wire: Wire, whole: bool, limit: int, again: bool
) -> None:
    fetch = Fetcher(LINE)
    wire.http = HttpReply(status=206, data=bytes(10), whole=whole)
    fetch(f"{WEB}/a", None, 10)
    fetch(f"{WEB}/a", None, limit)
    assert [each[1] for each in wire.asked] == ([10, limit] if again else [10])


def test_threads_that_want_one_uri_wait_for_the_first(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    inside, go = threading.Event(), threading.Event()

    def read(url: str, **_: object) -> HttpReply:
        wire.asked.append((url,))
        inside.set()
        assert go.wait(30)
        return HttpReply(status=404)

    monkeypatch.setattr(fetcher.http_probe, "read_http_beginning", read)
    fetch = Fetcher(LINE)
    threads = [threading.Thread(target=fetch, args=(f"{WEB}/a",)) for _ in range(3)]
    for thread in threads:
        thread.start()
    assert inside.wait(30)
    go.set()
    for thread in threads:
        thread.join(30)
    assert wire.asked == [(f"{WEB}/a",)]


def test_a_digest_is_had_once(wire: Wire) -> None:
    fetch = Fetcher(LINE)
    assert fetch.find_digest(f"{WEB}/a", {"A": "b"}) == "d1gest"
    assert fetch.find_digest(f"{WEB}/a", {}) == "d1gest"
    assert wire.asked == [(f"{WEB}/a", IPv4Address("192.0.2.9"), {"A": "b"})]
    wire.digest = HttpReply(status=206, data=b"half")
    assert fetch.find_digest("https://192.0.2.9/b", {}) is None
    assert fetch.find_digest("https://192.0.2.9/b", {}) is None
    assert wire.asked[1:] == [("https://192.0.2.9/b", None, {})]


@pytest.mark.parametrize("uri", ["tftp://192.0.2.2/a", "a"])
def test_a_digest_that_cannot_be_had(wire: Wire, uri: str) -> None:
    assert Fetcher(LINE).find_digest(uri, {}) is None
    assert wire.asked == []


def test_what_is_shown_of_a_uri() -> None:
    found = Fetched(uri=f"{WEB}/a?token=geheim", state=FetchState.FOUND)
    assert (found.shown, found.protocol) == (f"{WEB}/a?token=***", "http")


# What a file is


def pe(machine: int) -> bytes:
    return build_uefi_application(machine)


def linux(data: bytes = b"", *, at: int = 0x202, magic: bytes = b"HdrS") -> bytes:
    return data.ljust(at, b"\1")[:at] + magic + data[at + len(magic) :]


@pytest.mark.parametrize(
    ("head", "kind", "machine", "text"),
    [
        (b"", ContentKind.EMPTY, None, "an empty file"),
        (b"#!ipxe\n", ContentKind.SCRIPT, None, "an iPXE script"),
        (b"#!gpxe\n", ContentKind.SCRIPT, None, "an iPXE script"),
        (b"#!ipxe", ContentKind.OTHER, None, "a program or data"),
        (pe(0x8664), ContentKind.UEFI, 0x8664, "a UEFI program for x64 UEFI"),
        (pe(0x014C), ContentKind.UEFI, 0x014C, "a UEFI program for x86 UEFI"),
        (pe(0xAA64), ContentKind.UEFI, 0xAA64, "a UEFI program for ARM 64-bit UEFI"),
        (pe(0x01C0), ContentKind.UEFI, 0x01C0, "a UEFI program for ARM 32-bit UEFI"),
        (pe(0x01C2), ContentKind.UEFI, 0x01C2, "a UEFI program for ARM 32-bit UEFI"),
        (pe(0x0EBC), ContentKind.UEFI, 0x0EBC, "a UEFI program for EFI byte code"),
        (pe(0x1), ContentKind.UEFI, 0x1, "a UEFI program for machine 0x0001"),
        (linux(), ContentKind.LINUX, None, "a Linux kernel"),
        (
            linux(pe(0x8664).ljust(2000, b"\0")),
            ContentKind.LINUX,
            0x8664,
            "a Linux kernel for x64 UEFI",
        ),
        (linux(at=0x38, magic=b"ARM\x64"), ContentKind.LINUX, None, "a Linux kernel"),
        (linux(at=0x201), ContentKind.OTHER, None, "a program or data"),
        (linux(at=0x39, magic=b"ARM\x64"), ContentKind.OTHER, None, "a program or data"),
        (b" \n<!DOCTYPE HTML>", ContentKind.PAGE, None, "a web page"),
        (b"<HTML>", ContentKind.PAGE, None, "a web page"),
        (b" " * 500 + b"<html>", ContentKind.PAGE, None, "a web page"),
        (b" " * 510 + b"<html>", ContentKind.OTHER, None, "a program or data"),
        (b"x<html>", ContentKind.OTHER, None, "a program or data"),
    ],
)
def test_contents(head: bytes, kind: ContentKind, machine: int | None, text: str) -> None:
    found = identify_contents(head)
    assert (found.kind, found.machine, found.text) == (kind, machine, text)
    assert found.is_ipxe_script is (kind is ContentKind.SCRIPT)


@pytest.mark.parametrize(
    ("number", "kind", "machine", "runs"),
    [
        (0, ContentKind.OTHER, None, True),
        (0, ContentKind.LINUX, None, False),
        (0, ContentKind.UEFI, 0x8664, False),
        (7, ContentKind.UEFI, 0x8664, True),
        (7, ContentKind.UEFI, 0x0EBC, True),
        (7, ContentKind.UEFI, 0xAA64, False),
        (7, ContentKind.LINUX, 0x8664, True),
        (7, ContentKind.OTHER, None, False),
        (11, ContentKind.UEFI, 0xAA64, True),
        (6, ContentKind.UEFI, 0x014C, True),
        (6, ContentKind.UEFI, 0x8664, False),
    ],
)
def test_what_runs_where(number: int, kind: ContentKind, machine: int | None, runs: bool) -> None:
    assert Contents(kind=kind, machine=machine).runs_on(client_of(number).architecture) is runs


# What a file is for


@pytest.mark.parametrize(
    ("uri", "role"),
    [
        (f"{WEB}/a.ipxe?x=/kernel", Role.SCRIPT),
        (f"{WEB}/A.IPXE", Role.SCRIPT),
        (f"{WEB}/kernel.ipxe", Role.SCRIPT),
        (f"{WEB}/a.ipxe/x", Role.FILE),
        (f"{WEB}/initrd", Role.INITRD),
        (f"{WEB}/kernel-initramfs", Role.INITRD),
        (f"{WEB}/vmlinuz-linux", Role.KERNEL),
        (f"{WEB}/kernel", Role.KERNEL),
        (f"{WEB}/bzImage", Role.KERNEL),
        (f"{WEB}/vmlinuz", Role.KERNEL),
        (f"{WEB}/linux", Role.KERNEL),
        (f"{WEB}/a?kernel", Role.FILE),
        (f"{WEB}/kernel/a", Role.FILE),
    ],
)
def test_roles_by_names(uri: str, role: Role) -> None:
    assert guess_role(uri) is role


@pytest.mark.parametrize(
    ("state", "head", "kind", "unreadable"),
    [
        (FetchState.FOUND, b"#!ipxe\n", ContentKind.SCRIPT, False),
        (FetchState.FOUND, b"", ContentKind.EMPTY, True),
        (FetchState.FOUND, b"<html>", ContentKind.PAGE, True),
        (FetchState.FOUND, b"x", ContentKind.OTHER, False),
        (FetchState.MISSING, b"<html>", None, False),
        (FetchState.REFUSED, b"", None, False),
    ],
)
def test_a_requested_file(state: FetchState, head: bytes, kind: ContentKind | None, unreadable: bool) -> None:
    file = RequestedFile(role=Role.PROGRAM, fetched=Fetched(uri=WEB, state=state, head=head))
    assert file.contents == (None if kind is None else Contents(kind=kind))
    assert (file.found, file.is_unreadable) == (state is FetchState.FOUND, unreadable)
