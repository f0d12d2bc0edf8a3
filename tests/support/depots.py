"""Servers that releases are published to, on loopback: a store of objects, and a forge by its API."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import itertools
import json
import re
import threading
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qs, unquote, urlsplit

from support.fetching import RETRY

from ectools.errors import EcError
from ectools.netboot.depot.interface import Publication, PublishedFile
from ectools.netboot.depot.opening import AnyDepot, open_depot
from ectools.netboot.settings.depot_address import parse_depot_address

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path


def open_at(address: str, *, token: str | None = None) -> AnyDepot:
    """The depot of that address, asked without much patience."""
    return open_depot(parse_depot_address(address), retry=RETRY, token=token)


def build_publication(
    directory: Path, tag: str = "boot-v1", text: str = "one", count: int = 3
) -> Publication:
    """Files of a release, whose content is made of ``text``, in the order in which they are put up."""
    directory.mkdir(parents=True, exist_ok=True)
    names = ["SHA256SUMS.txt", *(f"archive-{number}.tar.gz" for number in range(count)), "release.json"]
    files = []
    for name in names:
        path = directory / name
        path.write_text(f"{name} of {text}\n" * 500)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        files.append(PublishedFile(name=name, path=path, size=path.stat().st_size, sha256=digest))
    return Publication(tag=tag, files=tuple(files))


def at_once(*works: Callable[[], object]) -> list[object]:
    """What each gives, or the EcError that it raises; they begin together."""
    gate = threading.Barrier(len(works))
    results: list[object] = [None] * len(works)

    def run(number: int) -> None:
        gate.wait()
        try:
            results[number] = works[number]()
        except EcError as error:
            results[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(len(works))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def publish_at_once(
    reopen: Callable[[], AnyDepot], directory: Path, tag: str
) -> tuple[list[Publication], list[object]]:
    """Three publications of one tag, each by a depot of its own, and what became of each, as ``at_once``."""
    each = [build_publication(directory / f"{tag}-{name}", tag, name) for name in ("one", "two", "six")]
    return each, at_once(*(partial(reopen().publish, publication) for publication in each))


def move_at_once(
    reopen: Callable[[], AnyDepot], channel: str, moves: Sequence[bytes]
) -> tuple[bytes, list[object]]:
    """Where a channel was, and what became of each move from there, as ``publish_at_once``."""
    there = reopen().read_channel(channel)
    assert there is not None
    works = (partial(reopen().write_channel, channel, move, version=there.version) for move in moves)
    return there.data, at_once(*works)


def read_back(depot: AnyDepot, publication: Publication) -> list[bytes | None]:
    """What a depot has of a publication's files."""
    return [depot.read_file(publication.tag, file.name, limit=1 << 20) for file in publication.files]


@dataclass
class WebStore:
    """Objects by their paths, as RFC 9110 has them. ``heeds``: the conditions that it does not pass over.

    ``lies``: path → what is given in place of what was taken. ``puts`` are the paths that were written to.
    """

    url: str = ""
    heeds: frozenset[str] = frozenset({"If-None-Match"})
    objects: dict[str, bytes] = field(default_factory=dict)
    lies: dict[str, bytes] = field(default_factory=dict)
    puts: list[str] = field(default_factory=list)
    conflicts: int = 0
    """So many PUTs are answered by 409, and not done."""
    held: frozenset[str] = frozenset()
    """Paths whose PUTs are all answered so."""
    refused_by: int = 412
    """The status of a PUT whose condition is false."""
    hides: bool = False
    """What is not there is answered by 403, as Amazon does to who may not list."""
    broken: int = 0
    """So many GETs of what is there are answered by 503."""
    lost: set[str] = field(default_factory=set)
    """Paths whose next PUT is done, and answered by the end of the connection."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(self, request: SiteRequest, body: bytes) -> None:
        path = request.path
        with self.lock:
            there = self.lies.get(path, self.objects.get(path))
            if request.command == "PUT":
                status = self._put(request, path, body)
                if path in self.lost:
                    self.lost.discard(path)
                    request.connection.close()
                    return
                request.reply(status, b"")
            elif there is None:
                request.reply(403 if self.hides else 404, b"")
            elif request.command == "GET" and self.broken:
                self.broken -= 1
                request.reply(503, b"")
            else:
                request.reply(200, there, {"ETag": self._tag(there)})

    def _tag(self, data: bytes) -> str:
        return f'"{hashlib.md5(data).hexdigest()}"'

    def _put(self, request: SiteRequest, path: str, body: bytes) -> int:
        there = self.objects.get(path)
        if self.conflicts or path in self.held:
            self.conflicts = max(0, self.conflicts - 1)
            return 409
        if "If-None-Match" in self.heeds and request.headers.get("If-None-Match") and there is not None:
            return self.refused_by
        self.objects[path] = body
        self.puts.append(path)
        return 201 if there is None else 204


@dataclass
class ForgeApi:
    """One repository of a Forgejo. ``broken``: asset's name → it is kept truncated.

    Every answer is made under one lock, as the database's unique index makes those of a forge.
    """

    url: str = ""
    token: str = "forge-token"
    releases: dict[int, dict[str, Any]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    branches: set[str] = field(default_factory=set)
    assets: dict[int, bytes] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    doubled: set[str] = field(default_factory=set)
    failing: set[str] = field(default_factory=set)
    """Methods whose requests are done, or not (PATCH), and answered by 400."""
    is_old: bool = False
    """A Gitea that shows drafts to anybody; else who may write sees them."""
    shows_drafts: bool = False
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def address(self) -> str:
        """Of the repository, for ``--to``."""
        return f"forge:{self.url}/owner/name"

    def answer(self, request: SiteRequest, body: bytes) -> None:
        parts = urlsplit(request.path)
        if (found := re.fullmatch(r"/download/(\d+)", parts.path)) is not None:
            request.reply(200, self.assets[int(found[1])])
            return
        if request.command != "GET" and request.headers.get("Authorization") != f"token {self.token}":
            request.reply(401, b"")
            return
        path = parts.path.removeprefix("/api/v1/repos/owner/name/")
        with self.lock:
            self.shows_drafts = request.headers.get("Authorization") == f"token {self.token}" or self.is_old
            status, answer = self._find(request.command, path, parse_qs(parts.query), body)
            if request.command in self.failing:
                status, answer = 400, None
        request.reply(status, b"" if answer is None else json.dumps(answer).encode())

    def _find(self, method: str, path: str, query: dict[str, list[str]], body: bytes) -> tuple[int, Any]:
        routes: list[tuple[str, str, Callable[..., tuple[int, Any]]]] = [
            ("POST", r"releases", self._make_release),
            ("GET", r"releases/tags/(.+)", self._get_tag),
            ("GET", r"releases/(\d+)", self._get_release),
            ("PATCH", r"releases/(\d+)", self._publish),
            ("DELETE", r"releases/(\d+)", self._delete),
            ("POST", r"releases/(\d+)/assets", self._upload),
            ("DELETE", r"releases/(\d+)/assets/(\d+)", self._delete_asset),
            ("GET", r"branches/(.+)", self._get_branch),
            ("POST", r"branches", self._make_branch),
            ("GET", r"contents/(.+)", self._get_contents),
            ("POST", r"contents/(.+)", self._write_contents),
            ("PUT", r"contents/(.+)", self._write_contents),
        ]
        for verb, pattern, answer in routes:
            if verb == method and (found := re.fullmatch(pattern, path)) is not None:
                return answer(*map(unquote, found.groups()), query=query, body=body)
        return 404, {"message": "not found"}

    def _make_release(self, *, query: Any, body: bytes) -> tuple[int, Any]:
        raw = json.loads(body)
        if any(each["tag_name"] == raw["tag_name"] for each in self.releases.values()):
            return 409, {"message": "Release is has no Tag"}
        number = next(self.numbers)
        self.releases[number] = {**raw, "id": number, "assets": []}
        return 201, self.releases[number]

    def _get_tag(self, tag: str, *, query: Any, body: bytes) -> tuple[int, Any]:
        found = [each for each in self.releases.values() if each["tag_name"] == tag]
        found = [each for each in found if self.shows_drafts or not each["draft"]]
        return (200, found[0]) if found else (404, None)

    def _get_release(self, number: str, *, query: Any, body: bytes) -> tuple[int, Any]:
        return 200, self.releases[int(number)]

    def _publish(self, number: str, *, query: Any, body: bytes) -> tuple[int, Any]:
        if "PATCH" not in self.failing:
            self.releases[int(number)] |= json.loads(body)
        return 200, self.releases[int(number)]

    def _delete(self, number: str, *, query: Any, body: bytes) -> tuple[int, Any]:
        if "DELETE" not in self.failing:
            self.releases.pop(int(number), None)
        return 204, None

    def _upload(self, number: str, *, query: dict[str, list[str]], body: bytes) -> tuple[int, Any]:
        name = query["name"][0]
        for _ in range(2 if name in self.doubled else 1):
            asset = next(self.numbers)
            self.assets[asset] = body[:-1] if name in self.broken else body
            url = f"{self.url}/download/{asset}"
            size = len(self.assets[asset])
            listed = {"id": asset, "name": name, "size": size, "browser_download_url": url}
            self.releases[int(number)]["assets"].append(listed)
        return 201, listed

    def _delete_asset(self, number: str, asset: str, *, query: Any, body: bytes) -> tuple[int, Any]:
        release = self.releases[int(number)]
        release["assets"] = [each for each in release["assets"] if each["id"] != int(asset)]
        return 204, None

    def _get_branch(self, name: str, *, query: Any, body: bytes) -> tuple[int, Any]:
        return (200, {"name": name}) if name in self.branches else (404, None)

    def _make_branch(self, *, query: Any, body: bytes) -> tuple[int, Any]:
        self.branches.add(json.loads(body)["new_branch_name"])
        return 201, {}

    def _get_contents(self, path: str, *, query: dict[str, list[str]], body: bytes) -> tuple[int, Any]:
        if query["ref"][0] not in self.branches or path not in self.files:
            return 404, None
        data = self.files[path]
        return 200, {"sha": hashlib.sha1(data).hexdigest(), "content": base64.b64encode(data).decode()}

    def _write_contents(self, path: str, *, query: Any, body: bytes) -> tuple[int, Any]:
        raw = json.loads(body)
        if raw["branch"] not in self.branches:
            return 404, None
        there = self.files.get(path)
        if (None if there is None else hashlib.sha1(there).hexdigest()) != raw.get("sha"):
            return 422, {"message": "sha does not match"}
        self.files[path] = base64.b64decode(raw["content"])
        return 201, {}


class SiteRequest(BaseHTTPRequestHandler):
    """One request, which a site answers."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.server.site.answer(self, body)

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = do_DELETE = _answer  # noqa: N815 - the base class's names

    def reply(self, status: int, data: bytes, headers: dict[str, str] | None = None) -> None:
        """Send an answer, whole."""
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Nothing."""


class Site(Protocol):
    """What a server gives; ``url`` is filled in once it is there."""

    url: str

    def answer(self, request: SiteRequest, body: bytes) -> None: ...


class _Server(ThreadingHTTPServer):
    site: Site
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away is what some tests are about."""


@contextlib.contextmanager
def serve_site(site: Site) -> Iterator[None]:
    """A site's server, for the length of the block."""
    server = _Server(("127.0.0.1", 0), SiteRequest)
    server.site = site
    site.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def start_web_store(**fields: Any) -> Iterator[WebStore]:
    """A store of objects for the length of the block."""
    store = WebStore(**fields)
    with serve_site(store):
        yield store


@contextlib.contextmanager
def start_forge_api() -> Iterator[ForgeApi]:
    """A forge for the length of the block."""
    forge = ForgeApi()
    with serve_site(forge):
        yield forge
