"""An archive as one stream of bytes with its SHA-256, over as many connections as that takes."""

from __future__ import annotations

import os
import re
from hashlib import sha256
from typing import IO, TYPE_CHECKING, Protocol

from ectools.fetch.client import FetchError, TransientError
from ectools.fetch.web_page import is_page_type
from ectools.files import FileError, open_regular
from ectools.redact import redact_url

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

    from urllib3.response import BaseHTTPResponse

    from ectools.fetch.client import HttpClient
    from ectools.netboot.release.forge import Asset

READ_BYTES = 128 << 10
# A connection that carried as much as this was worth opening.
_PROGRESS_BYTES = 1 << 20
_CONTENT_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})", re.ASCII)


class Archive(Protocol):
    """Where an archive comes from. ``size`` is in bytes, and may become known only on the way."""

    name: str
    source: str
    size: int | None

    def chunks(self) -> Generator[bytes, None, None]:
        """Its content, once."""

    def sha256(self) -> str:
        """The hash of what ``chunks`` has given, in hexadecimal."""


class LocalArchive:
    """An archive in a file of this machine; it is read once."""

    def __init__(self, path: Path, *, size: int) -> None:
        self.name = path.name
        self.source = str(path)
        self.size: int | None = size
        self._path = path
        self._digest = sha256()

    def chunks(self) -> Generator[bytes, None, None]:
        """Raises FileError."""
        with os.fdopen(open_regular(self._path), "rb", buffering=0) as file:
            while chunk := self._read(file):
                self._digest.update(chunk)
                yield chunk

    def _read(self, file: IO[bytes]) -> bytes:
        try:
            return file.read(READ_BYTES)
        except OSError as error:
            raise FileError(f"{self._path}: cannot be read: {error.strerror}") from error

    def sha256(self) -> str:
        """In hexadecimal."""
        return self._digest.hexdigest()


class Download:
    """An asset of a forge's release. What has arrived is never asked for again, where the server can do that.

    A part from the middle is only joined to what came before where the server names both by one strong entity
    tag (RFC 9110, section 13.1.5); else the whole is read again, and its beginning must hash the same.
    """

    def __init__(self, client: HttpClient, asset: Asset) -> None:
        self.name = asset.name
        self.source = redact_url(asset.url)
        self.size = asset.size
        self._client = client
        self._url = asset.url
        self._headers = asset.headers
        self._etag: str | None = None
        self._received = 0
        self._digest = sha256()

    def sha256(self) -> str:
        """In hexadecimal."""
        return self._digest.hexdigest()

    def chunks(self) -> Generator[bytes, None, None]:
        """Raises FetchError once there is no further attempt, or where the file changed on the server."""
        failures, mark = 0, 0
        while True:
            try:
                for chunk in self._read_rest():
                    self._received += len(chunk)
                    self._digest.update(chunk)
                    yield chunk
                self._check_end()
            except TransientError as error:
                if self._received - mark >= _PROGRESS_BYTES:
                    failures = 0
                failures, mark = failures + 1, self._received
                self._client.wait(error, failures)
            else:
                return

    def _read_rest(self) -> Iterator[bytes]:
        headers = dict(self._headers)
        if self._received and self._etag is not None:
            headers |= {"Range": f"bytes={self._received}-", "If-Range": self._etag}
        with self._client.open(self._url, headers=headers, accept=(200, 206, 416)) as response:
            if response.status == 200:
                self._note(response)
                yield from self._skip(self._read(response, self.size))
                return
            matched = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
            changed = response.headers.get("ETag", self._etag) != self._etag
            if response.status == 416 or matched is None or changed:
                raise self._changed()
            first, last, size = map(int, matched.groups())
            if first != self._received or not first <= last < size or self.size not in (None, size):
                raise self._changed()
            # Known by now; and a server may give less than was asked for (RFC 9110, section 15.3.7).
            self.size = size
            yield from self._read(response, last + 1 - first)

    def _read(self, response: BaseHTTPResponse, size: int | None) -> Iterator[bytes]:
        return self._client.read_body(response, self._url, size=size)

    def _note(self, response: BaseHTTPResponse) -> None:
        """Take the entity tag and the length of a whole answer. Raises FetchError where they have changed."""
        etag = response.headers.get("ETag")
        if self._received and self._etag is not None and etag != self._etag:
            raise self._changed()
        self._etag = etag if etag and etag.startswith('"') else None
        length = response.length_remaining
        # Of a web page in the file's place more is known once it begins.
        is_page = is_page_type(response.headers.get("Content-Type"))
        if length is not None and self.size not in (None, length) and not is_page:
            raise FetchError(
                f"{self.source}: is {length} bytes long, and {self.size} were announced",
                hint="the file was replaced, or something in between changes it",
            )
        self.size = length if self.size is None else self.size

    def _skip(self, body: Iterator[bytes]) -> Iterator[bytes]:
        """What follows the part that is there already, which must be the same."""
        left, digest = self._received, sha256()
        for part in body:
            old, new = part[:left], part[left:]
            if old:
                digest.update(old)
                left -= len(old)
                if not left and digest.digest() != self._digest.digest():
                    raise self._changed()
            if new:
                yield new
        if left:
            raise self._changed()

    def _check_end(self) -> None:
        """For an answer that does not say how long it is."""
        if self.size is not None and self._received < self.size:
            raise TransientError(
                f"{self.source}: ended after {self._received} of {self.size} bytes", url=self._url
            )

    def _changed(self) -> FetchError:
        return FetchError(
            f"{self.source}: changed on the server during its download",
            hint="stage again, once whoever publishes it is done",
        )
