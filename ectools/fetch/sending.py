"""Requests that change something on a server: small answers, tried again, and led nowhere else."""

from __future__ import annotations

import contextlib
import hashlib
import io
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING

from ectools.fetch.client import FetchError, TransientError, read_steadily
from ectools.fetch.error_reason import find_reason, find_reason_hint
from ectools.files import FileError, open_regular
from ectools.redact import redact_url

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping

    from ectools.fetch.client import HttpClient
    from ectools.fetch.retry import RetryPolicy

_MAX_ANSWER = 1 << 20
_CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class SentReply:
    """A server's answer, whole. The names of ``headers`` are in lower case."""

    status: int
    headers: Mapping[str, str]
    data: bytes


@dataclass(frozen=True, kw_only=True)
class FileRange:
    """``size`` bytes of a file from ``offset`` on. ``check`` is called before each read, and may raise."""

    path: Path
    offset: int
    size: int
    check: Callable[[], None] = lambda: None

    def hash(self, *names: str) -> tuple[str, ...]:
        """Its hashes by these algorithms of ``hashlib``, in hexadecimal. Raises FileError."""
        digests = [hashlib.new(name, usedforsecurity=name != "md5") for name in names]
        with self.open() as file:
            while piece := file.read(_CHUNK):
                for digest in digests:
                    digest.update(piece)
        return tuple(digest.hexdigest() for digest in digests)

    @contextlib.contextmanager
    def open(self) -> Iterator[_RangeReader]:
        """Its bytes from the first on. Raises FileError."""
        with open(open_regular(self.path), "rb", buffering=0) as file:  # noqa: PTH123 - a descriptor
            file.seek(self.offset)
            yield _RangeReader(self, file)


class _RangeReader(io.RawIOBase):
    def __init__(self, part: FileRange, file: IO[bytes]) -> None:
        self._part = part
        self._file = file
        self._left = part.size

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        self._part.check()
        data = self._file.read(self._left if size < 0 else min(size, self._left))
        if not data and self._left and size:
            raise FileError(f"{self._part.path}: has become shorter while it was sent")
        self._left -= len(data)
        return data


def send(
    client: HttpClient,
    method: str,
    url: str,
    *,
    body: bytes | Path | FileRange | None = None,
    headers: Mapping[str, str] | None = None,
    accept: Collection[int],
    least_rate: int | None = None,
) -> SentReply:
    """The answer to a request, whose status is in ``accept``; ``body`` may be of a file, which is streamed.

    A request that failed for now is made again, as the client's ``retry`` has it: what was asked for may
    have been done before, so that only what may be asked twice is sent by this. A redirect is not followed:
    it would change something elsewhere. ``least_rate`` goes before the client's, in bytes a second of an
    answer. Raises FetchError.
    """
    retry = client.retry if least_rate is None else replace(client.retry, least_rate=least_rate)
    failures = 0
    while True:
        try:
            return _send_once(client, method, url, retry, body=body, headers=headers or {}, accept=accept)
        except TransientError as error:
            failures += 1
            client.wait(error, failures)


def _send_once(
    client: HttpClient,
    method: str,
    url: str,
    retry: RetryPolicy,
    *,
    body: bytes | Path | FileRange | None,
    headers: Mapping[str, str],
    accept: Collection[int],
) -> SentReply:
    with _open(body) as (content, size):
        length = {} if size is None else {"Content-Length": str(size)}
        response = client.start(method, url, {**length, **headers}, content)
        try:
            if response.status not in accept:
                if 300 <= response.status < 400:
                    reason = find_reason(response)
                    because = f": {reason}" if reason else ""
                    raise FetchError(
                        f"{redact_url(url)}: redirects a {method}, which is not followed{because}",
                        hint=find_reason_hint(reason) or "name the address that the server answers by itself",
                        status=response.status,
                    )
                client.reject(response, url, method)
            data = bytearray()
            for part in read_steadily(response, url, retry, size=None) if method != "HEAD" else ():
                data += part
                if len(data) > _MAX_ANSWER:
                    raise FetchError(f"{redact_url(url)}: its answer is larger than {_MAX_ANSWER} bytes")
            found = {name.lower(): value for name, value in response.headers.items()}
            return SentReply(status=response.status, headers=found, data=bytes(data))
        finally:
            response.close()


@contextlib.contextmanager
def _open(
    body: bytes | Path | FileRange | None,
) -> Iterator[tuple[bytes | IO[bytes] | io.RawIOBase | None, int | None]]:
    """What is sent, and its size in bytes."""
    if isinstance(body, FileRange):
        with body.open() as part:
            yield part, body.size
        return
    if not isinstance(body, Path):
        yield body, None if body is None else len(body)
        return
    with open(open_regular(body), "rb") as file:  # noqa: PTH123 - a descriptor
        yield file, body.stat().st_size
