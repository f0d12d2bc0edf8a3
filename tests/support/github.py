"""One repository of a GitHub Enterprise Server, on loopback, by the documented shapes of its REST API.

The members of a release and of a file are those of the documentation's own example ("Get a release by tag
name"), and what is asked of each request is what its page says.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import itertools
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

from support.depots import serve_site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.depots import SiteRequest

_REPO = "/api/v3/repos/owner/name"
_DOWNLOADS = "/owner/name/releases/download"
_Answer = tuple[int, Any]


@dataclass
class GitHubApi:
    """``is_private``: nothing is read without the token. ``uploads_at``: the host that files are said to go
    to, in place of its own. ``before_finish`` is called once, before a draft is published. ``lets_two``: one
    whose tag is taken is published too, as where two are published at once; the first has the tag.
    """

    url: str = ""
    token: str = "github-token"
    is_private: bool = False
    uploads_at: str | None = None
    lets_two: bool = False
    refuses: set[str] = field(default_factory=set)
    """Methods that are answered by 403, as to a token without that right."""
    finished: list[int] = field(default_factory=list)
    releases: dict[int, dict[str, Any]] = field(default_factory=dict)
    assets: dict[int, bytes] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=lambda: {"main": "c" * 40})
    before_finish: list[Callable[[], object]] = field(default_factory=list)
    seen: list[tuple[str, str, str | None]] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    lock: threading.RLock = field(default_factory=threading.RLock)

    @property
    def address(self) -> str:
        """Of the repository, for ``--to``."""
        return f"github:{self.url}/owner/name"

    def answer(self, request: SiteRequest, body: bytes) -> None:
        parts = urlsplit(request.path)
        given = request.headers.get("Authorization")
        self.seen.append((request.command, parts.path, given))
        known = given == f"token {self.token}"
        if (found := re.fullmatch(r"/storage/(\d+)", parts.path)) is not None:
            # Signed, and refused with a token beside its signature.
            request.reply(400 if given else 200, b"" if given else self.assets[int(found[1])])
        elif request.command != "GET" and not known:
            request.reply(401, b'{"message": "Requires authentication"}')
        elif self.is_private and not known:
            request.reply(404, b'{"message": "Not Found"}')
        elif (found := re.fullmatch(rf"{_REPO}/releases/assets/(\d+)", parts.path)) is not None:
            self._give_asset(request, int(found[1]))
        elif (found := re.fullmatch(_DOWNLOADS + r"/[^/]+/(\d+)-.+", parts.path)) is not None:
            request.reply(
                404 if self.is_private else 302, b"", {"Location": f"{self.url}/storage/{found[1]}"}
            )
        elif request.command in self.refuses:
            request.reply(403, b'{"message": "Resource not accessible by personal access token"}')
        else:
            if self.before_finish and request.command == "PATCH":
                self.before_finish.pop()()
            with self.lock:
                status, found_answer = self._find(
                    request.command, unquote(parts.path), parse_qs(parts.query), body
                )
            request.reply(status, b"" if found_answer is None else json.dumps(found_answer).encode())

    def _give_asset(self, request: SiteRequest, number: int) -> None:
        if request.headers.get("Accept") != "application/octet-stream":
            request.reply(200, b'{"id": %d}' % number)
            return
        request.reply(
            302, b"", {"Location": f"{self.url.replace('127.0.0.1', 'localhost')}/storage/{number}"}
        )

    def _find(self, method: str, path: str, query: dict[str, list[str]], body: bytes) -> _Answer:
        uploaded = re.fullmatch(r"/api/uploads/repos/owner/name/releases/(\d+)/assets", path)
        if uploaded is not None and method == "POST":
            return self._upload(int(uploaded[1]), query["name"][0], body)
        # A file may begin as JSON does: one signature in 256.
        raw: Any = json.loads(body) if body and method != "GET" else None
        routes: list[tuple[str, str, Callable[..., _Answer]]] = [
            ("GET", "", lambda: (200, {"default_branch": "main", "private": self.is_private})),
            ("POST", "/releases", lambda: self._make(raw)),
            ("GET", r"/releases/tags/(.+)", self._get_tag),
            ("GET", r"/releases/(\d+)", lambda number: (200, self.releases[int(number)])),
            ("GET", r"/releases/latest", self._get_latest),
            ("PATCH", r"/releases/(\d+)", lambda number: self._edit(int(number), raw)),
            ("DELETE", r"/releases/(\d+)", self._delete),
            ("GET", r"/branches/(.+)", self._get_branch),
            ("GET", r"/git/ref/heads/(.+)", self._get_ref),
            ("POST", r"/git/refs", lambda: self._make_ref(raw)),
            ("GET", r"/contents/(.+)", lambda name: self._get_contents(name, query)),
            ("PUT", r"/contents/(.+)", lambda name: self._put_contents(name, raw)),
        ]
        for verb, pattern, answer in routes:
            if verb == method and (found := re.fullmatch(_REPO + pattern, path)) is not None:
                return answer(*found.groups())
        return 404, {"message": "Not Found"}

    def _make(self, raw: dict[str, Any]) -> _Answer:
        """ "Create a release": a draft is no tag yet, so there may be several."""
        number = next(self.numbers)
        base = f"{self.url}{_REPO}/releases/{number}"
        uploads = self.uploads_at or f"{self.url}/api/uploads"
        self.releases[number] = {
            "url": base,
            "assets_url": f"{base}/assets",
            "upload_url": f"{uploads}/repos/owner/name/releases/{number}/assets{{?name,label}}",
            "id": number,
            "tag_name": raw["tag_name"],
            "target_commitish": "main",
            "name": raw["name"],
            "draft": raw["draft"],
            "prerelease": False,
            "assets": [],
        }
        return 201, self.releases[number]

    def _is_taken(self, tag: str, *, by: int | None = None) -> bool:
        return any(
            each["tag_name"] == tag and not each["draft"] and number != by
            for number, each in self.releases.items()
        )

    def _edit(self, number: int, raw: dict[str, Any]) -> _Answer:
        if self._is_taken(raw["tag_name"], by=number) and not self.lets_two:
            fault = {"resource": "Release", "code": "already_exists", "field": "tag_name"}
            return 422, {"message": "Validation Failed", "errors": [fault]}
        self.releases[number] |= raw
        self.finished.append(number)
        return 200, self.releases[number]

    def _get_tag(self, tag: str) -> _Answer:
        published = [self.releases[number] for number in self.finished if number in self.releases]
        found = [each for each in published if each["tag_name"] == tag and not each["draft"]]
        return (200, found[0]) if found else (404, {"message": "Not Found"})

    def _get_latest(self) -> _Answer:
        found = [each for each in self.releases.values() if not each["draft"]]
        return (200, found[-1]) if found else (404, {"message": "Not Found"})

    def _delete(self, number: str) -> _Answer:
        self.releases.pop(int(number), None)
        return 204, None

    def _upload(self, number: int, name: str, body: bytes) -> _Answer:
        release = self.releases[number]
        if any(asset["name"] == name for asset in release["assets"]):
            return 422, {"message": "Validation Failed", "errors": [{"code": "already_exists"}]}
        asset = next(self.numbers)
        self.assets[asset] = body
        listed = {
            "url": f"{self.url}{_REPO}/releases/assets/{asset}",
            "browser_download_url": f"{self.url}{_DOWNLOADS}/{release['tag_name']}/{asset}-{name}",
            "id": asset,
            "name": name,
            "label": "",
            "state": "uploaded",
            "content_type": "application/octet-stream",
            "size": len(body),
            "digest": f"sha256:{hashlib.sha256(body).hexdigest()}",
        }
        release["assets"].append(listed)
        return 201, listed

    def _get_branch(self, name: str) -> _Answer:
        return (200, {"name": name}) if name in self.branches else (404, {"message": "Branch not found"})

    def _get_ref(self, name: str) -> _Answer:
        if name not in self.branches:
            return 404, {"message": "Not Found"}
        return 200, {"ref": f"refs/heads/{name}", "object": {"type": "commit", "sha": self.branches[name]}}

    def _make_ref(self, raw: dict[str, Any]) -> _Answer:
        name = raw["ref"].removeprefix("refs/heads/")
        if name in self.branches:
            return 422, {"message": "Reference already exists"}
        if raw["sha"] not in self.branches.values():
            return 422, {"message": "Object does not exist"}
        self.branches[name] = raw["sha"]
        return 201, {"ref": raw["ref"]}

    def _get_contents(self, name: str, query: dict[str, list[str]]) -> _Answer:
        if query["ref"][0] not in self.branches or name not in self.files:
            return 404, {"message": "Not Found"}
        data = self.files[name]
        # In lines, as GitHub has it.
        return 200, {
            "sha": _blob_sha(data),
            "encoding": "base64",
            "content": base64.encodebytes(data).decode(),
        }

    def _put_contents(self, name: str, raw: dict[str, Any]) -> _Answer:
        there = self.files.get(name)
        if there is not None and "sha" not in raw:
            return 422, {"message": 'Invalid request.\n\n"sha" wasn\'t supplied.'}
        if (None if there is None else _blob_sha(there)) != raw.get("sha"):
            return 409, {"message": f"{name} does not match"}
        self.files[name] = base64.b64decode(raw["content"])
        return 200 if there else 201, {}


def _blob_sha(data: bytes) -> str:
    return hashlib.sha1(b"blob %d\0%s" % (len(data), data)).hexdigest()


@contextlib.contextmanager
def start_github_api() -> Iterator[GitHubApi]:
    """A forge for the length of the block."""
    forge = GitHubApi()
    with serve_site(forge):
        yield forge
