"""The probe's HTTP, request by request: what is asked, from where, and what a reply is made of."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import socket
import threading
from collections.abc import Iterator
from ipaddress import IPv4Address
from typing import Any

import pytest

from ectools.netboot.probe.wire import http_probe
from ectools.netboot.probe.wire.http_probe import HttpReply, read_http_beginning, read_http_digest


def here(host: str) -> tuple[IPv4Address, None]:
    """Where a host is that the tests name by its address."""
    return IPv4Address(host), None


class Site:
    """Replies by path: status, headers, body; keeps the requests."""

    def __init__(self) -> None:
        self.replies: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.asked: list[tuple[str, dict[str, str], str]] = []
        self.base = ""

    def read(
        self, path: str, *, limit: int = 4, source: IPv4Address | None = None, **headers: str
    ) -> HttpReply:
        locate = here if source is None else lambda host: (IPv4Address(host), source)
        return read_http_beginning(self.base + path, limit=limit, seconds=30, locate=locate, headers=headers)


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.asked.append((self.path, dict(self.headers.items()), self.client_address[0]))
            status, headers, body = site.replies.get(self.path, (404, {}, b"none"))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        site.base = f"http://127.0.0.1:{server.server_address[1]}"
        yield site
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("headers", "body", "size", "data", "whole"),
    [
        ({"Content-Length": "6"}, b"abcdef", 6, b"abcd", False),
        ({"Content-Length": "4"}, b"abcd", 4, b"abcd", True),
        ({"Content-Length": "3"}, b"abc", 3, b"abc", True),
        ({"Content-Length": "0"}, b"", 0, b"", True),
        # Without a length, only less than was asked for is known to be all.
        ({}, b"abc", None, b"abc", True),
        ({}, b"abcd", None, b"abcd", False),
        ({"Content-Range": "bytes 0-3/9", "Content-Length": "4"}, b"abcd", 9, b"abcd", False),
        ({"Content-Range": "bytes 0-3/4", "Content-Length": "4"}, b"abcd", 4, b"abcd", True),
        ({"Content-Range": "bytes 0-3/*", "Content-Length": "4"}, b"abcd", 4, b"abcd", True),
        ({"Content-Range": "x bytes 0-3/9", "Content-Length": "4"}, b"abcd", 4, b"abcd", True),
    ],
)
def test_sizes(
    site: Site, headers: dict[str, str], body: bytes, size: int | None, data: bytes, whole: bool
) -> None:
    site.replies["/a"] = (200, headers, body)
    assert site.read("/a") == HttpReply(status=200, size=size, data=data, whole=whole)


def test_the_request(site: Site) -> None:
    site.replies["/a?b=c%20d"] = (206, {}, b"x")
    assert site.read("/a?b=c%20d#part", limit=100, **{"X-A": "b"}).status == 206
    ((path, headers, peer),) = site.asked
    assert (path, peer) == ("/a?b=c%20d", "127.0.0.1")
    assert headers["Range"] == "bytes=0-99"
    assert (headers["User-Agent"], headers["Connection"]) == ("ectools-probe", "close")
    assert headers["X-A"] == "b"
    site.read("")
    assert site.asked[1][0] == "/"


def test_the_source_is_the_interfaces_address(site: Site) -> None:
    site.read("/a", source=IPv4Address("127.0.0.7"))
    assert site.asked[0][2] == "127.0.0.7"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_followed_without_the_token(site: Site, status: int) -> None:
    site.replies["/d/a"] = (status, {"Location": "b"}, b"")
    site.replies["/d/b"] = (200, {"Content-Length": "1"}, b"x")
    assert site.read("/d/a", **{"X-Boot-Token": "geheim"}) == HttpReply(
        status=200, size=1, data=b"x", whole=True, redirected=f"{site.base}/d/b"
    )
    assert [("X-Boot-Token" in headers, headers["Range"]) for _, headers, _ in site.asked] == [
        (True, "bytes=0-3"),
        (False, "bytes=0-3"),
    ]


@pytest.mark.parametrize(
    ("status", "headers"), [(302, {}), (300, {"Location": "/b"}), (304, {"Location": "/b"})]
)
def test_what_is_no_redirect(site: Site, status: int, headers: dict[str, str]) -> None:
    site.replies["/a"] = (status, headers, b"")
    reply = site.read("/a")
    assert (reply.status, reply.redirected, len(site.asked)) == (status, None, 1)


@pytest.mark.parametrize(("redirects", "status"), [(5, 200), (6, None)])
def test_five_redirects_and_no_more(site: Site, redirects: int, status: int | None) -> None:
    for number in range(redirects):
        site.replies[f"/{number}"] = (302, {"Location": f"/{number + 1}"}, b"")
    site.replies[f"/{redirects}"] = (200, {}, b"x")
    reply = site.read("/0")
    assert reply.status == status
    assert reply.error == (None if status else "more than 5 redirects")
    assert reply.redirected == f"{site.base}/{redirects}"


@pytest.mark.parametrize(
    ("location", "words"),
    [("gopher://a/b", "no URL: gopher://a/b"), ("http://[::", "Invalid IPv6")],
)
def test_a_redirect_to_what_is_no_url(site: Site, location: str, words: str) -> None:
    site.replies["/a"] = (302, {"Location": location}, b"")
    reply = site.read("/a")
    assert (reply.status, reply.data) == (None, b"")
    assert words in (reply.error or "")


def test_a_digest_is_of_everything_in_parts(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_probe, "_PART_BYTES", 7)
    content = bytes(range(100))
    site.replies["/a"] = (302, {"Location": "/b"}, b"")
    site.replies["/b"] = (200, {"Content-Length": "100"}, content)
    reply = read_http_digest(f"{site.base}/a", seconds=30, locate=here, headers={"X-A": "b"})
    digest = hashlib.sha256(content).hexdigest().encode()
    assert reply == HttpReply(status=200, size=100, data=digest, whole=True, redirected=f"{site.base}/b")
    assert ["Range" in headers for _, headers, _ in site.asked] == [False, False]
    assert site.asked[0][1]["X-A"] == "b"


class Connecting:
    """In the place of ``socket.create_connection``: what it was called with."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[Any, ...]] = []
        monkeypatch.setattr(http_probe.socket, "create_connection", self._connect)

    def _connect(self, *arguments: Any) -> Any:
        self.calls.append(arguments)
        raise OSError("")


def test_a_host_is_asked_where_it_is_located(monkeypatch: pytest.MonkeyPatch) -> None:
    """This host's own resolver, which may know the name too, is not asked."""
    connecting = Connecting(monkeypatch)

    def locate(host: str) -> tuple[IPv4Address, IPv4Address]:
        assert host == "boot.test"
        return IPv4Address("192.0.2.2"), IPv4Address("192.0.2.9")

    for url in ("https://boot.test:8443/a", "https://boot.test/a", "http://boot.test/a"):
        reply = read_http_beginning(url, limit=4, seconds=2.5, locate=locate, headers={})
        # An error without words is named by its kind.
        assert reply == HttpReply(status=None, error="OSError")
    ours = ("192.0.2.9", 0)
    assert connecting.calls == [(("192.0.2.2", port), 2.5, ours) for port in (8443, 443, 80)]


def test_a_name_without_an_address_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    connecting = Connecting(monkeypatch)

    def locate(_host: str) -> tuple[IPv4Address, None]:
        raise OSError("no such name")

    reply = read_http_beginning("http://boot.test/a", limit=4, seconds=3, locate=locate, headers={})
    assert reply == HttpReply(status=None, error="no such name")
    assert connecting.calls == []


def test_a_server_is_asked_by_its_name(site: Site) -> None:
    site.replies["/a"] = (200, {}, b"")
    port = site.base.rpartition(":")[2]
    url = f"http://boot.test:{port}/a"
    reply = read_http_beginning(url, limit=4, seconds=30, locate=lambda _: here("127.0.0.1"), headers={})
    assert reply.status == 200
    assert site.asked[0][1]["Host"] == f"boot.test:{port}"


def test_https_asks_whether_the_file_is_there_and_not_who_vouches(monkeypatch: pytest.MonkeyPatch) -> None:
    wrapped: list[tuple[Any, str]] = []

    def wrap(sock: Any, context: Any, host: str) -> Any:
        wrapped.append((context, host))
        sock.close()
        raise OSError("no handshake")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setattr(http_probe, "_wrap", wrap)
        url = f"https://boot.test:{listener.getsockname()[1]}/a"
        reply = read_http_beginning(url, limit=4, seconds=3, locate=lambda _: here("127.0.0.1"), headers={})
    assert reply == HttpReply(status=None, error="no handshake")
    ((context, host),) = wrapped
    assert (context.check_hostname, context.verify_mode, host) == (False, 0, "boot.test")


def test_a_server_that_speaks_no_tls() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang_up() -> None:
            listener.accept()[0].close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}/a"
        reply = read_http_beginning(url, limit=4, seconds=30, locate=here, headers={})
        thread.join()
    assert reply.status is None


def test_how_long_the_whole_may_take(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    timers: list[tuple[float, bool]] = []

    class Timer:
        daemon = False

        def __init__(self, seconds: float, _function: object, arguments: list[Any]) -> None:
            self.seconds = seconds
            assert arguments[0].fileno() >= 0

        def start(self) -> None:
            timers.append((self.seconds, self.daemon))

        def cancel(self) -> None:
            timers.append((0.0, False))

    monkeypatch.setattr(http_probe.threading, "Timer", Timer)
    site.read("/a")
    read_http_digest(f"{site.base}/a", seconds=30, locate=here, headers={})
    assert timers == [(60.0, True), (0.0, False), (1800.0, True), (0.0, False)]
