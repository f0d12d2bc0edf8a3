"""A registry in memory, on loopback, that a test can have lose, lie and page."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from support.depots import serve_site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.depots import SiteRequest

REPOSITORY = "boot/nodes"
_PAGE = 2


@dataclass
class FakeRegistry:
    """``tags``: name → manifest; ``blobs``: digest → content. ``challenge`` is answered to who has no header
    of ``accepted``. ``before_list``: called, each once, when the tags are asked for. ``lost``: uploads.
    ``refused``: codes, each of which one PUT is answered by, with 400, and a blob is stored by somebody else.
    """

    url: str = ""
    tags: dict[str, bytes] = field(default_factory=dict)
    blobs: dict[str, bytes] = field(default_factory=dict)
    challenge: str | None = None
    accepted: str | None = None
    token: bytes = b'{"token": "t-1"}'
    deletes: bool = True
    immutable: bool = False
    lost: int = 0
    refused: list[str] = field(default_factory=list)
    broken: str = ""
    """What is asked for with this in its path is answered by 400."""
    before_list: list[Callable[[], object]] = field(default_factory=list)
    seen: list[tuple[str, str, str | None]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def address(self) -> str:
        """Of the repository, for ``--to``."""
        return f"oci+{self.url}/{REPOSITORY}"

    def answer(self, request: SiteRequest, body: bytes) -> None:
        parts = urlsplit(request.path)
        given = request.headers.get("Authorization")
        self.seen.append((request.command, request.path, given))
        if parts.path == "/token":
            request.reply(200, self.token)
            return
        if self.challenge is not None and given != self.accepted:
            request.reply(401, b"", {"WWW-Authenticate": self.challenge})
            return
        if self.broken and request.command == "GET" and self.broken in parts.path:
            request.reply(400, b"")
            return
        what, _, name = parts.path.removeprefix(f"/v2/{REPOSITORY}/").partition("/")
        match request.command, what:
            case "GET", "tags":
                self._list(request, parse_qs(parts.query).get("last", [""])[0])
            case _, "manifests":
                self._answer_manifest(request, name, body)
            case "POST", _:
                request.reply(202, b"", {"Location": f"/v2/{REPOSITORY}/blobs/uploads/1?state=x"})
            case "PUT", _:
                self._upload(request, parse_qs(parts.query)["digest"][0], body)
            case _:
                found = self.blobs.get(name)
                request.reply(404 if found is None else 200, found or b"")

    def _refuse(self, request: SiteRequest) -> bool:
        if not self.refused:
            return False
        errors = [{"code": self.refused.pop(0), "message": "refused"}]
        request.reply(400, json.dumps({"errors": errors}).encode())
        return True

    def _upload(self, request: SiteRequest, digest: str, body: bytes) -> None:
        if self._refuse(request):
            self.blobs[digest] = body
        elif self.lost:
            self.lost -= 1
            request.reply(404, b"")
        elif digest != f"sha256:{hashlib.sha256(body).hexdigest()}":
            request.reply(400, b"")
        else:
            self.blobs[digest] = body
            request.reply(201, b"")

    def _answer_manifest(self, request: SiteRequest, name: str, body: bytes) -> None:
        with self.lock:
            if request.command == "PUT":
                if self.immutable and name in self.tags:
                    request.reply(409, b"")
                    return
                if self._refuse(request):
                    return
                self.tags[name] = body
                request.reply(201, b"")
            elif request.command == "DELETE":
                known = name in self.tags
                if self.deletes:
                    self.tags.pop(name, None)
                request.reply((202 if known else 404) if self.deletes else 405, b"")
            else:
                found = self.tags.get(name)
                request.reply(404 if found is None else 200, found or b"")

    def _list(self, request: SiteRequest, last: str) -> None:
        if self.before_list:
            self.before_list.pop(0)()
        with self.lock:
            rest = sorted(tag for tag in self.tags if tag > last)
        if not self.tags:
            request.reply(404, b"")
            return
        link = f'</v2/{REPOSITORY}/tags/list?n={_PAGE}&last={rest[:_PAGE][-1]}>; rel="next"'
        more = {"Link": link} if len(rest) > _PAGE else {}
        request.reply(200, json.dumps({"name": REPOSITORY, "tags": rest[:_PAGE]}).encode(), more)


@contextlib.contextmanager
def start_fake_registry() -> Iterator[FakeRegistry]:
    """A registry for the length of the block."""
    registry = FakeRegistry()
    with serve_site(registry):
        yield registry
