"""A forge as a depot, by the API that Forgejo and Gitea share (Forgejo 7, Gitea 1.22, and later);
``github_depot`` says what GitHub does otherwise.

A release is made as a draft, filled, and then published: the forge has one release of a tag, so that whoever
makes the draft has it (repoCreateRelease: 409). By its tag a draft is given to whoever may write, by an
older Gitea to anybody: what it says of itself, ``draft``, decides. A channel is a file of the branch
``channels``, which is changed by naming the blob that it replaces (repoUpdateFile).
"""

from __future__ import annotations

import base64
import contextlib
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from ectools import log
from ectools.errors import EcError, InputError
from ectools.fetch.client import FetchError
from ectools.fetch.hashing import hash_file
from ectools.fetch.sending import send
from ectools.files import parse_json
from ectools.netboot.depot.interface import DEPOT_CHANNELS, ChannelFile, DepotError, moved, taken

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ectools.fetch.client import HttpClient
    from ectools.fetch.sending import SentReply
    from ectools.netboot.depot.interface import Publication, PublishedFile
    from ectools.netboot.settings.depot_address import ForgeAddress

_log = log.Log(__name__)

BRANCH = "channels"
_MAX_JSON = 4 << 20
_JSON = {"Content-Type": "application/json"}
# 409: there is one; 422: what is said to be there is not (routers/api/v1/repo/file.go of both).
REJECTED_CHANGE = (409, 422)


class ForgeDepot:
    """The releases of one repository.

    ``puts_new_files``: a file is made by the request that changes one.
    """

    puts_new_files = False

    def __init__(self, client: HttpClient, address: ForgeAddress) -> None:
        self.client = client
        self.where = str(address)
        self.api = f"{address.api}/repos/{quote(address.repo)}"

    def publish(self, publication: Publication) -> bool:
        """See ``Depot``. A draft that is not finished is removed again."""
        draft = self.make_draft(publication.tag)
        if draft is None:
            return self._compare(publication)
        number = find_field(draft, "id", int, self.where)
        try:
            for file in publication.files:
                self.upload(draft, number, file)
            self._check_assets(number, publication)
        except BaseException:
            self._remove_draft(number)
            raise
        # From here on it may be seen, whatever becomes of the answer: what may be published is not removed.
        if not self.finish(number, publication.tag):
            # Where a forge lets there be two drafts of a tag, the second one is told so here. It may have
            # been published all the same, beside the one that has the tag, and is nobody else's.
            self._remove(number, publication.tag)
            return self._compare(publication)
        return True

    def make_draft(self, tag: str) -> bytes | None:
        """The description of a draft that is made; None where there is a release of the tag, or a draft."""
        body = {"tag_name": tag, "name": tag, "draft": True}
        reply = self.send("POST", "releases", body, accept=(201, 409))
        return None if reply.status == 409 else reply.data

    def upload(self, draft: bytes, number: int, file: PublishedFile) -> None:  # noqa: ARG002 - GitHub's says where
        """Send a file of a draft, which is described as ``make_draft`` gave it."""
        send(
            self.client,
            "POST",
            f"{self.api}/releases/{number}/assets?name={quote(file.name, safe='')}",
            body=file.path,
            headers={"Content-Type": "application/octet-stream"},
            accept=(201,),
        )

    def finish(self, number: int, tag: str) -> bool:  # noqa: ARG002 - GitHub wants it again
        """Whether a draft is published by this; False: there is another release of the tag."""
        done = self.send("PATCH", f"releases/{number}", {"draft": False}, accept=(200, *REJECTED_CHANGE))
        return done.status == 200

    def _remove_draft(self, number: int) -> None:
        """Remove a draft; what somebody else has finished in between stays."""
        with contextlib.suppress(EcError):
            if find_field(self.get(f"releases/{number}"), "draft", bool, self.where):
                self._delete(number)

    def _remove(self, number: int, tag: str) -> None:
        """Remove a release of this publisher's, draft or not, whose tag another one has."""
        try:
            self._delete(number)
        except EcError as error:
            _log.warning(
                "a release whose tag another one has cannot be removed",
                forge=self.where,
                tag=tag,
                number=number,
                reason=error.message,
                hint="delete it by hand: there are two of that tag",
            )

    def _delete(self, number: int) -> None:
        self.send("DELETE", f"releases/{number}", None, accept=(204, 404))

    def _check_assets(self, number: int, publication: Publication) -> None:
        """Raises DepotError where a file is not there as it was sent.

        One that was sent twice, because an answer was lost, is there twice: one of them goes.
        """
        assets = _list(self.get(f"releases/{number}"), "assets", self.where)
        sizes = {file.name: file.size for file in publication.files}
        seen: set[str] = set()
        for asset in assets:
            name, size = asset.get("name"), asset.get("size")
            if name in seen or sizes.get(str(name)) != size:
                self.send("DELETE", f"releases/{number}/assets/{asset.get('id')}", None, accept=(204,))
                continue
            seen.add(str(name))
        if missing := sorted(sizes.keys() - seen):
            raise DepotError(
                f"{self.where}: the forge has not kept {missing[0]} of {publication.tag} as it was sent",
                hint="does it take files of that kind and size? (Forgejo: [repository.release])",
            )

    def _compare(self, publication: Publication) -> bool:
        """Whether a draft that is whole, and the same, is published by this; False: it was, and is the same.

        Raises TakenError, and DepotError where it is a draft of something else, or not whole.
        """
        tag = publication.tag
        unfinished = DepotError(
            f"{self.where}: there is an unfinished release {tag}: its publisher is at work, or was "
            "interrupted",
            hint="where nobody is at work, delete that draft, and publish again",
        )
        try:
            found = self._get_release(tag)
            is_same = all(self._hash_asset(found, file.name) == file.sha256 for file in publication.files)
        except FetchError as error:
            # Of GitHub's drafts, and of their files elsewhere, who asks by the tag sees nothing.
            if error.status == 404:
                raise unfinished from error
            raise
        if not _is_draft(found):
            if not is_same:
                raise taken(self.where, tag)
            return False
        if not is_same:
            raise unfinished
        number = find_field(found, "id", int, self.where)
        self._check_assets(number, publication)
        if not self.finish(number, tag):
            raise unfinished
        _log.info("a draft that was whole is published", forge=self.where, tag=tag)
        return True

    def _get_release(self, tag: str) -> bytes:
        return self.get(f"releases/tags/{quote(tag, safe='')}")

    def read_file(self, tag: str, name: str, *, limit: int) -> bytes | None:
        """See ``Depot``. Raises FetchError of 404 where there is no such release."""
        found = self._get_release(tag)
        if _is_draft(found):
            raise FetchError(f"{self.where}: {tag} is a draft, and no release yet", status=404)
        place = self._find_asset(found, name)
        if place is None:
            return None
        url, headers = place
        return self.client.read(url, limit=limit, what=name, headers=headers)

    def locate_asset(self, asset: dict[str, Any]) -> tuple[str, Mapping[str, str]]:
        """Where the content of a file is, as the forge describes it, and what to ask with."""
        return str(asset.get("browser_download_url")), {}

    def _find_asset(self, release: bytes, name: str) -> tuple[str, Mapping[str, str]] | None:
        for asset in _list(release, "assets", self.where):
            if asset.get("name") == name:
                return self.locate_asset(asset)
        return None

    def _hash_asset(self, release: bytes, name: str) -> str | None:
        """The SHA-256 of a file, which may be as large as an archive is; None where there is none."""
        place = self._find_asset(release, name)
        return None if place is None else hash_file(self.client, place[0], headers=place[1])

    def read_channel(self, name: str) -> ChannelFile | None:
        """See ``Depot``."""
        try:
            found = self.get(f"contents/{DEPOT_CHANNELS}/{name}.json?ref={BRANCH}")
        except FetchError as error:
            if error.status == 404:
                return None
            raise
        version = find_field(found, "sha", str, self.where)
        try:
            data = base64.b64decode(find_field(found, "content", str, self.where))
        except ValueError as error:
            raise DepotError(f"{self.where}: the content of the channel {name} is no base64") from error
        return ChannelFile(data=data, version=version)

    def write_channel(self, name: str, data: bytes, *, version: str | None) -> None:
        """See ``Depot``."""
        self._require_branch()
        body = {
            "branch": BRANCH,
            "content": base64.b64encode(data).decode(),
            "message": f"{DEPOT_CHANNELS}: {name}",
            **({} if version is None else {"sha": version}),
        }
        method = "POST" if version is None and not self.puts_new_files else "PUT"
        self.send(method, f"contents/{DEPOT_CHANNELS}/{name}.json", body, accept=(200, 201, *REJECTED_CHANGE))
        there = self.read_channel(name)
        if there is None or there.data != data:
            raise moved(self.where, name)

    def _require_branch(self) -> None:
        try:
            self.get(f"branches/{BRANCH}")
        except FetchError as error:
            if error.status != 404:
                raise
            _log.info("the branch of the channels is made", forge=self.where, branch=BRANCH)
            self.make_branch()

    def make_branch(self) -> None:
        """Make the branch of the channels, of the repository's own one."""
        self.send("POST", "branches", {"new_branch_name": BRANCH}, accept=(201, 409))

    def get(self, path: str) -> bytes:
        """The answer of the repository's API. Raises FetchError."""
        return self.client.read(
            f"{self.api}/{path}".rstrip("/"), limit=_MAX_JSON, what="the forge's answer", take_page=True
        )

    def send(self, method: str, path: str, body: Any, *, accept: tuple[int, ...]) -> SentReply:
        """The answer to something that changes the repository. Raises FetchError."""
        data = None if body is None else json.dumps(body).encode()
        return send(self.client, method, f"{self.api}/{path}", body=data, headers=_JSON, accept=accept)


def find_field(data: bytes, name: str, kind: type[Any], where: str) -> Any:
    """A member of the object that a forge has answered. Raises DepotError."""
    try:
        value = parse_json(data, where=where)[name]
        if isinstance(value, kind):
            return value
    except (InputError, KeyError, TypeError) as error:
        raise DepotError(f"{where}: the answer is not a forge's: it has no {name}") from error
    raise DepotError(f"{where}: the answer is not a forge's: its {name} is of another kind")


def _is_draft(release: bytes) -> bool:
    try:
        return parse_json(release, where="a release").get("draft") is True
    except (InputError, AttributeError):
        return False  # what it is otherwise, who reads its files says


def _list(data: bytes, name: str, where: str) -> list[dict[str, Any]]:
    return [each for each in find_field(data, name, list, where) if isinstance(each, dict)]
