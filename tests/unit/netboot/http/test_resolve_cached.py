"""What the kernel knows of a path without waiting, and what it says where it does not."""

from __future__ import annotations

import ctypes
import errno
import os
from typing import TYPE_CHECKING

import pytest

from ectools.netboot.http import resolve_cached
from ectools.netboot.http.resolve_cached import stat_cached

if TYPE_CHECKING:
    from pathlib import Path


def test_a_file_that_was_just_looked_at_is_known(tmp_path: Path) -> None:
    path = tmp_path / "script"
    path.write_bytes(b"four")
    (tmp_path / "link").symlink_to("script")
    path.chmod(0)  # it is not opened for reading
    before = len(os.listdir("/proc/self/fd"))
    for name in (path, tmp_path / "link"):
        expected = name.stat()
        found = stat_cached(os.fsencode(name))
        if found is None:
            pytest.skip(
                "this kernel does not know openat2(2) with RESOLVE_CACHED, or keeps nothing in memory"
            )
        assert (found.st_ino, found.st_size) == (expected.st_ino, 4)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "none").exists()  # so that the kernel knows that it is not
    missing = os.fsencode(tmp_path / "none")
    try:
        found = stat_cached(missing)
    except FileNotFoundError as error:
        found = None
        name = error.filename
    else:
        pytest.skip("this kernel does not know openat2(2) with RESOLVE_CACHED")
    assert (found, name) == (None, missing)


@pytest.mark.parametrize(
    ("number", "is_known"),
    [
        (errno.EAGAIN, False),
        (errno.ENOSYS, False),
        (errno.EINVAL, False),
        (errno.EPERM, False),
        (errno.ENOENT, True),
        (errno.EACCES, True),
    ],
)
def test_what_the_kernel_answers(monkeypatch: pytest.MonkeyPatch, number: int, is_known: bool) -> None:
    calls: list[tuple[object, ...]] = []

    def syscall(*arguments: object) -> int:
        calls.append(arguments)
        ctypes.set_errno(number)
        return -1

    monkeypatch.setattr(resolve_cached, "_syscall", syscall)
    if is_known:
        with pytest.raises(OSError, match=os.strerror(number)) as caught:
            stat_cached(b"/some/path")
        assert (caught.value.errno, caught.value.filename) == (number, b"/some/path")
    else:
        assert stat_cached(b"/some/path") is None
    # openat2(AT_FDCWD, path, how, 24): open(2), openat2(2).
    ((call, directory, path, _, size),) = calls
    assert (call, directory, path, size) == (437, -100, b"/some/path", 24)
    how = resolve_cached._HOW
    assert (how.flags, how.mode, how.resolve) == (os.O_PATH | os.O_CLOEXEC, 0, 0x20)
