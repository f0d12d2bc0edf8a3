"""A cache of small files in memory: a boot script is fetched by every client, and often."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import os

    from ectools.netboot.http.conditional import Validators

MAX_FILE_BYTES = 64 << 10
MAX_TOTAL_BYTES = 4 << 20
_SETTLED_SECONDS = 2.0


@dataclass(frozen=True, kw_only=True)
class CachedFile:
    """A file's content, and what identified it when it was read."""

    content: bytes
    validators: Validators
    status: os.stat_result


class FileCache:
    """The files that were requested last, of MAX_TOTAL_BYTES together.

    Whether a file is still the one that was read is seen by its stat(2) (``file_identity``).
    """

    def __init__(self) -> None:
        self._files: OrderedDict[bytes, CachedFile] = OrderedDict()
        self._total = 0

    def __contains__(self, path: bytes) -> bool:
        return path in self._files

    def find(self, path: bytes, status: os.stat_result | None) -> CachedFile | None:
        """The content of ``path`` where it is known and still current.

        ``status`` is the path's own, links followed; None where there is no such file any more.
        """
        known = self._files.get(path)
        if known is None:
            return None
        if status is None or file_identity(status) != file_identity(known.status):
            self._forget(path)
            return None
        self._files.move_to_end(path)
        return known

    def remember(self, path: bytes, file: CachedFile, *, now: float) -> None:
        """Keep a file, unless it changed a moment ago.

        A second change within the clock's grain (2 s on FAT) would leave the same size and times. The change
        time decides: nobody can set it.
        """
        if len(file.content) > MAX_FILE_BYTES or now - file.status.st_ctime < _SETTLED_SECONDS:
            return
        self._forget(path)
        self._files[path] = file
        self._total += len(file.content)
        while self._total > MAX_TOTAL_BYTES:
            self._forget(next(iter(self._files)))

    def _forget(self, path: bytes) -> None:
        known = self._files.pop(path, None)
        if known is not None:
            self._total -= len(known.content)


def file_identity(status: os.stat_result) -> tuple[int, ...]:
    """Device, inode, size, and the times of the last change of the content and of the inode (inode(7)).

    A change of the content changes one of them: nobody can set the last, and a clock may stand still for the
    length of its grain.
    """
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
