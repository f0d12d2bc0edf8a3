"""Boot hosts that share a state: each says now and then that it is there, and what it serves.

A host's row stands in the store as ``hosts/<name>``; while the others cannot be reached it is said later, as
all else. A host that was not heard of for long is forgotten.
"""

from __future__ import annotations

import contextlib
import json
import time
from typing import TYPE_CHECKING, Any

from ectools import __version__, log
from ectools.netboot.api.releases import StagedRelease
from ectools.netboot.api.unstaged import find_unstaged
from ectools.netboot.server.shared_state import HOSTS
from ectools.netboot.state.decode import (
    MAX_TIME,
    need_list,
    need_mapping,
    need_number,
    need_text,
    read_count,
    read_text,
    read_text_if_any,
    read_time,
)
from ectools.netboot.state.interface import StateError
from ectools.netboot.state.unreadable import UnreadableLog

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from ectools.netboot.state.interface import StateEntry, StateStore

_log = log.Log(__name__)

BEAT_SECONDS = 10.0
LOST_SECONDS = 3 * BEAT_SECONDS
"""After which a host that says nothing is not there."""
MISSED_SECONDS = 86400.0
FORGOTTEN_SECONDS = 30 * 86400.0
MAX_HOSTS_SHOWN = 1000
"""That are shown."""
_MAX_RELEASES = 1000
_MAX_RELEASES_BYTES = 128 << 10
# That a host of version 0.1.0 tells of, with those that are marked: it does not say that there are more.
_RELEASES_OF_BEFORE = 50


class BootHosts:
    """This host, ``name``, among those of a store; ``store`` None: it has its state for itself.

    ``releases`` gives what is staged here, ``wanted`` what groups are to boot (``api.unstaged``), ``behind``
    how much of what was written here the others do not have, and how much they never will; ``address`` is
    where clients are sent. ``clock`` gives Unix seconds, ``ahead`` by how many of them this host's own clock
    is ahead of what all go by; None: it is not known. ``knows_time`` is as in ``BootRegister``: before, the
    others are told nothing.
    """

    def __init__(
        self,
        name: str,
        *,
        address: str,
        store: StateStore | None,
        releases: Callable[[], Awaitable[Sequence[StagedRelease]]],
        wanted: Callable[[], Mapping[str, Sequence[str]]] = dict,
        behind: Callable[[], tuple[int, int]],
        clock: Callable[[], float] = time.time,
        knows_time: Callable[[], bool] = lambda: True,
        ahead: Callable[[], float | None] = lambda: None,
    ) -> None:
        self._name = name
        self._address = address
        self._store = store
        self._releases = releases
        self._wanted = wanted
        self._behind = behind
        self._clock = clock
        self._knows_time = knows_time
        self._ahead = ahead
        self._started = clock()
        self._begun: float | None = None if knows_time() else time.monotonic()
        self._is_double = False
        self._unreadable = UnreadableLog()
        self.is_someone_missing = False
        """Whether a host that was there within the last day says nothing, as of the last beat."""

    async def describe(self) -> Sequence[Mapping[str, Any]]:
        """A row a host, by name; this one's as it is now. Raises EcError."""
        rows = {self._name: {**await self._make_row(), "here": True}}
        if self._store is not None:
            for entry in await self._store.list(HOSTS):
                name = entry.key.removeprefix(HOSTS)
                if name not in rows and (row := self._read_row(entry)) is not None:
                    rows[name] = {**row, "name": name, "seen": entry.changed, "here": False}
        now, wanted = self._clock(), self._wanted()
        return [
            {
                **rows[name],
                "lacks": _list_lacking(rows[name], wanted),
                "up": rows[name]["here"] or now - rows[name]["seen"] <= LOST_SECONDS,
            }
            for name in sorted(rows)[:MAX_HOSTS_SHOWN]
        ]

    async def beat(self) -> None:
        """Say that this host is there. Nothing waits for it."""
        assert self._store is not None  # noqa: S101 - else nobody calls
        if not self._knows_time():
            return
        if self._begun is not None:
            self._started, self._begun = self._clock() - (time.monotonic() - self._begun), None
        with contextlib.suppress(StateError):  # the store has said so
            await self._look_for_double()
            row = await self._make_row()
            del row["name"], row["seen"]
            await self._store.put(HOSTS + self._name, row)
            oldest, newest = self._clock() - MISSED_SECONDS, self._clock() - LOST_SECONDS
            others = [entry for entry in await self._store.list(HOSTS) if entry.key != HOSTS + self._name]
            self.is_someone_missing = any(oldest < each.changed < newest for each in others)

    async def forget(self) -> None:
        """Forget hosts that are gone for good."""
        assert self._store is not None  # noqa: S101 - else nobody calls
        if not self._knows_time():
            return
        with contextlib.suppress(StateError):
            await self._store.prune(HOSTS, before=self._clock() - FORGOTTEN_SECONDS)

    async def _look_for_double(self) -> None:
        assert self._store is not None  # noqa: S101 - ``beat`` has looked
        entry = await self._store.get(HOSTS + self._name)
        row = None if entry is None else self._read_row(entry)
        if entry is None or row is None:
            return
        other = row["started"]
        is_double = other > self._started and self._clock() - entry.changed <= LOST_SECONDS
        if is_double and not self._is_double:
            _log.error(
                "another boot host has this one's name",
                name=self._name,
                address=row["address"],
                hint="fleet.hostName gives each another one",
            )
        self._is_double = is_double

    def _read_row(self, entry: StateEntry) -> dict[str, Any] | None:
        try:
            return _decode_row(entry.value)
        except ValueError as error:
            self._unreadable.tell(entry.key, error)
            return None

    async def _make_row(self) -> dict[str, Any]:
        staged = await self._releases()
        behind, dropped = self._behind()
        ahead = self._ahead()
        return {
            "name": self._name,
            "address": self._address,
            "version": __version__,
            "started": self._started,
            "seen": self._clock(),
            "releases": (told := _tell_releases(staged)),
            "left_out": len(staged) - len(told),
            "behind": behind,
            "dropped": dropped,
            "clock_ahead": None if ahead is None else round(ahead, 1),
        }


def _tell_releases(staged: Sequence[StagedRelease]) -> list[dict[str, Any]]:
    """All, the newest first, or as many as others read: then those that are marked, and the newest."""
    wanted = sorted(range(len(staged)), key=lambda number: (not staged[number].marks, number))
    told: dict[int, dict[str, Any]] = {}
    size = 0
    for number in wanted[:_MAX_RELEASES]:
        each = staged[number]
        row = {"id": each.id, "tag": each.tag, "marks": list(each.marks)}
        size += len(json.dumps(row))
        if size > _MAX_RELEASES_BYTES:
            break
        told[number] = row
    return [told[number] for number in sorted(told)]


def _list_lacking(row: Mapping[str, Any], wanted: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """What of ``wanted`` a host has not staged; nothing is known of one that tells of a part alone."""
    if row["left_out"]:
        return []
    staged = [
        StagedRelease(
            id=each["id"], tag=each["tag"], marks=tuple(each["marks"]), systems=(), staged_at=0, size=0
        )
        for each in row["releases"]
    ]
    return [each.describe() for each in find_unstaged(wanted, staged)]


def _decode_row(value: Mapping[str, Any]) -> dict[str, Any]:
    """What a host says of itself, without what a later version has added. Raises ValueError."""
    ahead = value.get("clock_ahead")
    releases = need_list(value.get("releases"), "releases", most=_MAX_RELEASES)
    return {
        "address": read_text(value, "address"),
        "version": read_text(value, "version"),
        "started": read_time(value, "started"),
        "releases": [_decode_release(need_mapping(each, "releases")) for each in releases],
        "left_out": read_count(value, "left_out", otherwise=int(len(releases) >= _RELEASES_OF_BEFORE)),
        "behind": read_count(value, "behind"),
        "dropped": read_count(value, "dropped"),
        "clock_ahead": None
        if ahead is None
        else need_number(ahead, "clock_ahead", least=-MAX_TIME, most=MAX_TIME),
    }


def _decode_release(value: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "id": read_text(value, "id"),
        "tag": read_text_if_any(value, "tag"),
        "marks": [need_text(each, "marks") for each in need_list(value.get("marks"), "marks")],
    }
