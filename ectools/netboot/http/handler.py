"""A request → its reply: which file, under which conditions, which bytes of it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from http import HTTPStatus
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, Protocol

from aiohttp import ClientPayloadError, HttpVersion10, HttpVersion11

from ectools.netboot.http.cache import CachedFile
from ectools.netboot.http.conditional import Status, Validators, select
from ectools.netboot.http.files import Files
from ectools.netboot.http.listen import plain_address
from ectools.netboot.http.responses import FileReply, MemoryReply, Part
from ectools.netboot.http.settings import HEALTH_PATH
from ectools.netboot.http.webroot import RejectedError, WebRoot, build_validators, parse_target

if TYPE_CHECKING:
    from aiohttp import web
    from multidict import MultiMapping

    from ectools.netboot.http.responses import Delivery
    from ectools.netboot.http.settings import HttpSettings
    from ectools.netboot.http.webroot import OpenedFile
    from ectools.timers import Guard

_HEALTH = (HEALTH_PATH.removeprefix("/").encode(),)
_READ = frozenset({"GET", "HEAD"})
_ALL = _READ | {"POST"}
_METHODS = "only GET and HEAD are served"
_LATER = (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS)
_OCTETS = "application/octet-stream"
_TEXT = "text/plain; charset=utf-8"
# A cache between here and the client asks before it answers from its copy; types are not guessed.
_COMMON = {"Cache-Control": "no-cache", "Server": "ectools", "X-Content-Type-Options": "nosniff"}
_PRIVATE = {"Cache-Control": "no-store"}
_IMMUTABLE = {"Cache-Control": "public, max-age=31536000, immutable"}
# Other answers say nothing of the content: a file that is not there may be there tomorrow.
_OF_CONTENT = frozenset({200, 206, 304})
# Of what network boot serves, and the same on every machine. UEFI tells images by it (UEFI 2.10, 24.7).
_TYPES = {
    ".cfg": _TEXT,
    ".conf": _TEXT,
    ".efi": "application/efi",
    ".gz": "application/gzip",
    ".html": "text/html; charset=utf-8",
    ".img": "application/vnd.efi-img",
    ".ipxe": _TEXT,
    ".iso": "application/vnd.efi-iso",
    ".json": "application/json",
    ".md": _TEXT,
    ".sh": _TEXT,
    ".sha256": _TEXT,
    ".sig": "application/pgp-signature",
    ".txt": _TEXT,
    ".xz": "application/x-xz",
    ".zst": "application/zstd",
}


@dataclass(frozen=True, kw_only=True)
class RequestInfo:
    """A request as an access rule sees it. ``segments`` are those of its path, decoded."""

    peer: str
    method: str
    segments: tuple[bytes, ...]
    query: MultiMapping[str]
    headers: MultiMapping[str]


AccessCheck = Callable[[RequestInfo], None]
"""An access rule: returns where a request is allowed, and raises RejectedError (403, 404) where it is not."""


@dataclass(frozen=True, kw_only=True)
class Resource:
    """What stands at a path: the segments of a file below the root, or the content itself.

    ``on_complete`` is called once, with what became of the response, also where that is an error.
    ``content_type`` None: by the name. ``is_private``: it is for who asked alone, and no cache keeps it.
    ``is_immutable``: at this path stands this content for ever (RFC 8246), and whoever is asked may have it.
    """

    target: tuple[bytes, ...] | bytes
    content_type: str | None = None
    is_private: bool = False
    is_immutable: bool = False
    on_complete: Callable[[Delivery], None] | None = None


class Router(Protocol):
    """A lookup from requests to resources, in place of the directory's own layout."""

    async def find(self, info: RequestInfo) -> Resource:
        """What ``info`` asks for. Raises RejectedError."""
        ...

    async def report(self) -> Mapping[str, Any]:
        """Further fields of the health report, for whom the access rule allows."""
        ...


class Receiver(Protocol):
    """Who takes bodies (POST): of whom it has let in before one is read."""

    @property
    def max_bytes(self) -> int:
        """Bytes of the largest body that it takes at any path."""
        ...

    def bound(self, info: RequestInfo) -> int:
        """Bytes of the largest one that it takes at this path."""
        ...

    def is_for(self, info: RequestInfo) -> bool:
        """Whether bodies are taken at this path; else the method is none (405), whoever asks."""
        ...

    def admit(self, info: RequestInfo) -> None:
        """Returns where this one may come. Raises RejectedError."""
        ...

    async def receive(self, info: RequestInfo, body: bytes) -> bytes:
        """The answer, plain text. Raises RejectedError."""
        ...


class RequestHandler:
    """The responses to requests, from one directory, or from what ``router`` makes of it.

    ``receiver`` None: no request may have a body that is looked at. ``report`` gives further fields of the
    health report; ``guard`` logs and counts faults of this program.
    """

    def __init__(
        self,
        settings: HttpSettings,
        *,
        access_check: AccessCheck | None,
        router: Router | None,
        receiver: Receiver | None = None,
        report: Callable[[], Mapping[str, Any]],
        guard: Guard,
    ) -> None:
        self._settings = settings
        self._guard = guard
        self._access_check = access_check
        self._router = router
        self._receiver = receiver
        self._report = report
        self._root = WebRoot(settings.root, store=settings.store)
        self._files = Files(self._root)

    def check(self) -> None:
        """Raises InputError where the root cannot be served."""
        self._root.check()

    def close(self) -> None:
        self._files.close()

    async def is_root_there(self) -> bool:
        """Whether the root can be served now."""
        return await self._files.is_root_there()

    async def answer(self, request: web.BaseRequest, *, overload: bool) -> MemoryReply | FileReply:
        """The reply to ``request``, whatever it is. It may hold an open file: it must be sent."""
        resource = None
        try:
            info = _read_request_info(request, methods=_READ if self._receiver is None else _ALL)
            receiver = None if info.method in _READ else self._receiver
            if receiver is not None and not receiver.is_for(info):
                raise RejectedError(405, _METHODS)
            if info.segments == _HEALTH and receiver is None:
                return await self._report_health(info)
            if self._access_check is not None:
                self._access_check(info)
            if overload:
                raise RejectedError(503, "all connections are taken; try again")
            if receiver is not None:
                return await self._receive(request, info, receiver)
            resource = (
                Resource(target=info.segments) if self._router is None else await self._router.find(info)
            )
            reply = await self._answer(request, info, resource)
        except RejectedError as error:
            reply = self._reject(error)
        except Exception as error:
            self._guard.report(error)
            reply = self._reject(RejectedError(500, "a fault of the server"))
        if resource is not None:
            reply.on_complete = resource.on_complete
        return reply

    def count_wanted(self, request: web.BaseRequest) -> int:
        """How many bytes of a request's body may be read."""
        if self._receiver is None:
            return 0
        return min(_find_length(request) or 0, self._receiver.max_bytes)

    async def _receive(self, request: web.BaseRequest, info: RequestInfo, receiver: Receiver) -> MemoryReply:
        receiver.admit(info)
        length = _find_length(request)
        if length is None:
            raise RejectedError(411, "a Content-Length is needed")
        if length > (most := receiver.bound(info)):
            raise RejectedError(413, f"more than {most} bytes")
        if request.headers.get("Expect", "").lower() == "100-continue" and request.transport is not None:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")  # RFC 9110, section 10.1.1
        try:
            async with asyncio.timeout(self._settings.header_seconds):
                # aiohttp's reader of no body at all has not even nothing.
                body = await request.content.readexactly(length) if length else b""
        except TimeoutError as error:
            raise RejectedError(408, "the body did not come in time") from error
        except (asyncio.IncompleteReadError, ConnectionError, ClientPayloadError) as error:
            raise RejectedError(400, "the body has not come whole") from error
        answer = await receiver.receive(info, body)
        return MemoryReply(status=200, headers={"Content-Type": _TEXT, **_COMMON, **_PRIVATE}, body=answer)

    async def _answer(
        self, request: web.BaseRequest, info: RequestInfo, resource: Resource
    ) -> MemoryReply | FileReply:
        reply = await self._build_answer(request, info, resource)
        if resource.is_private:
            reply.headers.update(_PRIVATE)
        elif resource.is_immutable and reply.status in _OF_CONTENT:
            reply.headers.update(_IMMUTABLE)
        return reply

    async def _build_answer(
        self, request: web.BaseRequest, info: RequestInfo, resource: Resource
    ) -> MemoryReply | FileReply:
        if isinstance(resource.target, bytes):
            reply = self._reply(request, info.segments, describe_content(resource.target), resource.target)
            if resource.content_type is not None and "Content-Type" in reply.headers:
                reply.headers["Content-Type"] = resource.content_type
            return reply
        file = await self._files.get(resource.target)
        if isinstance(file, CachedFile):
            return self._reply(request, info.segments, file.validators, file.content)
        with contextlib.ExitStack() as cleanup:
            cleanup.callback(os.close, file.descriptor)
            validators = build_validators(file.status, now=time.time())
            answer = self._reply(request, info.segments, validators, file)
            if isinstance(answer, FileReply):
                cleanup.pop_all()
            return answer

    def _reply(
        self,
        request: web.BaseRequest,
        segments: tuple[bytes, ...],
        validators: Validators,
        source: bytes | OpenedFile,
    ) -> MemoryReply | FileReply:
        chosen = select(request.method, request.headers, validators)
        part = Part(start=chosen.start, size=validators.size)
        headers = {"ETag": validators.etag, "Accept-Ranges": "bytes", **_COMMON}
        if validators.last_modified is not None:
            headers["Last-Modified"] = validators.last_modified
        if chosen.status is Status.UNSATISFIABLE:
            headers["Content-Range"] = f"bytes */{validators.size}"
        if chosen.status not in (Status.WHOLE, Status.PARTIAL):
            return MemoryReply(status=chosen.status, headers=headers)
        headers["Content-Type"] = _TYPES.get(PurePath(os.fsdecode(segments[-1])).suffix.lower(), _OCTETS)
        if chosen.status is Status.PARTIAL:
            last = chosen.start + chosen.count - 1
            headers["Content-Range"] = f"bytes {chosen.start}-{last}/{validators.size}"
        if request.method == "HEAD":
            return MemoryReply(
                status=chosen.status, headers={**headers, "Content-Length": str(validators.size)}
            )
        if isinstance(source, bytes):
            body = source[chosen.start : chosen.start + chosen.count]
            return MemoryReply(status=chosen.status, headers=headers, body=body, part=part)
        return FileReply(status=chosen.status, headers=headers, file=source, part=part, count=chosen.count)

    async def _report_health(self, info: RequestInfo) -> MemoryReply:
        root_is_there, of_router = await asyncio.gather(
            self._files.is_root_there(), self._report_router(info)
        )
        # The router may say that it is less than well.
        body = {"status": "ok", "root": root_is_there, **self._report(), **of_router}
        if not root_is_there:
            body["status"] = "failed"
        return MemoryReply(
            status=200 if root_is_there else 503,
            headers={"Content-Type": "application/json", **_COMMON},
            body=json.dumps(body).encode() + b"\n",
        )

    async def _report_router(self, info: RequestInfo) -> Mapping[str, Any]:
        if self._router is None:
            return {}
        try:
            if self._access_check is not None:
                self._access_check(info)
        except RejectedError:
            return {}
        return await self._router.report()

    def _reject(self, error: RejectedError) -> MemoryReply:
        headers = {"Content-Type": _TEXT, **_COMMON}
        if error.status == HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = "GET, HEAD"
        if error.status in _LATER:
            headers["Retry-After"] = str(self._settings.choose_retry_after())
        body = error.message if error.document is None else json.dumps(error.document)
        if error.document is not None:
            headers["Content-Type"] = "application/json"
        reply = MemoryReply(status=error.status, headers=headers, body=f"{body}\n".encode())
        if error.status == HTTPStatus.SERVICE_UNAVAILABLE:
            reply.force_close()
        return reply


def _find_length(request: web.BaseRequest) -> int | None:
    """What a request says that its body has; None where it does not, because the body comes in chunks.

    aiohttp has looked at it: it is a number, and there is no other.
    """
    return None if "Transfer-Encoding" in request.headers else request.content_length


def _read_request_info(request: web.BaseRequest, *, methods: frozenset[str]) -> RequestInfo:
    """Raises RejectedError: 400, 405, 505."""
    if request.version not in (HttpVersion10, HttpVersion11):
        raise RejectedError(505, "only HTTP/1.0 and HTTP/1.1 are spoken")
    if request.method not in methods:
        raise RejectedError(405, _METHODS)
    if request.version == HttpVersion11 and len(request.headers.getall("Host", ())) != 1:
        raise RejectedError(400, "a request needs one Host field")  # RFC 9112, section 3.2
    return RequestInfo(
        peer=plain_address(request.remote or ""),
        method=request.method,
        segments=parse_target(request.raw_path),
        query=request.rel_url.query,
        headers=request.headers,
    )


def describe_content(content: bytes) -> Validators:
    """Validators of what is no file: it has no date, and its tag is made of what it holds."""
    tag = blake2b(content, digest_size=12).hexdigest()
    return Validators(size=len(content), etag=f'"{tag}"', modified=None)
