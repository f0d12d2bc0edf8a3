"""Files: whole or not at all, and locks that die with their holder."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from ectools.errors import EcError

if TYPE_CHECKING:
    from collections.abc import Iterator


class FileError(EcError):
    """A file could not be read or written; the message holds the path and the system's reason."""


class LockedError(EcError):
    """Somebody else holds the lock."""


def write_atomic(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write ``data`` to ``path``: a reader sees the old file or the new one, whatever is killed when.

    The temporary file stands in the same folder, is fsynced, then renamed; the folder is fsynced after it.
    Raises FileError and leaves nothing behind.
    """
    import tempfile  # not at the top: importing it takes longer than what most commands do with files

    temporary: Path | None = None
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name[:200]}.", dir=path.parent)
        temporary = Path(name)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        temporary.replace(path)
        temporary = None
        sync_folder(path.parent)
    except OSError as error:
        raise FileError(f"{path}: cannot be written: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):
                temporary.unlink()


def sync_folder(folder: Path) -> None:
    """Make a rename in ``folder`` survive a power cut (fsync(2): the file alone does not)."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_bytes(path: Path) -> bytes:
    """The file's content. Raises FileError with the system's reason."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise FileError(f"{path}: cannot be read: {error.strerror or error}") from error


def open_regular(path: Path, *, flags: int = os.O_RDONLY, mode: int = 0o600, follow: bool = True) -> int:
    """A descriptor of the regular file ``path``, which the caller closes; it is not inherited by children.

    Never waits: opening a fifo waits for its other end, and a device for whatever it likes. ``flags`` is the
    access of open(2), with O_CREAT and ``mode`` where the file may be missing. ``follow=False`` refuses a
    symbolic link as the last part of the path. Raises FileError; its ``__cause__`` is the OSError, if any.
    """
    # O_NONBLOCK says nothing to a regular file; O_NOCTTY keeps a terminal from becoming the process's own.
    flags |= os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY | (0 if follow else os.O_NOFOLLOW)
    try:
        descriptor = os.open(path, flags, mode)
    except OSError as error:
        # ENXIO: a fifo without a reader, or a socket.
        if error.errno == errno.ENXIO:
            raise FileError(f"{path}: not a regular file") from error
        if error.errno == errno.ELOOP and not follow:
            raise FileError(f"{path}: is a symbolic link, and a regular file was expected") from error
        raise FileError(f"{path}: cannot be opened: {error.strerror or error}") from error
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise FileError(f"{path}: not a regular file")
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


@contextlib.contextmanager
def hold_lock(path: Path, *, what: str, wait: bool = False) -> Iterator[None]:
    """Hold an exclusive lock on ``path`` (made where missing) for the length of the block.

    ``what`` names the locked thing for the LockedError that a second holder gets at once, unless it waits.
    The kernel drops the lock with its holder, so a crash leaves no stale one; the file itself stays, because
    removing it would let two holders lock two different files of one name.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise FileError(f"{path}: the lock file cannot be opened: {error.strerror or error}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as error:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            raise LockedError(
                f"{what} is in use by another process" + (f" (pid {holder})" if holder else ""),
                hint=f"stop the other one first; the lock is {path}",
            ) from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
