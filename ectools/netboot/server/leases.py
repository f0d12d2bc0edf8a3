"""Leases of releases: one that is in use is locked, so that pruning leaves it alone."""

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
    """The leases of one store. ``clock`` gives seconds that only grow."""

    def __init__(self, store: ReleaseStore, *, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._leases: dict[str, _Lease] = {}
        self._opening: dict[str, asyncio.Task[_Lease]] = {}

    async def take(self, release_id: str) -> Release:
        """The release, held from now on. Raises ReleaseGoneError where it is not there, EcError.

        One that is not held yet is read by a thread, once for all who ask for it meanwhile.
        """
        lease = self._leases.get(release_id)
        if lease is None:
            opening = self._opening.get(release_id)
            if opening is None:
                opening = self._opening[release_id] = asyncio.create_task(self._open(release_id))
            # Shielded: who asked may go away, and the others still want it.
            lease = await asyncio.shield(opening)
        lease.used = self._clock()
        return lease.release

    def keep(self, release_id: str) -> None:
        """A release that is held is in use at this moment."""
        self._leases[release_id].used = self._clock()

    async def _open(self, release_id: str) -> _Lease:
        try:
            lease = await asyncio.to_thread(self._read, release_id)
            self._leases[release_id] = lease
            return lease
        finally:
            del self._opening[release_id]

    def _read(self, release_id: str) -> _Lease:
        with contextlib.ExitStack() as stack:
            release = stack.enter_context(self._store.hold(release_id))
            return _Lease(release=release, used=self._clock(), stack=stack.pop_all())

    def begin(self, release_id: str) -> None:
        """A download of a release that was taken begins."""
        lease = self._leases[release_id]
        lease.downloads += 1
        lease.used = self._clock()

    def end(self, release_id: str) -> None:
        """A download of a release that was begun has ended."""
        lease = self._leases[release_id]
        lease.downloads -= 1
        lease.used = self._clock()

    def sweep(self, *, current: str | None) -> None:
        """End the leases that are not ``current``'s, without a download, and long unused.

        That is for more than LEASE_LINGER_SECONDS.
        """
        for release_id, lease in list(self._leases.items()):
            idle = self._clock() - lease.used
            if release_id != current and lease.downloads == 0 and idle > LEASE_LINGER_SECONDS:
                lease.stack.close()
                del self._leases[release_id]

    def close(self) -> None:
        """End all leases."""
        for lease in self._leases.values():
            lease.stack.close()
        self._leases.clear()
