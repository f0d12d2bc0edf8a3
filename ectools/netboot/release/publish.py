"""A whole tree in ``.staging`` → a release in its place, then the current one."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from ectools import log
from ectools.archive.names import MANIFEST_NAME
from ectools.errors import show_list
from ectools.files import FileError, sync_directory, write_atomic
from ectools.netboot.release.activation import activate
from ectools.netboot.release.manifest import ManifestError, Release, render_manifest
from ectools.netboot.release.verify import find_damage

if TYPE_CHECKING:
    from ectools.netboot.release.store import ReleaseStore

_log = log.Log(__name__)


def publish(store: ReleaseStore, tree: Path, release: Release) -> Release:
    """Put ``tree``, the fsynced files of ``release``, in its place; returns the release that stands there.

    One of the same content that is there already stays, with its own tag and time; its damaged files are
    replaced. Only under the lock. Raises OSError, FileError.
    """
    directory = store.directory(release.id)
    try:
        known = store.find(release.id)
    except (FileError, ManifestError) as error:
        _log.warning("a release's record is damaged; it is staged anew", reason=error.message)
        known = None
    if known is not None:
        _repair(store, known, tree)
        return known
    tree.chmod(0o755)
    write_atomic(tree / MANIFEST_NAME, render_manifest(release))  # which syncs the directory, its mode too
    if not store.releases_dir.is_dir():
        store.releases_dir.mkdir(mode=0o755)
        sync_directory(store.state_dir)
    if os.path.lexists(directory):
        _set_aside(store, directory)
    tree.rename(directory)
    sync_directory(store.releases_dir)
    return release


def make_current(store: ReleaseStore, release_id: str) -> None:
    """Let ``current`` lead to a release, and ``previous`` to what was current, which is another one.

    Only under the lock. Raises OSError, StoreError.
    """
    before = store.find_link_id("current")
    if before is not None and not store.directory(before).is_dir():
        before = None
    activate(store, current=release_id, previous=before)


def _set_aside(store: ReleaseStore, path: Path) -> None:
    """To where ``recover`` removes it."""
    path.rename(Path(tempfile.mkdtemp(dir=store.changing_dir)) / path.name)


def _repair(store: ReleaseStore, release: Release, tree: Path) -> None:
    directory = store.directory(release.id)
    damaged = find_damage(release, directory)
    if damaged:
        faults = show_list([f"{damage.name} {damage.fault}" for damage in damaged], joint="; ")
        _log.warning("staged files were damaged, and are replaced", count=len(damaged), faults=faults)
    for damage in damaged:
        target = directory / damage.name
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_dir() and not target.is_symlink():
            _set_aside(store, target)
        (tree / damage.name).replace(target)
    for parent in {(directory / damage.name).parent for damage in damaged}:
        sync_directory(parent)
