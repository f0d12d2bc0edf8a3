"""The entries of an archive → plain files in a directory of our own, hashed as they come.

The directory is new and nobody else's, no link is ever made in it but a hard link between two of its files,
and every file is made with O_EXCL: so no name can lead out of it, nor over another.
"""

from __future__ import annotations

import os
import posixpath
from hashlib import sha256
from typing import TYPE_CHECKING, NoReturn

from ectools import log
from ectools.archive.blocks import Blocks
from ectools.archive.decompress import ArchiveError
from ectools.archive.file_record import FileRecord
from ectools.archive.names import fold_name, is_macos_record
from ectools.archive.tar import Entry, EntryKind, TarReader
from ectools.errors import cut, show_list
from ectools.files import sync_directory, sync_file_system

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ectools.archive.limits import ArchiveLimits

_log = log.Log(__name__)

FILE_MODE = 0o644
DIRECTORY_MODE = 0o755
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_LINKS = 16
_WRITE_BEHIND = 8 << 20

SYNC_EACH = 256
"""So many files and directories are fsynced one by one, which leaves alone what others write. Where there
are more, each would cost a turn of the disk: then all of the file system is synced at once."""


def extract(
    chunks: Iterator[bytes], directory: Path, *, archive: str, limits: ArchiveLimits
) -> dict[str, FileRecord]:
    """Unpack a tar archive that comes in ``chunks`` into the empty ``directory``; returns its files.

    Modes, owners and times are not the archive's. A link to a file of the archive becomes that file. What
    macOS adds of its own accord is left out, and said in the log. Raises ArchiveError, and OSError where the
    disk refuses; what was written by then is the caller's to remove.
    """
    extraction = _Extraction(directory, archive, limits)
    reader = TarReader(Blocks(chunks, archive=archive), limits=limits)
    # Opened now: it is told of each write that fails from here on.
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for entry in reader.entries():
            if is_macos_record(entry.name):
                extraction.leave_out(entry, reader.blocks)
            else:
                extraction.add(entry, reader.blocks)
        extraction.resolve_links()
        if extraction.is_large:
            sync_file_system(descriptor)
        else:
            extraction.sync_directories()
    finally:
        os.close(descriptor)
    if extraction.left_out:
        _log.info(
            "left out of the archive: what macOS adds to it",
            archive=archive,
            files=show_list(extraction.left_out),
            hint="COPYFILE_DISABLE=1 in tar's environment keeps it away",
        )
    return extraction.files


class _Extraction:
    def __init__(self, directory: Path, archive: str, limits: ArchiveLimits) -> None:
        self.files: dict[str, FileRecord] = {}
        self.left_out: list[str] = []
        self._directory = directory
        self._archive = archive
        self._limits = limits
        self._bytes = 0
        self._directories: set[str] = set()
        self._links: dict[str, str] = {}
        self._linked: dict[str, FileRecord] = {}
        # Folded name → name, of every file, link and directory.
        self._taken: dict[str, str] = {}

    @property
    def is_large(self) -> bool:
        """Whether there is too much to sync one by one; once it is so, it stays so."""
        return len(self.files) + len(self._directories) >= SYNC_EACH

    def add(self, entry: Entry, blocks: Blocks) -> None:
        self._make_directories(posixpath.dirname(entry.name))
        if entry.kind is EntryKind.DIRECTORY:
            self._make_directories(entry.name)
            return
        self._take_name(entry.name)
        if entry.kind is EntryKind.FILE:
            self.files[entry.name] = self._write(entry, blocks)
        elif entry.kind is EntryKind.LINK:
            self._links[entry.name] = posixpath.join(posixpath.dirname(entry.name), entry.target)
        else:
            self._links[entry.name] = entry.target

    def leave_out(self, entry: Entry, blocks: Blocks) -> None:
        """Pass over an entry, and its content where it has some of its own."""
        self.left_out.append(entry.name)
        if entry.kind is EntryKind.FILE:
            for _ in blocks.pieces(entry.size):
                pass
            blocks.skip_padding(entry.size)

    def resolve_links(self) -> None:
        """Each link → another name of the file that it leads to."""
        for name in self._links:
            target = name
            for _ in range(_MAX_LINKS):
                target = posixpath.normpath(self._links.get(target, target))
            if target not in self.files:
                self._reject(
                    f"the link {name!r} leads to {cut(repr(self._links[name]))}, which is no file of it",
                    hint="pack the files themselves (tar --dereference)",
                )
            os.link(self._directory / target, self._directory / name)
            self._linked[name] = self.files[target]
        self.files |= self._linked

    def sync_directories(self) -> None:
        """The deepest first: a directory's entry is its parent's content."""
        for name in sorted(self._directories, key=lambda name: -name.count("/")):
            sync_directory(self._directory / name)
        sync_directory(self._directory)

    def _write(self, entry: Entry, blocks: Blocks) -> FileRecord:
        self._bytes += entry.size
        if self._bytes > self._limits.unpacked_bytes:
            self._reject(
                f"its files are larger than {self._limits.unpacked_bytes} bytes",
                hint="release.maxUnpackedMiB is the limit",
            )
        digest = sha256()
        descriptor = os.open(self._directory / entry.name, _NEW_FILE, FILE_MODE)
        try:
            os.fchmod(descriptor, FILE_MODE)  # whatever the umask is
            written = sent = 0
            for piece in blocks.pieces(entry.size):
                digest.update(piece)
                rest = piece
                while rest:
                    rest = rest[os.write(descriptor, rest) :]
                written += len(piece)
                if written - sent >= _WRITE_BEHIND:
                    # Linux begins to write these pages out, so that fsync finds little left to wait for.
                    os.posix_fadvise(descriptor, sent, written - sent, os.POSIX_FADV_DONTNEED)
                    sent = written
            if not self.is_large:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        blocks.skip_padding(entry.size)
        return FileRecord(size=entry.size, sha256=digest.hexdigest())

    def _make_directories(self, name: str) -> None:
        if not name or name in self._directories:
            return
        self._make_directories(posixpath.dirname(name))
        self._take_name(name)
        path = self._directory / name
        path.mkdir()
        path.chmod(DIRECTORY_MODE)
        self._directories.add(name)

    def _take_name(self, name: str) -> None:
        folded = fold_name(name)
        if (other := self._taken.get(folded)) is not None:
            same = "is there twice" if other == name else f"and {other!r} differ by case or form alone"
            self._reject(f"the name {name!r} {same}")
        self._taken[folded] = name
        # A name may have directories that are no entries of their own: those were not counted.
        if len(self._taken) > self._limits.files:
            self._reject(
                f"it has more than {self._limits.files} names, of files and the directories above them",
                hint="release.maxFiles is the limit",
            )

    def _reject(self, reason: str, *, hint: str | None = None) -> NoReturn:
        raise ArchiveError(f"{self._archive}: {reason}", hint=hint)
