"""Boots as they stand in a store, by subject: the newest of each, and those before it.

``latest/<subject>`` is a subject's newest boot, ``boots/<subject>/<id>`` each one before it. The subject is a
digest there, because a machine may say of itself what it likes. An id begins with that digest and goes on
with the time: ids are in the order of time, and lead to their boot.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import secrets
from typing import TYPE_CHECKING

from ectools.netboot.boots.encode import decode_boot, encode_boot
from ectools.netboot.state.interface import StateConflictError, StateEntry, StateUnreachableError
from ectools.netboot.state.unreadable import UnreadableLog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

    from ectools.netboot.boots.model import NodeBoot
    from ectools.netboot.state.interface import StateDeletion, StateStore

MAX_BOOTS = 200
"""Of one subject that ``trim`` leaves, whatever their age."""
_DIGEST = 12


def make_id(subject: str, now: float) -> str:
    """The id of a boot that begins at ``now``, Unix seconds."""
    return f"{_digest(subject)}{int(now):08x}{secrets.token_hex(6)}"


class BootArchive:
    """The boots of a store. Every call raises StateError."""

    def __init__(self, store: StateStore) -> None:
        self._store = store
        self._unreadable = UnreadableLog()

    async def load(self) -> Sequence[NodeBoot]:
        """The newest of each subject, the oldest of them first. What cannot be read is left out, and said."""
        entries = await self._store.list("latest/")
        boots = await asyncio.to_thread(self._decode_all, entries)
        return sorted(boots, key=lambda each: each.started)

    def watch(self) -> AsyncIterator[NodeBoot | None]:
        """Each subject's newest boot as it is written from now on; None where all are to be read anew. Of one
        that is forgotten nothing is said: each host forgets by itself.
        """
        return self._decode_changes(self._store.watch("latest/"))

    async def put(self, boot: NodeBoot, *, is_newest: bool) -> None:
        digest = _digest(boot.subject)
        key = f"latest/{digest}" if is_newest else f"boots/{digest}/{boot.id}"
        await self._store.put(key, encode_boot(boot))

    async def list_earlier(self, subject: str) -> Sequence[NodeBoot]:
        """A subject's boots before its newest one, the newest first."""
        entries = await self._store.list(f"boots/{_digest(subject)}/")
        return self._decode_all(entries[::-1])

    async def find_earlier(self, boot_id: str) -> NodeBoot | None:
        """The boot of an id, if it is not its subject's newest; None where there is none."""
        if not (boot_id.isascii() and boot_id.isalnum() and _DIGEST < len(boot_id) < 3 * _DIGEST):
            return None
        entry = await self._store.get(f"boots/{boot_id[:_DIGEST]}/{boot_id}")
        return None if entry is None else self._decode(entry)

    async def forget(self, subject: str) -> None:
        """All boots of a subject."""
        digest = _digest(subject)
        await self._store.delete(f"latest/{digest}")
        await self._drop_earlier(digest)

    async def drop(self, digest: str, revision: int) -> None:
        """All boots of the subject that has this digest, unless its newest one has been changed since it was
        at that revision, by any host. Where those cannot be reached that share the store, they stay.
        """
        with contextlib.suppress(StateConflictError, StateUnreachableError):
            await self._store.delete(f"latest/{digest}", expected=revision)
            await self._drop_earlier(digest)

    async def _drop_earlier(self, digest: str) -> None:
        await self._store.prune(f"boots/{digest}/", before=float("inf"))

    async def list_strays(
        self, subjects: Iterable[str], *, before: float, unreadable_before: float
    ) -> Mapping[str, int]:
        """Other subjects whose newest boot was last changed before that time: their digests → its revision.

        What cannot be read may be of a later version of this program, and has another time.
        """
        entries = await self._store.list("latest/")
        known = {f"latest/{_digest(each)}" for each in subjects}
        others = [each for each in entries if each.key not in known and each.changed < before]

        def choose() -> dict[str, int]:
            return {
                each.key.removeprefix("latest/"): each.revision
                for each in others
                if each.changed < unreadable_before or self._decode(each) is not None
            }

        return await asyncio.to_thread(choose)

    async def trim(self, subject: str) -> None:
        """All boots of a subject but the newest."""
        entries = await self._store.list(f"boots/{_digest(subject)}/")
        for entry in entries[: max(0, len(entries) - MAX_BOOTS)]:
            await self._store.delete(entry.key)

    async def prune(self, *, before: float) -> int:
        """How many were forgotten that were last changed before that time, and are no subject's newest."""
        return await self._store.prune("boots/", before=before)

    def _decode(self, entry: StateEntry) -> NodeBoot | None:
        try:
            boot = decode_boot(entry.value)
            digest = _digest(boot.subject)
            if digest != entry.key.split("/")[1] or not boot.id.startswith(digest):
                raise ValueError("no boot: it is another subject's")
        except ValueError as error:
            self._unreadable.tell(entry.key, error)
            return None
        return boot

    def _decode_all(self, entries: Sequence[StateEntry]) -> list[NodeBoot]:
        return [boot for each in entries if (boot := self._decode(each)) is not None]

    async def _decode_changes(
        self, changes: AsyncIterator[StateEntry | StateDeletion | None]
    ) -> AsyncIterator[NodeBoot | None]:
        async for change in changes:
            if change is None:
                yield None
            elif isinstance(change, StateEntry) and (boot := self._decode(change)) is not None:
                yield boot


def _digest(subject: str) -> str:
    return hashlib.sha256(subject.encode()).hexdigest()[:_DIGEST]
