"""Boot hosts that share a state: each says now and then that it is there, and what it serves.

A host's row stands in the store as ``hosts/<name>``; while the others cannot be reached it is said later, as
all else. A host that was not heard of for long is forgotten.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any

from ectools import __version__, log
from ectools.netboot.server.shared_state import HOSTS
from ectools.netboot.state.interface import StateError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from ectools.netboot.api.releases import StagedRelease
    from ectools.netboot.state.interface import StateStore

_log = log.Log(__name__)

BEAT_SECONDS = 10.0
LOST_SECONDS = 3 * BEAT_SECONDS
"""After which a host that says nothing is not there."""
MISSED_SECONDS = 86400.0
FORGOTTEN_SECONDS = 30 * 86400.0
MAX_HOSTS_SHOWN = 1000
"""That are shown."""
_MAX_RELEASES = 50


class BootHosts:
    """This host, ``name``, among those of a store; ``store`` None: it has its state for itself.

    ``releases`` gives what is staged here, ``behind`` how much of what was written here the others do not
    have, and how much they never will; ``address`` is where clients are sent.
    """

    def __init__(
        self,
        name: str,
        *,
        address: str,
        store: StateStore | None,
        releases: Callable[[], Awaitable[Sequence[StagedRelease]]],
        behind: Callable[[], tuple[int, int]],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._name = name
        self._address = address
        self._store = store
        self._releases = releases
        self._behind = behind
        self._clock = clock
        self._started = clock()
        self._is_double = False
        self.is_someone_missing = False
        """Whether a host that was there within the last day says nothing, as of the last beat."""

    async def describe(self) -> Sequence[Mapping[str, Any]]:
        """A row a host, by name; this one's as it is now. Raises EcError."""
        rows = {self._name: {**await self._make_row(), "here": True}}
        if self._store is not None:
            for entry in await self._store.list(HOSTS):
                name = entry.key.removeprefix(HOSTS)
                if name not in rows and _is_row(entry.value):
                    rows[name] = {**entry.value, "name": name, "seen": entry.changed, "here": False}
        now = self._clock()
        return [
            {**rows[name], "up": rows[name]["here"] or now - rows[name]["seen"] <= LOST_SECONDS}
            for name in sorted(rows)[:MAX_HOSTS_SHOWN]
        ]

    async def beat(self) -> None:
        """Say that this host is there. Nothing waits for it."""
        assert self._store is not None  # noqa: S101 - else nobody calls
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
        with contextlib.suppress(StateError):
            await self._store.prune(HOSTS, before=self._clock() - FORGOTTEN_SECONDS)

    async def _look_for_double(self) -> None:
        assert self._store is not None  # noqa: S101 - ``beat`` has looked
        entry = await self._store.get(HOSTS + self._name)
        if entry is None or not _is_row(entry.value):
            return
        other = entry.value["started"]
        is_double = other > self._started and self._clock() - entry.changed <= LOST_SECONDS
        if is_double and not self._is_double:
            _log.error(
                "another boot host has this one's name",
                name=self._name,
                address=entry.value["address"],
                hint="fleet.hostName gives each another one",
            )
        self._is_double = is_double

    async def _make_row(self) -> dict[str, Any]:
        staged = await self._releases()
        behind, dropped = self._behind()
        return {
            "name": self._name,
            "address": self._address,
            "version": __version__,
            "started": self._started,
            "seen": self._clock(),
            "releases": [
                {"id": each.id, "tag": each.tag, "marks": list(each.marks)} for each in staged[:_MAX_RELEASES]
            ],
            "behind": behind,
            "dropped": dropped,
        }


def _is_row(value: Mapping[str, Any]) -> bool:
    """Whether this program has written it, or one that is not too different."""
    kinds: dict[str, type | tuple[type, ...]] = {
        "address": str,
        "version": str,
        "started": (int, float),
        "releases": list,
        "behind": int,
        "dropped": int,
    }
    return all(isinstance(value.get(name), kind) for name, kind in kinds.items())
