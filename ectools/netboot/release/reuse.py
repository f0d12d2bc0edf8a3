"""The files of an archive that is staged already, copied from there in place of another download.

They are no further names of the same files: those may be served meanwhile, and a link changes what their
entity tags are made of.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import shutil
from typing import TYPE_CHECKING

from ectools import log
from ectools.archive.extract import DIRECTORY_MODE, FILE_MODE, SYNC_EACH
from ectools.errors import EcError
from ectools.files import open_regular, sync_directory, sync_file_system
from ectools.netboot.release.download import READ_BYTES, LocalArchive

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from ectools.archive.file_record import FileRecord
    from ectools.archive.limits import ArchiveLimits
    from ectools.netboot.release.manifest import Release, System
    from ectools.netboot.release.source import ArchiveSource
    from ectools.netboot.release.store import ReleaseStore

_log = log.Log(__name__)


def copy_staged(
    store: ReleaseStore, source: ArchiveSource, directory: Path, *, limits: ArchiveLimits
) -> dict[str, FileRecord] | None:
    """The files of the archive in the empty ``directory``, by their names in it; None where it must be read.

    So it must where no sum is published, where it is a file of this machine (the sum may not be its), where
    no release that holds it is whole, and past the limits, which whoever unpacks it tells of.
    """
    if source.wanted_sha256 is None or isinstance(source.archive, LocalArchive):
        return None
    for release in store.list_releases():
        for system in release.systems:
            if system.archive_sha256 != source.wanted_sha256:
                continue
            files = _list_files(release, system)
            if not _is_within(files, limits):
                return None
            if _copy(store, release, system, files, directory):
                _log.info("copied from a staged release", archive=source.archive.name, release=release.title)
                return files
    return None


def _list_files(release: Release, system: System) -> dict[str, FileRecord]:
    """The files of one of a release's systems, by their names in its archive."""
    prefix = _find_prefix(release, system)
    return {
        name.removeprefix(prefix): record for name, record in release.files.items() if name.startswith(prefix)
    }


def _find_prefix(release: Release, system: System) -> str:
    return f"{system.name}/" if len(release.systems) > 1 else ""


def _is_within(files: Mapping[str, FileRecord], limits: ArchiveLimits) -> bool:
    size = sum(record.size for record in files.values())
    return size <= limits.unpacked_bytes and len(files) + len(_list_parents(files)) <= limits.files


def _list_parents(names: Iterable[str]) -> list[str]:
    """The directories above ``names``, each before those in it."""
    found: set[str] = set()
    for name in names:
        while name := posixpath.dirname(name):
            found.add(name)
    return sorted(found)


def _copy(
    store: ReleaseStore, release: Release, system: System, files: Mapping[str, FileRecord], directory: Path
) -> bool:
    """Whether all files are in ``directory`` now, on the disk and as they were staged; else nothing is."""
    staged = store.directory(release.id) / _find_prefix(release, system)
    parents = _list_parents(files)
    is_large = len(files) + len(parents) >= SYNC_EACH
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with store.hold(release.id):
            for parent in parents:
                (directory / parent).mkdir()
                (directory / parent).chmod(DIRECTORY_MODE)
            for name, record in files.items():
                if _copy_file(staged / name, directory / name, sync=not is_large) != record.sha256:
                    raise EcError(f"{name}: its content is not what was staged")
        if is_large:
            sync_file_system(descriptor)
        for parent in () if is_large else (*reversed(parents), ""):
            sync_directory(directory / parent)
    except (EcError, OSError) as error:
        # Damaged, gone meanwhile, another user's; a disk that is full is told of by who goes on.
        _log.info("a staged release is not copied from", release=release.title, reason=str(error))
        for entry in directory.iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        return False
    else:
        return True
    finally:
        os.close(descriptor)


def _copy_file(source: Path, target: Path, *, sync: bool) -> str:
    """Copy a file to a new one; returns the SHA-256 of what was copied. Raises FileError, OSError."""
    digest = hashlib.sha256()
    with os.fdopen(open_regular(source, follow=False), "rb", buffering=0) as read, target.open("xb") as write:
        os.fchmod(write.fileno(), FILE_MODE)
        while piece := read.read(READ_BYTES):
            digest.update(piece)
            write.write(piece)
        write.flush()
        if sync:
            os.fsync(write.fileno())
    return digest.hexdigest()
