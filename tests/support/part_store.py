"""A bucket that takes objects in parts, on loopback, and answers what a test has it answer instead."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape

from support.depots import serve_site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.depots import SiteRequest

_PAGE = 2


@dataclass
class PartStore:
    """``uploads``: id → (key, number → part). ``instead``: a request's name → what is answered, once each."""

    url: str = ""
    objects: dict[str, bytes] = field(default_factory=dict)
    uploads: dict[str, tuple[str, dict[int, bytes]]] = field(default_factory=dict)
    instead: dict[str, list[tuple[int, bytes]]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    names_parts: bool = True
    twice: set[int] = field(default_factory=set)
    """Numbers that are listed twice, as SeaweedFS does of a part that was sent anew."""
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def answer(self, request: SiteRequest, body: bytes) -> None:
        parts = urlsplit(request.path)
        query = parse_qs(parts.query, keep_blank_values=True)
        what = self._name(request.command, query)
        self.asked.append(what)
        if self.instead.get(what):
            request.reply(*self.instead[what].pop(0))
            return
        upload = query.get("uploadId", [""])[0]
        if upload and upload not in self.uploads:
            request.reply(404, b"<Error><Code>NoSuchUpload</Code></Error>")
            return
        key = parts.path.removeprefix("/boot/")
        match what:
            case "list":
                found = sorted(name for name, (of, _) in self.uploads.items() if of == query["prefix"][0])
                listed = "".join(
                    f"<Upload><Key>{query['prefix'][0]}</Key><UploadId>{name}</UploadId>"
                    f"<Initiated>{name}</Initiated></Upload>"
                    for name in found
                )
                self._say(request, "ListMultipartUploadsResult", listed)
            case "create":
                name = f"upload/{next(self.numbers)}"
                self.uploads[name] = key, {}
                self._say(request, "InitiateMultipartUploadResult", f"<UploadId>{name}</UploadId>")
            case "parts":
                self._list_parts(
                    request, self.uploads[upload][1], int(query.get("part-number-marker", ["0"])[0])
                )
            case "part":
                self.uploads[upload][1][int(query["partNumber"][0])] = body
                request.reply(200, b"", {"ETag": _tag(body)} if self.names_parts else {})
            case "abort":
                del self.uploads[upload]
                request.reply(204, b"")
            case "complete":
                if key in self.objects:
                    request.reply(412, b"")
                    return
                self.objects[key] = b"".join(part for _, part in sorted(self.uploads.pop(upload)[1].items()))
                self._say(request, "CompleteMultipartUploadResult", "")
            case _:
                request.reply(*((200, self.objects[key]) if key in self.objects else (404, b"")))

    def _name(self, method: str, query: dict[str, list[str]]) -> str:
        if "uploads" in query:
            return {"GET": "list", "POST": "create"}[method]
        if "uploadId" in query:
            return {"GET": "parts", "PUT": "part", "DELETE": "abort", "POST": "complete"}[method]
        return method

    def _list_parts(self, request: SiteRequest, parts: dict[int, bytes], after: int) -> None:
        """A page of them."""
        rest = sorted(number for number in parts if number > after)
        listed = "".join(
            f"<Part><PartNumber>{number}</PartNumber><ETag>{escape(_tag(parts[number]))}</ETag>"
            f"<Size>{len(parts[number])}</Size></Part>"
            for number in rest[:_PAGE]
            for _ in range(2 if number in self.twice else 1)
        )
        more = f"<NextPartNumberMarker>{rest[_PAGE - 1]}</NextPartNumberMarker>" if len(rest) > _PAGE else ""
        is_cut = "true" if more else "false"
        self._say(request, "ListPartsResult", f"{listed}{more}<IsTruncated>{is_cut}</IsTruncated>")

    def _say(self, request: SiteRequest, name: str, content: str) -> None:
        namespace = "http://s3.amazonaws.com/doc/2006-03-01/"
        request.reply(200, f'<?xml version="1.0"?><{name} xmlns="{namespace}">{content}</{name}>'.encode())


def _tag(data: bytes) -> str:
    return f'"{hashlib.md5(data).hexdigest()}"'


@contextlib.contextmanager
def start_part_store() -> Iterator[PartStore]:
    """A store for the length of the block."""
    store = PartStore()
    with serve_site(store):
        yield store
