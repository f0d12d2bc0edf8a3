"""Files by URI: whether one is there, and its beginning; asked for once each."""

from __future__ import annotations

import functools
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ectools.netboot.boot_files.binary import BinaryFacts, inspect_binary
from ectools.netboot.probe.simulate.contents import Contents, identify_contents
from ectools.netboot.probe.simulate.resolve import NO_NAME_SERVERS, NameServers, Resolver
from ectools.netboot.probe.simulate.silence import explain_silence
from ectools.netboot.probe.wire import http_probe, tftp
from ectools.netboot.probe.wire.packet_socket import LinkError
from ectools.redact import redact_tokens

if TYPE_CHECKING:
    from ipaddress import IPv4Address

    from ectools.netboot.probe.clients.exchange import Line
    from ectools.netboot.probe.faults import FaultCode

BEGINNING = 64 * 1024
"""Bytes of a file that are asked for where nobody needs more."""


class FetchState(StrEnum):
    """The result of asking for a file.

    ``UNRESOLVED``: its host's name has no address. ``UNKNOWN``: it was not asked for, or cannot be from here.
    """

    FOUND = "found"
    MISSING = "missing"
    REFUSED = "refused"
    SILENT = "silent"
    UNRESOLVED = "unresolved"
    UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """A file that was asked for. ``size`` in bytes, None if not known; ``head`` is its beginning, ``whole``
    that this is all of it.

    ``detail`` is the server's own word, or why nothing was asked. ``fault`` and ``remedy`` are set where more
    is known of a failure than the state says.
    """

    uri: str
    state: FetchState
    size: int | None = None
    head: bytes = b""
    whole: bool = False
    detail: str = ""
    fault: FaultCode | None = None
    remedy: str | None = None

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
"""``fetch(uri, headers={}, limit=BEGINNING, names=NO_NAME_SERVERS)``."""
FindDigest = Callable[..., str | None]
"""``find_digest(uri, headers, names=NO_NAME_SERVERS)`` → SHA-256 in hexadecimal, or None."""


class Fetcher:
    """The files of one probe, fetched over ``line``. ``names``: by which a host's name is resolved.

    Each URI is asked for once, by whatever thread comes first: ``_locks`` has one lock for each URI, held
    while it is asked for. Others that want it wait, and then find it in ``_known``.
    """

    def __init__(self, line: Line) -> None:
        self._line = line
        self._resolver = Resolver(line)
        self._known: dict[tuple[str, tuple[tuple[str, str], ...], NameServers], Fetched] = {}
        self._digests: dict[tuple[str, NameServers], str | None] = {}
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def __call__(
        self,
        uri: str,
        headers: Mapping[str, str] | None = None,
        limit: int = BEGINNING,
        names: NameServers = NO_NAME_SERVERS,
    ) -> Fetched:
        key = (uri, tuple(sorted((headers or {}).items())), names)
        with self._locks[uri]:
            known = self._known.get(key)
            if known is None or (
                known.state is FetchState.FOUND and not known.whole and len(known.head) < limit
            ):
                known = self._known[key] = self._fetch(uri, headers or {}, limit, names)
        return known

    def find_digest(
        self, uri: str, headers: Mapping[str, str], names: NameServers = NO_NAME_SERVERS
    ) -> str | None:
        """SHA-256 of all that HTTP gives, in lower-case hexadecimal; None where it cannot be had."""
        if not uri.startswith(("http://", "https://")):
            return None
        key = (uri, names)
        with self._locks[uri]:
            if key not in self._digests:
                reply = http_probe.read_http_digest(
                    uri, seconds=self._line.seconds, locate=self._bind_locate(names), headers=headers
                )
                self._digests[key] = reply.data.decode() if reply.status == 200 else None
        return self._digests[key]

    def _bind_locate(self, names: NameServers) -> http_probe.Locate:
        """For HTTP: the address of a host, and from which of ours it is asked."""

        def locate(host: str) -> tuple[IPv4Address, IPv4Address | None]:
            found = self._resolver.resolve(host, names)
            if found.address is None:
                raise OSError(found.detail)
            here = found.address in self._line.local
            return found.address, None if here else self._line.find_address(found.address)

        return locate

    def _fetch(self, uri: str, headers: Mapping[str, str], limit: int, names: NameServers) -> Fetched:
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
        server = self._resolver.resolve(host, names)
        if server.address is None:
            return Fetched(uri=uri, state=FetchState.UNRESOLVED, detail=server.detail, fault=server.fault)
        if parts.scheme == "tftp":
            fetched = self._fetch_tftp(uri, server.address, limit)
        else:
            fetched = self._fetch_http(uri, headers, limit, names)
        # Whose word it is that the name has this address: another server may have another one.
        detail = "; ".join(each for each in (fetched.detail, server.detail) if each)
        return replace(fetched, detail=detail)

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
            silence = explain_silence(self._line, server, reply)
            return Fetched(
                uri=uri,
                state=FetchState.SILENT,
                detail=silence.detail,
                fault=silence.fault,
                remedy=silence.remedy,
            )
        if reply.error is not None:
            return Fetched(uri=uri, state=FetchState.MISSING, size=reply.size, detail=reply.error)
        return Fetched(uri=uri, state=FetchState.FOUND, size=reply.size, head=reply.data, whole=reply.whole)

    def _fetch_http(self, uri: str, headers: Mapping[str, str], limit: int, names: NameServers) -> Fetched:
        reply = http_probe.read_http_beginning(
            uri,
            limit=limit,
            seconds=self._line.seconds,
            locate=self._bind_locate(names),
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
