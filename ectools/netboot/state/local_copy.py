"""What one host has of a shared state: a copy of its entries, and what is still to be said to the others.

A SQLite store whose keys are ``c/<key>`` for the copy, ``p/<key>`` for what was written here and has not been
said, ``e/<number>`` for events likewise, and ``m/place`` for how far was read. Its log of events is this
host's view of all hosts' events, numbered as they became known here.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ectools.netboot.state import statements
from ectools.netboot.state.entries import encode_value
from ectools.netboot.state.interface import StateEntry, StateEvent

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping, Sequence

    from ectools.netboot.state.nats_bucket import SharedChange, SharedEvent
    from ectools.netboot.state.sqlite import SqliteStore

MAX_SENDERS = 1000
"""Hosts whose events are told from ones that were read before; those that spoke last."""
_PLACE = "m/place"


@dataclass(kw_only=True)
class CopyPlace:
    """How far was read. ``writer`` tells this copy from any other; ``number`` is its last event's.

    ``identity`` is the bucket's; ``sequence`` and ``events`` are the last ones read of its streams.
    ``heard``: writer → the number of its last event that was read; ``at``: Unix seconds of the last contact.
    """

    writer: str = field(default_factory=lambda: secrets.token_hex(8))
    number: int = 0
    identity: str | None = None
    sequence: int = 0
    events: int = 0
    heard: dict[str, int] = field(default_factory=dict)
    at: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class UnsaidEntry:
    """What was written here: ``value`` None: deleted. ``base``: the revision that it was written upon."""

    value: Mapping[str, Any] | None
    changed: float
    base: int


class LocalCopy:
    """The copy in a store, which is started and closed by whoever has it. Every call raises StateError."""

    def __init__(self, store: SqliteStore) -> None:
        self.store = store
        self.place = CopyPlace()

    async def load(self) -> tuple[dict[str, int], dict[str, int], list[int]]:
        """Key → revision; key → base of what is unsaid, in the order of writing; numbers of unsaid events."""

        def work(connection: sqlite3.Connection) -> Any:
            known = {each.key[2:]: each.value["r"] for each in statements.list_entries(connection, "c/")}
            unsaid = sorted(statements.list_entries(connection, "p/"), key=lambda each: each.revision)
            events = [int(each.key[2:]) for each in statements.list_entries(connection, "e/")]
            return known, {each.key[2:]: each.value["r"] for each in unsaid}, events, _read(connection)

        known, unsaid, events, place = await self.store.transact(work)
        self.place = place or self.place
        return known, unsaid, events

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
        text = json.dumps({"v": entry.value, "t": entry.changed, "r": entry.base}, separators=(",", ":"))

        def work(connection: sqlite3.Connection) -> None:
            statements.put(connection, f"p/{key}", text, expected=None, now=entry.changed)

        await self.store.transact(work)

    async def read_unsaid(self, key: str) -> UnsaidEntry | None:
        """What is to be said of a key."""
        found = await self.store.get(f"p/{key}")
        if found is None:
            return None
        return UnsaidEntry(value=found.value["v"], changed=found.value["t"], base=found.value["r"])

    async def drop(self, keys: Iterable[str]) -> None:
        """What was to be said of these keys has been, or never will be."""
        names = [f"p/{key}" for key in keys]
        await self.store.transact(
            lambda connection: [statements.delete(connection, each, expected=None) for each in names]
        )

    async def learn(self, changes: Sequence[SharedChange]) -> None:
        """What the others have, and how far was read, in one transaction."""
        texts = [(each, _encode_copy(each)) for each in changes]
        place = self._encode_place()

        def work(connection: sqlite3.Connection) -> None:
            for change, text in texts:
                if text is None:
                    statements.delete(connection, f"c/{change.key}", expected=None)
                else:
                    statements.put(connection, f"c/{change.key}", text, expected=None, now=change.changed)
            statements.put(connection, _PLACE, place, expected=None, now=self.place.at)

        await self.store.transact(work)

    async def append(self, fields: Mapping[str, Any]) -> StateEvent:
        """An event of this host's, which is to be said: at once in its own view."""
        encode_value(fields["kind"], fields["data"])
        self.place.number += 1
        number, place = self.place.number, self._encode_place()
        text = json.dumps(fields, separators=(",", ":"))

        def work(connection: sqlite3.Connection) -> int:
            statements.put(connection, f"e/{number:016d}", text, expected=None, now=fields["at"])
            statements.put(connection, _PLACE, place, expected=None, now=fields["at"])
            return _log_event(connection, fields)

        sequence = await self.store.transact(work)
        return _build_event(sequence, fields)

    async def read_event(self, number: int) -> Mapping[str, Any] | None:
        """An event that is to be said."""
        found = await self.store.get(f"e/{number:016d}")
        return None if found is None else found.value

    async def drop_event(self, number: int) -> None:
        """An event was said, or never will be."""
        await self.store.delete(f"e/{number:016d}")

    async def learn_events(self, events: Sequence[SharedEvent]) -> None:
        """What happened elsewhere, once each, and how far was read, in one transaction."""
        new = [event.fields for event in events if self._is_new(event)]
        place = self._encode_place()

        def work(connection: sqlite3.Connection) -> None:
            for fields in new:
                _log_event(connection, fields)
            statements.put(connection, _PLACE, place, expected=None, now=self.place.at)

        await self.store.transact(work)

    async def restore(self) -> None:
        """All that was copied is to be said: whoever had it has lost it."""

        def work(connection: sqlite3.Connection) -> None:
            for entry in statements.list_entries(connection, "c/"):
                key = f"p/{entry.key[2:]}"
                if statements.get(connection, key) is None:
                    text = json.dumps({"v": entry.value["v"], "t": entry.value["t"], "r": 0})
                    statements.put(connection, key, text, expected=None, now=entry.changed)
                statements.delete(connection, entry.key, expected=None)

        await self.store.transact(work)

    def _is_new(self, event: SharedEvent) -> bool:
        """Whether it is another host's, and was not read before: each host's numbers come in order."""
        self.place.events = max(self.place.events, event.sequence)
        writer, number = event.fields.get("writer"), event.fields.get("number")
        if not isinstance(writer, str) or not isinstance(number, int) or writer == self.place.writer:
            return False
        if number <= self.place.heard.get(writer, 0) or not _is_event(event.fields):
            return False
        self.place.heard.pop(writer, None)
        self.place.heard[writer] = number
        while len(self.place.heard) > MAX_SENDERS:
            self.place.heard.pop(next(iter(self.place.heard)))
        return True

    def _encode_place(self) -> str:
        return json.dumps(vars(self.place), separators=(",", ":"))


def _read(connection: sqlite3.Connection) -> CopyPlace | None:
    found = statements.get(connection, _PLACE)
    return None if found is None else CopyPlace(**found.value)


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


def _is_event(fields: Mapping[str, Any]) -> bool:
    by = fields.get("by")
    return (
        all(isinstance(fields.get(name), str) for name in ("kind", "subject"))
        and isinstance(fields.get("at"), int | float)
        and isinstance(fields.get("data"), dict)
        and (by is None or isinstance(by, str))
    )


def _log_event(connection: sqlite3.Connection, fields: Mapping[str, Any]) -> int:
    data = json.dumps(fields["data"], separators=(",", ":"))
    return statements.append(
        connection, (fields["at"], fields["kind"], fields["subject"], fields["by"], data)
    )


def _build_event(sequence: int, fields: Mapping[str, Any]) -> StateEvent:
    named = {name: fields[name] for name in ("at", "kind", "subject", "by", "data")}
    return StateEvent(sequence=sequence, **named)
