"""A depot behind HTTP: objects that are made where there are none, and never written again.

``If-None-Match: *`` (RFC 9110, section 13.1.2) decides between publishers, in the store, at the moment of
writing. Many a server passes over it, and would let the last one win: so whoever publishes asks first, with
an object that is there for that, whether this one heeds it.

A channel is a row of such objects, ``channels/NAME/1.json`` and so on, of which the last one counts;
``channels/NAME/newest`` says from where to look for it, and is no more than that. One object that is replaced
by ``If-Match`` would do, were it that everywhere: of six writes at once SeaweedFS 4.48 let two succeed in one
of eight times, and of those by ``If-None-Match`` one alone, always.

Amazon answers 403 for what is not there to whoever may not list the bucket (GetObject, "Permissions"): so 403
is taken for that where the object of the question above can be read with the same key. That opens no way to
an old pointer: who can answer 403 in the store's name could answer 404 as well.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING
from urllib.parse import quote

from ectools import log
from ectools.fetch.client import FetchError, TransientError
from ectools.fetch.hashing import hash_file
from ectools.fetch.sending import send
from ectools.fetch.sigv4 import CONTENT_SHA256
from ectools.netboot.depot.interface import (
    DEPOT_CHANNELS,
    DEPOT_RELEASES,
    MAX_CHANNEL_BYTES,
    ChannelFile,
    DepotError,
    moved,
    taken,
)
from ectools.redact import redact_url

if TYPE_CHECKING:
    from pathlib import Path

    from ectools.fetch.client import HttpClient
    from ectools.fetch.sending import SentReply
    from ectools.netboot.depot.interface import Publication, PublishedFile
    from ectools.netboot.depot.multipart import MultipartUploads

_log = log.Log(__name__)

_PROBE = "conditional-writes.txt"
_PROBE_TEXT = b"Whoever publishes asks by this object whether the store heeds If-None-Match.\n"
_MAX_NEWEST = 32
_MAX_AHEAD = 1000
"""Moves that are looked for from ``newest`` on; there are as many as publishers at once."""
_WRITTEN = (200, 201, 204)
# RFC 9110: the condition is false.
_REFUSED = 412
# AWS: two conditional writes meet (ConditionalRequestConflict), and nothing was decided. RFC 4918: the
# collection that it would be in is missing.
_CONFLICT = 409
_CONFLICTS = 3


class _ConflictError(DepotError):
    """The server answers 409, however often it is asked."""


class ObjectDepot:
    """A depot below ``url``, which has no slash at its end; ``where`` names it in messages.

    ``parts``: how large files are sent to a store that speaks S3; None: each by one PUT.
    """

    def __init__(
        self, client: HttpClient, url: str, *, where: str, parts: MultipartUploads | None = None
    ) -> None:
        self.client = client
        self.parts = parts
        self.where = where
        self.url = url
        self._is_asked = False
        self._may_read: bool | None = None

    def find_url(self, tag: str, name: str) -> str:
        """Where a file of a release stands, or would."""
        return f"{self.url}/{DEPOT_RELEASES}/{quote(tag)}/{quote(name)}"

    def publish(self, publication: Publication) -> bool:
        """See ``Depot``. What was interrupted goes on with the files that are missing."""
        self._require_conditions()
        *_, record = publication.files
        is_new = False
        for file in publication.files:
            is_new = self._create(publication.tag, file) and file is record
        self._read_back(publication)
        return is_new

    def read_file(self, tag: str, name: str, *, limit: int) -> bytes | None:
        """See ``Depot``."""
        return self._read(self.find_url(tag, name), limit=limit, what=name)

    def read_channel(self, name: str) -> ChannelFile | None:
        """See ``Depot``. Raises DepotError where there is no end to what comes after ``newest``."""
        number = self._read_newest(name)
        found = None
        for each in range(max(number, 1), number + _MAX_AHEAD):
            data = self._read(
                self._find_channel(name, each), limit=MAX_CHANNEL_BYTES, what=f"the channel {name}"
            )
            if data is None:
                break
            self._may_read = True
            found = ChannelFile(data=data, version=str(each))
        else:
            raise DepotError(f"{self.where}: the channel {name} has no end: more than {_MAX_AHEAD} moves on")
        if found is None and number:
            raise DepotError(
                f"{self.where}: the channel {name} has lost its move {number}, which it says there was",
                hint="its publisher leads it anew once channels/NAME/newest is removed",
            )
        return found

    def write_channel(self, name: str, data: bytes, *, version: str | None) -> None:
        """See ``Depot``."""
        self._require_conditions()
        number = 1 if version is None else int(version) + 1
        url = self._find_channel(name, number)
        self._put(url, data, _hash(data), {"If-None-Match": "*"})
        # Whatever it answered: what stands there says who was first, also where an answer was lost.
        if self._read(url, limit=MAX_CHANNEL_BYTES, what=f"the channel {name}") != data:
            raise moved(self.where, name)
        newest = b"%d\n" % number
        try:
            self._put(self._find_newest(name), newest, _hash(newest), {})
        except _ConflictError as error:
            # The channel has moved by then, and is looked for from an older number too.
            _log.info("where a channel is to be looked for is not written anew", reason=error.message)

    def _read_newest(self, name: str) -> int:
        """From which move on to look; 0 where none is known."""
        text = self._read(self._find_newest(name), limit=_MAX_NEWEST, what=f"the channel {name}")
        number = (text or b"0").strip()
        if not number.isdigit():
            raise DepotError(f"{self._find_newest(name)}: is no number", hint="its publisher can remove it")
        return int(number)

    def _create(self, tag: str, file: PublishedFile) -> bool:
        """Whether the file is put up by this; False: it was there, the same. Raises TakenError."""
        url = self.find_url(tag, file.name)
        if send(self.client, "HEAD", url, accept=(*_WRITTEN, 403, 404)).status in _WRITTEN:
            self._require_same(tag, file)
            return False
        if self.parts is not None and file.size > self.parts.above:
            status = self._send_parts(self.parts, url, file)
        else:
            status = self._put(url, file.path, file.sha256, {"If-None-Match": "*"}).status
        if status not in _WRITTEN:
            self._require_same(tag, file)
            return False
        return True

    def _require_same(self, tag: str, file: PublishedFile) -> None:
        """Read what stands there. Raises TakenError where it is something else."""
        if hash_file(self.client, self.find_url(tag, file.name)) != file.sha256:
            raise taken(self.where, tag)

    def _read_back(self, publication: Publication) -> None:
        """What a store has taken, and does not give, is not published. Raises DepotError."""
        for file in (publication.files[0], publication.files[-1]):
            data = self.read_file(publication.tag, file.name, limit=file.size)
            if data is None or _hash(data) != file.sha256:
                url = self.find_url(publication.tag, file.name)
                raise DepotError(
                    f"{url}: the store has taken it, and gives something else",
                    hint="is there a cache in between? name the store itself",
                )

    def _put(self, url: str, body: bytes | Path, sha256: str, condition: dict[str, str]) -> SentReply:
        headers = {CONTENT_SHA256: sha256, "Content-Type": "application/octet-stream", **condition}
        accept = (*_WRITTEN, _CONFLICT, _REFUSED)
        conflicts = 0
        while (reply := send(self.client, "PUT", url, body=body, headers=headers, accept=accept)).status == (
            _CONFLICT
        ):
            conflicts += 1
            self._wait_for_others(url, conflicts)
        return reply

    def _send_parts(self, parts: MultipartUploads, url: str, file: PublishedFile) -> int:
        conflicts = 0
        # Of an upload whose end met another writer, Amazon wants all anew.
        while (status := parts.upload(self.client, url, file)) == _CONFLICT:
            conflicts += 1
            self._wait_for_others(url, conflicts)
        return status

    def _wait_for_others(self, url: str, conflicts: int) -> None:
        """Raises _ConflictError where that was often enough."""
        shown = redact_url(url)
        if conflicts >= min(_CONFLICTS, self.client.retry.attempts):
            raise _ConflictError(
                f"{shown}: the server answers 409, {conflicts} times in a row: nothing is written",
                hint="WebDAV: is the directory there? it is made by the server's side; S3: other writers "
                "meet this one: try again. Where the object is there already, a server is to answer 412 to "
                "If-None-Match (RFC 9110): to one that answers 409 nothing can be published",
            )
        error = TransientError(f"{shown}: other writers meet this one (409)", url=url, status=_CONFLICT)
        self.client.wait(error, conflicts)

    def _require_conditions(self) -> None:
        """Raises DepotError where the server would let one publisher overwrite another."""
        if self._is_asked:
            return
        url = f"{self.url}/{_PROBE}"
        digest = _hash(_PROBE_TEXT)
        self._put(url, _PROBE_TEXT, digest, {"If-None-Match": "*"})
        if self._put(url, _PROBE_TEXT, digest, {"If-None-Match": "*"}).status != _REFUSED:
            raise DepotError(
                f"{self.where}: passes over If-None-Match: one publisher would overwrite another",
                hint="publish to a store that heeds conditional writes, to a directory, or to a forge",
            )
        self._is_asked = True

    def _find_channel(self, name: str, number: int) -> str:
        return f"{self.url}/{DEPOT_CHANNELS}/{name}/{number}.json"

    def _find_newest(self, name: str) -> str:
        return f"{self.url}/{DEPOT_CHANNELS}/{name}/newest"

    def _read(self, url: str, *, limit: int, what: str) -> bytes | None:
        try:
            return self.client.read(url, limit=limit, what=what, take_page=True)
        except FetchError as error:
            if error.status == 404 or (error.status == 403 and self._is_reader()):
                return None
            raise

    def _is_reader(self) -> bool:
        """Whether what is there is given to who asks: then 403 says that something is not there."""
        if self._may_read is None:
            try:
                self.client.read(f"{self.url}/{_PROBE}", limit=1 << 10, what=_PROBE, take_page=True)
                self._may_read = True
            except FetchError as error:
                if error.status not in (403, 404):
                    raise
                self._may_read = False
        return self._may_read


def _hash(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
