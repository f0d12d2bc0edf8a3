"""A staged release, read again: each thing that may be wrong with it, all of them at once."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from support.staged import make_release, put_release

from ectools.errors import InputError
from ectools.netboot.release.store import ReleaseGoneError, ReleaseStore
from ectools.netboot.release.verify import Checked, Damage, check_staged, find_damage

if TYPE_CHECKING:
    from pathlib import Path

    from ectools.netboot.release.manifest import Release

FILES = {"kernel": b"kernel", "initrd": b"initrd", "d/extra": b"extra"}


@pytest.fixture
def release(tmp_path: Path) -> Release:
    (tmp_path / "releases").mkdir()
    made = make_release(FILES)
    (tmp_path / "releases" / made.id / "d").mkdir(parents=True)
    for name, data in FILES.items():
        (tmp_path / "releases" / made.id / name).write_bytes(data)
    (tmp_path / "other").mkdir()
    put = put_release(tmp_path / "other", made, {})
    (put / "release.json").rename(tmp_path / "releases" / made.id / "release.json")
    return made


def check(tmp_path: Path, release: Release) -> dict[str, str]:
    checked = check_staged(ReleaseStore(tmp_path), release.id)
    assert checked.id == release.id
    return {damage.name: damage.fault for damage in checked.damage}


def test_a_whole_one(tmp_path: Path, release: Release) -> None:
    assert check_staged(ReleaseStore(tmp_path), release.id) == Checked(
        id=release.id, title=f"boot-v1 ({release.id})", damage=()
    )


def test_all_that_is_wrong(tmp_path: Path, release: Release) -> None:
    directory = tmp_path / "releases" / release.id
    (directory / "kernel").write_bytes(b"kernex")
    (directory / "initrd").write_bytes(b"longer than it was")
    (directory / "d" / "extra").unlink()
    (directory / "d" / "stray").touch()
    (directory / "d" / "release.json").touch()
    assert check(tmp_path, release) == {
        "kernel": "its content is not what was staged",
        "initrd": "has 18 bytes; 6 were staged",
        "d/extra": "cannot be opened: No such file or directory",
        "d/stray": "is not in the release's record",
        "d/release.json": "is not in the release's record",
    }
    assert [damage.name for damage in find_damage(release, directory)] == ["d/extra", "initrd", "kernel"]


def test_what_is_no_file(tmp_path: Path, release: Release) -> None:
    directory = tmp_path / "releases" / release.id
    (directory / "kernel").unlink()
    os.mkfifo(directory / "kernel")
    (directory / "initrd").unlink()
    (directory / "initrd").symlink_to("d/extra")
    assert check(tmp_path, release) == {
        "kernel": "is not a file",
        "initrd": "cannot be opened: Too many levels of symbolic links",
    }


def test_a_disk_that_cannot_be_read(
    tmp_path: Path, release: Release, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("hashlib.file_digest", fail)
    before = sorted(os.listdir("/proc/self/fd"))
    directory = tmp_path / "releases" / release.id
    assert {damage.fault for damage in find_damage(release, directory)} == {
        "cannot be read: Input/output error"
    }
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_a_record_that_is_missing_or_bad(tmp_path: Path, release: Release) -> None:
    store, record = ReleaseStore(tmp_path), tmp_path / "releases" / release.id / "release.json"
    record.write_text("{")
    checked = check_staged(store, release.id)
    assert checked.title == release.id
    (damage,) = checked.damage
    assert damage.name == "release.json"
    assert damage.fault.startswith(f"is bad: {record}: not JSON: ")
    record.unlink()
    assert check_staged(store, release.id) == Checked(
        id=release.id, title=release.id, damage=(Damage(name="release.json", fault="is missing"),)
    )


def test_what_is_not_staged_is_no_damage(tmp_path: Path) -> None:
    with pytest.raises(ReleaseGoneError, match=r"^sha256-0{32} is not staged$") as caught:
        check_staged(ReleaseStore(tmp_path), "sha256-" + "0" * 32)
    assert caught.value.hint == "`ectools netboot releases list` shows them"
    with pytest.raises(InputError):
        check_staged(ReleaseStore(tmp_path), "current")
