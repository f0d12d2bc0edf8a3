"""gzip, xz or Zstandard → bytes, in chunks of bounded size, whatever the archive says of itself."""

from __future__ import annotations

import importlib
import lzma
import sys
import zlib
from typing import TYPE_CHECKING, Protocol

from ectools.archive.limits import WINDOW_LOG, XZ_MEMORY, ArchiveLimits
from ectools.errors import EcError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

# Larger pieces of output are slower: the allocator maps and clears fresh pages for each.
CHUNK_BYTES = 128 << 10
_FIRST_BYTES = 4 << 10

_GZIP_WITH_HEADER = 31  # zlib.h, inflateInit2: 15 for the window, 16 for gzip's header


class ArchiveError(EcError):
    """An archive is rejected, or broken; the message names it and what is wrong."""


class _Decoder(Protocol):
    """One compressed stream, as ``lzma`` and ``compression.zstd`` have it."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


class _Gzip:
    """zlib's decoder in the form of the other two."""

    def __init__(self) -> None:
        self._decoder = zlib.decompressobj(_GZIP_WITH_HEADER)
        self.needs_input = True

    @property
    def eof(self) -> bool:
        return self._decoder.eof

    @property
    def unused_data(self) -> bytes:
        return self._decoder.unused_data

    def decompress(self, data: bytes, max_length: int, /) -> bytes:
        rest = self._decoder.unconsumed_tail
        piece = self._decoder.decompress(rest + data if rest else data, max_length)
        # A full piece may leave output inside zlib with no input to go with it.
        self.needs_input = not self._decoder.unconsumed_tail and len(piece) < max_length
        return piece


def _start_xz() -> _Decoder:
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY)


def _start_zstd() -> _Decoder:
    zstd = import_zstd()
    decoder: _Decoder = zstd.ZstdDecompressor(
        options={zstd.DecompressionParameter.window_log_max: WINDOW_LOG}
    )
    return decoder


_SKIPPABLE = tuple(bytes([0x50 + number, 0x2A, 0x4D, 0x18]) for number in range(16))
# The first bytes of a stream → its decoder (RFC 1952, the .xz file format, RFC 8878).
_STARTS: dict[bytes, tuple[str, Callable[[], _Decoder]]] = {
    b"\x1f\x8b": ("gzip", _Gzip),
    b"\xfd7zXZ\0": ("xz", _start_xz),
    b"\x28\xb5\x2f\xfd": ("zstd", _start_zstd),
    **dict.fromkeys(_SKIPPABLE, ("zstd", _start_zstd)),
}
_HEAD = max(map(len, _STARTS))
# The first bytes of what people publish in place of a compressed tar archive → what it is.
_OTHERS = {
    b"PK\x03\x04": "a zip archive",
    b"PK\x05\x06": "an empty zip archive",
    b"BZh": "compressed by bzip2",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!\x1a\x07": "a RAR archive",
    b"LZIP": "compressed by lzip",
    b"\x04\x22\x4d\x18": "compressed by lz4",
    b"\x5d\x00\x00": "compressed by lzma, xz's predecessor",
    b"\x1f\x9d": "compressed by compress",
    b"!<arch>\n": "a Debian package or another ar archive",
    b"070701": "a cpio archive, as an initrd is",
    b"-----BEGIN PGP": "a PGP message",
}


def decompress(chunks: Iterator[bytes], *, archive: str, limits: ArchiveLimits) -> Iterator[bytes]:
    """The content of a compressed file that comes in ``chunks``, in pieces of at most CHUNK_BYTES.

    Several streams in a row count as one, zeros between and after them as nothing. Raises ArchiveError, for
    what is truncated, damaged, of another format, or asks for more than ``limits`` allow.
    """
    given = _Input(chunks, archive, limits)
    for piece in _decompress(given, archive):
        given.unpacked += len(piece)
        if given.unpacked > limits.unpacked_bytes:
            raise ArchiveError(
                f"{archive}: unpacks to more than {limits.unpacked_bytes} bytes",
                hint="release.maxUnpackedMiB is the limit",
            )
        if given.unpacked > limits.free_bytes and given.unpacked > given.count * limits.ratio:
            raise ArchiveError(
                f"{archive}: unpacks to more than {limits.ratio} times its size: no boot files shrink so far",
                hint="what is mostly zeros (a disk's image) must be compressed before it is packed",
            )
        yield piece


class _Input:
    """The compressed bytes, taken in pieces, and the budget for those that unpack to little or nothing.

    ``count`` bytes have come so far, and ``unpacked`` came out of them; the latter is the caller's to keep.
    """

    def __init__(self, chunks: Iterator[bytes], archive: str, limits: ArchiveLimits) -> None:
        self._chunks = chunks
        self._archive = archive
        self._limits = limits
        # A stack: what is taken next is its last item.
        self._parts: list[bytes | memoryview] = []
        self._streams = 0
        self.count = 0
        self.unpacked = 0

    def take(self, size: int) -> bytes:
        """The next bytes, at most ``size`` of them; none at the end. Raises ArchiveError past the budget."""
        if not self._parts:
            chunk = next(self._chunks, b"")
            self.count += len(chunk)
            if self.count > 2 * self.unpacked + self._limits.idle_bytes:
                raise ArchiveError(f"{self._archive}: {self.count} bytes of it unpack to {self.unpacked}")
            self._parts.append(chunk)
        part = self._parts.pop()
        if len(part) > size:
            view = memoryview(part)
            self.give_back(view[size:])
            part = view[:size]
        return part if isinstance(part, bytes) else bytes(part)

    def give_back(self, data: bytes | memoryview) -> None:
        """Let ``data`` be what is taken next."""
        if data:
            self._parts.append(data)

    def take_head(self) -> bytes:
        """The first bytes after zeros: enough to know a format by, if there are as many; none at the end."""
        head = b""
        while len(head) < _HEAD and (piece := self.take(_FIRST_BYTES)):
            head = (head + piece).lstrip(b"\0")
        return head

    def count_stream(self) -> None:
        """Note that another stream begins. Raises ArchiveError where the ones before brought too little."""
        self._streams += 1
        past = self._streams - self._limits.free_streams
        if past > 0 and self.unpacked < past * self._limits.stream_bytes:
            raise ArchiveError(
                f"{self._archive}: is made of {self._streams} streams, and unpacks to {self.unpacked} bytes"
            )


def _decompress(given: _Input, archive: str) -> Iterator[bytes]:
    head = given.take(_FIRST_BYTES)
    while len(head) < _HEAD and (piece := given.take(_FIRST_BYTES)):
        head += piece
    if not head:
        raise ArchiveError(f"{archive}: empty")
    first = True
    while head:
        name, start = _find_format(head, archive, first=first)
        given.count_stream()
        decoder, data, size = start(), head, _FIRST_BYTES
        try:
            while not decoder.eof:
                piece = decoder.decompress(data, CHUNK_BYTES)
                data = b""
                if piece:
                    yield piece
                elif decoder.needs_input and not decoder.eof:
                    # Little at first: what is left after the end of a stream is copied.
                    if not (data := given.take(size)):
                        raise ArchiveError(f"{archive}: the {name} data end too early: the file is truncated")
                    size = min(2 * size, CHUNK_BYTES)
        except _errors(name) as error:
            raise _reject_data(archive, name, error) from error
        given.give_back(decoder.unused_data)
        head, first = given.take_head(), False


def _reject_data(archive: str, name: str, error: Exception) -> ArchiveError:
    # By the texts of liblzma and libzstd: their exceptions have no code that tells memory from damage.
    if "memory" not in str(error).lower():
        return ArchiveError(f"{archive}: the {name} data are damaged: {error}")
    return ArchiveError(
        f"{archive}: the {name} data need too much memory to unpack: {error}",
        hint="pack it with a smaller window: `xz -9`, or `zstd --long=27`, at most",
    )


def _find_format(head: bytes, archive: str, *, first: bool) -> tuple[str, Callable[[], _Decoder]]:
    for magic, found in _STARTS.items():
        if head.startswith(magic):
            return found
    if not first:
        raise ArchiveError(f"{archive}: there is something else after the compressed data")
    raise _reject_format(head, archive)


def _reject_format(head: bytes, archive: str) -> ArchiveError:
    if head.lstrip()[:1] == b"<":
        return ArchiveError(f"{archive}: not compressed by gzip, xz or zstd (it looks like a web page)")
    if head[257:262] == b"ustar":
        found = "a tar archive that is not compressed"
        hint = "compress it (`xz FILE`), and publish its sum anew"
    else:
        found = next((name for start, name in _OTHERS.items() if head.startswith(start)), "")
        hint = "unpack it, and pack what is in it: `tar -C DIRECTORY -caf NAME.tar.gz .`"
    if not found:
        return ArchiveError(
            f"{archive}: not compressed by gzip, xz or zstd",
            hint="a release's archive is a tar archive that one of these has compressed",
        )
    return ArchiveError(f"{archive}: {found}, not a tar archive compressed by gzip, xz or zstd", hint=hint)


def import_zstd() -> ModuleType:
    """The module for Zstandard: Python's own since 3.14, else its backport; imported where it is needed."""
    return importlib.import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")


def _errors(name: str) -> tuple[type[Exception], ...]:
    return (import_zstd().ZstdError,) if name == "zstd" else (zlib.error, lzma.LZMAError)
