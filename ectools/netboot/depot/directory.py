"""A depot in a directory: a release comes with one rename, a channel under a lock."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from ectools.files import FileError, hold_lock, open_regular, read_regular, sync_directory, write_atomic
from ectools.netboot.depot.interface import (
    DEPOT_CHANNELS,
    DEPOT_RELEASES,
    MAX_CHANNEL_BYTES,
    RECORD_NAME,
    ChannelFile,
    DepotError,
    moved,
    taken,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ectools.netboot.depot.interface import Publication, PublishedFile

_UNFINISHED = ".publishing-"
_CHUNK = 1 << 20
_LOCK_SECONDS = 60.0


class DirectoryDepot:
    """A depot below ``root``, which need not be there before something is published."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.where = str(root)

    def find_path(self, tag: str, name: str) -> Path:
        """Where a file of a release stands, or would."""
        return self.root / DEPOT_RELEASES / tag / name

    def publish(self, publication: Publication) -> bool:
        """See ``Depot``. What a publisher who was killed has left is removed by the next one."""
        releases = self.root / DEPOT_RELEASES
        target = releases / publication.tag
        try:
            releases.mkdir(mode=0o755, parents=True, exist_ok=True)
            if self._is_there(publication):
                return False
            _remove_unfinished(releases)
            with _make_unfinished(releases) as directory:
                for file in publication.files:
                    _copy(file, directory / file.name)
                directory.chmod(0o755)
                sync_directory(directory)
                try:
                    directory.rename(target)
                except OSError as error:
                    if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                        raise
                    if not self._is_there(publication):
                        raise taken(self.where, publication.tag) from error
                    return False
                sync_directory(releases)
        except OSError as error:
            raise DepotError(
                f"{error.filename or target}: {error.strerror or error}",
                hint="whoever publishes must be able to write there",
            ) from error
        return True

    def _is_there(self, publication: Publication) -> bool:
        """Whether this very release is published. Raises TakenError where another one is."""
        target = self.root / DEPOT_RELEASES / publication.tag
        if not os.path.lexists(target) or (target.is_dir() and not any(target.iterdir())):
            return False
        for file in publication.files:
            path = target / file.name
            if not path.is_file() or _hash(path) != file.sha256:
                raise taken(self.where, publication.tag)
        return True

    def read_file(self, tag: str, name: str, *, limit: int) -> bytes | None:
        """See ``Depot``."""
        path = self.find_path(tag, name)
        return read_regular(path, limit=limit) if path.exists() else None

    def read_channel(self, name: str) -> ChannelFile | None:
        """See ``Depot``."""
        path = self._find_channel(name)
        if not path.exists():
            return None
        data = read_regular(path, limit=MAX_CHANNEL_BYTES)
        return ChannelFile(data=data, version=hashlib.sha256(data).hexdigest())

    def write_channel(self, name: str, data: bytes, *, version: str | None) -> None:
        """See ``Depot``."""
        path = self._find_channel(name)
        try:
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(f"{path.parent}: cannot be made: {error.strerror}") from error
        lock = path.parent / ".lock"
        with hold_lock(lock, what=f"the channels of {self.root}", wait_seconds=_LOCK_SECONDS):
            there = self.read_channel(name)
            if (None if there is None else there.version) != version:
                raise moved(self.where, name)
            write_atomic(path, data)

    def _find_channel(self, name: str) -> Path:
        return self.root / DEPOT_CHANNELS / f"{name}.json"


def list_directory_tags(root: Path) -> list[str]:
    """The tags that are published in a directory, in their own order."""
    return sorted(path.parent.name for path in (root / DEPOT_RELEASES).glob(f"*/{RECORD_NAME}"))


@contextlib.contextmanager
def _make_unfinished(releases: Path) -> Iterator[Path]:
    """A directory that is locked as long as its publisher lives, and removed where it keeps its name."""
    while True:
        directory = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=releases))
        # Another publisher may take it for a dead one's before it is locked.
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if directory.exists():
                break
            os.close(descriptor)
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        os.close(descriptor)


def _remove_unfinished(releases: Path) -> None:
    for left in releases.glob(f"{_UNFINISHED}*"):
        with contextlib.suppress(OSError):  # another user's, or gone meanwhile
            descriptor = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left)
            finally:
                os.close(descriptor)


def _copy(file: PublishedFile, target: Path) -> None:
    """Copy a file, on the disk. Raises DepotError where it has changed since it was hashed."""
    digest = hashlib.sha256()
    with os.fdopen(open_regular(file.path), "rb", buffering=0) as read, target.open("xb") as write:
        os.fchmod(write.fileno(), 0o644)
        while piece := read.read(_CHUNK):
            digest.update(piece)
            write.write(piece)
        write.flush()
        os.fsync(write.fileno())
    if digest.hexdigest() != file.sha256:
        raise DepotError(f"{file.path}: was changed while it was published", hint="nothing was published")


def _hash(path: Path) -> str:
    with os.fdopen(open_regular(path), "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
