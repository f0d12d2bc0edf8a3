"""What the boot HTTP server sends of a file: the right bytes, never stale ones, never a mixture."""

from __future__ import annotations

import os
import random
import socket
import time
from email.utils import formatdate
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.boot_http import Client, Server, boot_server, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SCRIPT = b"#!ipxe\nkernel kernel\ninitrd initrd\nboot\n"
INITRD = random.Random(7).randbytes((6 << 20) + 12345)
LONG_AGO = 1_700_000_000


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("boot")
    (directory / "netboot.ipxe").write_bytes(SCRIPT)
    (directory / "initrd").write_bytes(INITRD)
    (directory / "kernel").write_bytes(INITRD[:70_000])
    (directory / "empty").write_bytes(b"")
    (directory / "snponly.efi").write_bytes(b"MZ")
    for file in directory.iterdir():
        os.utime(file, (LONG_AGO, LONG_AGO))
    return directory


@pytest.fixture(scope="module")
def server(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with boot_server(root, tmp_path_factory.mktemp("log") / "log", "--stall-seconds", "5") as running:
        yield running


@pytest.mark.parametrize("name", ["netboot.ipxe", "kernel", "initrd", "empty"])
def test_head_promises_what_get_sends(server: Server, root: Path, name: str) -> None:
    got = server.get(f"/{name}")
    head = server.get(f"/{name}", method="HEAD")
    assert got.status == head.status == 200
    assert got.body == (root / name).read_bytes()
    without_date = {key: value for key, value in got.headers.items() if key != "date"}
    assert without_date == {key: value for key, value in head.headers.items() if key != "date"}
    assert got.headers["content-length"] == str(len(got.body))
    assert got.headers["accept-ranges"] == "bytes"
    assert got.headers["last-modified"] == formatdate(LONG_AGO, usegmt=True)


@pytest.mark.parametrize(
    ("name", "content_type"),
    [
        ("netboot.ipxe", "text/plain; charset=utf-8"),
        ("snponly.efi", "application/efi"),
        ("initrd", "application/octet-stream"),
    ],
)
def test_types(server: Server, name: str, content_type: str) -> None:
    assert server.get(f"/{name}").headers["content-type"] == content_type


def test_a_connection_is_kept_and_requests_may_be_sent_ahead(server: Server) -> None:
    with server.connect() as client:
        for path in ("/initrd", "/netboot.ipxe", "/none", "/kernel"):
            client.send(path)
        received = [client.read_response() for _ in range(4)]
    assert [response.status for response in received] == [200, 200, 404, 200]
    assert [received[number].body for number in (0, 1, 3)] == [INITRD, SCRIPT, INITRD[:70_000]]


def test_a_connection_carries_one_download_after_the_other(server: Server) -> None:
    with server.connect(receive_buffer=64 << 10) as client:
        for _ in range(3):
            assert client.request("/initrd").body == INITRD


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_range_is_a_slice_of_the_file(server: Server, data: st.DataObject) -> None:
    name, content = data.draw(st.sampled_from([("initrd", INITRD), ("netboot.ipxe", SCRIPT)]))
    size = len(content)
    position = st.one_of(st.integers(0, 9), st.integers(0, size + 5), st.integers(size - 9, size + 9))
    first = data.draw(st.none() | position)
    last = data.draw(position if first is None else st.none() | position)
    field = f"bytes={'' if first is None else first}-{'' if last is None else last}"
    response = server.get(f"/{name}", {"Range": field})
    if first is None:
        begin, end = max(size - last, 0), size
    else:
        begin, end = first, size if last is None else min(last + 1, size)
    if first is not None and last is not None and last < first:
        assert (response.status, response.body) == (200, content)  # it does not parse, and is ignored
    elif begin >= size:
        assert response.status == 416
        assert response.headers["content-range"] == f"bytes */{size}"
    else:
        assert response.status == 206
        assert response.headers["content-range"] == f"bytes {begin}-{end - 1}/{size}"
        assert response.body == content[begin:end]


@pytest.mark.parametrize("field", ["bytes=0-1,4-5", "lines=1-2", "bytes", "bytes=", "bytes=a-b", "bytes=-"])
def test_a_range_that_is_not_served_gives_the_whole_file(server: Server, field: str) -> None:
    response = server.get("/initrd", {"Range": field})
    assert (response.status, response.body) == (200, INITRD)


def test_head_has_no_ranges(server: Server) -> None:
    response = server.get("/initrd", {"Range": "bytes=0-1"}, method="HEAD")
    assert (response.status, response.headers["content-length"]) == (200, str(len(INITRD)))


@pytest.mark.parametrize(
    ("if_range", "status"),
    [
        ("{etag}", 206),
        ("{date}", 206),
        ("W/{etag}", 200),
        ('"of-another-release"', 200),
        ("Mon, 01 Jan 2001 00:00:00 GMT", 200),
        ("Thu, 01 Jan 2099 00:00:00 GMT", 200),
        ("nonsense", 200),
    ],
)
@pytest.mark.parametrize("name", ["initrd", "netboot.ipxe"])
def test_if_range_gives_a_part_of_the_same_file_only(
    server: Server, root: Path, name: str, if_range: str, status: int
) -> None:
    known = server.get(f"/{name}", method="HEAD").headers
    value = if_range.format(etag=known["etag"], date=known["last-modified"])
    response = server.get(f"/{name}", {"Range": "bytes=5-9", "If-Range": value})
    content = (root / name).read_bytes()
    assert (response.status, response.body) == (status, content[5:10] if status == 206 else content)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"If-None-Match": "{etag}"}, 304),
        ({"If-None-Match": 'W/{etag}, "other"'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"other"'}, 200),
        ({"If-None-Match": '"other"', "If-Modified-Since": "{date}"}, 200),
        ({"If-Modified-Since": "{date}"}, 304),
        # The client's copy is of a newer release than the one that was put back.
        ({"If-Modified-Since": "Thu, 01 Jan 2026 00:00:00 GMT"}, 200),
        ({"If-Modified-Since": "yesterday"}, 200),
        ({"If-Match": "{etag}"}, 200),
        ({"If-Match": "W/{etag}"}, 412),
        ({"If-Match": '"other"'}, 412),
        ({"If-Unmodified-Since": "{date}"}, 200),
        ({"If-Unmodified-Since": "Mon, 01 Jan 2001 00:00:00 GMT"}, 412),
    ],
)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("name", ["initrd", "netboot.ipxe"])
def test_conditions(server: Server, name: str, method: str, headers: dict[str, str], status: int) -> None:
    known = server.get(f"/{name}", method="HEAD").headers
    filled = {
        key: value.format(etag=known["etag"], date=known["last-modified"]) for key, value in headers.items()
    }
    with server.connect() as client:
        response = client.request(f"/{name}", filled, method=method)
        assert response.status == status
        if status == 304:
            assert response.headers["etag"] == known["etag"]
        # What came had the length that was promised: the connection goes on in step.
        assert client.request("/netboot.ipxe").body == SCRIPT


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "CONNECT", "TRACE"])
def test_other_methods(server: Server, method: str) -> None:
    response = server.get("/netboot.ipxe", method=method)
    assert (response.status, response.headers["allow"]) == (405, "GET, HEAD")


def test_a_large_body_nobody_wants_does_not_lose_the_answer(server: Server) -> None:
    body = b"x" * (8 << 20)
    with server.connect() as client:
        client.send("/netboot.ipxe", {"Content-Length": str(len(body))}, method="POST")
        client.socket.sendall(body)
        assert client.read_response().status == 405
        assert client.read() == b""


def test_old_and_odd_forms(server: Server) -> None:
    assert server.send_raw(b"GET /netboot.ipxe HTTP/1.0\r\n\r\n").body == SCRIPT
    assert server.send_raw(b"GET http://other:80/netboot.ipxe HTTP/1.1\r\nHost: boot\r\n\r\n").body == SCRIPT
    assert server.send_raw(b"GET /netboot.ipxe?token=x HTTP/1.1\r\nHost: boot\r\n\r\n").body == SCRIPT
    assert server.send_raw(b"GET /netboot.ipxe HTTP/1.1\r\n\r\n").status == 400
    assert server.send_raw(b"GET /netboot.ipxe HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").status == 400
    assert server.send_raw(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n").status == 400
    upgrade = b"GET /netboot.ipxe HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    assert server.send_raw(upgrade).body == SCRIPT


def test_a_client_that_has_closed_its_half_gets_its_file(server: Server) -> None:
    with server.connect() as client:
        client.send("/initrd")
        client.socket.shutdown(socket.SHUT_WR)
        assert client.read_response().body == INITRD
        assert client.read() == b""


def test_a_cold_file(server: Server, root: Path) -> None:
    descriptor = os.open(root / "initrd", os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)
    assert server.get("/initrd").body == INITRD


def test_a_script_is_never_stale(server: Server, root: Path) -> None:
    script = root / "changing.ipxe"
    for number in range(200):
        content = b"#!ipxe\n# %04d\n" % number
        if number % 2:
            script.write_bytes(
                content
            )  # in place: the same inode and size, perhaps the same tick of the clock
        else:
            temporary = root / "changing.new"
            temporary.write_bytes(content)
            temporary.replace(script)
        assert server.get("/changing.ipxe").body == content


def test_a_script_that_has_settled_is_never_stale(server: Server, root: Path) -> None:
    script = root / "settled.ipxe"
    script.write_bytes(b"#!ipxe\n# old\n")
    settled = script.stat().st_ctime + 2.5
    wait_until(lambda: time.time() > settled, "the clock")
    assert [server.get("/settled.ipxe").body for _ in range(2)] == [b"#!ipxe\n# old\n"] * 2
    script.write_bytes(b"#!ipxe\n# new\n")
    assert server.get("/settled.ipxe").body == b"#!ipxe\n# new\n"
    os.utime(script, (LONG_AGO, LONG_AGO))
    script.unlink()
    assert server.get("/settled.ipxe").status == 404


def start_download(server: Server, path: str) -> Client:
    """A download that waits for its reader: more than the buffers between hold is still to come."""
    client = server.connect(receive_buffer=64 << 10)
    client.send(path)
    status, headers = client.read_header()
    assert (status, headers["content-length"]) == (200, str(SPARSE))
    return client


def sparse_file(path: Path, size: int) -> None:
    with path.open("wb") as file:
        file.truncate(size)


SPARSE = 64 << 20
"""More than socket buffers hold (net.ipv4.tcp_wmem: 4 MiB by default)."""


def test_a_file_that_is_cut_short_ends_the_connection(server: Server, root: Path) -> None:
    sparse_file(root / "cut", SPARSE)
    with start_download(server, "/cut") as client:
        os.truncate(root / "cut", 1 << 20)
        assert len(client.read()) < SPARSE
    wait_until(
        lambda: any(line.get("aborted") == "file changed" for line in server.requests()), "the log line"
    )


def test_a_file_that_is_rewritten_in_place_is_not_passed_off_as_whole(server: Server, root: Path) -> None:
    sparse_file(root / "rewritten", SPARSE)
    with start_download(server, "/rewritten") as client:
        with (root / "rewritten").open("r+b") as file:
            file.seek(SPARSE // 2)
            file.write(b"other content")
        assert len(client.read()) < SPARSE


def test_a_file_that_is_rewritten_in_place_with_its_old_date_is_not_passed_off_as_whole(
    server: Server, root: Path
) -> None:
    sparse_file(root / "restored", SPARSE)
    os.utime(root / "restored", (LONG_AGO, LONG_AGO))
    with start_download(server, "/restored") as client:
        with (root / "restored").open("r+b") as file:
            file.seek(SPARSE // 2)
            file.write(b"other content")
        os.utime(root / "restored", (LONG_AGO, LONG_AGO))
        assert len(client.read()) < SPARSE


def test_another_name_for_a_file_does_not_end_its_download(server: Server, root: Path) -> None:
    """Where releases share files by hard links, and where they are collected."""
    sparse_file(root / "linked", SPARSE)
    with start_download(server, "/linked") as client:
        os.link(root / "linked", root / "other name")
        assert client.read(SPARSE) == bytes(SPARSE)
    with start_download(server, "/linked") as client:
        (root / "linked").unlink()
        assert client.read(SPARSE) == bytes(SPARSE)


def test_a_file_that_is_replaced_by_rename_is_sent_as_it_was(server: Server, root: Path) -> None:
    sparse_file(root / "replaced", SPARSE)
    with start_download(server, "/replaced") as client:
        (root / "new").write_bytes(b"new")
        (root / "new").replace(root / "replaced")
        assert client.read(SPARSE) == bytes(SPARSE)
    assert server.get("/replaced").body == b"new"


def test_the_root_may_be_a_link_that_is_swapped(tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "netboot.ipxe").write_text(f"#!ipxe\n# {name}\n")
    (tmp_path / "current").symlink_to("old")
    with boot_server(tmp_path / "current", tmp_path / "log") as server:
        assert server.get("/netboot.ipxe").body.endswith(b"old\n")
        (tmp_path / "next").symlink_to("new")
        (tmp_path / "next").replace(tmp_path / "current")
        assert server.get("/netboot.ipxe").body.endswith(b"new\n")
        (tmp_path / "current").unlink()
        gone = server.get("/netboot.ipxe")
        assert gone.status == 503
        assert int(gone.headers["retry-after"]) > 0
        health = server.get("/healthz")
        assert (health.status, b'"root": false' in health.body) == (503, True)
        (tmp_path / "current").symlink_to("old")
        assert server.get("/healthz").status == 200
        assert server.get("/netboot.ipxe").body.endswith(b"old\n")
