"""What a release's binary cache has in common with those that are staged: one file under several names.

Two releases of one flake share nearly all of their store paths, and a release may hold gigabytes of them.
Only the cache's content is shared so: a further name changes what a file's entity tag is made of (its inode's
change time), and a boot file may be half downloaded just then. Who asks for a store path checks its hash.
"""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from ectools import log
from ectools.files import FileError, open_regular, sync_directory
from ectools.netboot.release.binary_cache import is_cached_content

if TYPE_CHECKING:
    from pathlib import Path

    from ectools.archive.file_record import FileRecord
    from ectools.netboot.release.manifest import Release
    from ectools.netboot.release.store import ReleaseStore

_log = log.Log(__name__)


def share_cache(store: ReleaseStore, release: Release, tree: Path) -> int:
    """How many bytes of ``release``, which is unpacked in ``tree``, are staged releases' files now.

    A staged file that is damaged, or goes away meanwhile, is not shared. Raises OSError where ``tree`` cannot
    be synced.
    """
    wanted = _list_content(release)
    staged = _find_staged(store) if wanted else {}
    shared, changed = 0, set()
    for name, record in wanted.items():
        source = staged.get(record)
        if source is not None and _share(source, tree / name, record):
            shared += record.size
            changed.add((tree / name).parent)
    for directory in sorted(changed):
        sync_directory(directory)
    if shared:
        _log.info("the release shares store paths with staged ones", release=release.title, bytes=shared)
    return shared


def _list_content(release: Release) -> dict[str, FileRecord]:
    return {
        name: record
        for name, record in release.files.items()
        if is_cached_content(release.name_in_archive(name))
    }


def _find_staged(store: ReleaseStore) -> dict[FileRecord, Path]:
    return {
        record: store.directory(release.id) / name
        for release in store.list_releases()
        for name, record in _list_content(release).items()
    }


def _share(source: Path, target: Path, record: FileRecord) -> bool:
    """Whether ``target`` is a further name of ``source`` now, which is what the record says."""
    name = target.with_name(".shared")
    try:
        with os.fdopen(open_regular(source, follow=False), "rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != record.sha256:
                return False
        os.link(source, name, follow_symlinks=False)
        name.replace(target)
    except (FileError, OSError) as error:
        _log.info("a staged store path is not shared", file=str(source), reason=str(error))
        return False
    return True
