"""Attempts to get from the boot server what it does not give: each request byte by byte."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.boot_service import (
    NEXT_TOKEN,
    SECRET,
    TOKEN,
    Service,
    boot_service,
    require_boot_services,
    stage,
    write_settings,
    write_tokens,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

ALLOWED, OUTSIDE, PROXY = "127.0.0.1", "127.0.0.7", "127.0.0.2"
KERNEL = b"the kernel, for everyone who is allowed here"
PROTECTED = b"the initrd, for those with a token: " + SECRET
NEEDED, NOT_HERE, NOT_FOUND = 403, 403, 404


@dataclass(frozen=True)
class Attempt:
    """A request and the only status that answers it; ``RELEASE`` in it stands for the release's id."""

    name: str
    request: bytes
    status: int
    source: str = ALLOWED


def get(
    target: str, *fields: str, method: str = "GET", version: str = "HTTP/1.1", host: str = "Host: boot"
) -> bytes:
    lines = [f"{method} {target} {version}", *([host] if host else []), *fields, "", ""]
    return "\r\n".join(lines).encode("latin-1")


def attempts() -> Iterator[Attempt]:
    yield from from_other_networks()
    yield from with_odd_tokens()
    yield from out_of_the_routes()
    yield from with_odd_requests()


def from_other_networks() -> Iterator[Attempt]:
    kernel = "/bzImage"
    yield Attempt("a client of another network", get(kernel), NOT_HERE, OUTSIDE)
    yield Attempt("with a token", get(f"/netboot.ipxe?token={TOKEN}"), NOT_HERE, OUTSIDE)
    yield Attempt("for what is not there", get("/none"), NOT_HERE, OUTSIDE)
    yield Attempt("for the first script", get("/autoexec.ipxe"), NOT_HERE, OUTSIDE)
    yield Attempt("for an old release", get("/releases/RELEASE/bzImage"), NOT_HERE, OUTSIDE)
    for field in (
        f"X-Forwarded-For: {ALLOWED}",
        f"Forwarded: for={ALLOWED}",
        f"X-Real-IP: {ALLOWED}",
        f"X-Client-IP: {ALLOWED}",
        f"True-Client-IP: {ALLOWED}",
        f"CF-Connecting-IP: {ALLOWED}",
        "Host: localhost",
        f"Via: 1.1 {PROXY}",
    ):
        host = "" if field.startswith("Host") else "Host: boot"
        yield Attempt(f"untrusted {field}", get(kernel, field, host=host), NOT_HERE, OUTSIDE)
    for field in (
        f"X-Forwarded-For: {OUTSIDE}",
        f"X-Forwarded-For: ::ffff:{OUTSIDE}",
        f"X-Forwarded-For: {ALLOWED}, {OUTSIDE}",
        f"X-Forwarded-For: {ALLOWED}, {OUTSIDE}, {PROXY}",
        f"X-Forwarded-For: {ALLOWED}\r\nX-Forwarded-For: {OUTSIDE}",
        f"Forwarded: for={ALLOWED}, for={OUTSIDE}",
        f"Forwarded: for={ALLOWED};for={OUTSIDE}",
        f"Forwarded: for={ALLOWED}\r\nX-Forwarded-For: {OUTSIDE}",
        f'Forwarded: for="{ALLOWED}, for={OUTSIDE}',
        f"Forwarded: for=unknown, for=_{ALLOWED}",
        f"X-Forwarded-For: {ALLOWED} {OUTSIDE}",
        f"X-Forwarded-For: {ALLOWED}.1",
        "X-Forwarded-For: 127.1",
        "X-Forwarded-For: 127.000.000.001",
        "X-Forwarded-For: 2130706433",
        "X-Forwarded-For: 0x7f000001",
        "X-Forwarded-For: ::127.0.0.1",
        "X-Forwarded-For: 64:ff9b::127.0.0.1",
        "X-Forwarded-For: 2002:7f00:1::",
        "X-Forwarded-For: ::1",
        "X-Real-IP: 127.0.0.1",
    ):
        yield Attempt(f"a trusted proxy's {field!r}", get(kernel, field), NOT_HERE, PROXY)


def with_odd_tokens() -> Iterator[Attempt]:
    script = "/netboot.ipxe"
    for target in (
        script,
        f"{script}?token=",
        f"{script}?token={TOKEN[:-1]}",
        f"{script}?token={TOKEN}x",
        f"{script}?token={TOKEN.upper()}",
        f"{script}?token={TOKEN}%20",
        f"{script}?token={TOKEN}%00",
        f"{script}?token={TOKEN}%0a{NEXT_TOKEN}",
        f"{script}?TOKEN={TOKEN}",
        f"{script}?token[]={TOKEN}",
        f"{script}?token={TOKEN}&token=x",
        f"{script}?token={TOKEN}&token={NEXT_TOKEN}",
        f"{script}?x=1;token={TOKEN}",
        f"{script}?token=*",
        f"{script}?token=%2e*",
        "/netboot%2eipxe",
        "//netboot.ipxe",
        "/%6eetboot.ipxe",
        "/releases/RELEASE/netboot.ipxe",
        "/initrd",
        "/releases/RELEASE/initrd",
        "//releases//RELEASE//initrd",
        f"http://{TOKEN}@boot{script}",
    ):
        yield Attempt(f"token: {target}", get(target), NEEDED)
    yield Attempt("a token for a port", get(f"http://boot:{TOKEN}{script}"), 400)
    for field in (
        f"X-Boot-Token: {TOKEN}x",
        f"X-Boot-Token: {TOKEN}, {NEXT_TOKEN}",
        f"X-Boot-Token: {TOKEN}\r\nX-Boot-Token: x",
        f"X_Boot_Token: {TOKEN}",
        f"X-Boot-Token-: {TOKEN}",
        f"X-Token: {TOKEN}",
        f"Authorization: Bearer {TOKEN}",
        f"Cookie: token={TOKEN}",
        f"Referer: /?token={TOKEN}",
        f"X-Original-URL: {script}?token={TOKEN}",
    ):
        yield Attempt(f"token: {field!r}", get(script, field), NEEDED)
    yield Attempt("two tokens", get(f"{script}?token=x", f"X-Boot-Token: {TOKEN}"), NEEDED)
    yield Attempt("a range of the script", get(script, "Range: bytes=0-"), NEEDED)
    yield Attempt("a range of the initrd", get("/initrd", "Range: bytes=0-0,-1"), NEEDED)
    yield Attempt("HEAD of the script", get(script, method="HEAD"), NEEDED)
    yield Attempt("a condition on the initrd", get("/initrd", "If-None-Match: *"), NEEDED)
    yield Attempt("rewritten", get("/bzImage/..;/initrd"), NOT_FOUND)
    for target in (f"{script};token={TOKEN}", f"{script}%3ftoken={TOKEN}", f"{script}&token={TOKEN}"):
        yield Attempt(f"token: {target}", get(target), NOT_FOUND)
    yield Attempt("a fragment", get(f"{script}#?token={TOKEN}"), 400)


def out_of_the_routes() -> Iterator[Attempt]:
    for target in (
        "/",
        "/secret",
        "/state/secret",
        "/chain-token",
        "/netboot.json",
        "/tftp.json",
        "/.lock",
        "/.staging/secret",
        "/%2estaging/secret",
        "/current",
        "/current/bzImage",
        "/current/initrd",
        "/previous/initrd",
        "/pinned/RELEASE",
        "/tftp/autoexec.ipxe",
        "/tftp/other.efi",
        "/other.efi",
        "/undionly.kpxe",
        "/releases",
        "/releases/",
        "/releases/RELEASE",
        "/releases/RELEASE/",
        "/releases/RELEASE/release.json",
        "/releases/RELEASE/unlisted",
        "/releases/RELEASE/link",
        "/releases/RELEASE/directory/secret",
        "/releases/RELEASE/secret%00",
        "/releases/current/bzImage",
        "/releases/RELEASE%20/bzImage",
        "/releases/RELEASE/INITRD",
        "/replaced",
        "/releases/RELEASE/replaced",
        "/..%5c..%5cchain-token",
        "/..\\chain-token",
        "/%252e%252e/chain-token",
        "/..%252fchain-token",
        "/%c0%ae%c0%ae/chain-token",
        "/....//chain-token",
        "/healthz/../secret",
    ):
        status = 400 if "%00" in target or "/../" in target else NOT_FOUND
        yield Attempt(f"path: {target}", get(target), status)
    for target in (
        "/../chain-token",
        "/releases/../secret",
        "/releases/RELEASE/../../secret",
        "/%2e%2e/chain-token",
        "/..%2fchain-token",
        "/releases/RELEASE%2finitrd",
        "/releases/RELEASE/.%2e/.%2e/secret",
        "/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/bzImage%00.ipxe",
        "/%",
        "/%zz",
        "file:///etc/passwd",
        "ftp://boot/secret",
        "*",
        "secret",
        "http://boot/../secret",
    ):
        yield Attempt(f"path: {target}", get(target), 400)


def with_odd_requests() -> Iterator[Attempt]:
    hidden = get("/initrd", f"X-Boot-Token: {TOKEN}")
    chunked = f"{len(hidden):x}\r\n".encode() + hidden + b"\r\n0\r\n\r\n"
    for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"):
        yield Attempt(f"method {method}", get("/initrd", method=method), 405)
    yield Attempt("a method in small letters", get("/initrd", method="get"), 400)
    yield Attempt("CONNECT", b"CONNECT boot:80 HTTP/1.1\r\nHost: boot\r\n\r\n", 405)
    yield Attempt("a method in a field", get("/initrd", "X-HTTP-Method-Override: GET"), NEEDED)
    yield Attempt("a request in a body", get("/none", f"Content-Length: {len(hidden)}") + hidden, NOT_FOUND)
    yield Attempt("a request in a chunk", get("/none", "Transfer-Encoding: chunked") + chunked, NOT_FOUND)
    for name, fields in {
        "two lengths": ("Content-Length: 0", f"Content-Length: {len(hidden)}"),
        "a length and chunks": ("Content-Length: 4", "Transfer-Encoding: chunked"),
        "chunks twice": ("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
        "chunks in disguise": ("Transfer-Encoding: xchunked",),
        "a negative length": ("Content-Length: -1",),
        "a length with a sign": ("Content-Length: +1",),
        "a folded field": ("X: a\r\n b",),
        "a blank before the colon": (f"X-Boot-Token : {TOKEN}",),
        "a field without a colon": ("nonsense",),
        "a bare line feed in a field": (f"X: a\nX-Boot-Token: {TOKEN}",),
        "a NUL in a field": ("X: a\0b",),
    }.items():
        yield Attempt(name, get("/initrd", *fields) + chunked, 400)
    yield Attempt("no host", get("/bzImage", host=""), 400)
    yield Attempt("two hosts", get("/bzImage", "Host: other"), 400)
    yield Attempt("a version to come", get("/initrd", version="HTTP/9.9"), 400)
    yield Attempt("no version", b"GET /initrd\r\n\r\n", 505)
    yield Attempt("a version without its protocol", get("/initrd", version="HTTP/2.0"), 505)
    yield Attempt("a large field", get("/initrd", "X: " + "x" * 9000), 400)
    yield Attempt("a large header", get("/initrd", *["X: " + "x" * 4000] * 8), 431)
    yield Attempt("a large target", get("/" + "x" * 9000), 400)
    yield Attempt("another protocol", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400)
    yield Attempt("HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400)
    yield Attempt("an upgrade", get("/initrd", "Upgrade: h2c", "Connection: Upgrade"), NEEDED)


ATTEMPTS = list(attempts())


@pytest.fixture(scope="module")
def release_id() -> list[str]:
    return []


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, release_id: list[str]) -> Iterator[Service]:
    require_boot_services()
    directory = tmp_path_factory.mktemp("serve")
    state = directory / "state"
    state.mkdir()
    release = stage(
        state,
        {"bzImage": KERNEL, "initrd": PROTECTED, "netboot.ipxe": SECRET, "replaced": b"soon a link"},
    )
    release_id.append(release.id)
    write_secrets(directory, state / "releases" / release.id)
    settings = write_settings(
        directory,
        httpAllowedCIDRs=[f"{ALLOWED}/32"],
        trustedProxies=[PROXY],
        chainTokenFile=str(write_tokens(directory, TOKEN, NEXT_TOKEN)),
        protectedFiles=["netboot.ipxe", "initrd"],
    )
    with boot_service(settings) as running:
        yield running


def write_secrets(directory: Path, release: Path) -> None:
    """What lies about where an attempt might reach it."""
    state = directory / "state"
    (state / "tftp").mkdir()
    (state / ".staging" / "secret").write_bytes(SECRET)
    (state / "pinned").mkdir()
    (state / "pinned" / release.name).write_bytes(SECRET)
    for path in (directory / "secret", state / "secret", state / "tftp.json", state / "tftp" / "other.efi"):
        path.write_bytes(SECRET)
    (state / "tftp" / "autoexec.ipxe").write_bytes(b"#!ipxe\n")
    (state / "tftp" / "undionly.kpxe").symlink_to(directory / "secret")
    (release / "unlisted").write_bytes(SECRET)
    (release / "link").symlink_to("../../secret")
    (release / "directory").symlink_to(directory)
    (release / "replaced").unlink()
    (release / "replaced").symlink_to(directory / "secret")


@pytest.mark.parametrize("attempt", ATTEMPTS, ids=lambda attempt: re.sub(r"[^ -~]", "?", attempt.name))
def test_attempt(service: Service, release_id: list[str], attempt: Attempt) -> None:
    request = attempt.request.replace(b"RELEASE", release_id[0].encode())
    with service.connect(source=attempt.source) as client:
        client.socket.sendall(request)
        client.socket.shutdown(1)  # nothing more is to come, so the answer is all there is
        answer = client.read()
    statuses = re.findall(rb"^HTTP/\d\.\d (\d+) ", answer, re.MULTILINE)
    assert statuses == [b"%d" % attempt.status], answer
    for secret in (SECRET, KERNEL, TOKEN.encode(), NEXT_TOKEN.encode(), b"imgargs"):
        # Of a request that cannot be parsed, a part is quoted to who sent it.
        assert secret not in answer or secret in request


def test_there_are_enough() -> None:
    assert len(ATTEMPTS) >= 60
    assert len({attempt.name for attempt in ATTEMPTS}) == len(ATTEMPTS)


def test_who_may_gets_it(service: Service, release_id: list[str]) -> None:
    """The same server gives what it is to give: else it would be no feat to refuse."""
    assert service.get("/bzImage").body == KERNEL
    for token in (TOKEN, NEXT_TOKEN):
        assert service.get(f"/initrd?token={token}").body == PROTECTED
        assert service.get("/initrd", {"X-Boot-Token": token}).body == PROTECTED
        assert b"imgargs" in service.get(f"/netboot.ipxe?x=1&token={token}").body
    assert service.get(f"/releases/{release_id[0]}/bzImage", {"Range": "bytes=0-9"}).body == KERNEL[:10]
    assert service.get("/autoexec.ipxe").body == b"#!ipxe\n"
    for field in (f"X-Forwarded-For: {OUTSIDE}, {ALLOWED}", f'Forwarded: for="{ALLOWED}:5000"'):
        with service.connect(source=PROXY) as client:
            client.socket.sendall(get("/bzImage", field))
            assert client.read_response().body == KERNEL


def test_the_log_holds_no_token(service: Service) -> None:
    """After all of the attempts above, odd places included."""
    service.get(f"/netboot.ipxe?token={TOKEN}")
    text = service.log_file.read_text()
    assert "/netboot.ipxe" in text
    for token in (TOKEN, NEXT_TOKEN):
        found = [line for line in text.splitlines() if token in line]
        assert found == []


def test_the_health_report_names_the_release_only_to_those_who_are_allowed(
    service: Service, release_id: list[str]
) -> None:
    assert service.health()["release"] == release_id[0]
    with service.connect(source=OUTSIDE) as client:
        response = client.request("/healthz")
    assert response.status == 200
    assert release_id[0].encode() not in response.body


def test_no_privilege_is_left_to_dnsmasq(service: Service) -> None:
    """As nobody, with the right to TFTP's port and to read the boot files, and no other."""
    lines = Path(f"/proc/{service.find_dnsmasq()}/status").read_text().splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    assert status["Uid"].split() == ["65534"] * 4
    assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == (1 << 10 | 1 << 2)
    assert status["NoNewPrivs"] == "1"
    assert os.geteuid() == 0
