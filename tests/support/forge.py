"""A Forgejo with one release, on loopback, that does what a test tells it to."""

from __future__ import annotations

import contextlib
import hashlib
import json
import ssl
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from support.releases import ARCHIVE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Answer = Callable[["Request"], None]

API = "/api/v1/repos/owner/name/releases"
DOWNLOADS = "/owner/name/releases/download/boot-v1"
ETAG = '"first"'


class Request(BaseHTTPRequestHandler):
    """One request, which an answer answers."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        forge = self.server.forge
        with forge.lock:
            forge.seen.append((self.path, dict(self.headers.items())))
            answers = forge.answers.get(self.path, [])
            answer = answers.pop(0) if len(answers) > 1 else answers[0] if answers else status(404)
        self.close_connection = True
        with contextlib.suppress(OSError):
            answer(self)

    def start(self, code: int, length: int | None, headers: dict[str, str] | None = None) -> None:
        """Send the head."""
        self.send_response(code)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Nothing."""


class _Server(ThreadingHTTPServer):
    forge: Forge
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is what some tests are about."""


@dataclass
class Forge:
    """``answers``: path → answers, one a request; the last is given for ever. ``seen``: paths and headers."""

    url: str
    archive: bytes
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    seen: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    stopping: threading.Event = field(default_factory=threading.Event)

    def publish(self, *, size: int | None = None, sums: str | None = None, **changes: Any) -> None:
        """The release as it should be; ``changes`` are to its JSON."""
        self.publish_archives({ARCHIVE: self.archive}, size=size, sums=sums, **changes)

    def publish_archives(
        self,
        archives: Mapping[str, bytes],
        *,
        size: int | None = None,
        sums: str | None = None,
        **changes: Any,
    ) -> None:
        """As ``publish``, with these archives, name → content; ``size`` is the first one's."""
        listed = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in archives.items())
        files = {**archives, "SHA256SUMS.txt": (sums or listed).encode()}
        assets = [
            {"name": name, "size": len(data), "browser_download_url": f"{self.url}{DOWNLOADS}/{name}"}
            for name, data in files.items()
        ]
        if size is not None:
            assets[0]["size"] = size
        release = {"tag_name": "boot-v1", "assets": assets, **changes}
        self.answers[f"{API}/latest"] = [body(json.dumps(release).encode())]
        self.answers[f"{API}/tags/boot-v1"] = [body(json.dumps(release).encode())]
        for name, data in files.items():
            self.answers[f"{DOWNLOADS}/{name}"] = [ranged(data)]

    def on_archive(self, *answers: Answer) -> None:
        """What happens to requests for the archive, in turn."""
        self.answers[f"{DOWNLOADS}/{ARCHIVE}"] = list(answers)

    def on_release(self, *answers: Answer) -> None:
        """What happens to requests for the release, in turn."""
        self.answers[f"{API}/latest"] = list(answers)

    def asked(self, path: str) -> list[dict[str, str]]:
        """The headers of each request for a path."""
        return [headers for asked, headers in self.seen if asked == path]

    def asked_archive(self) -> list[dict[str, str]]:
        """The headers of each request for the archive."""
        return self.asked(f"{DOWNLOADS}/{ARCHIVE}")


@contextlib.contextmanager
def start_forge(archive: bytes = b"", *, tls: ssl.SSLContext | None = None) -> Iterator[Forge]:
    """A forge for the length of the block, with the release published."""
    server = _Server(("127.0.0.1", 0), Request)
    scheme = "http"
    if tls is not None:
        scheme, server.socket = "https", tls.wrap_socket(server.socket, server_side=True)
    forge = Forge(url=f"{scheme}://127.0.0.1:{server.server_port}", archive=archive)
    server.forge = forge
    forge.publish()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield forge
    finally:
        forge.stopping.set()
        server.shutdown()
        server.server_close()


def body(data: bytes, **headers: str) -> Answer:
    """200 with this content."""

    def answer(request: Request) -> None:
        request.start(200, len(data), headers)
        request.wfile.write(data)

    return answer


def status(code: int, **headers: str) -> Answer:
    """A status, with a page that says so."""

    def answer(request: Request) -> None:
        page = b"<html>no</html>"
        request.start(code, len(page), {name.replace("_", "-"): value for name, value in headers.items()})
        request.wfile.write(page)

    return answer


def redirect(url: str, code: int = 302) -> Answer:
    """To somewhere else."""
    return status(code, Location=url)


def ranged(data: bytes, *, etag: str | None = ETAG, cut: int | None = None) -> Answer:
    """A file, as RFC 9110 has it: Range, If-Range, ETag. ``cut``: the connection ends after so many bytes."""

    def answer(request: Request) -> None:
        wanted = request.headers.get("Range")
        headers = {} if etag is None else {"ETag": etag}
        part = data
        if wanted is not None and request.headers.get("If-Range") == etag:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
            part = data[start:]
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
            request.start(206, len(part), headers)
        else:
            request.start(200, len(part), headers)
        request.wfile.write(part if cut is None else part[:cut])

    return answer


def whole(
    data: bytes, *, etag: str | None = ETAG, cut: int | None = None, length: int | None = None
) -> Answer:
    """A file without Range."""

    def answer(request: Request) -> None:
        request.start(200, len(data) if length is None else length, {} if etag is None else {"ETag": etag})
        request.wfile.write(data if cut is None else data[:cut])

    return answer


def unframed(data: bytes) -> Answer:
    """Without a length: the end of the connection is the end of the content."""

    def answer(request: Request) -> None:
        request.start(200, None, {"ETag": ETAG, "Connection": "close"})
        request.wfile.write(data)

    return answer


def chunked(data: bytes, *, cut: bool = False) -> Answer:
    """In chunks; ``cut``: without the last."""

    def answer(request: Request) -> None:
        request.start(200, None, {"ETag": ETAG, "Transfer-Encoding": "chunked"})
        for start in range(0, len(data), 10000):
            part = data[start : start + 10000]
            request.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
        if not cut:
            request.wfile.write(b"0\r\n\r\n")

    return answer


def endless(data: bytes, more: bytes = bytes(65536), *, length: int | None = None) -> Answer:
    """In chunks, which never end: first ``data``, then ``more``. ``length``: is announced all the same."""

    def answer(request: Request) -> None:
        request.start(200, length, {"ETag": ETAG, "Transfer-Encoding": "chunked"})
        part = data
        while not request.server.forge.stopping.is_set():
            request.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
            part = more

    return answer


def answers_before(request: Request) -> None:
    """Answers before the answer (RFC 9110, section 15.2), which never comes."""
    while not request.server.forge.stopping.is_set():
        request.wfile.write(b"HTTP/1.1 100 Continue\r\n\r\n" * 100)


def trailed(data: bytes) -> Answer:
    """In one chunk, and a trailer without an end."""

    def answer(request: Request) -> None:
        request.start(200, None, {"ETag": ETAG, "Transfer-Encoding": "chunked"})
        request.wfile.write(b"%x\r\n%s\r\n0\r\n" % (len(data), data))
        while not request.server.forge.stopping.is_set():
            request.wfile.write(b"X-More: and more\r\n" * 100)

    return answer


def ranged_endless(data: bytes) -> Answer:
    """The range that was asked for, and what comes after it without an end."""

    def answer(request: Request) -> None:
        start = int(request.headers["Range"].removeprefix("bytes=").rstrip("-"))
        headers = {"ETag": ETAG, "Transfer-Encoding": "chunked"}
        headers["Content-Range"] = f"bytes {start}-{start + 9}/{len(data)}"
        request.start(206, None, headers)
        while not request.server.forge.stopping.is_set():
            request.wfile.write(b"10\r\n%s\r\n" % data[start : start + 16])

    return answer


def stalls(data: bytes = b"", *, length: int = 1000) -> Answer:
    """Sends some, and then nothing, until the forge stops."""

    def answer(request: Request) -> None:
        if data:
            request.start(200, length, {"ETag": ETAG})
            request.wfile.write(data)
            request.wfile.flush()
        request.server.forge.stopping.wait(60)

    return answer


def trickles(data: bytes) -> Answer:
    """A byte now and then."""

    def answer(request: Request) -> None:
        request.start(200, len(data), {"ETag": ETAG})
        for byte in data:
            request.wfile.write(bytes([byte]))
            request.wfile.flush()
            if request.server.forge.stopping.wait(0.05):
                return

    return answer


def paced(data: bytes, *, seconds: float) -> Answer:
    """A file that takes so long."""

    def answer(request: Request) -> None:
        request.start(200, len(data), {"ETag": ETAG})
        for start in range(0, len(data), len(data) // 20):
            request.wfile.write(data[start : start + len(data) // 20])
            request.server.forge.stopping.wait(seconds / 20)

    return answer


def hangs_up(request: Request) -> None:
    """Closes without a word."""
    request.connection.close()


def nonsense(request: Request) -> None:
    """Something that is not HTTP."""
    request.wfile.write(b"SSH-2.0-OpenSSH_9.2\r\n")
