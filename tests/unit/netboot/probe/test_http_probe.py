"""The probe's HTTP: what servers answer, and how long a bad one can hold it up."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import socket
import threading
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address

import pytest

from ectools.netboot.probe.wire import http_probe

CONTENT = bytes(range(256)) * 1000


def here(host: str) -> tuple[IPv4Address, None]:
    """Where a host is that the tests name by its address."""
    return IPv4Address(host), None


class Handler(http.server.BaseHTTPRequestHandler):
    """A server without ranges, as many are."""

    def do_GET(self) -> None:
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/file")
            self.end_headers()
        elif self.path == "/round":
            self.send_response(302)
            self.send_header("Location", "/round")
            self.end_headers()
        elif self.path == "/token":
            self.send_response(200 if self.headers.get("X-Boot-Token") == "geheim" else 403)
            self.end_headers()
        else:
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(CONTENT)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def get(url: str, **headers: str) -> http_probe.HttpReply:
    return http_probe.read_http_beginning(url, limit=100, seconds=10, locate=here, headers=headers)


def test_the_beginning_of_a_file(base: str) -> None:
    reply = get(f"{base}/file")
    assert (reply.status, reply.size, reply.data, reply.whole) == (200, len(CONTENT), CONTENT[:100], False)


def test_redirects_are_followed_so_far(base: str) -> None:
    reply = get(f"{base}/moved")
    assert (reply.status, reply.redirected) == (200, f"{base}/file")
    assert get(f"{base}/round").error == "more than 5 redirects"


def test_headers_are_sent(base: str) -> None:
    assert get(f"{base}/token").status == 403
    assert get(f"{base}/token", **{"X-Boot-Token": "geheim"}).status == 200


def test_all_of_a_file_has_a_digest(base: str) -> None:
    reply = http_probe.read_http_digest(f"{base}/file", seconds=10, locate=here, headers={})
    assert reply.data.decode() == hashlib.sha256(CONTENT).hexdigest()
    assert reply.size == len(CONTENT)


@contextlib.contextmanager
def raw_server(talk: Callable[[socket.socket], None]) -> Iterator[str]:
    """One connection, answered by ``talk``."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                connection.recv(4096)
                talk(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        thread.join()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 999999999999 no\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nabc",
        b"HTTP/1.1 206 OK\r\nContent-Range: bytes 0-9/99999999999999999999\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 302 go\r\nLocation: gopher://[::\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 500 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
    ],
)
def test_any_answer_is_a_reply(answer: bytes) -> None:
    with raw_server(lambda connection: connection.sendall(answer)) as url:
        reply = get(url)
    assert reply.status is not None or reply.error


def test_a_server_that_drips_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte comes within its time, and the whole never."""
    monkeypatch.setattr(http_probe, "_MOST_SECONDS", 0.5)

    def drip(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
        for _ in range(600):
            connection.sendall(b"x")
            time.sleep(0.1)

    started = time.monotonic()
    with raw_server(drip) as url:
        reply = get(url)
        assert time.monotonic() - started < 30
    assert not reply.whole


def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert get(f"http://127.0.0.1:{port}/").status is None
