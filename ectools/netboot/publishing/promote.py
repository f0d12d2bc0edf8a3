"""A channel is led to a release: by a pointer that is signed, and counts on."""

from __future__ import annotations

import contextlib
import hashlib
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ectools.errors import InputError
from ectools.fetch.client import FetchError
from ectools.netboot.depot.channel import MAX_WITHDRAWN, ChannelPointer, open_pointer, seal_pointer
from ectools.netboot.depot.interface import (
    CHANNEL_NAME,
    MAX_RECORD_BYTES,
    RECORD_NAME,
    DepotError,
    check_channel_name,
    check_tag_name,
)
from ectools.netboot.publishing.names import check_no_tag, is_published
from ectools.netboot.publishing.packed import check_listed
from ectools.netboot.release.checksums import MAX_SUMS_BYTES, SUMS_NAME, parse_checksums, parse_release_times
from ectools.netboot.signature import (
    MAX_SIGNATURE_BYTES,
    SUFFIXES,
    SignatureError,
    find_public_key,
    verify_signature,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from ectools.netboot.depot.interface import Depot
    from ectools.netboot.settings.model import SignatureFormat

_DAY = 86400


@dataclass(frozen=True, kw_only=True)
class Promotion:
    """Where a channel leads. ``before`` None: it led nowhere. ``is_moved``: by this.

    ``older``: the tag to which it was not led, since what it leads to is newer. ``unknown``: of the tags that
    were to be withdrawn those that no release is published under.
    """

    pointer: ChannelPointer
    before: ChannelPointer | None
    is_moved: bool
    older: str | None = None
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Promoter:
    """Who leads a depot's channels: by the content of a private key's file. ``clock`` gives Unix seconds.

    ``former_key`` is the public key of another one that has led them so far, and does from now on no more.
    """

    depot: Depot
    where: str
    form: SignatureFormat
    private_key: bytes
    former_key: bytes | None = None
    clock: Callable[[], float] = time.time

    def promote(
        self,
        origin: str,
        channel: str,
        *,
        valid_days: int | None = None,
        withdrawn: Collection[str] = (),
        forward: bool = False,
    ) -> Promotion:
        """Lead ``channel`` to where the channel ``origin`` leads, or to the release of that tag.

        What it leads to has to be published whole, and signed by the same key. ``valid_days``: after so many
        days nobody follows it any more. ``withdrawn``: tags that nodes leave, also for an older release;
        those of the pointer before stay. One under which nothing is published is withdrawn too: its release
        may have been removed, and nodes may run it. ``forward``: it stays where it is, if that was released
        later, by the signed times of both, and is not to be left.
        Raises InputError, DepotError, MovedError, SignatureError.
        """
        check_channel_name(channel)
        for each in withdrawn:
            check_tag_name(each)
        there = self.depot.read_channel(channel)
        before = None if there is None else self._open(there.data, channel)
        if before is None:
            check_no_tag(self.depot, channel, where=self.where)
        tag, sums, released_at = self._find(origin)
        if tag in withdrawn:
            raise InputError(f"{tag} is to be withdrawn, and {channel} is to lead to it")
        if forward and before is not None and before.tag not in (*before.withdrawn, *withdrawn):
            newest = self._find_time(before)
            # Without a time it may be of any age.
            if before.sums != sums and newest is not None and (released_at is None or released_at < newest):
                return Promotion(pointer=before, before=before, is_moved=False, older=tag)
        known = () if before is None else before.withdrawn
        unknown = tuple(each for each in dict.fromkeys(withdrawn) if not is_published(self.depot, each))
        # Who leads to it again has found it good after all.
        left = tuple(dict.fromkeys(each for each in (*known, *withdrawn) if each != tag))[-MAX_WITHDRAWN:]
        is_same = before is not None and (before.tag, before.sums, before.withdrawn) == (tag, sums, left)
        if before is not None and is_same and before.expires_at is None and valid_days is None:
            return Promotion(pointer=before, before=before, is_moved=False, unknown=unknown)
        now = int(self.clock())
        pointer = ChannelPointer(
            channel=channel,
            # Not one more alone: a depot that shows its publisher an old pointer, or has lost it, would make
            # the publisher count again what boot hosts have seen.
            counter=max(now, 1 if before is None else before.counter + 1),
            tag=tag,
            sums=sums,
            moved_at=now,
            expires_at=None if valid_days is None else now + valid_days * _DAY,
            withdrawn=left,
        )
        data = seal_pointer(pointer, form=self.form, private_key=self.private_key)
        self.depot.write_channel(channel, data, version=None if there is None else there.version)
        return Promotion(pointer=pointer, before=before, is_moved=True, unknown=unknown)

    def _find_time(self, pointer: ChannelPointer) -> int | None:
        """When the release was made to which a channel leads; None where that is not known any more."""
        try:
            text, released_at = self._read_sums(pointer.tag, pointer.tag)
        except (InputError, SignatureError):
            return None
        return released_at if hashlib.sha256(text).hexdigest() == pointer.sums else None

    def _find(self, origin: str) -> tuple[str, str, int | None]:
        """The tag that ``origin`` means, the SHA-256 of its sums, and when it was released, as is signed."""
        found = self.depot.read_channel(origin) if CHANNEL_NAME.fullmatch(origin) else None
        pointer = None if found is None else self._open(found.data, origin)
        if pointer is not None and pointer.expires_at is not None and pointer.expires_at < self.clock():
            raise InputError(
                f"{self.where}: the channel {origin} has expired: nobody follows it any more",
                hint=f"promote {pointer.tag} by its tag, where it is the one that is meant",
            )
        if pointer is not None and is_published(self.depot, origin):
            raise InputError(
                f"{self.where}: {origin} is both a channel there, which leads to {pointer.tag}, and the tag "
                "of a published release",
                hint=f"let nobody follow the channel, and remove it: channels/{origin}… there, or of a "
                f"registry the tags channel.{origin}.…",
            )
        tag = check_tag_name(origin) if pointer is None else pointer.tag
        text, released_at = self._read_sums(tag, origin)
        sums = hashlib.sha256(text).hexdigest()
        if pointer is not None and pointer.sums != sums:
            raise DepotError(
                f"{self.where}: {SUMS_NAME} of {tag} is not the one that the channel {origin} leads to",
                hint="somebody has changed a published release: publish it under another tag",
            )
        where = f"{self.where}, {tag}: {SUMS_NAME}"
        check_listed(parse_checksums(text, where=where), tag=tag, where=where)
        return tag, sums, released_at

    def _read_sums(self, tag: str, origin: str) -> tuple[bytes, int | None]:
        try:
            sums = self.depot.read_file(tag, SUMS_NAME, limit=MAX_SUMS_BYTES)
            record = self.depot.read_file(tag, RECORD_NAME, limit=MAX_RECORD_BYTES)
            name = f"{SUMS_NAME}{SUFFIXES[self.form]}"
            signature = self.depot.read_file(tag, name, limit=MAX_SIGNATURE_BYTES)
        except FetchError as error:
            if error.status != 404:
                raise
            sums = record = signature = None
        if sums is None:
            raise InputError(
                f"{self.where}: {origin} is neither a channel there nor a release",
                hint="`ectools netboot publish` puts a release there",
            )
        if record is None:
            raise InputError(
                f"{self.where}: {tag} is not published whole: it has no {RECORD_NAME}",
                hint="publish it again: what is there already is not sent again",
            )
        if signature is None:
            raise SignatureError(f"{self.where}: {tag} has no {name}: boot hosts would not stage it")
        public = find_public_key(self.form, self.private_key)
        signed_at = verify_signature(self.form, data=sums, signature=signature, public_key=public)
        times = parse_release_times(sums, where=f"{self.where}, {tag}: {SUMS_NAME}")
        return sums, max(times.values(), default=signed_at)

    def _open(self, data: bytes, channel: str) -> ChannelPointer:
        where = f"{self.where}: the channel {channel}"
        own = find_public_key(self.form, self.private_key)
        if self.former_key is not None:
            with contextlib.suppress(SignatureError):
                return open_pointer(data, channel, form=self.form, public_key=self.former_key, where=where)
        try:
            return open_pointer(data, channel, form=self.form, public_key=own, where=where)
        except SignatureError as error:
            if self.former_key is not None or error.hint is not None:
                raise
            hint = "where the key is a new one, --former-key names the public key of the one before"
            raise SignatureError(error.message, hint=hint) from error
