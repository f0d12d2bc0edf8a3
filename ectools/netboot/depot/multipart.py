"""A large object of an S3 store, sent in parts (Amazon S3 API: CreateMultipartUpload and its fellows).

One PUT carries 5 GiB, and is sent anew where its connection ends; a part alone is. Parts are on their way
side by side, and what an interrupted publisher has sent, the next one goes on with: the store lists what it
has of an upload, and a part is the same where its entity tag is the MD5 of what would be sent. A store whose
tags are something else (encryption by a key of its own) is sent all again.

Who may write the object is decided before: by the sums, which name it by its hash, and which one PUT carries.
So ``If-None-Match`` on CompleteMultipartUpload, which some stores do not know there, guards against nothing
but a second writing of the same.
"""

from __future__ import annotations

import hashlib
import threading
import xml.etree.ElementTree as ET
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, unquote
from xml.sax.saxutils import escape

from ectools import log
from ectools.fetch.sending import FileRange, send
from ectools.fetch.sigv4 import CONTENT_SHA256
from ectools.netboot.depot.interface import DepotError
from ectools.redact import redact_url

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from concurrent.futures import Future

    from ectools.fetch.client import HttpClient
    from ectools.netboot.depot.interface import PublishedFile

_log = log.Log(__name__)

# Amazon S3, "Multipart upload limits".
_MAX_PARTS = 10_000
_MIB = 1 << 20
_MAX_PAGES = 2 * _MAX_PARTS // 1000
_AT_ONCE = 4
# 403: who may write objects may not list uploads everywhere; 405, 501: the store does not list them.
_NOT_LISTED = (403, 404, 405, 501)
_NO_UPLOAD = 404
COMPLETED = 200


class _Part(NamedTuple):
    number: int
    etag: str
    size: int


@dataclass(frozen=True, kw_only=True)
class MultipartUploads:
    """How a store is sent large objects: those above ``above`` bytes, in parts of ``part_size`` at least.

    ``bucket_url`` is the bucket's URL, without a slash at its end.
    """

    bucket_url: str
    above: int = 256 * _MIB
    part_size: int = 64 * _MIB

    def upload(self, client: HttpClient, url: str, file: PublishedFile) -> int:
        """Send a file to where there is nothing, and give the status of the end: COMPLETED, 409, 412, or 404.

        404: the upload has been ended by somebody else, who may have sent the same. Raises FetchError,
        DepotError, FileError; then what was sent stays there, for the next one.
        """
        number, there = self._resume(client, url)
        if number is None:
            reply = send(client, "POST", f"{url}?uploads", headers=_EMPTY, accept=(200,))
            number = _text(_parse(reply.data, url), "UploadId", url)
        upload = f"{url}?uploadId={quote(number, safe='')}"
        parts = self._send_parts(client, upload, file, there)
        if parts is None:
            return _NO_UPLOAD
        status = _complete(client, url, upload, parts)
        if status not in (COMPLETED, _NO_UPLOAD):
            send(client, "DELETE", upload, headers=_EMPTY, accept=(200, 204, 404))
        return status

    def _resume(self, client: HttpClient, url: str) -> tuple[str | None, Mapping[int, _Part]]:
        """An upload of this object that was interrupted, and its parts; None where there is none."""
        key = unquote(url.removeprefix(f"{self.bucket_url}/"))
        listing = f"{self.bucket_url}?uploads&prefix={quote(key, safe='')}"
        reply = send(client, "GET", listing, headers=_EMPTY, accept=(200, *_NOT_LISTED))
        if reply.status != 200:
            return None, {}
        uploads = [
            (_find(each, "Initiated"), _find(each, "UploadId"))
            for each in _each(_parse(reply.data, url), "Upload")
            if _find(each, "Key") == key
        ]
        number = max(uploads, default=("", ""))[1]
        if not number:
            return None, {}
        listed = list(_list_parts(client, url, number))
        # SeaweedFS lists a part that was sent twice, and differed, twice: which one is it?
        times = Counter(part.number for part in listed)
        parts = {part.number: part for part in listed if times[part.number] == 1}
        _log.info("an upload that was interrupted goes on", url=redact_url(url), parts=len(parts))
        return number, parts

    def _send_parts(
        self, client: HttpClient, upload: str, file: PublishedFile, there: Mapping[int, _Part]
    ) -> list[_Part] | None:
        """All parts, each on its own connection; None where the upload is there no more."""
        stopping = threading.Event()

        def check() -> None:
            if stopping.is_set():
                raise DepotError(f"{file.path}: is sent no further: another part of it was refused")

        def start(number: int, offset: int, size: int) -> _Part | None:
            part = FileRange(path=file.path, offset=offset, size=size, check=check)
            return _send_part(client, upload, part, number=number, there=there.get(number))

        with ThreadPoolExecutor(max_workers=_AT_ONCE, thread_name_prefix="part") as pool:
            futures = [pool.submit(start, *each) for each in self.cut(file.size)]
            try:
                parts = _wait(futures)
            except BaseException:
                stopping.set()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
            if parts is None:
                stopping.set()
                pool.shutdown(wait=False, cancel_futures=True)
        return parts

    def cut(self, size: int) -> Iterator[tuple[int, int, int]]:
        """Number, offset and size of each part; the numbers begin with 1."""
        length = self.part_size
        if length * _MAX_PARTS < size:
            length = -(-size // _MAX_PARTS // _MIB) * _MIB
        for number, offset in enumerate(range(0, size, length), start=1):
            yield number, offset, min(length, size - offset)


_EMPTY = {CONTENT_SHA256: hashlib.sha256(b"").hexdigest()}


def _wait(futures: list[Future[_Part | None]]) -> list[_Part] | None:
    parts = []
    for future in futures:
        if (part := future.result()) is None:
            return None
        parts.append(part)
    return parts


def _send_part(
    client: HttpClient, upload: str, part: FileRange, *, number: int, there: _Part | None
) -> _Part | None:
    """A part that is there now; None where its upload is there no more. Raises FetchError, DepotError."""
    sha256, md5 = part.hash("sha256", "md5")
    if there is not None and (there.size, there.etag.strip('"')) == (part.size, md5):
        return there
    reply = send(
        client,
        "PUT",
        f"{upload}&partNumber={number}",
        body=part,
        headers={CONTENT_SHA256: sha256},
        accept=(200, _NO_UPLOAD),
    )
    if reply.status == _NO_UPLOAD:
        return None
    etag = reply.headers.get("etag", "")
    if not etag:
        raise DepotError(f"{redact_url(upload)}: the store has taken a part, and names none: no entity tag")
    return _Part(number=number, etag=etag, size=part.size)


def _complete(client: HttpClient, url: str, upload: str, parts: list[_Part]) -> int:
    listed = "".join(
        f"<Part><PartNumber>{part.number}</PartNumber><ETag>{escape(part.etag)}</ETag></Part>"
        for part in parts
    )
    body = f'<CompleteMultipartUpload xmlns="{_NAMESPACE}">{listed}</CompleteMultipartUpload>'.encode()
    headers = {
        CONTENT_SHA256: hashlib.sha256(body).hexdigest(),
        "Content-Type": "application/xml",
        "If-None-Match": "*",
    }
    accept = (COMPLETED, 400, _NO_UPLOAD, 409, 412)
    # While it joins them, it sends white space as slowly as it likes ("CompleteMultipartUpload").
    reply = send(client, "POST", upload, body=body, headers=headers, accept=accept, least_rate=0)
    if reply.status not in (COMPLETED, 400):
        return reply.status
    # "A request could receive an initial 200 OK response and still fail": the answer says so at its end.
    answer = _parse(reply.data, url)
    if _name(answer) == "Error":
        code = _find(answer, "Code")
        if code == "PreconditionFailed":
            return 412
        if code == "ConditionalRequestConflict":
            return 409
        raise DepotError(f"{redact_url(url)}: the store has not joined the parts: {code[:100]}")
    return COMPLETED


_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"


def _list_parts(client: HttpClient, url: str, number: str) -> Iterator[_Part]:
    upload, marker = f"{url}?uploadId={quote(number, safe='')}", ""
    for _ in range(_MAX_PAGES):
        asked = f"{upload}&part-number-marker={marker}" if marker else upload
        reply = send(client, "GET", asked, headers=_EMPTY, accept=(200, *_NOT_LISTED))
        if reply.status != 200:
            return
        answer = _parse(reply.data, url)
        for each in _each(answer, "Part"):
            found, size = _find(each, "PartNumber"), _find(each, "Size")
            if found.isdecimal() and size.isdecimal():
                yield _Part(number=int(found), etag=_find(each, "ETag"), size=int(size))
        marker = _find(answer, "NextPartNumberMarker")
        if _find(answer, "IsTruncated") != "true" or not marker.isdecimal():
            return


def _parse(data: bytes, url: str) -> ET.Element:
    """An answer's root. Raises DepotError."""
    bad = DepotError(f"{redact_url(url)}: the store's answer is not what S3 answers: no XML")
    # Entities are declared in a document type alone, and no answer has one.
    if b"<!DOCTYPE" in data or b"\0" in data:
        raise bad
    try:
        return ET.fromstring(data.lstrip())  # noqa: S314 - bounded, and without entities
    except (ET.ParseError, LookupError, ValueError) as error:  # the latter two: of its encoding
        raise bad from error


def _name(element: ET.Element) -> str:
    """Without its namespace, which not every store has."""
    return element.tag.rpartition("}")[2]


def _each(element: ET.Element, name: str) -> list[ET.Element]:
    return [each for each in element if _name(each) == name]


def _find(element: ET.Element, name: str) -> str:
    """The text of a child; empty where there is none."""
    return next((each.text or "" for each in _each(element, name)), "").strip()


def _text(element: ET.Element, name: str, url: str) -> str:
    if not (text := _find(element, name)):
        raise DepotError(f"{redact_url(url)}: the store's answer is not what S3 answers: no {name}")
    return text
