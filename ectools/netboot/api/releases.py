"""What is staged, as whoever looks at the fleet sees it: read now and then, never at each request."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ectools.files import FileError
from ectools.netboot.fleet.model import CHANNEL_PREFIX
from ectools.netboot.release.channels import list_followed
from ectools.netboot.release.installed_systems import find_cache, read_roots
from ectools.netboot.release.manifest import ID_PATTERN

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ectools.netboot.release.manifest import Release
    from ectools.netboot.release.store import ReleaseStore

FRESH_SECONDS = 2.0
"""How long what was read is good for."""


@dataclass(frozen=True, kw_only=True)
class StagedRelease:
    """A release that is staged. ``systems``: their names; ``staged_at``: Unix seconds; ``size`` in bytes.

    ``marks``: of ``current``, ``previous``, ``pinned``, ``rollout``, ``withdrawn`` and ``channel:NAME`` those
    that it has. ``installable``: system → the store paths of what can be installed where it is booted.
    """

    id: str
    tag: str | None
    systems: tuple[str, ...]
    staged_at: int
    size: int
    marks: tuple[str, ...]
    installable: Mapping[str, Sequence[str]] = field(default_factory=dict)


class StagedReleases:
    """The releases of one store. ``clock`` is monotonic, in seconds."""

    def __init__(self, store: ReleaseStore, *, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._known: Sequence[StagedRelease] = ()
        self._read_at: float | None = None
        self._reading = asyncio.Lock()

    async def list(self, *, fresh: bool = False) -> Sequence[StagedRelease]:
        """All of them, the newest first. Raises EcError where the store cannot be read.

        ``fresh``: as they are at this moment, for who decides something by them.
        """
        async with self._reading:
            if fresh or self._read_at is None or self._clock() - self._read_at >= FRESH_SECONDS:
                self._known = await asyncio.to_thread(self._read)
                self._read_at = self._clock()
        return self._known

    def _read(self) -> Sequence[StagedRelease]:
        store = self._store
        links = {name: store.find_link_id(name) for name in ("current", "previous")}
        sets = {
            "pinned": store.list_pinned(),
            "rollout": store.list_led(),
            "withdrawn": store.list_withdrawn(),
        }
        channels = list_followed(store)
        # A release is named by its content: what was read of it stays.
        installable = {each.id: each.installable for each in self._known}
        return tuple(
            StagedRelease(
                id=release.id,
                tag=release.tag,
                systems=tuple(each.name for each in release.systems),
                staged_at=release.staged_at,
                size=release.size,
                marks=(
                    *(name for name, linked in links.items() if linked == release.id),
                    *(name for name, ids in sets.items() if release.id in ids),
                    *(f"{CHANNEL_PREFIX}{name}" for name, led in channels.items() if led == release.id),
                ),
                installable=installable.get(release.id) or self._read_installable(release),
            )
            for release in store.list_releases()
        )

    def _read_installable(self, release: Release) -> Mapping[str, Sequence[str]]:
        found: dict[str, Sequence[str]] = {}
        for system in release.systems:
            cache = find_cache(release, system)
            if cache is not None:
                with contextlib.suppress(FileError):  # it is said where a node is to install it
                    found[system.name] = read_roots(self._store.directory(release.id), cache)
        return found


def choose_staged(releases: Sequence[StagedRelease], wanted: str | None) -> StagedRelease | None:
    """What a tag (its newest), an id or ``channel:NAME`` names; ``wanted`` None: the current one.

    None: it is not staged.
    """
    if wanted is None:
        return next((each for each in releases if "current" in each.marks), None)
    if wanted.startswith(CHANNEL_PREFIX):
        return next((each for each in releases if wanted in each.marks), None)
    if ID_PATTERN.fullmatch(wanted):
        return next((each for each in releases if each.id == wanted), None)
    return next((each for each in releases if each.tag == wanted), None)
