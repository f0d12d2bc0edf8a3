"""Releases that are pinned, needed by rollouts, or withdrawn: each is marked by an empty file of its id.

That a release was withdrawn is remembered beyond it: whoever publishes it may have it staged again, years
later. So the mark of one that is here, or that something names, stays; of the others the newest do.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from ectools.files import open_regular, sync_directory
from ectools.netboot.release.manifest import ID_PATTERN
from ectools.netboot.release.store import ReleaseGoneError

if TYPE_CHECKING:
    from collections.abc import Collection, Container, Iterator
    from pathlib import Path

    from ectools.netboot.release.manifest import Release
    from ectools.netboot.release.store import ReleaseStore

MAX_GONE_MARKS = 1000
"""Withdrawn releases that are remembered though they are not here, of rollbacks and of rollouts each."""


def pin(store: ReleaseStore, release_id: str) -> Release:
    """Keep a release from being collected; takes the lock. Raises ReleaseGoneError, FileError."""
    store.directory(release_id)
    with store.lock():
        release = store.find(release_id)
        if release is None:
            raise ReleaseGoneError(f"{release_id} is not staged", hint=store.suggest_id(release_id))
        mark(store.pinned_dir, release_id)
        return release


def unpin(store: ReleaseStore, release_id: str) -> bool:
    """Let a release be collected again; takes the lock. False: it was not pinned. Raises StoreError."""
    store.directory(release_id)
    with store.lock():
        return unmark(store.pinned_dir, release_id)


def keep_led(store: ReleaseStore, release_id: str) -> Release:
    """Keep a release from being collected for a rollout that begins, until ``set_led`` says otherwise.

    Raises ReleaseGoneError, ReleaseBusyError, StoreError, FileError.
    """
    # Held meanwhile: collecting looks at the mark once nobody holds the release (``prune``).
    with store.hold(release_id) as release, _writing(store):
        mark(store.led_dir, release_id)
        return release


def set_led(store: ReleaseStore, wanted: Collection[str]) -> None:
    """These releases, staged or not, are what rollouts need, and no others. Raises StoreError, FileError."""
    known = store.list_led()
    with _writing(store):
        for release_id in sorted(set(wanted) - known):
            mark(store.led_dir, release_id)
        for release_id in sorted(known - set(wanted)):
            unmark(store.led_dir, release_id)


def withdraw(store: ReleaseStore, release_id: str) -> None:
    """Have no staging make a release current, for a rollout that went back. Raises StoreError, FileError."""
    with _writing(store):
        mark(store.stopped_dir, release_id)


def reinstate(store: ReleaseStore, release_id: str) -> None:
    """A release is withdrawn no more, whoever did it. Only under the lock. Raises OSError."""
    for directory in (store.withdrawn_dir, store.stopped_dir):
        unmark(directory, release_id)


def forget_withdrawn(store: ReleaseStore, *, kept: Container[str]) -> None:
    """Drop the oldest marks of withdrawn releases that are neither staged nor ``kept``, above a bound.

    Only under the lock. Raises OSError.
    """
    staged = set(store.list_ids())
    for directory in (store.withdrawn_dir, store.stopped_dir):
        gone = [each for each in _list_by_age(directory) if each not in staged and each not in kept]
        for release_id in gone[: max(0, len(gone) - MAX_GONE_MARKS)]:
            unmark(directory, release_id)


def _list_by_age(directory: Path) -> list[str]:
    """The ids that are marked there, those first that were marked longest ago."""
    found = []
    with contextlib.suppress(FileNotFoundError), os.scandir(directory) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):  # the boot server takes no lock
                if ID_PATTERN.fullmatch(entry.name):
                    found.append((entry.stat(follow_symlinks=False).st_mtime, entry.name))
    return [name for _, name in sorted(found)]


@contextlib.contextmanager
def _writing(store: ReleaseStore) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise store.explain(error) from error


def mark(directory: Path, release_id: str) -> None:
    """Mark a release in one of the store's directories: below ``fleet``, or under the lock.

    Raises OSError, FileError.
    """
    directory.mkdir(mode=0o755, parents=True, exist_ok=True)
    marked = open_regular(directory / release_id, flags=os.O_WRONLY | os.O_CREAT, mode=0o644, follow=False)
    try:
        os.utime(marked)  # of marks the oldest go
    finally:
        os.close(marked)
    sync_directory(directory)
    sync_directory(directory.parent)


def unmark(directory: Path, release_id: str) -> bool:
    """Remove a mark, as ``mark`` makes it. False: there was none. Raises OSError."""
    try:
        (directory / release_id).unlink()
    except FileNotFoundError:
        return False
    sync_directory(directory)
    return True
