"""A staged release, read again and compared with its record."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ectools.netboot.release.names import MANIFEST_NAME

if TYPE_CHECKING:
    from pathlib import Path

    from ectools.netboot.release.manifest import FileRecord, Release


@dataclass(frozen=True, kw_only=True)
class Damage:
    """What is wrong with one file of a release."""

    name: str
    fault: str


def find_damage(release: Release, folder: Path) -> list[Damage]:
    """Every file of a release that is not as its record says, and every one that it does not list.

    Raises OSError where the folder cannot be read.
    """
    found = []
    for name, record in sorted(release.files.items()):
        fault = _find_fault(folder / name, record)
        if fault is not None:
            found.append(Damage(name=name, fault=fault))
    for parent, _, names in os.walk(folder):
        for name in names:
            relative = os.path.relpath(os.path.join(parent, name), folder)  # noqa: PTH118 - os.walk gives strings
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
