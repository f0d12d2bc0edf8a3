"""How much an archive may ask for, to the byte, whatever it is packed by."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.releases import compress, zstd

from ectools.archive.decompress import CHUNK_BYTES, ArchiveError, _Input, decompress
from ectools.archive.limits import MIB, ArchiveLimits

if TYPE_CHECKING:
    from collections.abc import Iterator

KINDS = ["gz", "xz", "zst"]
SKIPPED = b"\x50\x2a\x4d\x18"  # the magic number of a frame to be skipped (RFC 8878, section 3.1.2)


def split(data: bytes, chunk: int) -> Iterator[bytes]:
    return (data[start : start + chunk] for start in range(0, len(data), chunk))


def unpack(data: bytes, *, chunk: int = 4096, **limits: int) -> bytes:
    pieces = list(decompress(split(data, chunk), archive="test.gz", limits=ArchiveLimits(**limits)))
    assert all(0 < len(piece) <= CHUNK_BYTES for piece in pieces)
    return b"".join(pieces)


def build_zip(files: dict[str, bytes]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return data.getvalue()


def fail(data: bytes, **options: Any) -> ArchiveError:
    with pytest.raises(ArchiveError) as caught:
        unpack(data, **options)
    assert caught.value.message.startswith("test.gz: ")
    return caught.value


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(KINDS), st.lists(st.binary(max_size=300), min_size=1, max_size=4), st.integers(1, 99))
def test_what_comes_out_is_what_went_in(kind: str, parts: list[bytes], chunk: int) -> None:
    data = b"".join(compress(part, kind) + bytes(len(part) % 3) for part in parts)
    assert unpack(data, chunk=chunk) == b"".join(parts)


@pytest.mark.parametrize("kind", KINDS)
def test_large_content_comes_in_pieces(kind: str) -> None:
    content = bytes(range(256)) * 8192
    assert unpack(compress(content, kind)) == content
    # All in one chunk: what is left over is taken up again.
    assert unpack(compress(content, kind) * 2, chunk=1 << 30) == content * 2


def test_limits_that_nobody_set() -> None:
    limits = ArchiveLimits()
    assert (limits.unpacked_bytes, limits.files) == (8 << 30, 10_000)
    assert (limits.ratio, limits.free_bytes) == (100, 256 * MIB)
    assert (limits.idle_bytes, limits.free_streams, limits.stream_bytes) == (16 * MIB, 1000, 4096)


@pytest.mark.parametrize("kind", KINDS)
def test_a_budget_of_bytes_may_be_met(kind: str) -> None:
    data = compress(b"x" * 1000, kind)
    assert len(unpack(data, unpacked_bytes=1000)) == 1000
    error = fail(data, unpacked_bytes=999)
    assert error.message == "test.gz: unpacks to more than 999 bytes"
    assert error.hint == "release.maxUnpackedMiB is the limit"


def test_a_ratio_may_be_met_and_what_is_small_has_none() -> None:
    unpacked = 100_000
    data = gzip.compress(bytes(unpacked)).ljust(10_000, b"\0")
    assert len(unpack(data, chunk=10_000, free_bytes=0, ratio=10)) == unpacked
    assert len(unpack(data, chunk=10_000, free_bytes=unpacked, ratio=1)) == unpacked
    error = fail(data, chunk=10_000, free_bytes=0, ratio=9)
    assert error.message == "test.gz: unpacks to more than 9 times its size: no boot files shrink so far"
    assert "must be compressed before it is packed" in str(error.hint)
    fail(data, chunk=10_000, free_bytes=unpacked - 1, ratio=9)


def test_what_unpacks_to_nothing_has_a_budget() -> None:
    packed = gzip.compress(b"x" * 100, 0)
    data = packed + bytes(1000)
    idle = len(data) - 2 * 100
    assert unpack(data, chunk=1, idle_bytes=idle) == b"x" * 100
    assert fail(data, chunk=1, idle_bytes=idle - 1).message == (
        f"test.gz: {len(data)} bytes of it unpack to 100"
    )


def test_streams_without_content_have_a_budget() -> None:
    one = gzip.compress(b"x" * 10)
    # Four are free; before the fifth and the sixth there are 40 and 50 bytes, and 40 and 80 are wanted.
    limits = {"free_streams": 4, "stream_bytes": 40}
    assert len(unpack(one * 5, **limits)) == 50
    assert fail(one * 6, **limits).message == "test.gz: is made of 6 streams, and unpacks to 50 bytes"
    assert fail(one * 5, free_streams=4, stream_bytes=41).message == (
        "test.gz: is made of 5 streams, and unpacks to 40 bytes"
    )
    assert len(unpack(one * 6, free_streams=4, stream_bytes=25)) == 60
    fail(one * 6, free_streams=4, stream_bytes=26)


@pytest.mark.parametrize("number", range(16))
def test_frames_to_be_skipped(number: int) -> None:
    magic = bytes([SKIPPED[0] + number]) + SKIPPED[1:]
    skipped = magic + (3).to_bytes(4, "little") + b"abc"
    assert unpack(skipped + zstd.compress(b"content") + skipped) == b"content"


def test_what_is_no_archive() -> None:
    assert fail(b"").message == "test.gz: empty"
    error = fail(b"kernel" * 10)
    assert error.message == "test.gz: not compressed by gzip, xz or zstd"
    assert error.hint == "a release's archive is a tar archive that one of these has compressed"
    error = fail(b" \n<!DOCTYPE html>")
    assert error.message == "test.gz: not compressed by gzip, xz or zstd (it looks like a web page)"
    assert error.hint is None
    fail(bytes(600))


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (build_zip({"kernel": b"x"}), "a zip archive"),
        (build_zip({}), "an empty zip archive"),
        (bz2.compress(b"content"), "compressed by bzip2"),
        (lzma.compress(b"content", format=lzma.FORMAT_ALONE), "compressed by lzma, xz's predecessor"),
        (b"7z\xbc\xaf\x27\x1c\0\4", "a 7z archive"),
        (b"Rar!\x1a\x07\x01\0", "a RAR archive"),
        (b"LZIP\x01\x0c", "compressed by lzip"),
        (b"\x04\x22\x4d\x18d@", "compressed by lz4"),
        (b"\x1f\x9d\x90kern", "compressed by compress"),
        (b"!<arch>\ndebian-binary", "a Debian package or another ar archive"),
        (b"07070100000000", "a cpio archive, as an initrd is"),
        (b"-----BEGIN PGP MESSAGE-----", "a PGP message"),
    ],
)
def test_what_else_it_may_be_is_told(data: bytes, found: str) -> None:
    error = fail(data)
    assert error.message == f"test.gz: {found}, not a tar archive compressed by gzip, xz or zstd"
    assert error.hint == "unpack it, and pack what is in it: `tar -C DIRECTORY -caf NAME.tar.gz .`"


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_a_tar_archive_that_is_not_compressed(form: int) -> None:
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=form) as archive:
        archive.addfile(tarfile.TarInfo("kernel"))
    error = fail(data.getvalue())
    assert error.message == (
        "test.gz: a tar archive that is not compressed, not a tar archive compressed by gzip, xz or zstd"
    )
    assert error.hint == "compress it (`xz FILE`), and publish its sum anew"


def test_a_frame_that_is_none() -> None:
    fail(b"\x60\x2a\x4d\x18" + bytes(4))
    for kind in KINDS:
        assert fail(compress(b"x", kind) + bytes(9) + b"more").message == (
            "test.gz: there is something else after the compressed data"
        )


@pytest.mark.parametrize(("kind", "name"), [("gz", "gzip"), ("xz", "xz"), ("zst", "zstd")])
def test_damage_and_an_early_end_are_told_by_the_formats_name(kind: str, name: str) -> None:
    data = compress(bytes(range(256)) * 9, kind)
    assert fail(data[:-1]).message == f"test.gz: the {name} data end too early: the file is truncated"
    # In a compressed block; in zstd's header the reserved bit (RFC 8878, section 3.1.1.1.1.4).
    bad = data[:4] + bytes([data[4] | 8]) + data[5:] if kind == "zst" else data[:20] + b"\xff" * 9 + data[29:]
    assert f"the {name} data are damaged: " in fail(bad).message


def test_memory_has_a_bound() -> None:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 256 * MIB}]
    error = fail(lzma.compress(b"x", filters=filters))
    assert error.message.startswith("test.gz: the xz data need too much memory to unpack: ")
    assert error.hint == "pack it with a smaller window: `xz -9`, or `zstd --long=27`, at most"
    assert unpack(lzma.compress(b"x", preset=9)) == b"x"


@pytest.mark.parametrize(("log", "fails"), [(27, False), (28, True)])
def test_a_window_has_a_bound(log: int, fails: bool) -> None:
    # A frame with a window of that size, and one raw block that is its last (RFC 8878, section 3.1.1).
    data = b"\x28\xb5\x2f\xfd\x00" + bytes([(log - 10) << 3]) + (1 | 1 << 3).to_bytes(3, "little") + b"x"
    if fails:
        assert "the zstd data need too much memory" in fail(data).message
    else:
        assert unpack(data) == b"x"


def test_input_is_taken_in_pieces_and_given_back() -> None:
    """What a decoder leaves over is copied: so it is given little at a time."""
    given = _Input(iter([b"12345", b"678"]), "test.gz", ArchiveLimits())
    assert [given.take(2), given.take(3), given.take(9)] == [b"12", b"345", b"678"]
    given.give_back(b"yz")
    given.give_back(b"x")
    assert [given.take(9), given.take(1), given.take(9), given.take(9)] == [b"x", b"y", b"z", b""]
    assert given.count == 8
