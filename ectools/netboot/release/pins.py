"""Releases that stay whatever comes after them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ectools.files import sync_folder
from ectools.netboot.release.store import ReleaseGoneError

if TYPE_CHECKING:
    from ectools.netboot.release.manifest import Release
    from ectools.netboot.release.store import ReleaseStore


def pin(store: ReleaseStore, release_id: str) -> Release:
    """Keep a release from being collected; takes the lock. Raises ReleaseGoneError, FileError."""
    store.folder(release_id)
    with store.lock():
        release = store.find(release_id)
        if release is None:
            raise ReleaseGoneError(
                f"{release_id} is not staged", hint="`ectools netboot releases list` shows what is"
            )
        store.pinned_dir.mkdir(mode=0o755, exist_ok=True)
        (store.pinned_dir / release_id).touch()
        sync_folder(store.pinned_dir)
        sync_folder(store.state_dir)
        return release


def unpin(store: ReleaseStore, release_id: str) -> bool:
    """Let a release be collected again; takes the lock. False: it was not pinned. Raises StoreError."""
    store.folder(release_id)
    with store.lock():
        if release_id not in store.list_pinned():
            return False
        (store.pinned_dir / release_id).unlink()
        return True
