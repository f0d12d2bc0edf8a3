"""What headers may say, at each limit, and what is said of those that say something else."""

from __future__ import annotations

from typing import Any

import pytest
from support.releases import TAR_END, pad, pax, pax_record, tar_file, tar_header

from ectools.archive.blocks import Blocks
from ectools.archive.decompress import ArchiveError
from ectools.archive.limits import ArchiveLimits
from ectools.archive.tar import MAX_EXTENSION_BYTES, Entry, EntryKind, TarReader


def read(tar: bytes, **limits: int) -> list[tuple[Entry, bytes]]:
    """Each entry with its content."""
    blocks = Blocks(iter([tar]), archive="test.tar")
    reader = TarReader(blocks, limits=ArchiveLimits(**limits))
    found = []
    for entry in reader.entries():
        found.append((entry, blocks.take(entry.size)))
        blocks.skip_padding(entry.size)
    return found


def entry(*parts: bytes, **limits: int) -> tuple[Entry, bytes]:
    (found,) = read(b"".join(parts) + TAR_END, **limits)
    return found


def fail(*parts: bytes, end: bytes = TAR_END, **limits: Any) -> ArchiveError:
    with pytest.raises(ArchiveError) as caught:
        read(b"".join(parts) + end, **limits)
    assert caught.value.message.startswith("test.tar: ")
    return caught.value


def words(*parts: bytes, end: bytes = TAR_END, **limits: Any) -> str:
    return fail(*parts, end=end, **limits).message.removeprefix("test.tar: ")


def test_kinds_of_entries() -> None:
    kinds = {
        b"0": EntryKind.FILE,
        b"\0": EntryKind.FILE,
        b"7": EntryKind.FILE,
        b"5": EntryKind.DIRECTORY,
        b"1": EntryKind.HARD_LINK,
        b"2": EntryKind.LINK,
    }
    for kind, expected in kinds.items():
        link = b"there" if expected in (EntryKind.HARD_LINK, EntryKind.LINK) else b""
        assert entry(tar_header(b"name", kind=kind, link=link)) == (
            Entry(name="name", kind=expected, size=0, target=link.decode()),
            b"",
        )


@pytest.mark.parametrize(
    ("kind", "what"),
    [
        (b"3", "a character device"),
        (b"4", "a block device"),
        (b"6", "a fifo"),
        (b"S", "a sparse file"),
        (b"M", "the rest of a file of another volume"),
        (b"V", "a volume label"),
        (b"D", "a dumped directory"),
        (b"Q", "of the unknown type b'Q'"),
    ],
)
def test_kinds_that_are_not_taken(kind: bytes, what: str) -> None:
    error = fail(tar_header(b"name", kind=kind))
    assert error.message == f"test.tar: 'name' is {what}"
    assert (
        error.hint == "a release holds files and directories; tar packs them so without --sparse and the like"
    )


def test_as_many_entries_as_are_allowed() -> None:
    files = [tar_file(b"%d" % number) for number in range(4)]
    assert len(read(b"".join(files) + TAR_END, files=4)) == 4
    error = fail(*files, files=3)
    assert error.message == "test.tar: it has more than 3 entries"
    assert error.hint == "release.maxFiles is the limit"
    # What gives no entry is one all the same.
    assert words(*[tar_header(b"./", kind=b"5")] * 4, files=3) == "it has more than 3 entries"


def test_as_many_extended_headers_as_are_allowed() -> None:
    one = pax({b"comment": b"x"})
    assert entry(one * 7, tar_file(b"name", b"x"))[1] == b"x"
    assert words(one * 8, tar_file(b"name")) == "an entry has too many extended headers"


@pytest.mark.parametrize("kind", [b"x", b"g", b"L", b"K"])
def test_an_extended_header_has_a_size(kind: bytes) -> None:
    body = pax_record(b"comment", b"x" * (MAX_EXTENSION_BYTES - 15))
    assert len(body) == MAX_EXTENSION_BYTES == 65536
    if kind in b"xgK":
        assert entry(tar_file(b"p", body, kind=kind), tar_file(b"name"))[0].name == "name"
    else:
        # It is taken as a name, which is none.
        assert words(tar_file(b"p", body, kind=kind), tar_file(b"name")).startswith("the name '65536 comm")
    larger = tar_file(b"p", body + b"x", kind=kind)
    assert words(larger, tar_file(b"name")) == "an extended header is larger than any name or number needs"


def test_all_extended_headers_have_a_size() -> None:
    # 1 MiB, and 4 KiB for each entry up to the one that a header stands before: 64 KiB of each are used.
    body = pax_record(b"comment", b"x" * (MAX_EXTENSION_BYTES - 15))
    full = tar_file(b"p", body, kind=b"x")
    used = [full * 7 + tar_file(b"%d" % number) for number in range(2)]
    # 14 of 16; in the third entry there is room for two, and 12 KiB.
    rest = tar_file(b"p", pax_record(b"comment", b"x" * (3 * 4096 - 15)), kind=b"x")
    assert len(read(b"".join([*used, full * 2, rest, tar_file(b"2"), TAR_END]))) == 3
    larger = tar_file(b"p", pax_record(b"comment", b"x" * (3 * 4096 - 14)), kind=b"x")
    assert words(*used, full * 2, larger, tar_file(b"2")) == (
        "its extended headers are larger than any names and numbers need"
    )


@pytest.mark.parametrize(
    ("field", "size"),
    [
        (b"00000000003\0", 3),
        (b"3".rjust(11) + b"\0", 3),
        (b"3".ljust(12), 3),
        (b"\0" * 12, 0),
        (b" " * 12, 0),
        (b"0" * 11 + b"3", 3),
        (b"\x80" + bytes(10) + b"\x03", 3),
        (b"\x80" + bytes(9) + b"\x02\x01", 513),
        (b"00000000010\0", 8),
    ],
)
def test_sizes(field: bytes, size: int) -> None:
    assert entry(tar_header(b"name", size_field=field), pad(b"x" * size))[1] == b"x" * size


@pytest.mark.parametrize(
    ("field", "fault"),
    [
        (b"\xff" * 12, "an entry's size is negative or absurd"),
        (b"\xc0" + bytes(11), "an entry's size is negative or absurd"),
        (b"\x81" + bytes(11), "an entry's size is negative or absurd"),
        (b"\x80" + bytes(3) + b"\x80" + bytes(7), "an entry's size is negative or absurd"),
        (b"\x80" + bytes(3) + b"\x7f" + b"\xff" * 7, "the tar archive ends too early: it is truncated"),
        (b"00000000008\0", "an entry's size is no number: b'00000000008'"),
        (b"-0000000001\0", "an entry's size is no number: b'-0000000001'"),
        (b"000 0000000\0", "an entry's size is no number: b'000 0000000'"),
    ],
)
def test_sizes_that_are_none(field: bytes, fault: str) -> None:
    assert words(tar_header(b"name", size_field=field)) == fault


def test_what_an_extended_header_says_goes_before() -> None:
    link = tar_header(b"short", kind=b"2", link=b"short")
    assert entry(pax({b"path": b"long", b"linkpath": b"there"}), link)[0] == Entry(
        name="long", kind=EntryKind.LINK, size=0, target="there"
    )
    gnu = tar_file(b"L", b"gnu name\0", kind=b"L") + tar_file(b"K", b"gnu link\0", kind=b"K")
    assert entry(gnu, link)[0] == Entry(name="gnu name", kind=EntryKind.LINK, size=0, target="gnu link")
    # Of two, the last; what it does not say stays.
    found, _ = entry(gnu, pax({b"path": b"pax"}), link)
    assert (found.name, found.target) == ("pax", "gnu link")
    found, _ = entry(pax({b"path": b"pax", b"linkpath": b"pax"}), gnu[:1024], link)
    assert (found.name, found.target) == ("gnu name", "pax")
    size = pax({b"size": b"3"})
    assert entry(size, pax({b"path": b"x"}), tar_header(b"name"), pad(b"abc"))[1] == b"abc"
    assert entry(size, gnu, tar_header(b"name"), pad(b"abc"))[1] == b"abc"
    # And each is of one entry alone.
    found = read(pax({b"path": b"one", b"size": b"0"}) + tar_file(b"x") + tar_file(b"two", b"y") + TAR_END)
    assert [(each.name, content) for each, content in found] == [("one", b""), ("two", b"y")]
    # Whatever else it says is of no matter.
    assert entry(pax({b"mtime": b"1.5", b"uid": b"x"}), tar_file(b"name"))[0].name == "name"
    assert entry(pax({b"comment": b"x"}, kind=b"g"), tar_file(b"name"))[0].name == "name"


@pytest.mark.parametrize("key", [b"path", b"linkpath", b"size"])
def test_a_global_header_gives_nobody_a_name(key: bytes) -> None:
    assert words(pax({key: b"1"}, kind=b"g"), tar_file(b"x")) == (
        "a global header gives every entry one name or size"
    )


@pytest.mark.parametrize("key", [b"GNU.sparse.map", b"hdrcharset", b"charset"])
def test_records_that_change_what_is_read(key: bytes) -> None:
    error = fail(pax({key: b"1"}), tar_file(b"x"))
    assert error.message == f"test.tar: the pax record {key.decode()} is not supported"
    assert error.hint == "pack with UTF-8 names, and without --sparse (bsdtar: with --no-read-sparse)"


@pytest.mark.parametrize("size", [b"-1", b"", b"1.0", b"1" * 19, b" 1", "\u0661".encode()])
def test_a_size_of_pax_that_is_none(size: bytes) -> None:
    assert words(pax({b"size": size}), tar_file(b"x")) == f"an entry's size is no number: {size!r}"


def test_a_size_of_pax_of_eighteen_digits() -> None:
    assert words(pax({b"size": b"1" * 18}), tar_header(b"x")) == (
        "the tar archive ends too early: it is truncated"
    )
    assert entry(pax({b"size": b"0" * 17 + b"1"}), tar_header(b"x"), pad(b"y"))[1] == b"y"


@pytest.mark.parametrize(
    "data",
    [
        b"10 path=x",
        b"999 path=x\n",
        b"11 path=x\n",
        b"8 path=x\n",
        b"0 path=x\n",
        b"path=x\n",
        b"8 path\n ",
        b"x path=x\n",
        b" path=x\n",
        b"10 path=x\n\0",
        b"0" * 30 + b"10 path=x\n",
    ],
)
def test_records_that_cannot_be_read(data: bytes) -> None:
    assert words(tar_file(b"p", data, kind=b"x"), tar_file(b"x")) == "a pax record cannot be read"


def test_a_record_may_hold_an_equals_sign_and_a_newline() -> None:
    assert entry(pax({b"path": b"a=b"}), tar_file(b"x"))[0].name == "a=b"
    assert entry(pax({b"comment": b"a\nb"}), tar_file(b"x"))[0].name == "x"
    twice = pax_record(b"comment", b"a") * 2
    assert words(tar_file(b"p", twice, kind=b"x"), tar_file(b"x")) == "the pax record comment is there twice"


def test_checksums() -> None:
    header = tar_header("gr\u00fcn".encode())
    # The sum of signed characters, as some old archivers made it (GNU tar manual, "Basic Tar Format").
    body = header[:148] + b" " * 8 + header[156:]
    signed = sum(byte - 256 if byte > 127 else byte for byte in body)
    assert signed != sum(body)
    for field in (b"%06o\0 " % signed, b"%06o\0 " % sum(body), b"%07o\0" % sum(body), b" %06o " % sum(body)):
        assert entry(header[:148] + field + header[156:])[0].name == "gr\u00fcn"
    wrong = [b"%06o\0 " % (sum(body) + 1), b"%06o\0 " % (signed - 1), bytes(8), b" " * 8, b"8" * 8]
    for field in wrong:
        assert words(header[:148] + field + header[156:]) == (
            "not a tar archive, or damaged: a header's checksum is wrong"
        )


def test_a_prefix_is_ustars_alone() -> None:
    assert entry(tar_file(b"name", prefix=b"a/b"))[0].name == "a/b/name"
    assert entry(tar_file(b"name", prefix=b"a/b", magic=b"ustar  \0"))[0].name == "name"
    assert entry(tar_file(b"n" * 100, prefix=b"p" * 155))[0].name == "p" * 155 + "/" + "n" * 100
    assert entry(tar_header(b"name", kind=b"2", link=b"l" * 100))[0].target == "l" * 100


@pytest.mark.parametrize(
    ("raw", "name"),
    [(b"./a", "a"), (b"././a", "a"), (b"a/", "a"), (b"a//", "a"), (b"./a/b/", "a/b")],
)
def test_names_of_directories(raw: bytes, name: str) -> None:
    assert entry(tar_header(raw, kind=b"5"))[0] == Entry(
        name=name, kind=EntryKind.DIRECTORY, size=0, target=""
    )


def test_a_file_whose_name_ends_like_a_directorys_is_one() -> None:
    assert entry(tar_header(b"a/", kind=b"0"))[0].kind is EntryKind.DIRECTORY
    assert words(tar_file(b"a/", b"x")) == "'a/' is a directory with content"
    assert words(tar_file(b"a", b"x", kind=b"2")) == "'a' is a symbolic link with content"
    assert words(tar_file(b"a", b"x", kind=b"1")) == "'a' is a hard link with content"


@pytest.mark.parametrize("name", [b".", b"./", b"./."])
def test_the_directory_itself_is_no_entry(name: bytes) -> None:
    assert read(tar_header(name, kind=b"5") + TAR_END) == []
    assert "the name" in words(tar_file(name.rstrip(b"/")))


def test_names_that_are_none() -> None:
    assert words(tar_file(b"a\xff")) == "the name 'a\\\\xff' is not UTF-8"
    assert words(tar_header(b"a", kind=b"2", link=b"\xff")) == "the name 'a' is not UTF-8"
    assert words(tar_header(b"/", kind=b"5")) == "the name '/' is absolute"
    assert words(tar_file(b"a/../b")) == "the name 'a/../b' leads out of the directory"


def test_the_end() -> None:
    assert read(TAR_END) == []
    assert words(end=bytes(512)) == "the tar archive ends too early: it is truncated"
    assert words(bytes(512), tar_file(b"x")) == "a block of zeros stands between entries"
    assert words(pax({b"path": b"x"})) == "an extended header stands before nothing"
    assert read(pax({b"comment": b"x"}) + TAR_END) == []
    assert words(end=TAR_END + b"x") == "there is something after the end of the tar archive"
