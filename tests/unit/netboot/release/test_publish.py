"""A tree in its place: new, known already, damaged, or in the way of something else."""

from __future__ import annotations

import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.staged import make_release

from ectools.files import FileError
from ectools.netboot.release import publish as publish_module
from ectools.netboot.release.manifest import render_manifest
from ectools.netboot.release.publish import make_current, publish
from ectools.netboot.release.store import ReleaseStore

if TYPE_CHECKING:
    from ectools.netboot.release.manifest import Release

FILES = {"kernel": b"kernel", "initrd": b"initrd", "d/extra": b"extra"}


@pytest.fixture
def store(tmp_path: Path) -> ReleaseStore:
    made = ReleaseStore(tmp_path / "state")
    made.state_dir.mkdir()
    made.changing_dir.mkdir()
    return made


def build(store: ReleaseStore) -> tuple[Path, Release]:
    tree = store.state_dir / "tree"
    tree.mkdir(mode=0o700)
    for name, data in FILES.items():
        (tree / name).parent.mkdir(exist_ok=True)
        (tree / name).write_bytes(data)
    return tree, make_release(FILES)


def content(store: ReleaseStore, release: Release) -> dict[str, bytes]:
    directory = store.directory(release.id)
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


def test_a_new_release_is_synced_before_it_has_its_name_and_after(
    store: ReleaseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree, release = build(store)
    synced: list[tuple[str, bool]] = []

    def sync(directory: Path) -> None:
        synced.append((directory.name, store.directory(release.id).exists()))

    monkeypatch.setattr(publish_module, "sync_directory", sync)
    assert publish(store, tree, release) is release
    assert not tree.exists()
    assert content(store, release) == {**FILES, "release.json": render_manifest(release)}
    assert stat.S_IMODE(store.directory(release.id).stat().st_mode) == 0o755
    assert stat.S_IMODE(store.releases_dir.stat().st_mode) == 0o755
    assert synced == [("state", False), ("releases", True)]


def test_one_that_is_there_stays_with_its_own_tag(
    store: ReleaseStore, caplog: pytest.LogCaptureFixture
) -> None:
    tree, release = build(store)
    publish(store, tree, release)
    tree, _ = build(store)
    again = publish(store, tree, replace(release, tag="boot-v2", staged_at=99))
    assert again == release
    assert caplog.messages == []


def test_damaged_files_of_one_that_is_there_are_replaced(
    store: ReleaseStore, caplog: pytest.LogCaptureFixture
) -> None:
    tree, release = build(store)
    publish(store, tree, release)
    directory = store.directory(release.id)
    (directory / "kernel").write_bytes(b"bad")
    (directory / "initrd").unlink()
    (directory / "initrd").mkdir()
    (directory / "d" / "extra").unlink()
    (directory / "d").rmdir()
    tree, _ = build(store)
    assert publish(store, tree, release) == release
    assert content(store, release) == {**FILES, "release.json": render_manifest(release)}
    (record,) = caplog.records
    assert record.getMessage() == "staged files were damaged, and are replaced"
    assert record.__dict__["fields"] == {
        "count": 3,
        "faults": "d/extra cannot be opened: No such file or directory; initrd is not a file; "
        "kernel has 3 bytes; 6 were staged",
    }
    # The directory that was in the way is removed with all else that is half done.
    (aside,) = store.changing_dir.iterdir()
    assert os.listdir(aside) == ["initrd"]


def test_a_record_that_is_damaged_is_written_anew(
    store: ReleaseStore, caplog: pytest.LogCaptureFixture
) -> None:
    tree, release = build(store)
    publish(store, tree, release)
    path = store.directory(release.id) / "release.json"
    path.write_text("{}")
    tree, _ = build(store)
    newer = replace(release, tag="boot-v2")
    assert publish(store, tree, newer) is newer
    assert path.read_bytes() == render_manifest(newer)
    (record,) = caplog.records
    assert record.getMessage() == "a release's record is damaged; it is staged anew"
    assert record.__dict__["fields"]["reason"].startswith(f"{path}: format: None")


def test_whatever_stands_in_its_place_is_set_aside(store: ReleaseStore) -> None:
    tree, release = build(store)
    store.releases_dir.mkdir()
    store.directory(release.id).symlink_to("nowhere")
    publish(store, tree, release)
    assert content(store, release).keys() == {*FILES, "release.json"}
    assert not store.directory(release.id).is_symlink()


def test_what_was_current_is_previous_if_it_is_there(store: ReleaseStore) -> None:
    tree, release = build(store)
    publish(store, tree, release)
    gone, other = "sha256-" + "0" * 32, "sha256-" + "1" * 32
    (store.releases_dir / other).mkdir()
    make_current(store, gone)
    make_current(store, release.id)
    assert (store.find_link_id("current"), store.find_link_id("previous")) == (release.id, None)
    make_current(store, other)
    assert (store.find_link_id("current"), store.find_link_id("previous")) == (other, release.id)


def test_a_disk_that_fails_is_told(store: ReleaseStore) -> None:
    tree, release = build(store)
    tree.joinpath("release.json").mkdir()
    with pytest.raises(FileError, match=r"release\.json: cannot be written: Is a directory"):
        publish(store, tree, release)
    assert store.list_ids() == []
