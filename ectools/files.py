"""Files that are written whole or not at all and read within bounds, and locks that end with their holder."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import select
import stat
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, ClassVar

from ectools.errors import EcError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_READ_BYTES = 1 << 20
_WRITERS = 4  # a disk takes fsyncs together; more threads than this wait for each other
_POLL_SECONDS = 0.05
_LOG_AFTER_SECONDS = 1.0
_STREAM_SECONDS = 600.0
# Not resolved: what these lead to has another name, or none.
_OPEN_ALREADY = re.compile(r"/dev/stdin|/(?:dev|proc/self|proc/thread-self)/fd/(\d+)")


class FileError(EcError):
    """A file could not be read or written; the message holds the path and the system's reason."""


class AbsentFileError(FileError):
    """There is no file of the name that was given: what was given is wrong, whichever command reads it."""

    exit_code: ClassVar[int] = 2


class LockedError(EcError):
    """Somebody else holds the lock."""


def temporary_prefix(path: Path) -> str:
    """The beginning of the name that a file has until it is whole. A crash may leave one; nobody reads it."""
    return f".{path.name[:200]}.new-"


@contextlib.contextmanager
def _temporary_file(path: Path, mode: int) -> Iterator[IO[bytes]]:
    """A file beside ``path``, removed at the end of the block where it has that name still."""
    import tempfile  # not at the top: importing it takes longer than what most commands do with files

    descriptor, name = tempfile.mkstemp(prefix=temporary_prefix(path), dir=path.parent)
    try:
        with open(name, "wb", opener=lambda _name, _flags: descriptor) as file:
            os.fchmod(descriptor, mode)
            yield file
    finally:
        Path(name).unlink(missing_ok=True)


def _sync(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


@contextlib.contextmanager
def atomic_file(path: Path, *, mode: int = 0o644, replace: bool = True) -> Iterator[IO[bytes]]:
    """The new content of ``path``, to be written: once the block has ended it stands there, or not at all.

    A reader sees the old file or the new one, whatever is killed when: what is yielded is a temporary file
    (``name`` is its path) in the same directory, which is fsynced, then renamed; the directory is fsynced
    after it. With ``replace=False`` a file that is there by then is left as it is: OSError (EEXIST). Raises
    OSError; nothing is left behind.
    """
    with _temporary_file(path, mode) as file:
        yield file
        _sync(file)
        if replace:
            Path(file.name).replace(path)
        else:
            os.link(file.name, path)
        sync_directory(path.parent)


def write_atomic(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write ``data`` to ``path`` as ``atomic_file`` does. Raises FileError."""
    with _naming(path), atomic_file(path, mode=mode) as file:
        file.write(data)


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """The OSErrors of the block as FileErrors of ``path``: not all of them (ENOSPC, EIO) name a file."""
    try:
        yield
    except OSError as error:
        raise FileError(f"{path}: cannot be written: {error.strerror or error}") from error


def write_all_atomic(files: Mapping[Path, bytes]) -> None:
    """Write each of ``files`` as ``atomic_file`` does; none is replaced before all are on the disk.

    Raises FileError, which names the file or its directory.
    """
    from concurrent.futures import ThreadPoolExecutor  # not at the top, as above

    def write(path: Path) -> Path:
        with _naming(path):
            # Closed here: it may fail to write what is left in its buffer, and has to be named then too.
            with stack.enter_context(_temporary_file(path, 0o644)) as file:
                file.write(files[path])
                _sync(file)
            return Path(file.name)

    # The pool ends first: no thread makes a file that nobody removes.
    with contextlib.ExitStack() as stack, ThreadPoolExecutor(_WRITERS) as pool:
        temporary = dict(zip(files, pool.map(write, files), strict=True))
        for path, written in temporary.items():
            with _naming(path):
                written.replace(path)
        for directory in {path.parent for path in files}:
            with _naming(directory):
                sync_directory(directory)


def sync_directory(directory: Path) -> None:
    """Make a rename in ``directory`` survive a power cut (fsync(2): the file alone does not)."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file_system(descriptor: int) -> None:
    """Make all that was written to the file system of ``descriptor`` survive a power cut (syncfs(2)).

    Raises OSError, also where one of the writes since ``descriptor`` was opened has failed (Linux 5.8).
    """
    import ctypes  # not at the top: for few files there is fsync(2)

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syncfs(descriptor) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def read_bytes(path: Path) -> bytes:
    """The file's content. Raises FileError with the system's reason."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: OSError) -> FileError:
    kind = AbsentFileError if error.errno in {errno.ENOENT, errno.ENOTDIR} else FileError
    return kind(f"{path}: cannot be read: {error.strerror or error}")


def parse_json(data: bytes | str, *, where: str) -> Any:
    """The JSON value of a document (RFC 8259). Raises InputError that names ``where``."""
    import json  # not at the top: most commands that handle files read none of these

    try:
        return json.loads(data)
    except RecursionError as error:
        raise InputError(f"{where}: not JSON: nested too deeply") from error
    except ValueError as error:
        raise InputError(f"{where}: not JSON: {error}") from error


def read_json(path: Path) -> Any:
    """The JSON value of a file. Raises FileError and InputError."""
    return parse_json(read_bytes(path), where=str(path))


def open_regular(path: Path, *, flags: int = os.O_RDONLY, mode: int = 0o600, follow: bool = True) -> int:
    """A descriptor of the regular file ``path``, which the caller closes; it is not inherited by children.

    Never waits: opening a fifo waits for its other end, and a device for whatever it likes. ``flags`` is the
    access of open(2), with O_CREAT and ``mode`` where the file may be missing. ``follow=False`` rejects a
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


def read_descriptor(descriptor: int, path: Path, *, limit: int) -> bytes:
    """All that an open file holds, at most ``limit`` bytes. ``path`` names it in the FileError."""
    data = bytearray()
    try:
        while part := os.read(descriptor, min(limit + 1 - len(data), _READ_BYTES)):
            data += part
            if len(data) > limit:
                raise _too_large(path, limit)
    except OSError as error:
        raise FileError(f"{path}: cannot be read: {error.strerror or error}") from error
    return bytes(data)


def _too_large(path: Path, limit: int) -> FileError:
    return FileError(f"{path}: is larger than {limit} bytes: not read further")


def read_regular(path: Path, *, limit: int, follow: bool = True) -> bytes:
    """The content of a regular file of at most ``limit`` bytes; waits for no fifo. Raises FileError."""
    try:
        descriptor = open_regular(path, follow=follow)
    except FileError as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno not in {errno.ENXIO, errno.ELOOP}:
            raise _unreadable(path, cause) from cause
        raise
    try:
        return read_descriptor(descriptor, path, limit=limit)
    finally:
        os.close(descriptor)


def read_input(path: Path, *, limit: int) -> bytes:
    """What a person names to be read, as ``read_regular`` does; a pipe too that the program was started with.

    Such a one has the name of an open descriptor: ``/dev/stdin``, or what a shell makes of ``<(COMMAND)``.
    Nothing waits in open(2) then; the writer has ``_STREAM_SECONDS``, since it may be a ``nix eval``. A pipe
    gives its content once. Raises FileError.
    """
    descriptor = _find_stream(path)
    if descriptor is None:
        return read_regular(path, limit=limit)
    return _read_stream(descriptor, path, limit=limit, seconds=_STREAM_SECONDS)


def _find_stream(path: Path) -> int | None:
    """The open descriptor that ``path`` names; None where that is a file, which is opened anew."""
    named = _OPEN_ALREADY.fullmatch(str(path))
    if named is None:
        return None
    descriptor = int(named[1] or 0)
    try:
        mode = os.fstat(descriptor).st_mode
        access = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE
    except (OSError, OverflowError):
        return None  # opening it says why
    return None if stat.S_ISREG(mode) or stat.S_ISDIR(mode) or access == os.O_WRONLY else descriptor


def _read_stream(descriptor: int, path: Path, *, limit: int, seconds: float) -> bytes:
    data = bytearray()
    deadline = time.monotonic() + seconds
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    while (left := deadline - time.monotonic()) > 0 and poll.poll(left * 1000):
        try:
            part = os.read(descriptor, min(limit + 1 - len(data), _READ_BYTES))
        except BlockingIOError:
            continue
        except OSError as error:
            raise FileError(f"{path}: cannot be read: {error.strerror or error}") from error
        data += part
        if len(data) > limit:
            raise _too_large(path, limit)
        if not part:
            return bytes(data)
    raise FileError(f"{path}: has not come to its end within {seconds:g} s")


@contextlib.contextmanager
def hold_lock(path: Path, *, what: str, wait_seconds: float = 0.0) -> Iterator[None]:
    """Hold an exclusive lock on ``path`` (made where missing) for the length of the block.

    ``what`` names the locked thing for the LockedError that a second holder gets after ``wait_seconds``; a
    wait of more than a second is logged, with the holder's process id.
    The kernel drops the lock with its holder, so a crash leaves no stale one; the file itself stays, because
    removing it would let two holders lock two different files of one name.
    """
    descriptor = _open_lock(path)
    try:
        _take_lock(descriptor, path, what=what, wait_seconds=wait_seconds)
        os.ftruncate(descriptor, 0)
        # A disk that is full has no room for who it is; the lock is held all the same.
        with contextlib.suppress(OSError):
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _open_lock(path: Path) -> int:
    """A descriptor of the lock file, made where missing; FileError where it is not this user's alone.

    It is written to: a file of another user, or with a second name, may be anything.
    """
    hint = f"user {os.geteuid()} locks a file of its own: remove what is there, where no program holds it"
    try:
        descriptor = open_regular(path, flags=os.O_RDWR | os.O_CREAT, follow=False)
    except FileError as error:
        raise FileError(f"the lock file {error.message}", hint=hint) from error.__cause__
    status = os.fstat(descriptor)
    if status.st_uid == os.geteuid() and status.st_nlink == 1:
        return descriptor
    os.close(descriptor)
    if status.st_nlink != 1:
        raise FileError(f"the lock file {path}: has {status.st_nlink} names, and one was expected", hint=hint)
    raise FileError(f"the lock file {path}: is user {status.st_uid}'s", hint=hint)


def _take_lock(descriptor: int, path: Path, *, what: str, wait_seconds: float) -> None:
    # By polling: flock(2) itself waits without an end, and an alarm would need the process's signal handler.
    began = time.monotonic()
    is_logged = False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            waited = time.monotonic() - began
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            by = "another process" + (f" (pid {holder})" if holder.isdigit() else "")
            if waited >= wait_seconds:
                raise LockedError(
                    f"{what} is in use by {by}" + (f", after {waited:.0f} s still" if wait_seconds else ""),
                    hint=f"stop the other one first; the lock is {path}",
                ) from error
            if not is_logged and waited >= _LOG_AFTER_SECONDS:
                from ectools import log  # not at the top: most commands that read a file never log

                is_logged = True
                log.Log(__name__).info(
                    f"waiting for {what}, which is in use by {by}", at_most_seconds=wait_seconds
                )
            time.sleep(_POLL_SECONDS)
        else:
            return
