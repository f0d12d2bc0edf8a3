"""The guest's disk: made once by qemu-img, never overwritten, locked, and looked at before QEMU is."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from ectools.errors import InputError
from ectools.files import LockedError, temporary_prefix
from ectools.vm import disk
from ectools.vm.disk import DiskError, hold_disk
from ectools.vm.settings import Disk

if TYPE_CHECKING:
    from collections.abc import Callable

HEAD = b"QFI\xfb\0\0\0"
QCOW2 = HEAD + b"\x03"


@pytest.fixture
def image_program(tmp_path: Path) -> Callable[[str], str]:
    """``image_program("exit 1")``: a qemu-img that does that; its arguments are written to a file."""

    def make(script: str) -> str:
        path = tmp_path / "qemu-img"
        path.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/arguments\nfor file; do :; done\n{script}\n')
        path.chmod(0o755)
        return str(path)

    return make


MAKE = "printf 'QFI\\373\\0\\0\\0\\003' > \"$5\""


def hold(path: Path, program: str = "/nonexistent", size: str = "16G") -> None:
    with hold_disk(Disk(path=path, size=size), image_program=program):
        pass


def test_a_disk_is_made_of_its_size_for_its_owner_alone(
    tmp_path: Path, image_program: Callable[[str], str], told: Any
) -> None:
    path = tmp_path / "state/guest/disk.qcow2"
    hold(path, image_program(MAKE), "7G")
    words = (tmp_path / "arguments").read_text().split()
    assert (words[:4], words[5]) == (["create", "-q", "-f", "qcow2"], "7G")
    assert Path(words[4]).parent == path.parent
    assert path.read_bytes() == QCOW2
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o750
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["disk.qcow2", "disk.qcow2.lock"]
    assert told.take() == [("info", "disk made", {"path": str(path), "size": "7G"})]


@pytest.mark.parametrize("version", [b"\x02", b"\x03"])
def test_a_disk_that_is_there_stays_as_it_is(version: bytes, tmp_path: Path, told: Any) -> None:
    path = tmp_path / "disk.qcow2"
    path.write_bytes(HEAD + version + b"data")
    hold(path)
    assert path.read_bytes() == HEAD + version + b"data"
    assert told.take() == []


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"QFI\xfb",
        HEAD + b"\x01",
        HEAD + b"\x04",
        b"QFI\xfb\x03\0\0\0",
        b"QFI\xfc\0\0\0\x03",
        b"raw disk",
    ],
)
def test_what_is_no_qcow2_is_left_alone(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "disk.qcow2"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"disk\.qcow2: not a qcow2 image; it is left as it is"):
        hold(path)
    assert path.read_bytes() == content


def test_a_link_is_not_followed_not_even_to_a_disk_that_is_missing(
    tmp_path: Path, image_program: Callable[[str], str]
) -> None:
    (tmp_path / "real").write_bytes(QCOW2)
    for target in ("real", "missing"):
        path = tmp_path / f"to-{target}"
        path.symlink_to(target)
        with pytest.raises(DiskError, match="the disk is left as it is"):
            hold(path, image_program(MAKE))
        assert path.is_symlink()
    assert not (tmp_path / "missing").exists()


def test_a_disk_is_one_runners(tmp_path: Path) -> None:
    path = tmp_path / "disk.qcow2"
    path.write_bytes(QCOW2)
    same = Disk(path=path, size="16G")
    with (
        hold_disk(same, image_program="-"),
        pytest.raises(LockedError, match=f"the disk {path}"),
        hold_disk(same, image_program="-"),
    ):
        pass
    hold(path)


def test_what_a_killed_runner_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "disk[1].qcow2"
    path.write_bytes(QCOW2)
    leftover = tmp_path / f"{temporary_prefix(path)}abc"
    others = [tmp_path / name for name in ("disk1.qcow2", f"{temporary_prefix(tmp_path / 'other')}abc")]
    for file in (leftover, *others):
        file.touch()
    hold(path)
    assert not leftover.exists()
    assert all(file.exists() for file in others)


@pytest.mark.parametrize(
    ("script", "reason", "hint"),
    [
        (
            "echo warning >&2; echo 'qemu-img: x: No space left on device' >&2; exit 1",
            "qemu-img: x: No space left on device",
            "free some space on its file system",
        ),
        ("echo 'Disk quota exceeded' >&2; exit 1", "Disk quota exceeded", "free some space"),
        ("echo 'Invalid size' >&2; exit 1", "Invalid size", "disk.path names another place"),
        ("exit 3", "exit status 3", "disk.path names another place"),
    ],
)
def test_a_disk_that_cannot_be_made_leaves_nothing_and_says_why(
    script: str, reason: str, hint: str, tmp_path: Path, image_program: Callable[[str], str]
) -> None:
    path = tmp_path / "state/disk.qcow2"
    with pytest.raises(DiskError) as caught:
        hold(path, image_program(script))
    assert caught.value.message.startswith(f"{path}: the disk cannot be made: ")
    assert caught.value.message.endswith(reason)
    assert hint in str(caught.value.hint)
    assert [entry.name for entry in path.parent.iterdir()] == ["disk.qcow2.lock"]


def test_a_disk_that_somebody_else_makes_meanwhile_is_not_replaced(
    tmp_path: Path, image_program: Callable[[str], str]
) -> None:
    path = tmp_path / "state/disk.qcow2"
    with pytest.raises(DiskError, match="the disk cannot be made: File exists"):
        hold(path, image_program(f"echo theirs > {path}"))
    assert path.read_text() == "theirs\n"


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="cannot be made: /nonexistent: program not found"):
        hold(tmp_path / "disk.qcow2")


def test_a_disk_that_cannot_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "disk.qcow2"
    path.write_bytes(QCOW2)
    # Its first page is nobody's, so that reading it is an error.
    monkeypatch.setattr(disk, "open_regular", lambda *_, **__: os.open("/proc/self/mem", os.O_RDONLY))
    with pytest.raises(DiskError, match=r"disk\.qcow2: the disk cannot be read: Input/output error"):
        hold(path)


def test_a_directory_that_cannot_be_made_or_written_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DiskError, match="file/state: the disk's directory cannot be made: Not a directory"):
        hold(tmp_path / "file/state/disk.qcow2")
    access = os.access
    asked: list[tuple[int, bool]] = []

    def deny(path: object, mode: int, *, effective_ids: bool = False) -> bool:
        asked.append((mode, effective_ids))
        return access(str(path), os.F_OK) and mode == os.F_OK

    monkeypatch.setattr(os, "access", deny)
    monkeypatch.setattr(os, "supports_effective_ids", {deny})
    with pytest.raises(DiskError, match="the disk's directory cannot be written"):
        hold(tmp_path / "disk.qcow2")
    assert asked == [(os.W_OK | os.X_OK, True)]
    assert not (tmp_path / "disk.qcow2.lock").exists()
