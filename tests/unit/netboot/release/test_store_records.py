"""The store's directories, locks and records one by one, and what is told of those that are not right."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from support.staged import make_release, put_release

from ectools.errors import InputError
from ectools.files import FileError, LockedError
from ectools.netboot.release import store as store_module
from ectools.netboot.release.manifest import ManifestError
from ectools.netboot.release.pins import mark, pin, unmark, unpin
from ectools.netboot.release.store import (
    ReleaseBusyError,
    ReleaseGoneError,
    ReleaseStore,
    StoreError,
    clear_directory,
)

if TYPE_CHECKING:
    from pathlib import Path

    from ectools.netboot.release.manifest import Release

ID = "sha256-" + "0" * 32


@pytest.fixture
def store(tmp_path: Path) -> ReleaseStore:
    return ReleaseStore(tmp_path / "state")


@pytest.fixture
def release(store: ReleaseStore) -> Release:
    """One that is current."""
    files = {"kernel": b"kernel"}
    made = make_release(files)
    put_release(store.state_dir, made, files)
    return made


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_directories_are_closed_to_others_where_nothing_is_served_from(store: ReleaseStore) -> None:
    before = os.umask(0)
    try:
        with store.lock_staging() as directory, store.lock():
            assert directory == store.state_dir / ".staging"
            assert [mode(path) for path in (store.state_dir, directory, store.changing_dir)] == [
                0o750,
                0o700,
                0o700,
            ]
        mark(store.pinned_dir, ID)
    finally:
        os.umask(before)
    assert (mode(store.pinned_dir), mode(store.pinned_dir / ID)) == (0o755, 0o644)


def test_staging_leaves_an_empty_directory(store: ReleaseStore) -> None:
    with store.lock_staging() as directory:
        (directory / "tree").mkdir()
        (directory / "tree" / "file").touch()
    assert os.listdir(directory) == []
    (directory / "left").touch()
    with contextlib.suppress(ZeroDivisionError), store.lock_staging():
        assert os.listdir(directory) == []
        (directory / "more").touch()
        raise ZeroDivisionError
    assert os.listdir(directory) == []


def test_how_long_whoever_wants_a_lock_waits(store: ReleaseStore, monkeypatch: pytest.MonkeyPatch) -> None:
    assert store_module.LOCK_SECONDS == 300
    monkeypatch.setattr(store_module, "LOCK_SECONDS", 0.0)
    with store.lock_staging():
        with pytest.raises(LockedError, match=rf"^the store {store.state_dir} is in use by another process"):
            with store.lock_staging():
                pass
        # Nobody waits for a download.
        with store.lock(), pytest.raises(LockedError, match=r"^the store .* is in use"):
            with store.lock():
                pass


def test_a_store_that_is_not_there(store: ReleaseStore) -> None:
    with pytest.raises(StoreError) as caught, store.lock():
        pass
    assert caught.value.message == (
        f"{store.state_dir}: there is no such directory: nothing was ever staged there"
    )
    assert caught.value.hint == "stateDir, or --state-dir, names it"
    assert not store.state_dir.exists()


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "`ectools netboot releases collect` makes room"),
        (errno.EDQUOT, "`ectools netboot releases collect` makes room"),
        (errno.EEXIST, "a directory was expected there"),
        (errno.ENOTDIR, "a directory was expected there"),
        (errno.EACCES, "this user must be able to write there"),
        (errno.EROFS, "this user must be able to write there"),
    ],
)
def test_what_goes_wrong_under_a_lock_is_told_with_a_way_out(
    number: int, advice: str, store: ReleaseStore
) -> None:
    for name, shown in (("/there", "/there"), (None, str(store.state_dir))):
        with pytest.raises(StoreError) as caught, store.lock_staging():
            raise OSError(number, os.strerror(number), name)
        assert caught.value.message == f"{shown}: {os.strerror(number)}"
        assert caught.value.hint == f"what is current stays so; {advice}"


def test_a_directory_of_the_store_is_no_link(store: ReleaseStore, tmp_path: Path) -> None:
    store.state_dir.mkdir()
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").touch()
    store.staging_dir.symlink_to(tmp_path / "precious")
    with pytest.raises(StoreError, match=r"\.staging: is a link$"), store.lock_staging():
        pass
    store.changing_dir.symlink_to(tmp_path / "precious")
    with pytest.raises(StoreError, match=r"\.changing: is a link$"), store.lock():
        pass
    assert os.listdir(tmp_path / "precious") == ["file"]


def test_a_state_directory_below_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = ReleaseStore(tmp_path / "file" / "state")
    for act in (store.lock_staging, store.lock):
        with pytest.raises(StoreError, match="Not a directory"), act():
            pass


def test_clearing_removes_links_and_not_where_they_lead(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "file").touch()
    (tmp_path / "cleared" / "a" / "b").mkdir(parents=True)
    (tmp_path / "cleared" / "link").symlink_to(tmp_path / "precious")
    (tmp_path / "cleared" / "file").touch()
    clear_directory(tmp_path / "cleared")
    assert os.listdir(tmp_path / "cleared") == []
    assert os.listdir(tmp_path / "precious") == ["file"]


def test_ids(store: ReleaseStore) -> None:
    assert store.directory(ID) == store.state_dir / "releases" / ID
    for wrong in ("", "current", ID[:-1], ID + "0", ID.upper(), f"{ID}\n", f"../{ID}", "sha256-" + "g" * 32):
        with pytest.raises(InputError) as caught:
            store.directory(wrong)
        assert caught.value.message == f"{wrong!r} is no release's id"
        assert caught.value.hint == "`ectools netboot releases list` shows them"


def test_only_ids_are_listed(store: ReleaseStore, release: Release) -> None:
    (store.releases_dir / "notes").mkdir()
    (store.releases_dir / ID).mkdir()
    for directory in (store.pinned_dir, store.led_dir, store.withdrawn_dir):
        directory.mkdir(parents=True)
        (directory / ID).touch()
        (directory / "notes").touch()
    assert store.list_ids() == sorted([ID, release.id])
    assert store.list_pinned() == store.list_led() == store.list_withdrawn() == {ID}
    assert store.list_releases() == [release]


def test_a_directory_that_cannot_be_listed(store: ReleaseStore) -> None:
    store.state_dir.mkdir()
    store.releases_dir.touch()
    with pytest.raises(FileError, match=r"state/releases: cannot be read: Not a directory$"):
        store.list_ids()


def test_the_newest_first_and_bad_ones_left_out_with_a_warning(
    store: ReleaseStore, caplog: pytest.LogCaptureFixture
) -> None:
    for number in (2, 3, 1):
        files = {"kernel": bytes([number])}
        put_release(store.state_dir, replace(make_release(files), staged_at=number), files)
    assert [release.staged_at for release in store.list_releases()] == [3, 2, 1]
    bad = store.releases_dir / ID / "release.json"
    bad.parent.mkdir()
    bad.write_text("{")
    caplog.clear()
    assert [release.staged_at for release in store.list_releases()] == [3, 2, 1]
    (record,) = caplog.records
    assert (record.getMessage(), record.levelname) == ("a release cannot be used", "WARNING")
    assert record.__dict__["fields"]["reason"].startswith(f"{bad}: not JSON: ")


def test_a_record_in_the_directory_of_another(store: ReleaseStore, release: Release) -> None:
    store.directory(release.id).rename(store.directory(ID))
    with pytest.raises(ManifestError, match=rf"release\.json: id: {release.id} stands in the dir"):
        store.find(ID)
    assert store.find(release.id) is None


def test_links(store: ReleaseStore, release: Release) -> None:
    assert store.find_current() == release
    assert store.find_previous() is None
    (store.state_dir / "previous").symlink_to(f"releases/{ID}")
    with pytest.raises(StoreError) as caught:
        store.find_previous()
    assert caught.value.message == f"{store.state_dir}/previous: leads to {ID}, which is not there"
    assert caught.value.hint == "stage a release; somebody removed that directory by hand"
    (store.state_dir / "current").unlink()
    (store.state_dir / "current").symlink_to(f"releases/{release.id}x")
    with pytest.raises(StoreError) as caught:
        store.find_current()
    assert caught.value.message == (
        f"{store.state_dir}/current: leads to 'releases/{release.id}x', which is no release"
    )
    assert caught.value.hint == "ectools makes it; remove it to stage anew"
    (store.state_dir / "current").unlink()
    (store.state_dir / "current").mkdir()
    with pytest.raises(StoreError) as caught:
        store.find_current()
    assert caught.value.message == f"{store.state_dir}/current: cannot be read as a link: Invalid argument"
    assert caught.value.hint == "ectools makes it; remove it to stage anew"


def test_holding_is_shared_and_collecting_is_not(store: ReleaseStore, release: Release) -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    with store.hold(release.id) as held, store.hold(release.id):
        assert held == release
    with pytest.raises(ReleaseGoneError) as caught, store.hold(ID):
        pass
    assert caught.value.message == (
        f"{store.releases_dir}/{ID}: this release is not there, or is being removed"
    )
    record = store.directory(release.id) / "release.json"
    with record.open("rb") as file:
        store_module.fcntl.flock(file, store_module.fcntl.LOCK_EX)
        with pytest.raises(ReleaseBusyError) as busy, store.hold(release.id):
            pass
    assert busy.value.message == f"{record}: another process has an exclusive lock on it"
    assert f"`fuser -v {record}` says who has it" in str(busy.value.hint)
    assert sorted(os.listdir("/proc/self/fd")) == before


def test_pinning(store: ReleaseStore, release: Release) -> None:
    with pytest.raises(ReleaseGoneError) as caught:
        pin(store, ID)
    assert (caught.value.message, caught.value.hint) == (
        f"{ID} is not staged",
        "`ectools netboot releases list` shows them",
    )
    assert not store.pinned_dir.exists()
    for _ in range(2):
        assert pin(store, release.id) == release
    assert store.list_pinned() == {release.id}
    assert (unpin(store, release.id), unpin(store, release.id)) == (True, False)
    assert store.list_pinned() == frozenset()


def test_a_mark_is_on_the_disk_with_the_directories_above_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []
    monkeypatch.setattr("ectools.netboot.release.pins.sync_directory", synced.append)
    mark(tmp_path / "marks", ID)
    assert synced == [tmp_path / "marks", tmp_path]
    synced.clear()
    assert unmark(tmp_path / "marks", ID)
    assert synced == [tmp_path / "marks"]
    assert not unmark(tmp_path / "marks", ID)
    (tmp_path / "target").write_text("precious")
    (tmp_path / "marks" / ID).symlink_to(tmp_path / "target")
    with pytest.raises(FileError, match="is a symbolic link"):
        mark(tmp_path / "marks", ID)
