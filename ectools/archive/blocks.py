"""A stream of chunks, cut as a tar archive wants it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ectools.archive.decompress import ArchiveError

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK = 512


class Blocks:
    """A reader of pieces of any size from chunks of any other, which it takes one at a time.

    ``archive`` names the stream in an ArchiveError.
    """

    def __init__(self, chunks: Iterator[bytes], *, archive: str) -> None:
        self._chunks = chunks
        self._chunk = memoryview(b"")
        self.archive = archive

    def take(self, size: int) -> bytes:
        """Exactly ``size`` bytes, in memory. Raises ArchiveError where the stream ends before."""
        return b"".join(self.pieces(size))

    def pieces(self, size: int) -> Iterator[memoryview]:
        """The next ``size`` bytes as they come, without a copy. Raises ArchiveError as ``take``."""
        while size:
            if not self._chunk:
                chunk = next(self._chunks, None)
                if chunk is None:
                    raise ArchiveError(f"{self.archive}: the tar archive ends too early: it is truncated")
                self._chunk = memoryview(chunk)
            piece, self._chunk = self._chunk[:size], self._chunk[size:]
            size -= len(piece)
            yield piece

    def skip_padding(self, size: int) -> None:
        """Pass what fills the last block of ``size`` bytes of content. Raises ArchiveError."""
        for _ in self.pieces(-size % BLOCK):
            pass

    def finish(self) -> None:
        """Read to the end of the stream. Raises ArchiveError where anything but zeros stands there."""
        rest: memoryview | bytes | None = self._chunk
        while rest is not None:
            if bytes(rest).strip(b"\0"):
                raise ArchiveError(f"{self.archive}: there is something after the end of the tar archive")
            rest = next(self._chunks, None)
