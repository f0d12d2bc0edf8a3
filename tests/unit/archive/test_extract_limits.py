"""Unpacking at each limit, and what is synced before a file is relied upon."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from support.releases import TAR_END, tar_file, tar_header

from ectools.archive import extract as extract_module
from ectools.archive.decompress import ArchiveError
from ectools.archive.extract import extract
from ectools.archive.limits import ArchiveLimits

if TYPE_CHECKING:
    from pathlib import Path

    from ectools.archive.file_record import FileRecord


def unpack(directory: Path, *parts: bytes, **limits: int) -> dict[str, FileRecord]:
    chunks = iter([b"".join(parts) + TAR_END])
    return extract(chunks, directory, archive="test.tar", limits=ArchiveLimits(**limits))


def fail(directory: Path, *parts: bytes, **limits: int) -> ArchiveError:
    with pytest.raises(ArchiveError, match=r"^test\.tar: ") as caught:
        unpack(directory, *parts, **limits)
    return caught.value


def link(name: bytes, target: bytes) -> bytes:
    return tar_header(name, kind=b"2", link=target)


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The names that were synced, in order; ``all``: the file system."""
    names: list[str] = []
    fsync = os.fsync

    def record(descriptor: int) -> None:
        fsync(descriptor)
        path = os.path.relpath(os.readlink(f"/proc/self/fd/{descriptor}"), tmp_path)
        names.append(path)

    monkeypatch.setattr("os.fsync", record)
    monkeypatch.setattr(extract_module, "sync_file_system", lambda _descriptor: names.append("all"))
    return names


def test_each_file_and_then_the_directories_the_deepest_first(tmp_path: Path, synced: list[str]) -> None:
    unpack(tmp_path, tar_file(b"a/b/c/x", b"x"), tar_file(b"y", b"y"), tar_header(b"d/", kind=b"5"))
    assert synced[:4] == ["a/b/c/x", "y", "a/b/c", "a/b"]
    assert (sorted(synced[4:6]), synced[6:]) == (["a", "d"], ["."])


@pytest.mark.parametrize(("count", "at_once"), [(254, False), (255, True), (256, True)])
def test_many_are_synced_at_once(tmp_path: Path, synced: list[str], count: int, at_once: bool) -> None:
    """What counts are files and directories: here is one directory."""
    unpack(tmp_path, tar_header(b"d/", kind=b"5"), *[tar_file(b"d/%d" % number) for number in range(count)])
    assert extract_module.SYNC_EACH == 256
    assert ("all" in synced) is at_once
    assert synced[-2:] == (["d/254", "all"] if at_once else ["d", "."])


def test_as_many_names_as_are_allowed(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    assert len(unpack(tmp_path / "one", tar_file(b"a/b/x"), tar_file(b"a/y"), files=4)) == 2
    error = fail(tmp_path / "two", tar_file(b"a/b/x"), tar_file(b"a/y"), files=3)
    assert error.message == "test.tar: it has more than 3 names, of files and the directories above them"
    assert error.hint == "release.maxFiles is the limit"


def test_as_many_bytes_as_are_allowed(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    files = [tar_file(b"a", b"x" * 600), tar_file(b"b", b"x" * 400)]
    assert len(unpack(tmp_path / "one", *files, unpacked_bytes=1000)) == 2
    error = fail(tmp_path / "two", *files, unpacked_bytes=999)
    assert error.message == "test.tar: its files are larger than 999 bytes"
    assert error.hint == "release.maxUnpackedMiB is the limit"
    assert os.listdir(tmp_path / "two") == ["a"]


@pytest.mark.parametrize("length", [1, 2, 15, 16])
def test_a_link_may_lead_by_fifteen_others(tmp_path: Path, length: int) -> None:
    links = [link(b"%d" % number, b"%d" % (number + 1)) for number in range(length)]
    files = unpack(tmp_path, *links, tar_file(b"%d" % length, b"content"))
    assert set(files) == {str(number) for number in range(length + 1)}
    assert len(set(files.values())) == 1
    assert {path.stat().st_ino for path in tmp_path.iterdir()} == {(tmp_path / "0").stat().st_ino}


def test_a_link_that_leads_by_more_is_rejected(tmp_path: Path) -> None:
    links = [link(b"%d" % number, b"%d" % (number + 1)) for number in range(17)]
    error = fail(tmp_path, *links, tar_file(b"17", b"content"))
    assert error.message == "test.tar: the link '0' leads to '1', which is no file of it"
    assert error.hint == "pack the files themselves (tar --dereference)"


def test_a_symbolic_link_starts_where_it_is_and_a_hard_one_at_the_top(tmp_path: Path) -> None:
    tar = [
        tar_file(b"d/x", b"in d"),
        tar_file(b"x", b"at the top"),
        link(b"d/soft", b"x"),
        tar_header(b"d/hard", kind=b"1", link=b"x"),
    ]
    unpack(tmp_path, *tar)
    assert (tmp_path / "d" / "soft").read_bytes() == b"in d"
    assert (tmp_path / "d" / "hard").read_bytes() == b"at the top"


def test_a_name_is_taken_once(tmp_path: Path) -> None:
    for number, (parts, fault) in enumerate(
        [
            ((tar_file(b"a"), tar_file(b"a")), "the name 'a' is there twice"),
            ((tar_file(b"a"), tar_file(b"A")), "the name 'A' and 'a' differ by case or form alone"),
            ((tar_file(b"a"), link(b"a", b"b")), "the name 'a' is there twice"),
            ((tar_file(b"a/x"), tar_file(b"A/y")), "the name 'A' and 'a' differ by case or form alone"),
            ((tar_file(b"a/x"), tar_file(b"a")), "the name 'a' is there twice"),
        ]
    ):
        (tmp_path / str(number)).mkdir()
        assert fail(tmp_path / str(number), *parts).message == f"test.tar: {fault}"
    # A directory may be named again, and after what is in it.
    (tmp_path / "d").mkdir()
    unpack(tmp_path / "d", tar_file(b"a/x"), *[tar_header(b"a/", kind=b"5")] * 2, tar_file(b"a/y"))


def test_large_files_are_written_out_as_they_come(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    advised: list[tuple[int, int, int]] = []
    monkeypatch.setattr(extract_module, "_WRITE_BEHIND", 1000)
    monkeypatch.setattr(
        extract_module.os, "posix_fadvise", lambda _descriptor, *rest: advised.append(rest), raising=True
    )
    tar = tar_file(b"x", b"x" * 2600) + TAR_END
    chunks = iter([tar[start : start + 512] for start in range(0, len(tar), 512)])
    extract(chunks, tmp_path, archive="test.tar", limits=ArchiveLimits())
    assert advised == [(0, 1024, os.POSIX_FADV_DONTNEED), (1024, 1024, os.POSIX_FADV_DONTNEED)]


def test_a_disk_that_takes_a_part_of_what_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(extract_module.os, "write", lambda descriptor, data: write(descriptor, data[:7]))
    unpack(tmp_path, tar_file(b"x", bytes(range(100))))
    assert (tmp_path / "x").read_bytes() == bytes(range(100))


def test_a_file_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"somebody's")
    with pytest.raises(FileExistsError):
        unpack(tmp_path, tar_file(b"x", b"ours"))
    assert (tmp_path / "x").read_bytes() == b"somebody's"


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    unpack(tmp_path, tar_file(b"x", b"x"))
    fail(tmp_path, tar_file(b"y", b"y"), tar_header(b"z", size=100))
    assert sorted(os.listdir("/proc/self/fd")) == before
