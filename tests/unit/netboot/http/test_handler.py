"""A request to its reply, without a socket: which file, which fields, which error."""

from __future__ import annotations

import asyncio
import json
import os
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import HttpVersion, HttpVersion10, HttpVersion11
from aiohttp.test_utils import make_mocked_request

from ectools.errors import InputError
from ectools.netboot.http.cache import MAX_FILE_BYTES
from ectools.netboot.http.handler import (
    AccessCheck,
    RequestHandler,
    RequestInfo,
    Resource,
    Router,
    describe_content,
)
from ectools.netboot.http.responses import FileReply, MemoryReply, Part
from ectools.netboot.http.settings import HttpSettings
from ectools.netboot.http.webroot import RejectedError
from ectools.timers import Guard

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from ectools.netboot.http.responses import Delivery

SIZE = MAX_FILE_BYTES + 10
DATE = 1_700_000_000


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "netboot.ipxe").write_bytes(b"#!ipxe\n")
    (tmp_path / "initrd").write_bytes(bytes(range(256)) * (SIZE // 256) + bytes(SIZE % 256))
    for path in tmp_path.iterdir():
        os.utime(path, (DATE, DATE))
    return tmp_path


class Asked:
    """Handlers of one root, and what their guard caught."""

    def __init__(
        self, root: Path, *, access_check: AccessCheck | None = None, router: Router | None = None
    ) -> None:
        self.root = root
        self.access_check = access_check
        self.router = router
        self.guard = Guard("requests", clock=lambda: 0.0)
        self.fields: dict[str, Any] = {"connections": 3}

    def answer(
        self,
        path: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        version: HttpVersion = HttpVersion11,
        overload: bool = False,
    ) -> MemoryReply | FileReply:
        async def run() -> MemoryReply | FileReply:
            handler = RequestHandler(
                HttpSettings(root=self.root, retry_after_seconds=7),
                access_check=self.access_check,
                router=self.router,
                report=lambda: self.fields,
                guard=self.guard,
            )
            handler.check()
            given = {"Host": "boot", **(headers or {})}
            request = make_mocked_request(method, path, headers=given, version=version)
            try:
                return await handler.answer(request.clone(remote="::ffff:192.0.2.7"), overload=overload)
            finally:
                handler.close()

        return asyncio.run(run())


def body(reply: MemoryReply | FileReply) -> bytes:
    assert isinstance(reply, MemoryReply)
    assert reply.body is None or isinstance(reply.body, bytes)
    return reply.body or b""


def close(reply: MemoryReply | FileReply) -> None:
    assert isinstance(reply, FileReply)
    os.close(reply._file.descriptor)


def test_a_small_file(root: Path) -> None:
    reply = Asked(root).answer("/netboot.ipxe")
    assert (reply.status, body(reply)) == (200, b"#!ipxe\n")
    assert reply.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert reply.headers["Last-Modified"] == formatdate(DATE, usegmt=True)
    assert reply.headers["Cache-Control"] == "no-cache"
    assert reply.headers["Server"] == "ectools"
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert reply.headers["Accept-Ranges"] == "bytes"
    assert reply.headers["ETag"].startswith('"')
    assert "Content-Range" not in reply.headers
    assert reply.part == Part(start=0, size=7)
    assert reply.keep_alive is not False


def test_a_range_of_a_small_file(root: Path) -> None:
    reply = Asked(root).answer("/netboot.ipxe", headers={"Range": "bytes=2-4"})
    assert (reply.status, body(reply)) == (206, b"ipx")
    assert reply.headers["Content-Range"] == "bytes 2-4/7"
    assert reply.part == Part(start=2, size=7)


def test_a_large_file_and_a_range_of_it(root: Path) -> None:
    whole = Asked(root).answer("/initrd")
    assert isinstance(whole, FileReply)
    assert (whole.status, whole.content_length, whole.part) == (200, SIZE, Part(start=0, size=SIZE))
    assert whole.headers["Content-Type"] == "application/octet-stream"
    close(whole)
    part = Asked(root).answer("/initrd", headers={"Range": f"bytes={SIZE - 3}-"})
    assert isinstance(part, FileReply)
    assert (part.status, part.content_length) == (206, 3)
    assert part.headers["Content-Range"] == f"bytes {SIZE - 3}-{SIZE - 1}/{SIZE}"
    assert part.part == Part(start=SIZE - 3, size=SIZE)
    assert (part._offset, part._count) == (SIZE - 3, 3)
    close(part)


@pytest.mark.parametrize("name", ["netboot.ipxe", "initrd"])
def test_answers_without_a_body(root: Path, name: str) -> None:
    size = (root / name).stat().st_size
    before = len(os.listdir("/proc/self/fd"))
    head = Asked(root).answer(f"/{name}", method="HEAD")
    assert (head.status, head.headers["Content-Length"], body(head)) == (200, str(size), b"")
    assert head.part is None
    tag = head.headers["ETag"]
    same = Asked(root).answer(f"/{name}", headers={"If-None-Match": tag})
    assert (same.status, same.headers["ETag"], body(same)) == (304, tag, b"")
    assert same.headers["Cache-Control"] == "no-cache"
    assert "Content-Type" not in same.headers or same.headers["Content-Type"] == "application/octet-stream"
    other = Asked(root).answer(f"/{name}", headers={"If-Match": '"x"'})
    assert (other.status, body(other)) == (412, b"")
    beyond = Asked(root).answer(f"/{name}", headers={"Range": f"bytes={size}-"})
    assert (beyond.status, beyond.headers["Content-Range"]) == (416, f"bytes */{size}")
    assert "Content-Range" not in same.headers
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a.efi", "application/efi"),
        ("A.EFI", "application/efi"),
        ("a.tar.gz", "application/gzip"),
        ("a.iso", "application/vnd.efi-iso"),
        ("a.img", "application/vnd.efi-img"),
        ("a.sig", "application/pgp-signature"),
        ("a.json", "application/json"),
        ("a.zst", "application/zstd"),
        ("efi", "application/octet-stream"),
        ("a.efi.x", "application/octet-stream"),
        ("b\udcff.txt", "text/plain; charset=utf-8"),
    ],
)
def test_types_go_by_the_name(root: Path, name: str, kind: str) -> None:
    (root / name).write_bytes(b"x")
    target = "/" + "".join(f"%{byte:02x}" for byte in os.fsencode(name))
    assert Asked(root).answer(target).headers["Content-Type"] == kind


@pytest.mark.parametrize(
    ("asked", "status", "message"),
    [
        ({"version": HttpVersion(2, 0)}, 505, "only HTTP/1.0 and HTTP/1.1 are spoken"),
        ({"version": HttpVersion(0, 9)}, 505, "only HTTP/1.0 and HTTP/1.1 are spoken"),
        ({"method": "POST"}, 405, "only GET and HEAD are served"),
        ({"method": "OPTIONS"}, 405, "only GET and HEAD are served"),
        ({"path": "/none"}, 404, "not found"),
        ({"path": "/.netboot.ipxe"}, 404, "not found"),
        ({"path": "/%2e%2e/x"}, 400, "the path has a segment that is no name"),
        ({"overload": True}, 503, "all connections are taken; try again"),
    ],
)
def test_errors_are_told_in_a_sentence(root: Path, asked: dict[str, Any], status: int, message: str) -> None:
    reply = Asked(root).answer(**{"path": "/netboot.ipxe", **asked})
    assert (reply.status, body(reply)) == (status, f"{message}\n".encode())
    assert reply.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert reply.headers["Cache-Control"] == "no-cache"
    assert reply.headers.get("Allow") == ("GET, HEAD" if status == 405 else None)
    seconds = reply.headers.get("Retry-After")
    assert (seconds in {str(each) for each in range(7, 15)}) is (status == 503)
    assert (seconds is None) is (status != 503)
    # Who is to come again comes with another connection.
    assert (reply.keep_alive is False) is (status == 503)
    assert reply.on_complete is None
    assert reply.part is None


def test_one_host_field_is_needed_since_http_1_1(root: Path) -> None:
    asked = Asked(root)

    async def run(version: HttpVersion, hosts: int) -> int:
        handler = RequestHandler(
            HttpSettings(root=root), access_check=None, router=None, report=dict, guard=asked.guard
        )
        request = make_mocked_request("GET", "/netboot.ipxe", version=version)
        headers = request.headers.copy()  # type: ignore[attr-defined]
        headers.popall("Host", None)
        for _ in range(hosts):
            headers.add("Host", "boot")
        try:
            return (await handler.answer(request.clone(headers=headers), overload=False)).status
        finally:
            handler.close()

    found = {
        (version, hosts): asyncio.run(run(version, hosts))
        for version in (HttpVersion10, HttpVersion11)
        for hosts in (0, 1, 2)
    }
    assert {key for key, status in found.items() if status == 400} == {(HttpVersion11, 0), (HttpVersion11, 2)}


def test_a_root_that_is_missing_is_known_before_anything_is_served(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be served"):
        Asked(tmp_path / "none").answer("/")


class Site:
    """What stands where is in a table."""

    def __init__(self, **resources: Resource | Exception) -> None:
        self.resources = resources
        self.infos: list[RequestInfo] = []

    async def find(self, info: RequestInfo) -> Resource:
        self.infos.append(info)
        found = self.resources[info.segments[0].decode()]
        if isinstance(found, Exception):
            raise found
        return found

    async def report(self) -> Mapping[str, Any]:
        return {"release": "some"}


def note(_: Delivery) -> None:
    """Hears what became of an answer."""


def test_content_that_is_no_file(root: Path) -> None:
    site = Site(
        script=Resource(target=b"#!ipxe\n", content_type="text/x-ipxe", on_complete=note),
        plain=Resource(target=b"four"),
    )
    reply = Asked(root, router=site).answer("/script")
    assert (reply.status, body(reply), reply.headers["Content-Type"]) == (200, b"#!ipxe\n", "text/x-ipxe")
    assert reply.headers["ETag"] == describe_content(b"#!ipxe\n").etag
    assert "Last-Modified" not in reply.headers
    assert reply.part == Part(start=0, size=7)
    assert reply.on_complete is note
    assert site.infos[0].peer == "192.0.2.7"
    plain = Asked(root, router=site).answer("/plain")
    assert plain.headers["Content-Type"] == "application/octet-stream"
    assert plain.on_complete is None
    tag = reply.headers["ETag"]
    same = Asked(root, router=site).answer("/script", headers={"If-None-Match": tag})
    assert same.status == 304
    assert same.headers.get("Content-Type") != "text/x-ipxe"
    part = Asked(root, router=site).answer("/plain", headers={"Range": "bytes=1-2"})
    assert (part.status, body(part)) == (206, b"ou")


def test_what_content_is_known_by() -> None:
    one, other = describe_content(b"one"), describe_content(b"other")
    assert (one.size, one.modified, len(one.etag)) == (3, None, 26)
    assert one.etag != other.etag
    assert one == describe_content(b"one")


def test_who_hears_of_an_answer_hears_of_an_error_too(root: Path) -> None:
    site = Site(
        gone=Resource(target=(b"none",), on_complete=note),
        file=Resource(target=(b"initrd",), on_complete=note),
        busy=RejectedError(503, "the release is locked"),
    )
    asked = Asked(root, router=site)
    gone = asked.answer("/gone")
    assert (gone.status, gone.on_complete) == (404, note)
    busy = asked.answer("/busy")
    assert (busy.status, busy.on_complete, body(busy)) == (503, None, b"the release is locked\n")
    file = asked.answer("/file")
    assert file.on_complete is note
    # The type goes by the path that was asked for, not by the file's name.
    assert file.headers["Content-Type"] == "application/octet-stream"
    close(file)
    assert asked.guard.failures == 0


def test_a_fault_is_an_answer_and_is_counted(root: Path) -> None:
    site = Site(fault=ZeroDivisionError(), odd=Resource(target=(b"a", 5), on_complete=note))  # type: ignore[arg-type]
    asked = Asked(root, router=site)
    reply = asked.answer("/fault")
    assert (reply.status, body(reply), reply.on_complete) == (500, b"a fault of the server\n", None)
    odd = asked.answer("/odd")
    assert (odd.status, odd.on_complete) == (500, note)
    assert asked.guard.failures == 2


def test_a_fault_beside_an_opened_file_closes_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    asked = Asked(root)
    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr("ectools.netboot.http.handler.build_validators", fail)
    assert asked.answer("/initrd").status == 500
    assert len(os.listdir("/proc/self/fd")) == before


def test_the_access_rule_comes_before_the_crowd_and_before_the_file(root: Path) -> None:
    infos: list[RequestInfo] = []

    def deny(info: RequestInfo) -> None:
        infos.append(info)
        raise RejectedError(403, "not from here")

    asked = Asked(root, access_check=deny, router=Site())
    for path in ("/netboot.ipxe?a=b", "/none"):
        reply = asked.answer(path, overload=True)
        assert (reply.status, body(reply)) == (403, b"not from here\n")
    assert infos[0].query["a"] == "b"
    assert infos[0].headers["Host"] == "boot"
    assert infos[0].method == "GET"


# --- /healthz


def health(asked: Asked, **options: Any) -> tuple[int, dict[str, Any]]:
    reply = asked.answer("/healthz", **options)
    assert reply.headers["Content-Type"] == "application/json"
    assert reply.headers["Cache-Control"] == "no-cache"
    text = body(reply)
    assert text.endswith(b"}\n")
    return reply.status, json.loads(text)


def test_the_health_report(root: Path) -> None:
    expected = {"status": "ok", "root": True, "connections": 3}
    assert health(Asked(root)) == (200, expected)
    # Whatever the crowd.
    assert health(Asked(root), overload=True) == (200, expected)
    with_site = {**expected, "release": "some"}
    assert health(Asked(root, router=Site())) == (200, with_site)
    assert health(Asked(root, router=Site(), access_check=lambda _: None)) == (200, with_site)


def test_the_health_report_without_a_root(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ectools.netboot.http.webroot.WebRoot.is_there", lambda _: False)
    assert health(Asked(root)) == (503, {"status": "failed", "root": False, "connections": 3})


def test_a_router_says_that_it_is_less_than_well(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It serves all the same; whether there is a root goes first."""

    class DegradedSite(Site):
        async def report(self) -> dict[str, Any]:
            return {"status": "degraded", "failing": ["follows"]}

    expected = {"status": "degraded", "root": True, "connections": 3, "failing": ["follows"]}
    assert health(Asked(root, router=DegradedSite())) == (200, expected)
    monkeypatch.setattr("ectools.netboot.http.webroot.WebRoot.is_there", lambda _: False)
    status, found = health(Asked(root, router=DegradedSite()))
    assert (status, found["status"]) == (503, "failed")


def test_a_file_of_the_health_reports_name_is_never_served(root: Path) -> None:
    (root / "healthz").write_bytes(b"a file")
    assert health(Asked(root))[0] == 200
