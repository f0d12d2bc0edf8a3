"""A staged release, read again and compared with its record."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ectools.archive.names import MANIFEST_NAME
from ectools.files import FileError
from ectools.netboot.release.manifest import ManifestError
from ectools.netboot.release.store import ReleaseGoneError

if TYPE_CHECKING:
    from pathlib import Path

    from ectools.archive.file_record import FileRecord
    from ectools.netboot.release.manifest import Release
    from ectools.netboot.release.store import ReleaseStore


@dataclass(frozen=True, kw_only=True)
class Damage:
    """What is wrong with one file of a release."""

    name: str
    fault: str


@dataclass(frozen=True, kw_only=True)
class Checked:
    """A staged release, named for people, and all that is wrong with it."""

    id: str
    title: str
    damage: tuple[Damage, ...]


def check_staged(store: ReleaseStore, release_id: str) -> Checked:
    """Read all of a staged release again, its record too. Raises ReleaseGoneError where it is not staged."""
    directory = store.directory(release_id)
    try:
        release = store.find(release_id)
    except (FileError, ManifestError) as error:
        damage = Damage(name=MANIFEST_NAME, fault=f"is bad: {error.message}")
        return Checked(id=release_id, title=release_id, damage=(damage,))
    if release is not None:
        found = (*find_damage(release, directory), *_find_strays(release, directory))
        return Checked(id=release_id, title=release.title, damage=found)
    if not directory.is_dir():
        raise ReleaseGoneError(f"{release_id} is not staged", hint=store.suggest_id(release_id))
    return Checked(id=release_id, title=release_id, damage=(Damage(name=MANIFEST_NAME, fault="is missing"),))


def find_damage(release: Release, directory: Path) -> list[Damage]:
    """Every file of a release that is not as its record says."""
    found = []
    for name, record in sorted(release.files.items()):
        fault = _find_fault(directory / name, record)
        if fault is not None:
            found.append(Damage(name=name, fault=fault))
    return found


def _find_strays(release: Release, directory: Path) -> list[Damage]:
    """Every file that the record does not list; it is not served, and does no harm to what is."""
    found = []
    for parent, _, names in os.walk(directory):
        for name in names:
            relative = os.path.relpath(os.path.join(parent, name), directory)  # noqa: PTH118 - os.walk gives strings
            if relative not in release.files and relative != MANIFEST_NAME:
                found.append(Damage(name=relative, fault="is not in the release's record"))
    return found


def _find_fault(path: Path, record: FileRecord) -> str | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return f"cannot be opened: {error.strerror}"
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return "is not a file"
        if status.st_size != record.size:
            return f"has {status.st_size} bytes; {record.size} were staged"
        with open(descriptor, "rb", buffering=0, closefd=False) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    finally:
        os.close(descriptor)
    return None if digest == record.sha256 else "its content is not what was staged"
