"""The beginning of a file over HTTP, with a range request, so that a server need not send all of it."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import re
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from ectools.netboot.protocols import PROBE_NAME

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from ipaddress import IPv4Address

_REDIRECTS = frozenset((301, 302, 303, 307, 308))
_MAX_REDIRECTS = 5
_MOST_SECONDS, _MOST_DIGEST_SECONDS = 60.0, 1800.0
_PART_BYTES = 1024 * 1024
_TOTAL = re.compile(r"bytes \d+-\d+/(\d+)")


@dataclass(frozen=True, kw_only=True)
class HttpReply:
    """``status`` is None where no answer came; ``error`` then says why. ``size`` is None if not told."""

    status: int | None
    error: str | None = None
    size: int | None = None
    data: bytes = b""
    whole: bool = False
    redirected: str | None = None


_Read = Callable[[http.client.HTTPResponse], HttpReply]
Locate = Callable[[str], "tuple[IPv4Address, IPv4Address | None]"]
"""Host → its address, and ours for talking to it, None for any. Raises OSError where it has none."""


def read_http_beginning(
    url: str, *, limit: int, seconds: float, locate: Locate, headers: Mapping[str, str]
) -> HttpReply:
    """GET the first ``limit`` bytes. ``seconds`` is for each step; redirects are followed, as iPXE does."""

    def read(response: http.client.HTTPResponse) -> HttpReply:
        data = response.read(limit)
        total = _TOTAL.fullmatch(response.getheader("Content-Range") or "")
        length = response.getheader("Content-Length") or ""
        size = int(total[1]) if total else int(length) if length.isascii() and length.isdigit() else None
        whole = len(data) == size if size is not None else len(data) < limit
        return HttpReply(status=response.status, size=size, data=data, whole=whole)

    ranged = {"Range": f"bytes=0-{limit - 1}", **headers}
    return _get(url, read, seconds=seconds, most=_MOST_SECONDS, locate=locate, headers=ranged)


def read_http_digest(url: str, *, seconds: float, locate: Locate, headers: Mapping[str, str]) -> HttpReply:
    """GET all of it, and keep its SHA-256 alone, as ``data`` in hexadecimal."""

    def read(response: http.client.HTTPResponse) -> HttpReply:
        digest, size = hashlib.sha256(), 0
        while part := response.read(_PART_BYTES):
            digest.update(part)
            size += len(part)
        return HttpReply(status=response.status, size=size, data=digest.hexdigest().encode(), whole=True)

    return _get(url, read, seconds=seconds, most=_MOST_DIGEST_SECONDS, locate=locate, headers=headers)


def _get(
    url: str,
    read: _Read,
    *,
    seconds: float,
    most: float,
    locate: Locate,
    headers: Mapping[str, str],
) -> HttpReply:
    redirected = None
    for _ in range(_MAX_REDIRECTS + 1):
        try:
            with _open(url, seconds=seconds, most=most, locate=locate, headers=headers) as response:
                location = response.getheader("Location") if response.status in _REDIRECTS else None
                if location is None:
                    return replace(read(response), redirected=redirected)
            url = redirected = urljoin(url, location)
        except (OSError, http.client.HTTPException, ValueError) as error:
            return HttpReply(status=None, error=str(error) or type(error).__name__, redirected=redirected)
        # A token is for the host that it was meant for.
        headers = {name: value for name, value in headers.items() if name == "Range"}
    return HttpReply(status=None, error=f"more than {_MAX_REDIRECTS} redirects", redirected=redirected)


@contextlib.contextmanager
def _open(
    url: str, *, seconds: float, most: float, locate: Locate, headers: Mapping[str, str]
) -> Iterator[http.client.HTTPResponse]:
    """The answer to a GET, its body unread. After ``most`` seconds it breaks off, however it drips."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"no URL: {url[:200]}")
    address, source = locate(parts.hostname)
    here = None if source is None else (str(source), 0)
    connection: http.client.HTTPConnection
    context: ssl.SSLContext | None = None
    if parts.scheme == "https":
        # iPXE trusts its own authorities, which are not known here: whether the file is there is asked alone.
        context = ssl._create_unverified_context()  # noqa: S323
        connection = http.client.HTTPSConnection(parts.hostname, parts.port, context=context)
    else:
        connection = http.client.HTTPConnection(parts.hostname, parts.port)
    target = parts._replace(scheme="", netloc="", fragment="").geturl() or "/"
    with contextlib.closing(connection):
        # It would ask this host's resolver.
        sock = socket.create_connection((str(address), connection.port), seconds, here)
        connection.sock = sock if context is None else _wrap(sock, context, parts.hostname)
        timer = threading.Timer(most, _break_off, [connection.sock])
        timer.daemon = True
        timer.start()
        try:
            connection.request(
                "GET", target, headers={"User-Agent": PROBE_NAME, "Connection": "close", **headers}
            )
            with connection.getresponse() as response:
                yield response
        finally:
            timer.cancel()


def _wrap(sock: socket.socket, context: ssl.SSLContext, host: str) -> ssl.SSLSocket:
    try:
        return context.wrap_socket(sock, server_hostname=host)
    except BaseException:
        sock.close()
        raise


def _break_off(sock: socket.socket) -> None:
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_RDWR)
