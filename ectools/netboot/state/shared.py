"""The store that several boot hosts share over NATS, each with a copy of its own that it lives on.

What is read comes from the copy, so that no boot waits for another host. What is written without comparing
(boots, mostly) is kept in the copy first and said to the others at once, or later, in order: where two hosts
have written the same key meanwhile, ``reconcile`` says which stands. What is written by comparing (waves,
slots, what operators say of nodes) is decided by NATS alone, and refused while it cannot be reached. Events
are in the copy's own log when ``append`` returns, and are said once.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ectools import log
from ectools.netboot.state.copy_place import UnsaidEntry
from ectools.netboot.state.entries import check_key, encode_value
from ectools.netboot.state.interface import (
    StateConflictError,
    StateEntry,
    StateError,
    StateUnreachableError,
)
from ectools.netboot.state.local_copy import LocalCopy
from ectools.netboot.state.nats_bucket import SharedChange
from ectools.netboot.state.shared_view import SharedView

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from ectools.netboot.state.interface import StateDeletion, StateEvent
    from ectools.netboot.state.nats_bucket import NatsBucket, SharedEvent
    from ectools.netboot.state.sqlite import SqliteStore
    from ectools.timers import Guard

_log = log.Log(__name__)

SHARED_FILE = "shared.sqlite3"
"""The copy's name in the state directory."""
MAX_UNSAID = 50_000
"""Keys, and as many events, that are to be said; then the oldest are never said, and counted."""
SAY_SECONDS = 0.25
"""That a write waits for the others to have it too."""
_AGAIN_SECONDS = 5.0
_AT_ONCE, _KEPT_AT_ONCE = 64, 256
_MAX_TRIES = 8


@dataclass(kw_only=True, eq=False)
class _Unsaid:
    base: int
    said: asyncio.Event = field(default_factory=asyncio.Event)


class SharedStore:
    """A StateStore in ``local``, shared while ``attach`` has given it a bucket.

    ``reconcile`` is given a key, what stands there, and what was written here upon something older: it
    returns what is to stand, or None to leave what stands. ``clock`` gives Unix seconds.
    """

    def __init__(
        self,
        local: SqliteStore,
        *,
        reconcile: Callable[[str, StateEntry, UnsaidEntry], Mapping[str, Any] | None],
        clock: Callable[[], float],
    ) -> None:
        self._local = local
        self.copy = LocalCopy(local)
        self._reconcile = reconcile
        self._clock = clock
        self._bucket: NatsBucket | None = None
        self._unsaid: dict[str, _Unsaid] = {}
        self.view = SharedView(self.copy, clock=clock, unsaid=self._unsaid)
        # Those of them that were here before they were to be said: perhaps nobody else has them.
        self._kept: set[str] = set()
        self._events: dict[int, None] = {}
        self._wake = asyncio.Event()
        self._loading = asyncio.Lock()
        self._is_loaded = False
        self._why = "NATS has not been reached yet"
        self.dropped = 0
        """Of what was written here: what will never be said, because there was too much of it."""

    # What is known of it

    @property
    def is_attached(self) -> bool:
        """Whether the others can be reached."""
        return self._bucket is not None

    @property
    def unsaid(self) -> int:
        """How many writes and events the others do not have."""
        return len(self._unsaid) + len(self._events)

    @property
    def trouble(self) -> str | None:
        """Why the copy cannot be written, or the others not be reached; None where all is well."""
        return self._local.trouble or (None if self._bucket is not None else self._why)

    @property
    def waiting(self) -> int:
        """Calls that wait for the disk."""
        return self._local.waiting

    @property
    def done(self) -> int:
        """Calls of the copy's that were committed."""
        return self._local.done

    @property
    def failed(self) -> int:
        """Calls of the copy's that were not."""
        return self._local.failed

    @property
    def guard(self) -> Guard:
        """Of the copy's callbacks."""
        return self._local.guard

    async def start(self) -> None:
        """Open the copy. Where that fails, ``trouble`` says why, and each call tries again."""
        await self._local.start()
        with contextlib.suppress(StateError):
            await self.load()

    async def load(self) -> None:
        """Read, once, how far the others were heard, and what is to be said to them. Raises StateError."""
        async with self._loading:
            if self._is_loaded:
                return
            loaded = await self.copy.load()
            self.view.revisions, self._kept = loaded.revisions, loaded.kept
            self._unsaid |= {key: _Unsaid(base=base) for key, base in loaded.unsaid.items()}
            self._events = dict.fromkeys(loaded.events)
            self._is_loaded = True

    async def close(self) -> None:
        """End, once what was asked for is done."""
        await self._local.close()

    # The eight calls

    async def get(self, key: str, *, fresh: bool = False) -> StateEntry | None:
        check_key(key)
        if not fresh:
            return await self.copy.get(key)
        bucket = self._need_bucket()
        if key in self._unsaid:
            await self._say(bucket, key)
        found = await bucket.get(key)
        if found is not None:
            await self.view.adopt(found)
        return found

    async def put(self, key: str, value: Mapping[str, Any], *, expected: int | None = None) -> int:
        check_key(key)
        encode_value(key, value)
        if expected is None:
            await self._write(key, value)
            return self.view.revisions.get(key, 0)
        return await self._compare(key, value, expected)

    async def delete(self, key: str, *, expected: int | None = None) -> None:
        check_key(key)
        if expected is not None:
            await self._compare(key, None, expected)
        elif await self.copy.get(key) is not None:
            await self._write(key, None)

    async def list(self, prefix: str) -> Sequence[StateEntry]:
        return await self.copy.list(prefix)

    def watch(self, prefix: str) -> AsyncIterator[StateEntry | StateDeletion | None]:
        return self.view.watch(prefix)

    async def append(
        self, kind: str, *, subject: str, by: str | None = None, data: Mapping[str, Any] | None = None
    ) -> StateEvent:
        await self.load()  # numbers go on from there
        fields = {"kind": kind, "subject": subject, "by": by, "data": data or {}, "at": self._clock()}
        number, event = await self.copy.append(fields)
        self._events[number] = None
        while len(self._events) > MAX_UNSAID:
            oldest = next(iter(self._events))
            del self._events[oldest]
            self.dropped += 1
            await self.copy.drop_event(oldest)
        self._wake.set()
        return event

    async def events(self, *, after: int = 0, limit: int = 1000) -> Sequence[StateEvent]:
        return await self._local.events(after=after, limit=limit)

    async def prune(self, prefix: str, *, before: float) -> int:
        """As ``StateStore.prune``, in steps, between which others get their turn. Of events those in the
        copy: of its stream the server keeps the newest; old marks of what was deleted go with them.
        """
        gone = 0
        if prefix:
            async for keys in self.copy.list_older(prefix, before=before):
                await _all(self._write(key, None, waits=False) for key in keys)
                gone += len(keys)
        else:
            gone = await self._local.prune("", before=before)
            if self._bucket is not None:
                await self.view.forget_marks(self._bucket)
        return gone

    # What is written here

    def _need_bucket(self) -> NatsBucket:
        if self._bucket is None:
            raise StateUnreachableError(
                f"this is decided together with the other boot hosts, which cannot be reached: {self._why}",
                hint="it goes on by itself; `ectools fleet hosts` shows who was last heard of",
            )
        return self._bucket

    async def bring(self, entries: Sequence[StateEntry]) -> int:
        """How many entries, that were not shared until now, are to be said: those that nobody has said."""
        new = [
            each for each in entries if each.key not in self.view.revisions and each.key not in self._unsaid
        ]
        for each in new:
            entry = UnsaidEntry(value=each.value, changed=each.changed, base=0, is_kept=True)
            await self.copy.write(each.key, entry)
            self._unsaid[each.key] = _Unsaid(base=0)
            self._kept.add(each.key)
        self._wake.set()
        return len(new)

    async def _compare(self, key: str, value: Mapping[str, Any] | None, expected: int) -> int:
        bucket = self._need_bucket()
        if key in self._unsaid:
            # Until it was said it has the revision of what the others have, which may be what stands now.
            before = await self.copy.get(key)
            await self._say(bucket, key)
            if await self.copy.get(key) != before:
                raise StateConflictError(f"{key}: the others were told of it only now")
        now = self._clock()
        try:
            revision = await bucket.put(key, value, changed=now, expected=expected)
        except StateConflictError as error:
            found = await bucket.get(key)
            if found is not None:
                await self.view.adopt(found)
            at = 0 if found is None else found.revision
            raise StateConflictError(
                f"{key}: is at revision {at}, not {expected}: it has been changed meanwhile", hint=error.hint
            ) from error
        await self.view.learn_own(key, value, revision, now)
        return revision

    async def _write(self, key: str, value: Mapping[str, Any] | None, *, waits: bool = True) -> None:
        await self.load()
        earlier = self._unsaid.get(key)
        base = self.view.revisions.get(key, 0) if earlier is None else earlier.base
        unsaid = self._unsaid[key] = _Unsaid(base=base)
        entry = UnsaidEntry(value=value, changed=self._clock(), base=base, is_kept=key in self._kept)
        try:
            await self.copy.write(key, entry)
        except StateError:
            if self._unsaid.get(key) is unsaid:
                if earlier is not None:
                    self._unsaid[key] = earlier
                elif key not in self._kept:  # else it was to be said anew meanwhile
                    del self._unsaid[key]
            raise
        self.view.tell(key, value, self.view.revisions.get(key, 0), entry.changed)
        await self._bound()
        self._wake.set()
        if waits and self._bucket is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SAY_SECONDS):
                    await unsaid.said.wait()

    async def _bound(self) -> None:
        while len(self._unsaid) - len(self._kept) > MAX_UNSAID:
            oldest = next(key for key in self._unsaid if key not in self._kept)
            self._unsaid.pop(oldest).said.set()
            self.dropped += 1
            await self.copy.drop([oldest])
            await self.view.tell_settled(oldest, None)

    # What is said to the others, and heard of them

    def attach(self, bucket: NatsBucket | None, why: str = "") -> None:
        """From now on the others are reached by ``bucket``; None: they are not, and ``why`` is known."""
        self._bucket = bucket
        self._why = why
        self._wake.set()

    async def say(self) -> None:
        """Say what is to be said, as it comes, until the bucket is at its end. Raises StateError."""
        bucket = self._need_bucket()
        while self._bucket is bucket:
            self._wake.clear()
            # Who waits for a write does not wait for all that is said anew.
            keys = [key for key in self._unsaid if key not in self._kept]
            keys += [key for key in self._unsaid if key in self._kept][:_KEPT_AT_ONCE]
            for start in range(0, len(keys), _AT_ONCE):
                await _all(self._say(bucket, key) for key in keys[start : start + _AT_ONCE])
            for number in sorted(self._events):
                fields = await self.copy.read_event(number)
                if fields is not None:
                    await bucket.append(fields, message_id=f"{fields['writer']}-{number}")
                await self.copy.drop_event(number)
                self._events.pop(number, None)
            if keys and self._kept:
                continue
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_AGAIN_SECONDS):
                    await self._wake.wait()

    async def hear_events(self, events: Sequence[SharedEvent]) -> None:
        """What happened elsewhere. Raises StateError."""
        again = await self.copy.learn_events(events)
        self._events |= dict.fromkeys(again)
        if again:
            self._wake.set()

    async def restore(self, *, after: int = 0, events: int = 0) -> None:
        """The others have lost what they had behind ``after``: it is said anew, but where one of them says it
        first. Of the events that this host has read they have the first ``events``.
        """
        await self.copy.restore(after=after)
        loaded = await self.copy.load()
        self.view.begin_elsewhere(loaded.revisions, events=events)
        for key in loaded.unsaid:
            self._unsaid.setdefault(key, _Unsaid(base=0))
        for unsaid in self._unsaid.values():
            unsaid.base = unsaid.base if unsaid.base <= after else 0
        self._kept = loaded.kept

    async def _say(self, bucket: NatsBucket, key: str) -> None:
        unsaid = self._unsaid.get(key)
        entry = None if unsaid is None else await self.copy.read_unsaid(key)
        if unsaid is None:
            return
        settled = None
        gone = await self.copy.find_deleted(key) if entry is not None and entry.is_kept else None
        # What was never said, and is deleted, is nothing to the others.
        if entry is not None and gone is not None and gone > entry.changed:
            # Whoever has said anew what this host was not there to see deleted would bring it back.
            settled = SharedChange(key=key, value=None, revision=0, changed=gone, left=0)
        elif entry is not None and (entry.value is not None or unsaid.base or entry.is_kept):
            settled = await self._settle(bucket, key, entry, expected=unsaid.base)
            if settled is None:
                return  # others change it all the time: at the next turn
        if self._unsaid.get(key) is unsaid:
            await self.copy.drop([key])  # whatever is written from now on is written after that
        later = self._unsaid.get(key)
        if later is unsaid:
            del self._unsaid[key]
            self._kept.discard(key)
            await self.view.tell_settled(key, settled)
        elif later is not None:  # it was written once more; None: it has made room meanwhile
            later.base = unsaid.base if settled is None else settled.revision
        unsaid.said.set()

    async def _settle(
        self, bucket: NatsBucket, key: str, entry: UnsaidEntry, *, expected: int
    ) -> SharedChange | None:
        """What stands of a key, once the others have heard of ``entry``; None: it cannot be said now."""
        value = entry.value
        is_known = not expected and key in self.view.revisions  # by somebody else: it is looked at first
        for _ in range(_MAX_TRIES):
            # Where there is nothing to delete, no mark is left of that; but of what is said anew, for those
            # who were not there to hear of it.
            if not is_known and (value is not None or expected or entry.is_kept):
                with contextlib.suppress(StateConflictError):
                    revision = await bucket.put(key, value, changed=entry.changed, expected=expected)
                    return await self.view.learn_own(key, value, revision, entry.changed)
            found, is_known = await bucket.get(key), False
            if found is None:
                if value is None:
                    return SharedChange(key=key, value=None, revision=0, changed=entry.changed, left=0)
                expected = 0
                continue
            settled = await self.view.adopt(found)
            chosen = self._reconcile(key, found, entry)
            expected = found.revision
            if entry.value is None and entry.is_kept and found.changed <= entry.changed:
                continue  # they have lost that it was deleted: once more
            if chosen is None or chosen == found.value:
                return settled
            value = chosen
        return None


async def _all(work: Any) -> None:
    """All of it; then the first failure is raised."""
    for result in await asyncio.gather(*work, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result
