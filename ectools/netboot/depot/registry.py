"""A repository of a registry as a depot (OCI Distribution Specification 1.1), which ``oras pull`` reads too.

Not the library ``oras``: it brings a second HTTP client, reads a blob without a bound or another attempt, and
compares no hash; what is needed is five requests.

A release is one manifest: its files are blobs, which the registry names by their SHA-256, and what it holds
is read by that name alone. The manifest comes last, by one request. A channel is a row of such manifests,
``channel.NAME.1`` and so on, of which the last one counts; as everywhere, its signature and its counter say
what is followed.

A tag can be put anew at any time: the specification has no condition, and no other call that makes something
only where there is nothing. So publishers agree by what only grows, the list of tags: each puts a claim, a
tag of its own, looks at the list, and goes on only where no claim of something else is there. Of two at once,
one at least sees the other's claim: so never both go on, and sometimes neither does, and each takes its claim
away, or puts it anew as one that is over where the registry deletes nothing. A claim says when it was made,
and counts for an hour, by the clocks of those who publish: who was killed is in nobody's way for longer.
Where a registry has a rule that tags are immutable, it holds by itself.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urljoin

from ectools.errors import EcError, InputError
from ectools.fetch.client import FetchError, TransientError
from ectools.fetch.error_reason import find_message
from ectools.fetch.sending import send
from ectools.files import parse_json
from ectools.netboot.depot.interface import (
    MAX_CHANNEL_BYTES,
    ChannelFile,
    DepotError,
    moved,
    taken,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ectools.fetch.sending import SentReply
    from ectools.netboot.depot.interface import Publication
    from ectools.netboot.depot.registry_client import RegistryClient

_T = TypeVar("_T")

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_RELEASE_TYPE = "application/vnd.every-channel.netboot-release.v1"
_CHANNEL_TYPE = "application/vnd.every-channel.netboot-channel.v1"
_CLAIM_TYPE = "application/vnd.every-channel.netboot-claim.v1"
_TITLE = "org.opencontainers.image.title"
_CREATED = "org.opencontainers.image.created"
_EMPTY = b"{}"
_EMPTY_TYPE = "application/vnd.oci.empty.v1+json"
# The specification's tags have 128 characters, of which a claim's end takes 32.
_TAG = re.compile(r"(?!channel\.)[A-Za-z0-9_][A-Za-z0-9._-]{0,95}", re.ASCII)
_CLAIM = re.compile(r"\.claim-([0-9a-f]{16})-[0-9a-f]{8}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_NEXT = re.compile(r'<([^>]+)>\s*;\s*rel="?next"?')
_MAX_PAGES = 1000
_UPLOADS = 3
CLAIM_SECONDS = 3600
"""For how long a claim counts: from it to the manifest are seconds."""


@dataclass(frozen=True, kw_only=True)
class RegistryBlob:
    """A file of a release, as a manifest names it. ``size`` is in bytes, ``url`` where it is read."""

    name: str
    digest: str
    size: int
    url: str


class RegistryDepot:
    """A repository, by the URL below which all of it is: ``https://HOST/v2/NAME``.

    ``clock`` gives Unix seconds.
    """

    def __init__(
        self, client: RegistryClient, url: str, *, where: str, clock: Callable[[], float] = time.time
    ) -> None:
        self.client = client
        self.clock = clock
        self.where = where
        self._url = url

    def publish(self, publication: Publication) -> bool:
        """See ``Depot``."""
        tag = publication.tag
        if _TAG.fullmatch(tag) is None or ".claim-" in tag:
            raise InputError(
                f"{tag!r}: is no tag that a registry takes for a release",
                hint="letters, digits and . _ -, 96 at most, and not channel. first: boot-v2026.03.02",
            )
        layers = [
            _describe("application/octet-stream", each.sha256, each.size, title=each.name)
            for each in publication.files
        ]
        manifest = _build_manifest(_RELEASE_TYPE, layers)
        there = self._read_manifest(tag)
        if there is not None:
            return self._compare(there, manifest, tag)
        for each in publication.files:
            self._push(each.path, each.sha256)
        if not self._create(tag, manifest):
            return self._compare(self._read_manifest(tag), manifest, tag)
        return True

    def _compare(self, there: bytes | None, manifest: bytes, tag: str) -> bool:
        if there != manifest:
            raise taken(self.where, tag)
        return False

    def list_blobs(self, tag: str) -> dict[str, RegistryBlob] | None:
        """The files of a release, by name; None where there is no such release, but an image, say.

        Raises DepotError.
        """
        manifest = self._read_manifest(tag) if _TAG.fullmatch(tag) else None
        if manifest is None or _find_type(manifest) not in (None, _RELEASE_TYPE):
            return None
        return self._parse_blobs(manifest, tag)

    def read_file(self, tag: str, name: str, *, limit: int) -> bytes | None:
        """See ``Depot``."""
        blob = (self.list_blobs(tag) or {}).get(name)
        return None if blob is None else self._read_blob(blob, limit=limit)

    def read_channel(self, name: str) -> ChannelFile | None:
        """See ``Depot``."""
        start = f"channel.{name}."
        rest = [each.removeprefix(start) for each in self._list_tags() if each.startswith(start)]
        numbers = [int(each) for each in rest if each.isdecimal() and len(each) <= 9]
        if not numbers:
            return None
        tag = f"{start}{max(numbers)}"
        manifest = self._read_manifest(tag)
        if manifest is None:
            raise DepotError(f"{self.where}: lists {tag}, and does not give it")
        (blob, *_) = self._parse_blobs(manifest, tag).values()
        data = self._read_blob(blob, limit=MAX_CHANNEL_BYTES)
        return ChannelFile(data=data, version=str(max(numbers)))

    def write_channel(self, name: str, data: bytes, *, version: str | None) -> None:
        """See ``Depot``."""
        tag = f"channel.{name}.{1 if version is None else int(version) + 1}"
        if self._read_manifest(tag) is not None:
            raise moved(self.where, name)
        digest = hashlib.sha256(data).hexdigest()
        self._push(data, digest)
        layer = _describe("application/json", digest, len(data), title=f"{name}.json")
        if not self._create(tag, _build_manifest(_CHANNEL_TYPE, [layer])):
            raise moved(self.where, name)

    def _create(self, tag: str, manifest: bytes) -> bool:
        """Whether ``tag`` is the manifest's now; False: it is another's. Its blobs are there.

        Raises DepotError where somebody else has claimed it, and is not done.
        """
        self._push(_EMPTY, hashlib.sha256(_EMPTY).hexdigest())
        content = hashlib.sha256(manifest).hexdigest()[:16]
        claim = f"{tag}.claim-{content}-{secrets.token_hex(4)}"
        # Of its own: to remove it, some registries remove what it leads to, by whichever name.
        claimed = build_claim(claim, self.clock())
        began, is_sending = self.clock(), False
        try:
            self._put_manifest(claim, claimed)
            if other := self._find_other(tag, content):
                if self._read_manifest(tag) is None:
                    raise DepotError(
                        f"{self.where}: somebody else is about to make {tag} as well, or was interrupted: "
                        f"{other}",
                        hint="try again; a claim like that counts for an hour, or until that tag is deleted",
                    )
                self._remove(claim, claimed)
                return False
            if self._read_manifest(tag) is None:
                if abs(self.clock() - began) > CLAIM_SECONDS / 2:
                    raise DepotError(f"{self.where}: took too long to claim {tag}", hint="try again")
                is_sending = True
                self._put_manifest(tag, manifest)
            return self._read_manifest(tag) == manifest
        except BaseException as error:
            # What may arrive still is guarded by its claim, as long as that counts.
            if not is_sending or (isinstance(error, FetchError) and error.status is not None):
                self._remove(claim, claimed)
            raise

    def _find_other(self, tag: str, content: str) -> str | None:
        """A claim of somebody else, who has ``tag`` made something else, and may be at work."""
        for name in self._list_tags():
            found = _CLAIM.fullmatch(name.removeprefix(tag)) if name.startswith(tag) else None
            if found is None or found[1] == content:
                continue
            manifest = self._read_manifest(name)
            made_at = None if manifest is None else find_claim_time(manifest)
            # One of an older ectools says no time: it counts until it is deleted.
            if made_at is None or abs(self.clock() - made_at) <= CLAIM_SECONDS:
                return name
        return None

    def _remove(self, tag: str, manifest: bytes) -> None:
        """Take a claim away: by its tag (specification 1.0), else by what it leads to; not each lets it.

        Where neither is let, it is put anew as one that is over.
        """
        digest = f"sha256:{hashlib.sha256(manifest).hexdigest()}"
        for reference in (tag, digest):
            with contextlib.suppress(EcError):
                send(self.client, "DELETE", f"{self._url}/manifests/{reference}", accept=(200, 202, 404))
                return
        with contextlib.suppress(EcError):
            self._put_manifest(tag, build_claim(tag, 0))

    def _push(self, body: bytes | Path, sha256: str) -> None:
        """Have a blob there. The registry compares it with its name.

        Of two that upload the same at once, some registries refuse one, which then finds it there.
        """
        url = f"{self._url}/blobs/sha256:{sha256}"
        for failures in range(1, _UPLOADS + 1):
            if self._send("HEAD", url, accept=(200, 307, 404)).status != 404:
                return
            begun = self._send("POST", f"{self._url}/blobs/uploads/", accept=(202,))
            target = urljoin(f"{self._url}/", begun.headers.get("location", ""))
            sign = "&" if "?" in target else "?"
            # An upload whose connection ended is one of which the registry knows no more.
            done = self._send(
                "PUT",
                f"{target}{sign}digest=sha256:{sha256}",
                accept=(201, 400, 404, 416),
                body=body,
                headers={"Content-Type": "application/octet-stream"},
            )
            if done.status == 201:
                return
            reason = find_message(done.data) or f"status {done.status}"
            lost = f"{self.where}: the registry has not kept an upload of sha256:{sha256}: {reason}"
            if failures < _UPLOADS:
                self.client.wait(TransientError(lost, url=url, status=done.status), failures)
        raise DepotError(f"{lost} ({_UPLOADS} times)")

    def _put_manifest(self, tag: str, manifest: bytes) -> None:
        headers = {"Content-Type": _MANIFEST}
        # Refused where tags are immutable there, and this one is: what it is, who asks reads.
        accept = (200, 201, 409, 412)
        self._send("PUT", f"{self._url}/manifests/{tag}", accept=accept, body=manifest, headers=headers)

    def _read_manifest(self, tag: str) -> bytes | None:
        url = f"{self._url}/manifests/{tag}"
        reply = self._send("GET", url, accept=(200, 404), headers={"Accept": _MANIFEST})
        return reply.data if reply.status == 200 else None

    def _list_tags(self) -> list[str]:
        tags: list[str] = []
        url = f"{self._url}/tags/list"
        for _ in range(_MAX_PAGES):
            reply = self._send("GET", url, accept=(200, 404))
            if reply.status == 404:
                break
            found = _parse(reply.data, f"{self.where}: its tags", lambda raw: raw["tags"] or [])
            tags += [each for each in found if isinstance(each, str)]
            following = _NEXT.search(reply.headers.get("link", ""))
            if following is None:
                break
            url = urljoin(url, following[1])
        return tags

    def _parse_blobs(self, manifest: bytes, tag: str) -> dict[str, RegistryBlob]:
        where = f"{self.where}: {tag}"

        def read(raw: Any) -> dict[str, RegistryBlob]:
            blobs = {}
            for layer in raw["layers"]:
                name, digest, size = layer["annotations"][_TITLE], layer["digest"], layer["size"]
                if _DIGEST.fullmatch(digest) is None or type(size) is not int or "/" in name:
                    raise ValueError
                blobs[name] = RegistryBlob(
                    name=name, digest=digest, size=size, url=f"{self._url}/blobs/{digest}"
                )
            if not blobs:
                raise ValueError
            return blobs

        return _parse(manifest, where, read)

    def _read_blob(self, blob: RegistryBlob, *, limit: int) -> bytes:
        data = self.client.read(blob.url, limit=limit, what=blob.name, take_page=True)
        if f"sha256:{hashlib.sha256(data).hexdigest()}" != blob.digest:
            raise DepotError(f"{self.where}: {blob.name} is not what it is called by: {blob.digest}")
        return data

    def _send(self, method: str, url: str, **options: Any) -> SentReply:
        try:
            return send(self.client, method, url, **options)
        except FetchError as error:
            if error.status == 405:
                error.hint = "this registry is read only, or is none"
            raise


def _describe(kind: str, sha256: str, size: int, *, title: str | None = None) -> dict[str, Any]:
    """A descriptor (OCI Image Format Specification, "Content Descriptors")."""
    named = {} if title is None else {"annotations": {_TITLE: title}}
    return {"mediaType": kind, "digest": f"sha256:{sha256}", "size": size, **named}


def build_claim(name: str, made_at: float) -> bytes:
    """The manifest of a claim, made at these Unix seconds; those of long ago: it is over."""
    created = datetime.fromtimestamp(int(made_at), UTC).isoformat()
    return _build_manifest(_CLAIM_TYPE, [], annotations={_TITLE: name, _CREATED: created})


def _find_type(manifest: bytes) -> str | None:
    """What a manifest says that it is of; an image says it by its config. None: it is no manifest."""
    try:
        raw = json.loads(manifest)
        found = raw.get("artifactType") or raw.get("config", raw).get("mediaType")
    except (ValueError, AttributeError, RecursionError):
        return None
    return found if isinstance(found, str) else None


def find_claim_time(manifest: bytes) -> float | None:
    """When a claim was made, in Unix seconds; None where it does not say."""
    try:
        return datetime.fromisoformat(json.loads(manifest)["annotations"][_CREATED]).timestamp()
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError):
        return None


def _build_manifest(
    kind: str, layers: list[dict[str, Any]], *, annotations: dict[str, str] | None = None
) -> bytes:
    """The same for the same ("Guidelines for Artifact Usage": an empty config, and a type of its own)."""
    empty = _describe(_EMPTY_TYPE, hashlib.sha256(_EMPTY).hexdigest(), len(_EMPTY))
    manifest = {
        "schemaVersion": 2,
        "mediaType": _MANIFEST,
        "artifactType": kind,
        "config": empty,
        "layers": layers or [empty],
        **({} if annotations is None else {"annotations": annotations}),
    }
    return json.dumps(manifest, sort_keys=True).encode()


def _parse(data: bytes, where: str, read: Callable[[Any], _T]) -> _T:
    try:
        return read(parse_json(data, where=where))
    except (InputError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise DepotError(f"{where}: is nothing that a registry gives, or no release") from error
