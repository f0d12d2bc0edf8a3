"""Small files kept in memory."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ectools.netboot.http.cache import MAX_FILE_BYTES, MAX_TOTAL_BYTES, CachedFile, FileCache
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
