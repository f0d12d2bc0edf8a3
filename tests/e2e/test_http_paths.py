"""Which files the boot HTTP server lets out, asked with requests that no client library sends."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest
from support.boot_http import Server, boot_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECRET = b"outside of the root"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    outside = tmp_path_factory.mktemp("srv")
    (outside / "secret").write_bytes(SECRET)
    (outside / "root-of-another").mkdir()
    (outside / "root-of-another" / "secret").write_bytes(SECRET)
    root = outside / "root"
    (root / "deep" / "er").mkdir(parents=True)
    (root / "kernel").write_bytes(b"kernel")
    (root / "deep" / "er" / "initrd").write_bytes(b"initrd")
    (root / "100%").write_bytes(b"percent")
    (root / "a b+c").write_bytes(b"blank")
    (root / "kärnel").write_bytes(b"umlaut")
    (root / "back\\slash").write_bytes(b"backslash")
    (root / os.fsdecode(b"latin\xe9")).write_bytes(b"latin-1")
    (root / ".hidden").write_bytes(SECRET)
    (root / ".git").mkdir()
    (root / ".git" / "config").write_bytes(SECRET)
    (root / "healthz").write_bytes(SECRET)
    (root / "link-within").symlink_to("deep/er/initrd")
    (root / "link-up-and-back").symlink_to("../root/kernel")
    (root / "link-to-file").symlink_to(outside / "secret")
    (root / "link-to-directory").symlink_to(outside)
    (root / "link-relative").symlink_to("../secret")
    (root / "link-to-link").symlink_to("link-to-file")
    (root / "link-to-namesake").symlink_to("../root-of-another")
    (root / "loop").symlink_to("loop")
    (root / "dangling").symlink_to("nothing")
    (root / "null").symlink_to("/dev/null")
    (root / "proc").symlink_to("/proc/self/environ")
    os.mkfifo(root / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(root / "socket"))
    return root


@pytest.fixture(scope="module")
def server(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with boot_server(root, tmp_path_factory.mktemp("log") / "log") as running:
        yield running


@pytest.mark.parametrize(
    ("target", "content"),
    [
        ("/kernel", b"kernel"),
        ("//kernel", b"kernel"),
        ("/deep//er///initrd", b"initrd"),
        ("/%6bernel", b"kernel"),
        ("/100%25", b"percent"),
        ("/a%20b+c", b"blank"),
        ("/k%C3%A4rnel", b"umlaut"),
        ("/latin%E9", b"latin-1"),
        ("/back%5Cslash", b"backslash"),
        ("/link-within", b"initrd"),
        ("/link-up-and-back", b"kernel"),
    ],
)
def test_served(server: Server, target: str, content: bytes) -> None:
    response = server.get(target)
    assert (response.status, response.body) == (200, content)


@pytest.mark.parametrize(
    "target",
    [
        "/../secret",
        "/deep/../../secret",
        "/deep/../kernel",
        "/..",
        "/.",
        "/./kernel",
        "/%2e%2e/secret",
        "/%2E%2E/secret",
        "/.%2e/secret",
        "/..%2fsecret",
        "/..%2Fsecret",
        "/deep%2fer%2finitrd",
        "/%2fetc%2fpasswd",
        "/%2e%2e%2fsecret",
        "/kernel%00",
        "/kernel%00.ipxe",
        "/%",
        "/%2",
        "/%zz",
        "/kernel#fragment",
        "http://boot/../secret",
        "ftp://boot/kernel",
        "*",
        "kernel",
    ],
)
def test_refused_as_malformed(server: Server, target: str) -> None:
    response = server.send_raw(f"GET {target} HTTP/1.1\r\nHost: boot\r\n\r\n".encode())
    assert response.status == 400
    assert SECRET not in response.body


@pytest.mark.parametrize(
    "target",
    [
        "/",
        "//",
        "/deep",
        "/deep/",
        "/kernel/",
        "/kernel/more",
        "/none",
        "//etc/passwd",
        "/%252e%252e/secret",
        "/..%252fsecret",
        "/..%5csecret",
        "/..\\secret",
        "/...",
        "/%c0%ae%c0%ae/secret",
        "/%ff",
        "/.hidden",
        "/%2ehidden",
        "/.git/config",
        "/link-to-file",
        "/link-to-directory/secret",
        "/link-relative",
        "/link-to-link",
        "/link-to-namesake/secret",
        "/loop",
        "/dangling",
        "/null",
        "/proc",
        "/fifo",
        "/socket",
        "/" + "x" * 300,
        "/" + "x/" * 2500,
        "/healthz/",
    ],
)
def test_not_found(server: Server, target: str) -> None:
    response = server.get(target)
    assert response.status == 404
    assert response.body == b"not found\n"


def test_the_health_path_is_the_servers_own(server: Server) -> None:
    response = server.get("/healthz")
    assert (response.status, response.headers["content-type"]) == (200, "application/json")
    assert b'"status": "ok"' in response.body
    assert server.get("/healthz", method="HEAD").body == b""


def test_a_fifo_is_not_touched(server: Server, root: Path) -> None:
    """Opening one for reading would let its writer go on: a writer still finds no reader."""
    assert server.get("/fifo").status == 404
    with pytest.raises(OSError, match="No such device or address"):
        os.open(root / "fifo", os.O_WRONLY | os.O_NONBLOCK)


def test_the_log_names_no_query_and_no_credentials(server: Server) -> None:
    server.get("/kernel?token=hunter2")
    server.send_raw(b"GET http://user:hunter2@boot/kernel?token=hunter2 HTTP/1.1\r\nHost: boot\r\n\r\n")
    server.get("/log-marker")
    paths = [line["path"] for line in server.requests()]
    assert paths[-3:] == ["/kernel", "/kernel", "/log-marker"]
    assert "hunter2" not in server.log_file.read_text()
