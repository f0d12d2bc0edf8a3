"""The releases in use: held while they are served, so that collection leaves them alone."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from ectools.netboot.release.manifest import Release
    from ectools.netboot.release.store import ReleaseStore

LINGER_SECONDS = 600.0
"""A node that has a release's script comes for its files, however long its firmware takes."""


@dataclass(kw_only=True)
class _Hold:
    release: Release
    used: float
    stack: contextlib.ExitStack
    downloads: int = 0


class HeldReleases:
    """``clock`` gives seconds that only grow."""

    def __init__(self, store: ReleaseStore, *, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._holds: dict[str, _Hold] = {}

    def take(self, release_id: str) -> Release:
        """The release, held from now on. Raises ReleaseGoneError where it is not there, EcError."""
        hold = self._holds.get(release_id)
        if hold is None:
            with contextlib.ExitStack() as stack:
                release = stack.enter_context(self._store.hold(release_id))
                hold = _Hold(release=release, used=self._clock(), stack=stack.pop_all())
            self._holds[release_id] = hold
        hold.used = self._clock()
        return hold.release

    def begin(self, release_id: str) -> None:
        """A download of a release that was taken begins."""
        self._holds[release_id].downloads += 1

    def end(self, release_id: str) -> None:
        """It has ended."""
        hold = self._holds[release_id]
        hold.downloads -= 1
        hold.used = self._clock()

    def sweep(self, *, current: str | None) -> None:
        """Let go of what is neither current nor was used for a while."""
        for release_id, hold in list(self._holds.items()):
            idle = self._clock() - hold.used
            if release_id != current and hold.downloads == 0 and idle > LINGER_SECONDS:
                hold.stack.close()
                del self._holds[release_id]

    def close(self) -> None:
        """Let go of all."""
        for hold in self._holds.values():
            hold.stack.close()
        self._holds.clear()
