"""Removal of old releases, but none that is current, previous, pinned, a rollout's, a channel's, or held."""

from __future__ import annotations

import fcntl
import os
import shutil
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from ectools import log
from ectools.archive.names import MANIFEST_NAME
from ectools.files import sync_directory
from ectools.netboot.release.activation import recover
from ectools.netboot.release.age import forget_times
from ectools.netboot.release.channels import list_followed
from ectools.netboot.release.pins import forget_withdrawn
from ectools.netboot.release.store import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ectools.netboot.release.manifest import Release
    from ectools.netboot.release.store import ReleaseStore

_log = log.Log(__name__)


class Retention(StrEnum):
    """Why a release stays; or that it is removed."""

    CURRENT = "current"
    PREVIOUS = "previous"
    PINNED = "pinned"
    ROLLOUT = "rollout"
    CHANNEL = "channel"
    RECENT = "recent"
    HELD = "held"
    REMOVED = "removed"


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """A release and what became of it."""

    release: Release
    retention: Retention


def prune(store: ReleaseStore, *, keep: int, dry_run: bool = False) -> list[Pruned]:
    """Remove all but those that are needed and the ``keep`` newest others; takes the lock.

    What a dry run would remove may still be held. Raises FileError, StoreError.
    """
    with store.lock():
        recover(store)
        return list(prune_locked(store, keep=keep, dry_run=dry_run))


def prune_locked(store: ReleaseStore, *, keep: int, dry_run: bool = False) -> Iterator[Pruned]:
    """``prune`` under the lock, which the caller holds; a release is removed when its turn comes."""
    needed = dict.fromkeys(list_followed(store).values(), Retention.CHANNEL)
    needed |= dict.fromkeys(store.list_led(), Retention.ROLLOUT)
    needed |= dict.fromkeys(store.list_pinned(), Retention.PINNED)
    for retention in (Retention.PREVIOUS, Retention.CURRENT):
        if (release_id := store.find_link_id(retention)) is not None:
            needed[release_id] = retention
    recent = 0
    for release in store.list_releases():
        retention = needed.get(release.id) or (Retention.RECENT if recent < keep else Retention.REMOVED)
        recent += retention is Retention.RECENT
        if retention is Retention.REMOVED and not dry_run:
            retention = _remove(store, release)
        yield Pruned(release=release, retention=retention)
    if not dry_run:
        forget_times(store)
        forget_withdrawn(store, kept=needed)


def _remove(store: ReleaseStore, release: Release) -> Retention:
    """Remove a release, unless somebody holds it, or it has become a rollout's meanwhile.

    Raises OSError, FileError, StoreError.
    """
    directory = store.directory(release.id)
    descriptor = store.open_record(release.id)
    if descriptor is None:
        raise StoreError(f"{directory / MANIFEST_NAME}: was removed meanwhile, without the store's lock")
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if release.id in store.list_led():
            return Retention.ROLLOUT
        doomed = store.changing_dir / f"collected-{release.id}"
        directory.rename(doomed)
        sync_directory(store.releases_dir)
        # Under the lock still, so that whoever waits for it finds the record without a name.
        (doomed / MANIFEST_NAME).unlink()
        shutil.rmtree(doomed)
    except BlockingIOError:
        return Retention.HELD
    finally:
        os.close(descriptor)
    _log.info("an old release was removed", release=release.title)
    return Retention.REMOVED
