"""A file is on the disk before it has its name, and its name is on the disk before the writer goes on."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path

import pytest

from ectools.files import (
    FileError,
    atomic_file,
    sync_directory,
    sync_file_system,
    temporary_prefix,
    write_all_atomic,
    write_atomic,
)


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[str, list[str]]]:
    """What each fsync(2) was of, a file's content or ``directory``, and the names there were at that time."""
    calls: list[tuple[str, list[str]]] = []
    fsync = os.fsync

    def record(descriptor: int) -> None:
        fsync(descriptor)
        path = Path(f"/proc/self/fd/{descriptor}")
        content = "directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else path.read_text()
        calls.append((content, sorted(name for name in os.listdir(tmp_path) if not name.startswith("."))))

    monkeypatch.setattr("ectools.files.os.fsync", record)
    return calls


def test_content_then_name_then_directory(tmp_path: Path, synced: list[tuple[str, list[str]]]) -> None:
    with atomic_file(tmp_path / "name") as file:
        assert Path(file.name).parent == tmp_path
        assert Path(file.name).name.startswith(".name.new-")
        file.write(b"content")
        assert not (tmp_path / "name").exists()
    assert synced == [("content", []), ("directory", ["name"])]
    assert os.listdir(tmp_path) == ["name"]


def test_many_files_are_all_on_the_disk_before_one_has_its_name(
    tmp_path: Path, synced: list[tuple[str, list[str]]]
) -> None:
    names = [f"{number}" for number in range(9)]
    write_all_atomic({tmp_path / name: name.encode() for name in names})
    assert sorted(synced[:-1]) == [(name, []) for name in names]
    assert synced[-1] == ("directory", names)
    assert {name: (tmp_path / name).read_text() for name in os.listdir(tmp_path)} == {n: n for n in names}
    assert {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in names} == {0o644}


def test_files_of_several_directories(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_bytes(b"old")
    write_all_atomic({tmp_path / "a" / "x": b"new", tmp_path / "y": b"also"})
    assert ((tmp_path / "a" / "x").read_bytes(), (tmp_path / "y").read_bytes()) == (b"new", b"also")
    write_all_atomic({})


def test_where_one_cannot_be_written_none_is(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"old")
    wrong = tmp_path / "missing" / "y"
    with pytest.raises(FileError, match=rf"^{tmp_path}/missing/\S+: cannot be written: No such file"):
        write_all_atomic({tmp_path / "x": b"new", wrong: b"also", tmp_path / "z": b"too"})
    assert os.listdir(tmp_path) == ["x"]
    assert (tmp_path / "x").read_bytes() == b"old"


def test_a_file_that_is_there_may_be_left(tmp_path: Path) -> None:
    with atomic_file(tmp_path / "name", replace=False) as file:
        file.write(b"first")
    with pytest.raises(FileExistsError), atomic_file(tmp_path / "name", replace=False) as file:
        file.write(b"second")
    assert (tmp_path / "name").read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["name"]
    with atomic_file(tmp_path / "name") as file:
        file.write(b"third")
    assert (tmp_path / "name").read_bytes() == b"third"


def test_a_block_that_fails_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "name").write_bytes(b"old")
    with contextlib.suppress(ZeroDivisionError), atomic_file(tmp_path / "name") as file:
        file.write(b"new")
        raise ZeroDivisionError
    assert os.listdir(tmp_path) == ["name"]
    assert (tmp_path / "name").read_bytes() == b"old"


@pytest.mark.parametrize("umask", [0, 0o077])
def test_modes_do_not_depend_on_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        write_atomic(tmp_path / "all", b"")
        write_atomic(tmp_path / "mine", b"", mode=0o600)
    finally:
        os.umask(before)
    assert [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("all", "mine")] == [0o644, 0o600]


def test_the_longest_name_can_be_written(tmp_path: Path) -> None:
    name = "n" * 255
    write_atomic(tmp_path / name, b"x")
    assert os.listdir(tmp_path) == [name]
    assert temporary_prefix(Path("/a/name")) == ".name.new-"
    assert temporary_prefix(Path("/a") / name) == "." + "n" * 200 + ".new-"


def test_a_directory_is_synced_and_closed(tmp_path: Path) -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    sync_directory(tmp_path)
    assert sorted(os.listdir("/proc/self/fd")) == before
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        sync_directory(tmp_path / "file")


def test_a_file_system_that_cannot_be_synced() -> None:
    with pytest.raises(OSError, match="Bad file descriptor") as caught:
        sync_file_system(99_999)
    assert caught.value.errno == errno.EBADF
