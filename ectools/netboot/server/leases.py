"""The releases in use: held while they are served, so that collection leaves them alone."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from ectools.netboot.release.manifest import Release
    from ectools.netboot.release.store import ReleaseStore

LEASE_LINGER_SECONDS = 600.0
"""A node that has a release's script comes for its files, however long its firmware takes."""


@dataclass(kw_only=True)
class _Lease:
    release: Release
    used: float
    stack: contextlib.ExitStack
    downloads: int = 0


class ReleaseLeases:
    """``clock`` gives seconds that only grow."""

    def __init__(self, store: ReleaseStore, *, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._holds: dict[str, _Lease] = {}
        self._opening: dict[str, asyncio.Task[_Lease]] = {}

    async def take(self, release_id: str) -> Release:
        """The release, held from now on. Raises ReleaseGoneError where it is not there, EcError.

        One that is not held yet is read by a thread, once for all who ask for it meanwhile.
        """
        hold = self._holds.get(release_id)
        if hold is None:
            opening = self._opening.get(release_id)
            if opening is None:
                opening = self._opening[release_id] = asyncio.create_task(self._open(release_id))
            # Shielded: who asked may go away, and the others still want it.
            hold = await asyncio.shield(opening)
        hold.used = self._clock()
        return hold.release

    def keep(self, release_id: str) -> None:
        """A release that is held is in use at this moment."""
        self._holds[release_id].used = self._clock()

    async def _open(self, release_id: str) -> _Lease:
        try:
            hold = await asyncio.to_thread(self._read, release_id)
            self._holds[release_id] = hold
            return hold
        finally:
            del self._opening[release_id]

    def _read(self, release_id: str) -> _Lease:
        with contextlib.ExitStack() as stack:
            release = stack.enter_context(self._store.hold(release_id))
            return _Lease(release=release, used=self._clock(), stack=stack.pop_all())

    def begin(self, release_id: str) -> None:
        """A download of a release that was taken begins."""
        hold = self._holds[release_id]
        hold.downloads += 1
        hold.used = self._clock()

    def end(self, release_id: str) -> None:
        """It has ended."""
        hold = self._holds[release_id]
        hold.downloads -= 1
        hold.used = self._clock()

    def sweep(self, *, current: str | None) -> None:
        """Let go of what is neither current nor was used for a while."""
        for release_id, hold in list(self._holds.items()):
            idle = self._clock() - hold.used
            if release_id != current and hold.downloads == 0 and idle > LEASE_LINGER_SECONDS:
                hold.stack.close()
                del self._holds[release_id]

    def close(self) -> None:
        """Let go of all."""
        for hold in self._holds.values():
            hold.stack.close()
        self._holds.clear()
