"""Archives that must not be staged: each is rejected in words, and leaves nothing behind."""

from __future__ import annotations

import gzip
import lzma
from typing import TYPE_CHECKING

import pytest
from support.releases import (
    ARCHIVE,
    SCRIPT,
    TAR_END,
    build_settings,
    build_tar,
    compress,
    pax,
    pax_record,
    release_files,
    snapshot,
    tar_file,
    tar_header,
    zstd,
)

from ectools.archive.limits import ArchiveLimits
from ectools.errors import EcError
from ectools.netboot.release import stage as stage_module
from ectools.netboot.release.stage import stage

if TYPE_CHECKING:
    from pathlib import Path

GOOD = build_tar(release_files())[: -len(TAR_END)]
MIB = 1 << 20


def after(*entries: bytes) -> bytes:
    """A good release, and these entries."""
    return GOOD + b"".join(entries) + TAR_END


# Name → (an uncompressed archive, words of the error).
TARS: dict[str, tuple[bytes, str]] = {
    "absolute name": (after(tar_file(b"/etc/passwd", b"x")), "is absolute"),
    "absolute name by the prefix": (after(tar_file(b"passwd", b"x", prefix=b"/etc")), "is absolute"),
    "name out of the directory": (after(tar_file(b"../../evil", b"x")), "leads out"),
    "name out of the directory, hidden": (after(tar_file(b"a/b/../../../evil", b"x")), "leads out"),
    "directory out of the directory": (after(tar_header(b"../evil/", kind=b"5")), "leads out"),
    "pax path out of the directory": (after(pax({b"path": b"../evil"}), tar_file(b"ok", b"x")), "leads out"),
    "GNU long name out of the directory": (
        after(tar_file(b"././@LongLink", b"../evil\0", kind=b"L"), tar_file(b"ok", b"x")),
        "leads out",
    ),
    "global header with a path": (after(pax({b"path": b"x"}, kind=b"g")), "global header"),
    "link out of the directory": (after(tar_header(b"l", kind=b"2", link=b"../../etc/passwd")), "leads to"),
    "absolute link": (after(tar_header(b"l", kind=b"2", link=b"/etc/passwd")), "leads to"),
    "link that dangles": (after(tar_header(b"l", kind=b"2", link=b"nowhere")), "leads to"),
    "link to itself": (after(tar_header(b"l", kind=b"2", link=b"l")), "leads to"),
    "links in a circle": (
        after(tar_header(b"l", kind=b"2", link=b"m"), tar_header(b"m", kind=b"2", link=b"l")),
        "leads to",
    ),
    "link to a directory": (
        after(tar_header(b"d/", kind=b"5"), tar_header(b"l", kind=b"2", link=b"d")),
        "leads to",
    ),
    "hard link out of the directory": (
        after(tar_header(b"l", kind=b"1", link=b"../../etc/passwd")),
        "leads to",
    ),
    "hard link, absolute": (after(tar_header(b"l", kind=b"1", link=b"/etc/passwd")), "leads to"),
    "file written through a link": (
        after(tar_header(b"d", kind=b"2", link=b"/tmp"), tar_file(b"d/evil", b"x")),
        "twice",
    ),
    "file over a link": (
        after(tar_header(b"d", kind=b"2", link=b"/etc/passwd"), tar_file(b"d", b"x")),
        "twice",
    ),
    "character device": (after(tar_header(b"null", kind=b"3")), "a character device"),
    "block device": (after(tar_header(b"sda", kind=b"4")), "a block device"),
    "fifo": (after(tar_header(b"pipe", kind=b"6")), "a fifo"),
    "sparse file": (after(tar_header(b"sparse", kind=b"S")), "a sparse file"),
    "sparse file by pax": (
        after(pax({b"GNU.sparse.major": b"1"}), tar_file(b"x", b"x")),
        "GNU.sparse.major",
    ),
    "unknown type": (after(tar_header(b"what", kind=b"Z")), "unknown type"),
    "name twice": (after(tar_file(b"kernel", b"evil")), "twice"),
    "name twice but for case": (after(tar_file(b"Kernel", b"evil")), "by case or form"),
    "name twice but for Unicode's form": (
        after(tar_file("e\u0301".encode(), b"a"), tar_file("\u00e9".encode(), b"b")),
        "by case or form",
    ),
    "file and directory of one name": (after(tar_file(b"kernel/x", b"evil")), "twice"),
    "name not UTF-8": (after(tar_file(b"k\xff", b"x")), "not UTF-8"),
    "name with a newline": (after(tar_file(b"a\nb", b"x")), "control character"),
    "name that turns the text": (after(tar_file("a\u202eb".encode(), b"x")), "control character"),
    "name with a NUL by pax": (after(pax({b"path": b"ker\0nel"}), tar_file(b"x", b"x")), "control character"),
    "name with a backslash": (after(tar_file(b"a\\b", b"x")), "backslash"),
    "no name": (after(tar_file(b"", b"x")), "is empty"),
    "name that is too long": (
        after(pax({b"path": b"x" * 300}), tar_file(b"x", b"x")),
        "more than 255 bytes",
    ),
    "directories too deep": (after(tar_file(b"a/" * 40 + b"x", b"x")), "directories deep"),
    "the record's own name": (after(tar_file(b"release.json", b"{}")), "own record"),
    "negative size": (after(tar_header(b"x", size_field=b"\xff" * 12)), "negative"),
    "enormous size": (after(tar_header(b"x", size_field=b"\x80" + b"\xff" * 11)), "absurd"),
    "size past the limit": (after(tar_header(b"x", size=(8 << 30) - 1)), "larger than"),
    "size that is no number": (after(tar_header(b"x", size_field=b"12x45678901\0")), "no number"),
    "pax size that is no number": (after(pax({b"size": b"-1"}), tar_file(b"x", b"x")), "no number"),
    "pax header of a gigabyte": (
        after(tar_header(b"pax", kind=b"x", size=1 << 30)),
        "extended header is larger",
    ),
    "long name of a gigabyte": (
        after(tar_header(b"long", kind=b"L", size=1 << 30)),
        "extended header is larger",
    ),
    "pax record twice": (
        after(tar_file(b"p", pax_record(b"path", b"a") + pax_record(b"path", b"b"), kind=b"x")),
        "twice",
    ),
    "pax record that overruns": (after(tar_file(b"p", b"999 path=x\n", kind=b"x")), "pax record"),
    "pax record of length 0": (after(tar_file(b"p", b"0 path=x\n", kind=b"x")), "pax record"),
    "extended headers without end": (after(*[pax({b"comment": b"x"})] * 9), "too many extended"),
    "extended header of nothing": (after(pax({b"path": b"x"})), "before nothing"),
    "directory with content": (after(tar_file(b"d/", b"x" * 512, kind=b"5")), "with content"),
    "wrong checksum": (after(tar_header(b"x", checksum=1)), "checksum"),
    "no tar archive": (b"kernel" * 512, "not a tar archive"),
    "truncated in a file": (GOOD[:1000], "truncated"),
    "truncated before its end": (GOOD, "truncated"),
    "one block of zeros": (GOOD + bytes(512) + tar_file(b"x", b"x") + TAR_END, "block of zeros"),
    "something after its end": (after() + b"evil" * 128, "after the end"),
    "no script": (build_tar({"kernel": b"k", "initrd": b"i"}), "has no netboot.ipxe"),
    "all in a directory": (
        build_tar({f"boot/{name}": data for name, data in release_files().items()}),
        "has no netboot",
    ),
    "script that names no file of it": (
        build_tar({"netboot.ipxe": release_files()["netboot.ipxe"]}),
        "netboot.ipxe:4",
    ),
    "script of ten megabytes": (build_tar({"netboot.ipxe": b"#!ipxe\n" * (10 * MIB // 7)}), "larger than"),
}

# Name → (a compressed archive, words of the error).
STREAMS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "empty"),
    "web page": (b"<!doctype html><title>404</title>", "looks like a web page"),
    "not compressed": (after(), "a tar archive that is not compressed"),
    "bzip2": (b"BZh91AY&SY", "compressed by bzip2, not a tar archive"),
    "zip": (b"PK\x03\x04" + bytes(40), "a zip archive, not a tar archive"),
    **{f"{kind}, truncated": (compress(after(), kind)[:-3], "truncated") for kind in ("gz", "xz", "zst")},
    "gz, only its first bytes": (compress(after(), "gz")[:2], "truncated"),
    "gz, wrong checksum": (compress(after(), "gz")[:-8] + bytes(4) + compress(after(), "gz")[-4:], "damaged"),
    "xz, damaged": (compress(after(), "xz")[:100] + b"\xff" * 40 + compress(after(), "xz")[140:], "damaged"),
    "zst, wrong checksum": (
        zstd.compress(after(), options={zstd.CompressionParameter.checksum_flag: 1})[:-4] + bytes(4),
        "damaged",
    ),
    # A frame header that asks for the window 2^29 (RFC 8878, section 3.1.1.1.2), and one raw block.
    "zst, window of 512 MiB": (b"\x28\xb5\x2f\xfd\x00\x98" + b"\x21\x00\x00" + b"kern", "too much memory"),
    "xz, dictionary of 512 MiB": (
        lzma.compress(after(), filters=[{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 512 * MIB}]),
        "too much memory",
    ),
    "something after the gzip data": (compress(after(), "gz") + b"evil", "something else after"),
}


def reject(staged_dir: Path, archive: bytes, words: str) -> EcError:
    """Staging ``archive`` fails with these words, and changes nothing anywhere."""
    path = staged_dir.parent / "hell" / ARCHIVE
    path.parent.mkdir()
    path.write_bytes(archive)
    before = snapshot(staged_dir.parent)
    with pytest.raises(EcError, match=words) as caught:
        stage(build_settings(staged_dir, release_tarball=str(path)))
    assert caught.value.message.startswith((ARCHIVE, "netboot.ipxe"))
    assert snapshot(staged_dir.parent) == before
    return caught.value


@pytest.mark.parametrize("name", TARS)
def test_a_tar_archive_from_hell(name: str, staged_dir: Path) -> None:
    tar, words = TARS[name]
    reject(staged_dir, compress(tar), words)


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_from_hell(name: str, staged_dir: Path) -> None:
    reject(staged_dir, *STREAMS[name])


@pytest.mark.parametrize("kind", ["gz", "xz", "zst"])
def test_a_bomb_of_bytes(kind: str, staged_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_limits(monkeypatch, unpacked_bytes=8 * MIB)
    reject(
        staged_dir,
        compress(GOOD + tar_header(b"zeros", size=7 * MIB) + bytes(9 * MIB), kind),
        "unpacks to more than",
    )


def test_a_bomb_of_bytes_after_the_end(staged_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_limits(monkeypatch, unpacked_bytes=8 * MIB)
    reject(staged_dir, compress(after() + bytes(16 * MIB)), "unpacks to more than")


@pytest.mark.parametrize("kind", ["gz", "xz", "zst"])
def test_a_bomb_by_its_ratio(kind: str, staged_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_limits(monkeypatch, free_bytes=4 * MIB)
    reject(staged_dir, compress(after(tar_file(b"zeros", bytes(8 * MIB))), kind), "100 times")


def test_a_bomb_of_entries(staged_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_limits(monkeypatch, files=50)
    reject(
        staged_dir,
        compress(after(*[tar_file(b"%d" % number) for number in range(60)])),
        "more than 50 entries",
    )


def test_a_bomb_of_directories_named_again(staged_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_limits(monkeypatch, files=50)
    reject(staged_dir, compress(after(*[tar_header(b"d/", kind=b"5")] * 60)), "more than 50 entries")


def test_a_bomb_of_directories_that_are_no_entries(staged_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_limits(monkeypatch, files=50)
    reject(
        staged_dir,
        compress(after(*[tar_file(b"%d/a/b/c/d/e/f" % number) for number in range(10)])),
        "more than 50 names",
    )


def test_a_bomb_of_compressed_streams(staged_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_limits(monkeypatch, unpacked_bytes=MIB)
    reject(
        staged_dir,
        compress(GOOD) + gzip.compress(bytes(MIB)) * 3,
        "unpacks to more than|block of zeros|after the end",
    )


EMPTY = {kind: compress(b"", kind) for kind in ("gz", "xz", "zst")}


@pytest.mark.parametrize(
    "more",
    [*(EMPTY[kind] * 2000 for kind in EMPTY), (b"\x50\x2a\x4d\x18" + bytes(4)) * 2000],
    ids=[*EMPTY, "frames to be skipped"],
)
def test_a_bomb_of_empty_streams(more: bytes, staged_dir: Path) -> None:
    reject(staged_dir, compress(after()) + more, r"is made of \d{4} streams, and unpacks to \d{5} bytes")


@pytest.mark.parametrize(
    "archive",
    [
        compress(after()) + bytes(6 * MIB),
        # Blocks without content: stored (RFC 1951, section 3.2.4), raw (RFC 8878, section 3.1.1.2).
        EMPTY["gz"][:10] + b"\0\0\0\xff\xff" * MIB,
        b"\x28\xb5\x2f\xfd\x00\x58" + b"\0\0\0" * (2 * MIB),
        b"\x50\x2a\x4d\x18" + (5 * MIB).to_bytes(4, "little") + bytes(5 * MIB),
    ],
    ids=["zeros", "gz", "zst", "a frame to be skipped"],
)
def test_a_bomb_that_unpacks_to_nothing(
    archive: bytes, staged_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_limits(monkeypatch, idle_bytes=4 * MIB)
    reject(staged_dir, archive, r"[45]\d{6} bytes of it unpack to \d+$")


def test_a_bomb_of_directories_without_a_name(staged_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_limits(monkeypatch, files=50)
    reject(staged_dir, compress(after(*[tar_header(b"./", kind=b"5")] * 60)), "more than 50 entries")


def test_a_bomb_of_extended_headers(staged_dir: Path) -> None:
    records = pax({b"comment %d" % number: b"x" for number in range(3000)}) * 7
    entries = [records + tar_file(b"%d" % number) for number in range(8)]
    reject(staged_dir, compress(after(*entries)), "extended headers are larger than")


def test_of_many_names_a_few_are_told(staged_dir: Path) -> None:
    files = {f"{number:05}-{'x' * 80}": b"" for number in range(2000)}
    error = reject(staged_dir, compress(build_tar({**files, "netboot.ipxe": SCRIPT})), "and 1993 more")
    assert len(error.render()) < 1500


def use_limits(monkeypatch: pytest.MonkeyPatch, **limits: int) -> None:
    """Smaller limits, in place of archives of gigabytes."""

    def build(**given: int) -> ArchiveLimits:
        return ArchiveLimits(**{**given, **limits})

    monkeypatch.setattr(stage_module, "ArchiveLimits", build)


def test_every_truncation_is_noticed(staged_dir: Path) -> None:
    for kind in ("gz", "xz", "zst"):
        whole = compress(after(), kind)
        for size in sorted({0, 1, 2, 5, 11, len(whole) // 2, *range(len(whole) - 12, len(whole))}):
            path = staged_dir.parent / ARCHIVE
            path.write_bytes(whole[:size])
            with pytest.raises(EcError):
                stage(build_settings(staged_dir, release_tarball=str(path)))


def test_several_streams_and_padding_count_as_one(staged_dir: Path) -> None:
    tar = after()
    half = len(tar) // 2
    for kind in ("gz", "xz", "zst"):
        path = staged_dir.parent / f"parts.tar.{kind}"
        path.write_bytes(compress(tar[:half], kind) + compress(tar[half:], kind) + bytes(512))
        stage(build_settings(staged_dir, release_tarball=str(path)))


@pytest.mark.parametrize("kind", ["gz", "xz", "zst"])
def test_an_archive_in_many_small_streams(kind: str, staged_dir: Path) -> None:
    """As bgzip and pzstd make them."""
    tar = build_tar(release_files(size=3 * MIB))
    path = staged_dir.parent / f"parts.tar.{kind}"
    parts = [compress(tar[start : start + 4096], kind) for start in range(0, len(tar), 4096)]
    assert len(parts) > 1500
    path.write_bytes(b"".join(parts))
    stage(build_settings(staged_dir, release_tarball=str(path)))
