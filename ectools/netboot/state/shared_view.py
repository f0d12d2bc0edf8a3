"""What one host has heard of the others: revisions of keys, kept in its copy, and told to who watches."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any

from ectools.netboot.state.broadcast import Broadcast
from ectools.netboot.state.interface import StateDeletion, StateEntry, StateError
from ectools.netboot.state.nats_bucket import SharedChange
from ectools.netboot.state.stream_end import LostEnd, find_common

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Container, Mapping, Sequence

    from ectools.netboot.state.local_copy import LocalCopy
    from ectools.netboot.state.nats_bucket import NatsBucket
    from ectools.netboot.state.stream_end import CommonEnd

MARK_SECONDS = 86400.0
"""After which it is no more to be seen of a deleted key that it was: who was away longer reads all anew."""
MAX_MARKS = 10_000
"""That one call takes away."""
# Keys, until one is found that is as it was.
_LOOKED_AT = 32


class SharedView:
    """The view of one host. ``clock`` gives Unix seconds. ``unsaid``: keys of which what was written here is
    what there is, whatever is heard, until it has been said.
    """

    def __init__(self, copy: LocalCopy, *, clock: Callable[[], float], unsaid: Container[str]) -> None:
        self._copy = copy
        self._unsaid = unsaid
        self._clock = clock
        self._broadcasts: dict[str, Broadcast[StateEntry | StateDeletion]] = {}
        self._before: set[str] = set()  # keys of the copy, while it is read anew
        self._untold: set[str] = set()  # unsaid keys of which something was heard
        self.revisions: dict[str, int] = {}
        """Key → its revision, as it was heard of last."""

    @property
    def is_whole(self) -> bool:
        """Whether the copy has all that was heard: else it is to be read anew, after an end of this program
        too.
        """
        return self._copy.place.is_whole

    def watch(self, prefix: str) -> AsyncIterator[StateEntry | StateDeletion | None]:
        """As ``StateStore.watch``."""
        return self._broadcasts.setdefault(prefix, Broadcast()).listen()

    async def learn(self, changes: Sequence[SharedChange], *, is_own: bool = False) -> None:
        """What the others have changed, in the order of revisions; older ones are left out. ``is_own``: it
        was answered to this host, ahead of what it hears. Raises StateError: the copy is not whole then.
        """
        new, marks, place = [], [], self._copy.place
        for change in changes:
            if is_own and change.revision <= place.sequence:
                continue  # it was heard of before its answer came, and perhaps what came after it
            if change.key and change.revision > self.revisions.get(change.key, 0):
                self.revisions[change.key] = change.revision
                new.append(change)
            if not is_own:
                if change.revision > place.sequence:
                    place.sequence = change.revision
                    # One server's clock may be behind that of the one before it.
                    place.sequence_taken = max(place.sequence_taken, change.taken)
                if change.value is None:
                    self.revisions.pop(change.key, None)
            if change.value is None and change.key:
                marks.append(change)
        place.at = self._clock()
        marks = [each for each in marks if self.revisions.get(each.key, 0) <= each.revision]
        try:
            await self._copy.learn(new, marks=marks)
        except StateError:
            place.is_whole = False
            raise
        for change in new:
            if change.key not in self._unsaid:
                self.tell(change.key, change.value, change.revision, change.changed)
            elif not is_own:
                self._untold.add(change.key)

    async def adopt(self, entry: StateEntry) -> SharedChange:
        """An entry that was asked for. Raises StateError."""
        return await self.learn_own(entry.key, entry.value, entry.revision, entry.changed)

    async def learn_own(
        self, key: str, value: Mapping[str, Any] | None, revision: int, changed: float
    ) -> SharedChange:
        """What was answered to this host. Raises StateError."""
        change = SharedChange(key=key, value=value, revision=revision, changed=changed, left=0)
        await self.learn([change], is_own=True)
        return change

    async def tell_settled(self, key: str, settled: SharedChange | None) -> None:
        """A key is unsaid no more: those who watch it hear of what stands by now. Raises StateError.

        ``settled``: what the others have answered; None: nothing.
        """
        if key in self._untold:
            self._untold.discard(key)
            found = await self._copy.get(key)
            if found is None:
                self.tell(key, None, 0, 0.0)
            else:
                self.tell(key, found.value, found.revision, found.changed)
        elif settled is not None:
            self.tell(key, settled.value, settled.revision, settled.changed)

    def begin_anew(self) -> None:
        """All that the others have is about to be heard, whatever was heard before."""
        self._copy.place.is_whole = False
        self._before |= self.revisions.keys()
        self.revisions = {}
        self._copy.place.sequence, self._copy.place.sequence_taken = 0, 0.0

    async def end_anew(self, present: set[str]) -> None:
        """The others have these keys, and no further one. Raises StateError."""
        gone = sorted(self._before - present)
        absent = [SharedChange(key=key, value=None, revision=0, changed=0.0, left=0) for key in gone]
        self._copy.place.is_whole = True
        try:
            await self._copy.learn(absent)
        except BaseException:  # also where that is not waited for any more
            self._copy.place.is_whole = False
            raise
        self._before = set()
        for key in gone:
            if key not in self._unsaid:
                self.tell(key, None, 0, 0.0)
            else:
                self._untold.add(key)

    async def forget_marks(self, bucket: NatsBucket) -> None:
        """Have old marks of deleted keys taken away. Raises StateError."""
        left = MAX_MARKS
        async for keys in self._copy.list_marks(before=self._clock() - MARK_SECONDS):
            await bucket.forget_deleted(keys)
            await self._copy.drop_marks(keys)
            left -= len(keys)
            if left <= 0:
                return

    def begin_elsewhere(self, revisions: dict[str, int], *, events: int) -> None:
        """The others have another bucket, or have lost its end: of what was heard these keys are left in the
        copy, and so many events.
        """
        self.revisions, self._before = revisions, set()
        place = self._copy.place
        place.sequence, place.sequence_taken = 0, 0.0
        if events < place.events:
            place.events, place.events_taken = events, 0.0

    async def find_common(self, bucket: NatsBucket) -> tuple[CommonEnd | None, CommonEnd | None]:
        """What both streams have of what was heard. Raises StateError."""
        place = self._copy.place
        return (
            await find_common(bucket.find_entry_from, sequence=place.sequence, at=place.sequence_taken),
            await find_common(bucket.find_event_from, sequence=place.events, at=place.events_taken),
        )

    async def find_loss(
        self,
        bucket: NatsBucket,
        ends: tuple[int, int],
        common: tuple[CommonEnd | None, CommonEnd | None],
        *,
        gone_after: float,
    ) -> LostEnd | None:
        """None: nothing was lost that was heard, or answered. ``ends``: the streams' last sequences;
        ``gone_after``: up to that sequence what is not there may have been deleted. Raises StateError.
        """
        place, (entries, events) = self._copy.place, common
        following = None if entries is None else entries.following
        if (
            max(place.sequence, *self.revisions.values(), 0) > ends[0]
            or following is not None
            or await self._has_fallen_back(bucket, gone_after)
        ):
            end = ends[0] if following is None else following - 1
            return LostEnd(after=entries.sequence if entries is not None and self.is_whole else end, end=end)
        if place.events > ends[1] or (events is not None and events.following is not None):
            return LostEnd(after=ends[0], end=ends[0])
        return None

    async def _has_fallen_back(self, bucket: NatsBucket, gone_after: float) -> bool:
        """Whether a key is at an earlier revision than was heard of, or nowhere: others may have written more
        than was lost. Of the newest ones, down to one that is as it was.
        """
        for key in heapq.nlargest(_LOOKED_AT, self.revisions, key=self.revisions.__getitem__):
            found, known = await bucket.find_revision(key), self.revisions.get(key, 0)
            if found == known:
                return False
            if known > gone_after if found is None else found < known:
                return True
        return False

    def tell(self, key: str, value: Mapping[str, Any] | None, revision: int, changed: float) -> None:
        """Those who watch the key hear of it."""
        for prefix, broadcast in list(self._broadcasts.items()):
            if not len(broadcast):
                del self._broadcasts[prefix]
            elif key.startswith(prefix):
                broadcast.publish(
                    StateDeletion(key=key)
                    if value is None
                    else StateEntry(key=key, value=value, revision=revision, changed=changed)
                )
