"""Files by URI: whether one is there, and its beginning; asked for once each."""

from __future__ import annotations

import functools
import ipaddress
import socket
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import IPv4Address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ectools.netboot.boot_files.binary import BinaryFacts, inspect_binary
from ectools.netboot.probe.simulate.contents import Contents, identify_contents
from ectools.netboot.probe.wire import http_probe, tftp
from ectools.netboot.probe.wire.packet_socket import LinkError
from ectools.redact import redact_tokens

if TYPE_CHECKING:
    from ectools.netboot.probe.clients.exchange import Line

BEGINNING = 64 * 1024
"""Bytes of a file that are asked for where nobody needs more."""


class FetchState(StrEnum):
    """The result of asking for a file. ``UNKNOWN``: it was not asked for, or cannot be from here."""

    FOUND = "found"
    MISSING = "missing"
    REFUSED = "refused"
    SILENT = "silent"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """A file that was asked for. ``size`` in bytes, None if not known; ``head`` is its beginning, ``whole``
    that this is all of it.

    ``detail`` is the server's own word, or why nothing was asked.
    """

    uri: str
    state: FetchState
    size: int | None = None
    head: bytes = b""
    whole: bool = False
    detail: str = ""

    @property
    def protocol(self) -> str:
        return self.uri.partition("://")[0]

    @property
    def shown(self) -> str:
        """The URI for people: without its token."""
        return redact_tokens(self.uri)

    # Several architectures load the same file, which is looked into once.

    @functools.cached_property
    def contents(self) -> Contents | None:
        """What it is, by its beginning; None where it was not found."""
        return identify_contents(self.head) if self.state is FetchState.FOUND else None

    @functools.cached_property
    def binary(self) -> BinaryFacts:
        """What it is as a boot binary, where it is whole."""
        return inspect_binary(self.head)


Fetch = Callable[..., Fetched]
"""``fetch(uri, headers={}, limit=BEGINNING)``."""
FindDigest = Callable[[str, Mapping[str, str]], str | None]
"""(URI, headers) → SHA-256 in hexadecimal, or None."""


class Fetcher:
    """The files of one probe, fetched over ``line``.

    Each URI is asked for once, by whatever thread comes first: ``_locks`` has one lock for each URI, held
    while it is asked for. Others that want it wait, and then find it in ``_known``.
    """

    def __init__(self, line: Line) -> None:
        self._line = line
        self._known: dict[tuple[str, tuple[tuple[str, str], ...]], Fetched] = {}
        self._digests: dict[str, str | None] = {}
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def __call__(self, uri: str, headers: Mapping[str, str] | None = None, limit: int = BEGINNING) -> Fetched:
        key = (uri, tuple(sorted((headers or {}).items())))
        with self._locks[uri]:
            known = self._known.get(key)
            if known is None or (
                known.state is FetchState.FOUND and not known.whole and len(known.head) < limit
            ):
                known = self._known[key] = self._fetch(uri, headers or {}, limit)
        return known

    def find_digest(self, uri: str, headers: Mapping[str, str]) -> str | None:
        """SHA-256 of all that HTTP gives, in lower-case hexadecimal; None where it cannot be had."""
        server = resolve_host(urlsplit(uri).hostname or "")
        if server is None or not uri.startswith(("http://", "https://")):
            return None
        with self._locks[uri]:
            if uri not in self._digests:
                reply = http_probe.read_http_digest(
                    uri, seconds=self._line.seconds, source=self._find_source(server), headers=headers
                )
                self._digests[uri] = reply.data.decode() if reply.status == 200 else None
        return self._digests[uri]

    def _find_source(self, server: IPv4Address) -> IPv4Address | None:
        return None if server in self._line.local else self._line.find_address(server)

    def _fetch(self, uri: str, headers: Mapping[str, str], limit: int) -> Fetched:
        try:
            parts = urlsplit(uri)
            host = parts.hostname or ""
        except ValueError as error:
            return Fetched(uri=uri, state=FetchState.UNKNOWN, detail=str(error))
        if parts.scheme not in {"tftp", "http", "https"}:
            return Fetched(
                uri=uri, state=FetchState.UNKNOWN, detail=f"{parts.scheme or 'it'}: not asked here"
            )
        if not self._line.interface.addresses:
            detail = "not asked: this interface has no IPv4 address (--lease takes one)"
            return Fetched(uri=uri, state=FetchState.UNKNOWN, detail=detail)
        server = resolve_host(host)
        if server is None:
            return Fetched(uri=uri, state=FetchState.SILENT, detail=f"this host cannot resolve {host!r}")
        if parts.scheme == "tftp":
            return self._fetch_tftp(uri, server, limit)
        return self._fetch_http(uri, server, headers, limit)

    def _fetch_tftp(self, uri: str, server: IPv4Address, limit: int) -> Fetched:
        # The name is what is left, byte for byte: TFTP knows no escapes and no query.
        name = uri.split("/", 3)[3] if uri.count("/") >= 3 else ""
        try:
            endpoint = self._line.open_endpoint(server)
            if endpoint is None:
                return Fetched(uri=uri, state=FetchState.UNKNOWN)
            with endpoint:
                reply = tftp.read_tftp_beginning(
                    endpoint, server, name, limit=limit, seconds=self._line.seconds
                )
        except LinkError as error:
            return Fetched(uri=uri, state=FetchState.SILENT, detail=error.message)
        if reply.silent:
            return Fetched(uri=uri, state=FetchState.SILENT, detail="no answer on UDP port 69")
        if reply.error is not None:
            return Fetched(uri=uri, state=FetchState.MISSING, size=reply.size, detail=reply.error)
        return Fetched(uri=uri, state=FetchState.FOUND, size=reply.size, head=reply.data, whole=reply.whole)

    def _fetch_http(self, uri: str, server: IPv4Address, headers: Mapping[str, str], limit: int) -> Fetched:
        reply = http_probe.read_http_beginning(
            uri,
            limit=limit,
            seconds=self._line.seconds,
            source=self._find_source(server),
            headers=headers,
        )
        detail = f"redirected to {redact_tokens(reply.redirected)}" if reply.redirected else ""
        if reply.status is None:
            return Fetched(uri=uri, state=FetchState.SILENT, detail=reply.error or "no answer")
        if reply.status in (200, 206):
            return Fetched(
                uri=uri,
                state=FetchState.FOUND,
                size=reply.size,
                head=reply.data,
                whole=reply.whole,
                detail=detail,
            )
        # 416: nothing satisfies a range of an empty file.
        if reply.status == 416:
            return Fetched(uri=uri, state=FetchState.FOUND, size=0, whole=True, detail=detail)
        text = reply.data[:200].decode("utf-8", "replace").strip().partition("\n")[0]
        said = f"HTTP status {reply.status}" + (f": {text}" if text.isprintable() and text else "")
        state = FetchState.REFUSED if reply.status in (401, 403) else FetchState.MISSING
        return Fetched(uri=uri, state=state, detail=said)


def resolve_host(host: str) -> IPv4Address | None:
    """The address of a host by this host's resolver; None where it has none."""
    try:
        return IPv4Address(host)
    except ipaddress.AddressValueError:
        pass
    try:
        found = socket.getaddrinfo(host, None, family=socket.AF_INET, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return None
    return IPv4Address(found[0][4][0])
