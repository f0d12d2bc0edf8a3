"""What one host has of a shared state: a copy of its entries, and what is still to be said to the others.

A SQLite store whose keys are ``c/<key>`` for the copy, ``p/<key>`` for what was written here and has not been
said, ``e/<number>`` for events likewise, ``d/<key>`` for keys that the others have a mark of as deleted, and
``m/place`` for how far was read. Its log of events is this host's view of all hosts' events, numbered as they
became known here.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING, Any

from ectools import log
from ectools.netboot.state import statements
from ectools.netboot.state.copy_place import (
    PLACE,
    CopyPlace,
    LoadedCopy,
    UnsaidEntry,
    make_writer,
    read_place,
)
from ectools.netboot.state.entries import encode_value
from ectools.netboot.state.interface import StateEntry, StateEvent

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence

    from ectools.netboot.state.nats_bucket import SharedChange, SharedEvent
    from ectools.netboot.state.sqlite import SqliteStore

MAX_SENDERS = 256
"""Writers whose events are told from ones that were read before; those that spoke last."""
MAX_UNHEARD = 1000
"""Events of this host that are compared with what comes back of them from the others' stream."""
# In one transaction: nobody's write waits for more.
_LOOKED_AT, _MOVED = 1000, 500

_log = log.Log(__name__)


class LocalCopy:
    """The copy in a store, which is started and closed by whoever has it. Every call raises StateError."""

    def __init__(self, store: SqliteStore) -> None:
        self.store = store
        self.place = CopyPlace()
        # Number → what was written by this start's writer, and has not come back from the stream as yet.
        # What the writer before this one had written, where a double goes on as that.
        self._left_writer: str | None = None
        self._left: Mapping[int, Mapping[str, Any]] = {}
        self._is_loaded = False
        self._unheard: OrderedDict[int, Mapping[str, Any]] = OrderedDict()

    async def load(self) -> LoadedCopy:
        """What there is, and the place where that is the first time."""

        def work(connection: sqlite3.Connection) -> tuple[LoadedCopy, CopyPlace | None]:
            known = {each.key[2:]: each.value["r"] for each in statements.list_entries(connection, "c/")}
            unsaid = sorted(statements.list_entries(connection, "p/"), key=lambda each: each.revision)
            # As it was written; and last of all, what is said anew: what was decided stands behind the many
            # boots there (rollouts/, boots/), and is said before them.
            unsaid = [each for each in unsaid if not each.value.get("k")] + [
                each for each in reversed(unsaid) if each.value.get("k")
            ]
            events = [int(each.key[2:]) for each in statements.list_entries(connection, "e/")]
            loaded = LoadedCopy(
                revisions=known,
                unsaid={each.key[2:]: each.value["r"] for each in unsaid},
                kept={each.key[2:] for each in unsaid if each.value.get("k")},
                events=events,
            )
            return loaded, read_place(connection)

        loaded, place = await self.store.transact(work)
        if place is not None and not self._is_loaded:
            self.place = place
            self._become_another()
        self._is_loaded = True
        return loaded

    async def get(self, key: str) -> StateEntry | None:
        """The entry, with what is unsaid of it; its revision is 0 where it was never said."""

        def work(connection: sqlite3.Connection) -> StateEntry | None:
            copied = statements.get(connection, f"c/{key}")
            return _join(key, copied, statements.get(connection, f"p/{key}"))

        return await self.store.transact(work)

    async def list(self, prefix: str) -> Sequence[StateEntry]:
        """As ``get``, of all keys that begin so, by key."""

        def work(connection: sqlite3.Connection) -> list[StateEntry]:
            copied = {each.key[2:]: each for each in statements.list_entries(connection, f"c/{prefix}")}
            unsaid = {each.key[2:]: each for each in statements.list_entries(connection, f"p/{prefix}")}
            keys = sorted({*copied, *unsaid})
            joined = [_join(key, copied.get(key), unsaid.get(key)) for key in keys]
            return [each for each in joined if each is not None]

        return await self.store.transact(work)

    async def write(self, key: str, entry: UnsaidEntry) -> None:
        """Something was written here, and is to be said."""
        await self.store.transact(lambda connection: _put_unsaid(connection, key, entry))

    async def read_unsaid(self, key: str) -> UnsaidEntry | None:
        """What is to be said of a key."""
        found = await self.store.get(f"p/{key}")
        if found is None:
            return None
        value = found.value
        return UnsaidEntry(value=value["v"], changed=value["t"], base=value["r"], is_kept="k" in value)

    async def drop(self, keys: Iterable[str]) -> None:
        """What was to be said of these keys has been, or never will be."""
        names = [f"p/{key}" for key in keys]
        await self.store.transact(
            lambda connection: [statements.delete(connection, each, expected=None) for each in names]
        )

    async def learn(self, changes: Sequence[SharedChange], *, marks: Sequence[SharedChange] = ()) -> None:
        """What the others have, and how far was read, in one transaction. ``marks``: of deleted keys, that
        they have.
        """
        texts = [(each, _encode_copy(each)) for each in changes]
        place = self._encode_place()

        def work(connection: sqlite3.Connection) -> None:
            for change, text in texts:
                if text is None:
                    statements.delete(connection, f"c/{change.key}", expected=None)
                else:
                    statements.put(connection, f"c/{change.key}", text, expected=None, now=change.changed)
                    statements.delete(connection, f"d/{change.key}", expected=None)
            for mark in marks:
                # A mark may say of long ago that a key was deleted, and stays for as long as any.
                text, taken = json.dumps({"r": mark.revision, "t": mark.changed}), mark.taken or mark.changed
                statements.put(connection, f"d/{mark.key}", text, expected=None, now=taken)
            statements.put(connection, PLACE, place, expected=None, now=self.place.at)

        await self.store.transact(work)

    async def list_older(self, prefix: str, *, before: float) -> AsyncIterator[Sequence[str]]:
        """Keys of entries that were last changed before that time, some at a time."""
        async for keys in self._list_ages(f"c/{prefix}", before=before):
            yield await self._choose(keys, lambda connection, key: not _has(connection, f"p/{key}"))
        async for keys in self._list_ages(f"p/{prefix}", before=before):
            yield await self._choose(keys, _says_value)

    async def list_marks(self, *, before: float) -> AsyncIterator[Sequence[str]]:
        """Keys that were deleted before that time, and have a mark, some at a time."""
        async for keys in self._list_ages("d/", before=before):
            yield keys

    async def find_deleted(self, key: str) -> float | None:
        """When a key was deleted that has a mark."""
        found = await self.store.get(f"d/{key}")
        return None if found is None else found.value.get("t", found.changed)

    async def drop_marks(self, keys: Sequence[str]) -> None:
        """Their marks are gone."""
        await self.store.transact(
            lambda connection: [statements.delete(connection, f"d/{each}", expected=None) for each in keys]
        )

    async def _list_ages(self, prefix: str, *, before: float) -> AsyncIterator[Sequence[str]]:
        look = partial(statements.list_ages, prefix=prefix, limit=_LOOKED_AT)
        start: str | None = None
        while True:
            rows, start = await self.store.transact(partial(look, start=start))
            if old := [key[2:] for key, changed in rows if changed < before]:
                yield old
            if start is None:
                return

    async def _choose(
        self, keys: Sequence[str], is_wanted: Callable[[sqlite3.Connection, str], bool]
    ) -> Sequence[str]:
        return await self.store.transact(
            lambda connection: [each for each in keys if is_wanted(connection, each)]
        )

    async def append(self, event: Mapping[str, Any]) -> tuple[int, StateEvent]:
        """An event of this host's, which is to be said: its number, and as it is at once in its own view."""
        encode_value(event["kind"], event["data"])
        fields = self._sign(event)
        number, place = self.place.number, self._encode_place()

        def work(connection: sqlite3.Connection) -> int:
            _put_unsaid_event(connection, fields)
            statements.put(connection, PLACE, place, expected=None, now=fields["at"])
            return _log_event(connection, fields)

        sequence = await self.store.transact(work)
        return number, _build_event(sequence, fields)

    async def move_events(self, by: float) -> None:
        """What this start has appended, before anything of it was said, has happened ``by`` seconds later."""
        moved = {number: {**fields, "at": fields["at"] + by} for number, fields in self._unheard.items()}

        def work(connection: sqlite3.Connection) -> None:
            for number, fields in self._unheard.items():
                statements.move_event(connection, (fields["at"], fields["kind"], fields["subject"]), by)
                if statements.get(connection, f"e/{number:016d}") is not None:
                    _put_unsaid_event(connection, moved[number])

        await self.store.transact(work)
        self._unheard.update(moved)

    async def read_event(self, number: int) -> Mapping[str, Any] | None:
        """An event that is to be said."""
        found = await self.store.get(f"e/{number:016d}")
        return None if found is None else found.value

    async def drop_event(self, number: int) -> None:
        """An event was said, or never will be."""
        await self.store.delete(f"e/{number:016d}")

    async def learn_events(self, events: Sequence[SharedEvent]) -> Sequence[int]:
        """What happened elsewhere, once each, and how far was read, in one transaction. The numbers of events
        that are to be said once more, because another host has used this one's name for its own.
        """
        new: list[Mapping[str, Any]] = []
        again: list[tuple[int, Mapping[str, Any]]] = []
        for event in events:
            if event.sequence > self.place.events:
                self.place.events = event.sequence
                self.place.events_taken = max(self.place.events_taken, event.taken)
            if event.fields is None:
                continue
            if self._is_foreign(event.fields):
                again += self._leave_to_double(event.fields["number"])
            if self._is_new(event.fields):
                new.append(event.fields)
        place = self._encode_place()

        def work(connection: sqlite3.Connection) -> None:
            for before, fields in again:
                statements.delete(connection, f"e/{before:016d}", expected=None)
                _put_unsaid_event(connection, fields)
            for fields in new:
                _log_event(connection, fields)
            statements.put(connection, PLACE, place, expected=None, now=self.place.at)

        await self.store.transact(work)
        return [fields["number"] for _, fields in again]

    async def restore(self, *, after: int = 0) -> None:
        """What was copied is to be said, and what was deleted lately, if it came after that sequence: whoever
        had it has lost it.

        In steps: where it is ended between two, it is begun anew, and goes on.
        """
        for prefix in ("c/", "d/"):
            start: str | None = None
            while True:
                start = await self.store.transact(partial(_move, prefix=prefix, after=after, start=start))
                if start is None:
                    break

    def _sign(self, event: Mapping[str, Any]) -> Mapping[str, Any]:
        """An event with its writer and its number, which nobody else gives."""
        self.place.number += 1
        fields = {**event, "writer": self.place.writer, "number": self.place.number}
        self._unheard[self.place.number] = fields
        while len(self._unheard) > MAX_UNHEARD:
            self._unheard.popitem(last=False)
        return fields

    def _is_foreign(self, fields: Mapping[str, Any]) -> bool:
        """Whether an event says that it is of this start of this host, and is not what was written here."""
        place, number = self.place, fields["number"]
        if fields["writer"] != place.writer:
            return False
        mine = self._unheard.get(number)
        if mine is None:  # it came back before, or so long ago that it is compared no more
            return bool(number > place.number)
        if _is_same(mine, fields):
            del self._unheard[number]
            return False
        return True

    def _leave_to_double(self, number: int) -> Sequence[tuple[int, Mapping[str, Any]]]:
        """Another writer from now on; what the others may have taken for read, as it is to be said by that.

        ``number``: of the double's first event that is none of ours; all that follow are its own, too.
        """
        _log.error(
            "another boot host goes on as this one: its machine was copied while it ran, or put back",
            hint="what was written here meanwhile is told anew; fleet.hostName gives each its own name",
        )
        before, self._left, self._unheard = self.place.writer, self._unheard, OrderedDict()
        self._left_writer = before
        self._become_another()
        self.place.heard[before] = number - 1
        return [(each, self._sign(fields)) for each, fields in self._left.items()]

    def _become_another(self) -> None:
        """Another writer from now on. What the one before has written is in this copy's log."""
        place = self.place
        self._note_heard(place.writer, place.number)
        place.writer = make_writer()

    def _is_new(self, fields: Mapping[str, Any]) -> bool:
        """Whether it is another host's, and was not read before: each writer's numbers come in order."""
        writer, number = fields["writer"], fields["number"]
        if writer == self._left_writer and _is_same(self._left.get(number), fields):
            return False
        if writer == self.place.writer or number <= self.place.heard.get(writer, 0):
            return False
        self._note_heard(writer, number)
        return True

    def _note_heard(self, writer: str, number: int) -> None:
        self.place.heard.pop(writer, None)
        self.place.heard[writer] = number
        while len(self.place.heard) > MAX_SENDERS:
            self.place.heard.pop(next(iter(self.place.heard)))

    def _encode_place(self) -> str:
        return json.dumps(vars(self.place), separators=(",", ":"))


def _move(connection: sqlite3.Connection, prefix: str, *, after: int, start: str | None) -> str | None:
    """Make some of the copy, or of the marks, unsaid; what has been written since stays as it is. Where to go
    on; None: at the end.
    """
    rows, following = statements.list_ages(connection, prefix, start=start, limit=_MOVED)
    for name, changed in rows:
        found = statements.get(connection, name)
        if found is None or (after and found.value.get("r", after + 1) <= after):
            continue  # an earlier version has not kept the revision of a mark
        if not _has(connection, f"p/{name[2:]}"):
            value = found.value["v"] if prefix == "c/" else None
            at = found.value.get("t", changed)
            entry = UnsaidEntry(value=value, changed=at, base=0, is_kept=True)
            _put_unsaid(connection, name[2:], entry)
        statements.delete(connection, name, expected=None)
    return following


def _has(connection: sqlite3.Connection, name: str) -> bool:
    return statements.get(connection, name) is not None


def _says_value(connection: sqlite3.Connection, key: str) -> bool:
    found = statements.get(connection, f"p/{key}")
    return found is not None and found.value["v"] is not None


def _put_unsaid(connection: sqlite3.Connection, key: str, entry: UnsaidEntry) -> None:
    written = {"v": entry.value, "t": entry.changed, "r": entry.base} | ({"k": 1} if entry.is_kept else {})
    text = json.dumps(written, separators=(",", ":"))
    statements.put(connection, f"p/{key}", text, expected=None, now=entry.changed)


def _join(key: str, copied: StateEntry | None, unsaid: StateEntry | None) -> StateEntry | None:
    newest = copied if unsaid is None else unsaid
    if newest is None or newest.value["v"] is None:
        return None
    revision = 0 if copied is None else copied.value["r"]
    return StateEntry(key=key, value=newest.value["v"], revision=revision, changed=newest.value["t"])


def _encode_copy(change: SharedChange) -> str | None:
    if change.value is None:
        return None
    return json.dumps({"v": change.value, "t": change.changed, "r": change.revision}, separators=(",", ":"))


def _is_same(mine: Mapping[str, Any] | None, fields: Mapping[str, Any]) -> bool:
    return mine is not None and all(mine[name] == fields[name] for name in ("kind", "subject", "by", "at"))


def _put_unsaid_event(connection: sqlite3.Connection, fields: Mapping[str, Any]) -> None:
    text = json.dumps(fields, separators=(",", ":"))
    statements.put(connection, f"e/{fields['number']:016d}", text, expected=None, now=fields["at"])


def _log_event(connection: sqlite3.Connection, fields: Mapping[str, Any]) -> int:
    data = json.dumps(fields["data"], separators=(",", ":"))
    return statements.append(
        connection, (fields["at"], fields["kind"], fields["subject"], fields["by"], data)
    )


def _build_event(sequence: int, fields: Mapping[str, Any]) -> StateEvent:
    named = {name: fields[name] for name in ("at", "kind", "subject", "by", "data")}
    return StateEvent(sequence=sequence, **named)
