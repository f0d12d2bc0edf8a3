"""Files → an archive, the same at every run.

Names are sorted; owners, modes and times are fixed; directories have no entries. The bytes depend on the
versions of the compressing libraries, and on nothing else.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import lzma
import os
import tarfile
from enum import StrEnum
from typing import IO, TYPE_CHECKING, assert_never, cast

from ectools.archive.decompress import import_zstd
from ectools.files import atomic_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_MTIME = 1  # what Nix gives every file in its store
_XZ_PRESET = 6
_GZIP_LEVEL = 6
_ZSTD_LEVEL = 10


class Compression(StrEnum):
    """How the archive is compressed; the value is its suffix."""

    GZIP = "gz"
    XZ = "xz"
    ZSTD = "zst"


def write_archive(files: Mapping[str, Path | bytes], archive: Path, compression: Compression) -> str:
    """Name → file or content, into an archive, in the place of what is there. Returns its SHA-256.

    Raises OSError, FileError.
    """
    with atomic_file(archive) as file:
        hashed = _Hashed(file)
        with _compress(cast("IO[bytes]", hashed), compression) as compressed:
            _write_tar(files, compressed)
    return hashed.digest.hexdigest()


def _write_tar(files: Mapping[str, Path | bytes], to: IO[bytes]) -> None:
    with tarfile.open(fileobj=to, mode="w|", format=tarfile.PAX_FORMAT) as tar:
        for name in sorted(files, key=str.encode):
            member = tarfile.TarInfo(name)
            member.mtime, member.mode = _MTIME, 0o644
            file = files[name]
            if isinstance(file, bytes):
                member.size = len(file)
                tar.addfile(member, io.BytesIO(file))
                continue
            with file.open("rb") as content:
                member.size = os.fstat(content.fileno()).st_size
                tar.addfile(member, content)


class _Hashed:
    """A file that is written to, with the SHA-256 of all that was."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()


def _compress(to: IO[bytes], compression: Compression) -> IO[bytes]:
    match compression:
        case Compression.GZIP:
            return cast("IO[bytes]", gzip.GzipFile("", "wb", _GZIP_LEVEL, to, mtime=0))
        case Compression.XZ:
            return lzma.open(to, "wb", preset=_XZ_PRESET)
        case Compression.ZSTD:
            zstd = import_zstd()
            return cast("IO[bytes]", zstd.ZstdFile(to, "wb", level=_ZSTD_LEVEL))
        case _:
            assert_never(compression)
