"""What one host has heard of the others: revisions of keys, kept in its copy, and told to who watches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ectools.netboot.state.broadcast import Broadcast
from ectools.netboot.state.interface import StateDeletion, StateEntry, StateError
from ectools.netboot.state.nats_bucket import SharedChange

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from ectools.netboot.state.local_copy import LocalCopy
    from ectools.netboot.state.nats_bucket import NatsBucket

MARK_SECONDS = 86400.0
"""After which it is no more to be seen of a deleted key that it was: who was away longer reads all anew."""
MAX_MARKS = 50_000
_MARKS_AT_ONCE = 500


class SharedView:
    """The view of one host. ``clock`` gives Unix seconds."""

    def __init__(self, copy: LocalCopy, *, clock: Callable[[], float]) -> None:
        self._copy = copy
        self._clock = clock
        self._broadcasts: dict[str, Broadcast[StateEntry | StateDeletion]] = {}
        self._marks: dict[str, float] = {}  # deleted keys → Unix seconds
        self._before: set[str] = set()  # keys of the copy, while it is read anew
        self.revisions: dict[str, int] = {}
        """Key → its revision, as it was heard of last."""
        self.is_whole = True
        """Whether the copy has all that was heard: else it is to be read anew."""

    def watch(self, prefix: str) -> AsyncIterator[StateEntry | StateDeletion | None]:
        """As ``StateStore.watch``."""
        return self._broadcasts.setdefault(prefix, Broadcast()).listen()

    async def learn(self, changes: Sequence[SharedChange], *, is_own: bool = False) -> None:
        """What the others have changed, in the order of revisions; older ones are left out. ``is_own``: it
        was answered to this host, ahead of what it hears. Raises StateError: the copy is not whole then.
        """
        new, place = [], self._copy.place
        for change in changes:
            if is_own and change.revision <= place.sequence:
                continue  # it was heard of before its answer came, and perhaps what came after it
            if change.key and change.revision > self.revisions.get(change.key, 0):
                self.revisions[change.key] = change.revision
                new.append(change)
            if not is_own:
                place.sequence = max(place.sequence, change.revision)
                self._note_mark(change)
        place.at = self._clock()
        try:
            await self._copy.learn(new)
        except StateError:
            self.is_whole = False
            raise
        for change in new:
            self.tell(change.key, change.value, change.revision, change.changed)

    async def adopt(self, entry: StateEntry) -> None:
        """An entry that was asked for. Raises StateError."""
        await self.learn_own(entry.key, entry.value, entry.revision, entry.changed)

    async def learn_own(
        self, key: str, value: Mapping[str, Any] | None, revision: int, changed: float
    ) -> None:
        """What was answered to this host. Raises StateError."""
        change = SharedChange(key=key, value=value, revision=revision, changed=changed, left=0)
        await self.learn([change], is_own=True)

    def begin_anew(self) -> None:
        """All that the others have is about to be heard, whatever was heard before."""
        self.is_whole = False
        self._before |= self.revisions.keys()
        self.revisions = {}
        self._copy.place.sequence = 0

    async def end_anew(self, present: set[str]) -> None:
        """The others have these keys, and no further one. Raises StateError."""
        gone = sorted(self._before - present)
        absent = [SharedChange(key=key, value=None, revision=0, changed=0.0, left=0) for key in gone]
        await self._copy.learn(absent)
        self._before = set()
        self.is_whole = True
        for key in gone:
            self.tell(key, None, 0, 0.0)

    async def forget_marks(self, bucket: NatsBucket) -> None:
        """Have old marks of deleted keys taken away, a number at a time. Raises StateError."""
        before = self._clock() - MARK_SECONDS
        old = [key for key, at in self._marks.items() if at < before][:_MARKS_AT_ONCE]
        await bucket.forget_deleted(old)
        for key in old:
            self._marks.pop(key, None)

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

    def _note_mark(self, change: SharedChange) -> None:
        """A key that was deleted is none any more, and its mark is to go some day."""
        self._marks.pop(change.key, None)
        if change.value is None and change.key:
            self.revisions.pop(change.key, None)
            self._marks[change.key] = change.changed
            while len(self._marks) > MAX_MARKS:
                del self._marks[next(iter(self._marks))]
