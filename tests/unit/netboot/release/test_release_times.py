"""Which of two releases is older, at the second, and what is kept of when one was released."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from support.staged import make_release, put_release

from ectools.files import FileError
from ectools.netboot.release.age import OlderReleaseError, check_age, find_time, forget_times, note_time
from ectools.netboot.release.checksums import (
    ChecksumsError,
    find_checksum,
    parse_checksums,
    parse_release_times,
    render_checksums,
    verify_checksum,
)
from ectools.netboot.release.download import LocalArchive
from ectools.netboot.release.source import ArchiveSource, ReleaseSource
from ectools.netboot.release.store import ReleaseStore, StoreError

if TYPE_CHECKING:
    from pathlib import Path

    from ectools.netboot.release.manifest import Release

ID = "sha256-" + "0" * 32


@pytest.fixture
def store(tmp_path: Path) -> ReleaseStore:
    return ReleaseStore(tmp_path)


@pytest.fixture
def current(store: ReleaseStore) -> Release:
    """Released at the second 100."""
    files = {"kernel": b"kernel"}
    release = make_release(files, sha256="a" * 64)
    put_release(store.state_dir, release, files)
    note_time(store, release.id, 100)
    return release


def offered(tmp_path: Path, released_at: int | None, **changes: Any) -> ReleaseSource:
    source = ArchiveSource(
        system="x",
        archive=LocalArchive(tmp_path / "x.tar.gz", size=1),
        tag="boot v1",
        wanted_sha256="b" * 64,
        sums="SUMS",
        is_signed=True,
        released_at=released_at,
    )
    return ReleaseSource(archives=(replace(source, **changes),))


def test_a_second_makes_it_older(store: ReleaseStore, current: Release, tmp_path: Path) -> None:
    check_age(store, offered(tmp_path, 100))
    check_age(store, offered(tmp_path, 101))
    with pytest.raises(OlderReleaseError) as caught:
        check_age(store, offered(tmp_path, 99))
    assert caught.value.message == (
        f"{tmp_path}/x.tar.gz: is signed as of 1970-01-01T00:01:39Z, and what is current, {current.title}, "
        "as of 1970-01-01T00:01:40Z: an older release is not staged unless it is asked for by name"
    )
    assert caught.value.hint == (
        "does the forge offer an old release as its latest?; by `--tag 'boot v1'` or release.tag, "
        "or by --tarball, it is staged all the same"
    )


def test_one_without_a_time_is_as_old_as_anybody_likes(
    store: ReleaseStore, current: Release, tmp_path: Path
) -> None:
    with pytest.raises(OlderReleaseError) as caught:
        check_age(store, offered(tmp_path, None, tag=None))
    assert f"is signed without a time, and what is current, {current.title}, as of " in caught.value.message
    assert caught.value.hint == (
        "its publisher can sign the sums with one (`ectools netboot pack --timestamp`, ECP-0090); "
        "by its tag, or by --tarball, it is staged all the same"
    )


def test_the_very_archive_that_is_current_is_not_older(
    store: ReleaseStore, current: Release, tmp_path: Path
) -> None:
    for seconds in (None, 99):
        check_age(store, offered(tmp_path, seconds, wanted_sha256=current.systems[0].archive_sha256))


def test_what_nobody_signed_has_no_age(store: ReleaseStore, current: Release, tmp_path: Path) -> None:
    check_age(store, offered(tmp_path, None, is_signed=False))


def test_one_whose_record_is_bad_is_told_by_its_id(
    store: ReleaseStore, current: Release, tmp_path: Path
) -> None:
    (store.directory(current.id) / "release.json").write_text("{")
    with pytest.raises(OlderReleaseError, match=rf"what is current, {current.id}, as of"):
        check_age(store, offered(tmp_path, 99))


def test_a_first_release_without_a_time_is_warned_of(
    store: ReleaseStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    check_age(store, offered(tmp_path, 1))
    assert caplog.messages == []
    check_age(store, offered(tmp_path, None))
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage() == (
        "the signed sums carry no time: an older release cannot be told from a newer one"
    )


def test_the_latest_time_is_kept(store: ReleaseStore) -> None:
    assert find_time(store, ID) is None
    note_time(store, ID, 5)
    path = store.released_dir / ID
    assert path.read_bytes() == b"5\n"
    assert store.released_dir.stat().st_mode & 0o777 == 0o755
    before = path.stat().st_ino
    for seconds in (5, 4):
        note_time(store, ID, seconds)
    assert (find_time(store, ID), path.stat().st_ino) == (5, before)
    note_time(store, ID, 6)
    assert find_time(store, ID) == 6
    forget_times(store)
    forget_times(store)
    assert find_time(store, ID) is None


def test_a_time_that_is_none(store: ReleaseStore, tmp_path: Path) -> None:
    note_time(store, ID, 5)
    path = store.released_dir / ID
    path.write_bytes(b" 7\n".ljust(32))
    assert find_time(store, ID) == 7
    for text in ("", "soon", "-1", "1.5", "\u0661"):
        path.write_text(text)
        with pytest.raises(StoreError) as caught:
            find_time(store, ID)
        assert caught.value.message == f"{path}: holds no number of seconds"
        assert caught.value.hint == "ectools makes it; remove it"
    path.write_bytes(b"7".ljust(33))
    with pytest.raises(FileError, match="is larger than 32 bytes"):
        find_time(store, ID)
    (tmp_path / "elsewhere").write_text("9")
    path.unlink()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FileError, match="is a symbolic link"):
        find_time(store, ID)


A, B = "a" * 64, "b" * 64


def test_sums_are_written_sorted_each_after_its_time() -> None:
    text = render_checksums({"b": B, "a": A, "c": A}, {"b": 7, "other": 9})
    assert text.decode() == f"{A}  a\n# timestamp: 7  b\n{B}  b\n{A}  c\n"
    assert parse_checksums(text, where="SUMS") == {"a": A, "b": B, "c": A}
    assert parse_release_times(text, where="SUMS") == {"b": 7}


def test_times_that_are_none_are_told_with_their_line() -> None:
    with pytest.raises(ChecksumsError) as caught:
        parse_release_times(b"# x\n# timestamp: 7\n", where="SUMS")
    assert caught.value.message == "SUMS:2: not a time of release: '# timestamp: 7'"
    assert caught.value.hint == "the line is `# timestamp: SECONDS  NAME`, in seconds since 1970"
    with pytest.raises(ChecksumsError, match=r"^SUMS:2: a has two times of release$"):
        parse_release_times(b"# timestamp: 7  a\n# timestamp: 8  a\n", where="SUMS")
    twice = b"# timestamp: 99999999999  a\r\n# timestamp: 99999999999  ./a\n"
    assert parse_release_times(twice, where="SUMS") == {"a": 99999999999}


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("\\x", "sha256sum escapes names with a newline or backslash so; no archive needs such a name"),
        (f"SHA256 (x) = {A}a", "a line is 64 hexadecimal digits, two spaces and the name"),
        (f"{A}\tx", "two spaces, or a space and an asterisk, stand between the sum and the name"),
        (f"{A[:32]}  x", "this is not a SHA-256, which has 64 digits"),
        (f"{A[:31]}  x", "a line is 64 hexadecimal digits, two spaces and the name"),
        (f"{A}a  x", "this is not a SHA-256, which has 64 digits"),
        (" <html>", "this looks like a web page: is the address right, and the token?"),
        (f"x SHA256 (x) = {A}", "a line is 64 hexadecimal digits, two spaces and the name"),
    ],
)
def test_lines_that_are_none_are_told_with_their_number(line: str, hint: str) -> None:
    with pytest.raises(ChecksumsError) as caught:
        parse_checksums(f"{A}  a\n\n{line}\n".encode(), where="SUMS")
    assert caught.value.message == f"SUMS:3: not a line of sha256sum: {line!r}"
    assert caught.value.hint == hint


def test_long_lines_are_cut() -> None:
    with pytest.raises(ChecksumsError) as caught:
        parse_checksums(b"x" * 101, where="SUMS")
    assert caught.value.message == f"SUMS:1: not a line of sha256sum: {'x' * 100!r}"


def test_which_sum_is_told() -> None:
    with pytest.raises(ChecksumsError) as caught:
        parse_checksums(f"{A}  a\n{B} *./a\n".encode(), where="SUMS")
    assert caught.value.message == "SUMS:2: a is listed twice, with different sums"
    with pytest.raises(ChecksumsError) as caught:
        parse_checksums(b"# x\n", where="SUMS")
    assert (caught.value.message, caught.value.hint) == (
        "SUMS: lists nothing",
        "it should hold what `sha256sum ARCHIVE` prints",
    )
    with pytest.raises(ChecksumsError, match=r"^SUMS: not UTF-8: invalid start byte$"):
        parse_checksums(b"\xff", where="SUMS")
    with pytest.raises(ChecksumsError) as caught:
        find_checksum({"b": B, "a": A}, "c", where="SUMS")
    assert caught.value.message == "SUMS: c is not listed in it; listed are a, b"
    assert caught.value.hint == "an archive that is not listed cannot be checked: publish the sums anew"
    verify_checksum(A, wanted=A, archive="x", where="SUMS")
    with pytest.raises(ChecksumsError) as caught:
        verify_checksum(A, wanted=B, archive="x", where="SUMS")
    assert caught.value.message == f"x: its SHA-256 is {A}, and SUMS says {B}: it was damaged or changed"
    assert caught.value.hint == "nothing was staged; if the archive was published anew, its sums must be too"
