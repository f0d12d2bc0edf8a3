"""Small files kept in memory."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from ectools.netboot.http.cache import (
    MAX_FILE_BYTES,
    MAX_TOTAL_BYTES,
    CachedFile,
    FileCache,
    file_identity,
)
from ectools.netboot.http.webroot import build_validators

if TYPE_CHECKING:
    from pathlib import Path

SETTLED = 10.0
"""Seconds after a file's last change."""


def remember(files: FileCache, path: Path, *, age: float = SETTLED) -> None:
    status = path.stat()
    validators = build_validators(status, now=status.st_ctime)
    small = CachedFile(content=path.read_bytes(), validators=validators, status=status)
    files.remember(os.fsencode(path), small, now=status.st_ctime + age)


def find(files: FileCache, path: Path) -> bytes | None:
    known = files.find(os.fsencode(path), path.stat() if path.exists() else None)
    return None if known is None else known.content


def test_a_file_is_found_until_it_changes(tmp_path: Path) -> None:
    path = tmp_path / "script"
    for change in (
        lambda: path.write_bytes(b"two"),
        lambda: (tmp_path / "new").rename(path),
        lambda: path.chmod(0),
        path.unlink,
    ):
        path.write_bytes(b"one")
        (tmp_path / "new").write_bytes(b"two")
        files = FileCache()
        remember(files, path)
        assert find(files, path) == b"one"
        # The clock of the filesystem has a grain; the change must not fall into the same one.
        os.utime(path, ns=(0, path.stat().st_mtime_ns - 1))
        remember(files, path)
        assert find(files, path) == b"one"
        change()
        assert find(files, path) is None


def test_a_file_that_has_just_changed_is_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "script"
    path.write_bytes(b"one")
    files = FileCache()
    remember(files, path, age=1.0)
    assert find(files, path) is None
    remember(files, path, age=-100.0)  # a clock that was set back
    assert find(files, path) is None


def test_memory_is_bounded_and_the_least_recent_goes_first(tmp_path: Path) -> None:
    count = MAX_TOTAL_BYTES // MAX_FILE_BYTES
    paths = [tmp_path / str(number) for number in range(count + 1)]
    files = FileCache()
    for path in paths:
        path.write_bytes(bytes(MAX_FILE_BYTES))
    for path in paths[:-1]:
        remember(files, path)
    assert find(files, paths[0]) is not None
    remember(files, paths[-1])
    assert find(files, paths[1]) is None
    assert all(find(files, path) for path in (paths[0], *paths[2:]))
    (tmp_path / "large").write_bytes(bytes(MAX_FILE_BYTES + 1))
    remember(files, tmp_path / "large")
    assert find(files, tmp_path / "large") is None


FIELDS = ("st_dev", "st_ino", "st_size", "st_mtime_ns", "st_ctime_ns")


def status_with(**changes: int) -> os.stat_result:
    """A file's status, as the kernel might give it."""
    values = {"st_dev": 1, "st_ino": 2, "st_size": 3, "st_mtime_ns": 4, "st_ctime_ns": 5, **changes}
    plain = (0o100644, values["st_ino"], values["st_dev"], 1, 0, 0, values["st_size"], 0, 0, 0)
    return os.stat_result(plain, {"st_mtime_ns": values["st_mtime_ns"], "st_ctime_ns": values["st_ctime_ns"]})


@pytest.mark.parametrize("field", FIELDS)
def test_each_sign_of_a_change_is_looked_at_and_no_clock_alone_is_trusted(field: str) -> None:
    """A file's date can be set back, and a change within a clock's grain leaves it."""
    before = status_with()
    assert file_identity(before) == (1, 2, 3, 4, 5)
    changed = status_with(**{field: 99})
    assert file_identity(changed) != file_identity(before)
    files = FileCache()
    validators = build_validators(before, now=100.0)
    file = CachedFile(content=b"abc", validators=validators, status=before)
    files.remember(b"/script", file, now=100.0)
    assert files.find(b"/script", status_with()) is file
    assert files.find(b"/script", changed) is None
    # It is forgotten, not only passed over.
    assert b"/script" not in files
    assert files.find(b"/script", before) is None


@pytest.mark.parametrize(("age", "kept"), [(1.9, False), (2.0, True)])
def test_when_a_file_has_settled(age: float, kept: bool) -> None:
    status = status_with()
    files = FileCache()
    now = status.st_ctime + age
    file = CachedFile(content=b"abc", validators=build_validators(status, now=now), status=status)
    files.remember(b"/script", file, now=now)
    assert (b"/script" in files) is kept


def test_a_file_that_is_read_anew_counts_once() -> None:
    """Else the memory that it is thought to take would grow until nothing is kept."""
    status = status_with()
    validators = build_validators(status, now=100.0)
    files = FileCache()
    for _ in range(3 * MAX_TOTAL_BYTES // MAX_FILE_BYTES):
        file = CachedFile(content=bytes(MAX_FILE_BYTES), validators=validators, status=status)
        files.remember(b"/script", file, now=100.0)
        files.remember(b"/other", file, now=100.0)
    assert b"/script" in files
    assert b"/other" in files
    for _ in range(3):  # what is forgotten takes none
        assert files.find(b"/other", None) is None
    for number in range(MAX_TOTAL_BYTES // MAX_FILE_BYTES - 1):
        files.remember(str(number).encode(), file, now=100.0)
    assert b"/script" in files
    files.remember(b"one more", file, now=100.0)
    assert b"/script" not in files
    assert b"0" in files


def test_what_is_kept_at_most() -> None:
    assert (MAX_FILE_BYTES, MAX_TOTAL_BYTES) == (65536, 4 << 20)
    status = status_with()
    validators = build_validators(status, now=100.0)
    files = FileCache()
    for size, kept in ((MAX_FILE_BYTES, True), (MAX_FILE_BYTES + 1, False)):
        file = CachedFile(content=bytes(size), validators=validators, status=status)
        files.remember(str(size).encode(), file, now=100.0)
        assert (str(size).encode() in files) is kept
