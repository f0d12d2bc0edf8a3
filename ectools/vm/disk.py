"""The guest's qcow2 disk: made once, never overwritten, and used by one runner at a time."""

from __future__ import annotations

import contextlib
import glob
import os
from typing import TYPE_CHECKING

from ectools import log
from ectools.errors import EcError, InputError
from ectools.files import FileError, atomic_file, hold_lock, open_regular, temporary_prefix
from ectools.processes import ProcessError, run
from ectools.vm.settings import GUEST_OPTIONS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ectools.vm.settings import Disk

_log = log.Log(__name__)

# docs/interop/qcow2.txt of QEMU: "QFI\xfb", then the version, 2 or 3.
_MAGIC = b"QFI\xfb"
_OPTION = f"{GUEST_OPTIONS}.disk.path"


class DiskError(EcError):
    """The disk cannot be made or used; the message holds its path and the reason."""


@contextlib.contextmanager
def hold_disk(disk: Disk, *, image_program: str) -> Iterator[None]:
    """The disk for the length of the block: there, a qcow2, and locked against other runners.

    ``image_program`` is qemu-img. Raises DiskError, InputError (what stands at the path is no qcow2),
    LockedError.
    """
    _make_directory(disk.path.parent)
    with hold_lock(disk.lock, what=f"the disk {disk.path}"):
        _remove_leftovers(disk.path)
        if not os.path.lexists(disk.path):
            _create(disk, image_program=image_program)
            _log.info("disk made", path=str(disk.path), size=disk.size)
        _check(disk.path)
        yield


def _make_directory(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o750, parents=True, exist_ok=True)
    except OSError as error:
        raise DiskError(
            f"{directory}: the disk's directory cannot be made: {error.strerror}", hint=_OPTION
        ) from error
    if not os.access(directory, os.W_OK | os.X_OK, effective_ids=os.access in os.supports_effective_ids):
        raise DiskError(
            f"{directory}: the disk's directory cannot be written",
            hint=f"{_OPTION} needs a directory that this user can write,"
            " on a file system that is not read-only",
        )


def _remove_leftovers(path: Path) -> None:
    """What a runner left that was killed while it made the disk: nobody else can, while we hold the lock."""
    for leftover in path.parent.glob(f"{glob.escape(temporary_prefix(path))}*"):
        leftover.unlink(missing_ok=True)


def _create(disk: Disk, *, image_program: str) -> None:
    """Under a temporary name, fsynced, then linked: a name that is taken meanwhile is not replaced."""
    try:
        with atomic_file(disk.path, mode=0o600, replace=False) as file:
            run([image_program, "create", "-q", "-f", "qcow2", file.name, disk.size])
    except ProcessError as error:
        reason = error.stderr.strip().rpartition("\n")[2] or error.message
        raise DiskError(f"{disk.path}: the disk cannot be made: {reason}", hint=_hint(reason)) from error
    except OSError as error:
        reason = error.strerror or str(error)
        raise DiskError(f"{disk.path}: the disk cannot be made: {reason}", hint=_hint(reason)) from error


def _hint(reason: str) -> str:
    if "No space left" in reason or "quota" in reason.lower():
        return "free some space on its file system, then start again; nothing was left there"
    return f"nothing was left there; {_OPTION} names another place"


def _check(path: Path) -> None:
    try:
        # A link is refused: QEMU would write to whatever it leads to.
        with os.fdopen(open_regular(path, follow=False), "rb") as file:
            head = file.read(8)
    except FileError as error:
        raise DiskError(
            f"{error.message}; the disk is left as it is", hint=f"{_OPTION} names the disk's own file"
        ) from error
    except OSError as error:
        raise DiskError(f"{path}: the disk cannot be read: {error.strerror}", hint=_OPTION) from error
    if not (head.startswith(_MAGIC) and int.from_bytes(head[4:8], "big") in {2, 3}):
        raise InputError(
            f"{path}: not a qcow2 image; it is left as it is",
            hint=f"{_OPTION} must name a qcow2 image, or a file that does not exist yet",
        )
