"""How much an archive may ask of the machine."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1 << 20

WINDOW_LOG = 27
"""The largest window of a Zstandard frame, as a power of two: what ``zstd -d`` takes without being told."""

XZ_MEMORY = 128 * MIB
"""The most that an xz decoder may take: ``xz -9`` asks for 65 MiB."""


@dataclass(frozen=True, kw_only=True)
class ArchiveLimits:
    """Limits of one archive; each number is the most that is accepted.

    ``unpacked_bytes`` counts all that comes out of the decompressor. ``files`` is held against the number of
    entries, and of names: of files and of the directories above them.

    Past ``free_bytes`` the archive may not have shrunk to less than one part in ``ratio``. It may be twice as
    large as what it unpacks to, and ``idle_bytes`` more: padding, empty blocks, frames to be skipped. Of more
    than ``free_streams`` compressed streams in a row, each further one must have brought ``stream_bytes`` on
    average (bgzip's blocks bring 64 KiB).
    """

    unpacked_bytes: int = 8192 * MIB
    files: int = 10_000
    ratio: int = 100
    free_bytes: int = 256 * MIB
    idle_bytes: int = 16 * MIB
    free_streams: int = 1000
    stream_bytes: int = 4096
