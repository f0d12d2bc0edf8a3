"""The store as its users see it: staging again, rolling back, pinning, collecting, holding, damage."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
from typing import TYPE_CHECKING

import pytest
from support.releases import build_settings, check_whole, release_files, snapshot, write_archive

from ectools.archive import extract as extract_module
from ectools.errors import EcError, InputError
from ectools.files import FileError, LockedError, sync_file_system
from ectools.netboot.release import stage as stage_module
from ectools.netboot.release import store as store_module
from ectools.netboot.release.pins import mark, pin, unpin
from ectools.netboot.release.prune import Retention, prune
from ectools.netboot.release.rollback import RollbackError, roll_back
from ectools.netboot.release.stage import Staged, StageOutcome, stage
from ectools.netboot.release.store import ReleaseBusyError, ReleaseGoneError, ReleaseStore, StoreError
from ectools.netboot.release.verify import check_staged, find_damage

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def store(state_dir: Path) -> ReleaseStore:
    return ReleaseStore(state_dir)


def stage_text(state_dir: Path, text: str, *, keep: int = 3, accept_withdrawn: bool = False) -> Staged:
    """Stage a release whose content is made of ``text``."""
    archive = write_archive(state_dir.parent, release_files(text))
    settings = build_settings(state_dir, release_tarball=str(archive), release_keep=keep)
    return stage(settings, accept_withdrawn=accept_withdrawn)


def links(store: ReleaseStore) -> tuple[str | None, str | None]:
    return store.find_link_id("current"), store.find_link_id("previous")


def test_an_empty_store_is_no_error(store: ReleaseStore) -> None:
    assert (store.find_current(), store.find_previous(), store.list_releases()) == (None, None, [])
    assert not store.state_dir.exists()


def test_what_is_staged(store: ReleaseStore, state_dir: Path) -> None:
    staged = stage_text(state_dir, "one")
    release = check_whole(state_dir)
    assert release == staged.release == store.find(staged.release.id) == store.list_releases()[0]
    assert staged.outcome is StageOutcome.STAGED
    assert release.systems[0].boot.kernel == "kernel"
    assert (state_dir / "current").readlink().as_posix() == f"releases/{release.id}"
    assert sorted(os.listdir(state_dir)) == [
        ".changing",
        ".lock",
        ".staging",
        ".staging.lock",
        "current",
        "releases",
    ]
    assert os.listdir(state_dir / ".staging") == os.listdir(state_dir / ".changing") == []


def test_the_same_content_again_changes_nothing(store: ReleaseStore, state_dir: Path) -> None:
    stage_text(state_dir, "one")
    stage_text(state_dir, "two")
    before = snapshot(state_dir)
    # Another compression is another archive, and the same release.
    archive = write_archive(state_dir.parent, release_files("two"), "again.tar.zst")
    assert stage(build_settings(state_dir, release_tarball=str(archive))).outcome is StageOutcome.UNCHANGED
    assert snapshot(state_dir) == before


def test_content_that_is_there_is_used_again(store: ReleaseStore, state_dir: Path) -> None:
    one, two = (stage_text(state_dir, text).release.id for text in ("one", "two"))
    assert stage_text(state_dir, "one").outcome is StageOutcome.REUSED
    assert links(store) == (one, two)


def test_rolling_back_twice_returns(store: ReleaseStore, state_dir: Path) -> None:
    with pytest.raises(StoreError, match="nothing was ever staged there"):
        roll_back(store)
    one = stage_text(state_dir, "one").release.id
    with pytest.raises(RollbackError, match="no previous release"):
        roll_back(store)
    two = stage_text(state_dir, "two").release.id
    done = roll_back(store)
    assert (done.current.id, done.previous) == links(store) == (one, two)
    roll_back(store)
    assert links(store) == (two, one)
    assert check_whole(state_dir)


def test_a_rollback_is_not_undone_by_the_next_refresh(store: ReleaseStore, state_dir: Path) -> None:
    one, two = (stage_text(state_dir, text).release.id for text in ("one", "two"))
    roll_back(store)
    assert store.list_withdrawn() == {two}
    assert stage_text(state_dir, "two").outcome is StageOutcome.WITHDRAWN
    assert links(store) == (one, two)
    # The next release is nobody's bad one; the withdrawn one stays so behind it.
    three = stage_text(state_dir, "three").release.id
    assert stage_text(state_dir, "two").outcome is StageOutcome.WITHDRAWN
    assert links(store) == (three, one)
    assert stage_text(state_dir, "two", accept_withdrawn=True).outcome is StageOutcome.REUSED
    assert links(store) == (two, three)
    assert not store.list_withdrawn()


def test_what_is_accepted_is_withdrawn_no_more_whatever_comes_next(
    store: ReleaseStore, state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    two = stage_text(state_dir, "two").release.id
    mark(store.stopped_dir, two)  # a rollout has gone back from what is current
    assert stage_text(state_dir, "two", accept_withdrawn=True).outcome is StageOutcome.UNCHANGED
    assert not store.list_withdrawn()
    stage_text(state_dir, "one")
    mark(store.withdrawn_dir, two)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(stage_module, "make_current", fail)
        with pytest.raises(StoreError):
            stage_text(state_dir, "two", accept_withdrawn=True)
    assert stage_text(state_dir, "two").outcome is StageOutcome.REUSED


def test_going_back_to_it_accepts_what_was_withdrawn(store: ReleaseStore, state_dir: Path) -> None:
    one, two = (stage_text(state_dir, text).release.id for text in ("one", "two"))
    roll_back(store)
    roll_back(store)
    assert not store.list_withdrawn()
    assert links(store) == (two, one)


def test_no_rollback_to_what_is_damaged(store: ReleaseStore, state_dir: Path) -> None:
    one = stage_text(state_dir, "one").release.id
    two = stage_text(state_dir, "two").release.id
    (store.directory(one) / "initrd").write_bytes(b"bad")
    with pytest.raises(RollbackError, match="initrd has 3 bytes"):
        roll_back(store)
    assert links(store) == (two, one)


def test_rolling_back_from_what_is_gone(store: ReleaseStore, state_dir: Path) -> None:
    one, two = (stage_text(state_dir, text).release.id for text in ("one", "two"))
    shutil.rmtree(store.directory(two))
    roll_back(store)
    assert links(store) == (one, two)
    assert check_whole(state_dir)
    with pytest.raises(StoreError, match="is not there"):
        roll_back(store)


def test_collection_leaves_what_is_needed(store: ReleaseStore, state_dir: Path) -> None:
    ids = [stage_text(state_dir, str(number), keep=99).release.id for number in range(7)]
    for number, release_id in enumerate(ids):
        record = store.directory(release_id) / "release.json"
        record.write_text(record.read_text().replace('"staged_at": ', f'"staged_at": {number + 1}'))
    pin(store, ids[0])
    with store.hold(ids[1]):
        dry = {each.release.id: each.retention for each in prune(store, keep=1, dry_run=True)}
        assert sorted(os.listdir(store.releases_dir)) == sorted(ids)
        found = {each.release.id: each.retention for each in prune(store, keep=1)}
    expected = [
        Retention.PINNED,
        Retention.HELD,
        Retention.REMOVED,
        Retention.REMOVED,
        Retention.RECENT,
        Retention.PREVIOUS,
        Retention.CURRENT,
    ]
    assert [found[release_id] for release_id in ids] == expected
    assert [dry[release_id] for release_id in ids] == [
        Retention.REMOVED if retention is Retention.HELD else retention for retention in expected
    ]
    assert sorted(os.listdir(store.releases_dir)) == sorted({*ids} - {ids[2], ids[3]})
    assert unpin(store, ids[0])
    assert not unpin(store, ids[0])
    prune(store, keep=0)
    assert sorted(os.listdir(store.releases_dir)) == sorted(ids[-2:])
    assert os.listdir(store.changing_dir) == []


def test_staging_collects(store: ReleaseStore, state_dir: Path) -> None:
    ids = [stage_text(state_dir, str(number), keep=0).release.id for number in range(4)]
    assert set(store.list_ids()) == set(ids[-2:])


def test_holding(store: ReleaseStore, state_dir: Path) -> None:
    one = stage_text(state_dir, "one").release.id
    with store.hold(one) as release, store.hold(one):
        assert release.id == one
        stage_text(state_dir, "two")
        stage_text(state_dir, "three", keep=0)
        assert check_files(store, one)
    stage_text(state_dir, "four", keep=0)
    assert store.find(one) is None
    with pytest.raises(ReleaseGoneError), store.hold(one):
        pass


def check_files(store: ReleaseStore, release_id: str) -> bool:
    release = store.find(release_id)
    return release is not None and not find_damage(release, store.directory(release_id))


def test_nobody_waits_for_a_lock_on_a_release(store: ReleaseStore, state_dir: Path) -> None:
    one = stage_text(state_dir, "one").release.id
    record = store.directory(one) / "release.json"
    with record.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(ReleaseBusyError, match=r"release\.json: another process has an exclusive lock"):
            with store.hold(one):
                pass
        assert store.find(one)
        assert [each.retention for each in prune(store, keep=0)] == [Retention.CURRENT]
    with store.hold(one):
        pass


@pytest.mark.parametrize("again", [True, False])
def test_a_release_that_is_replaced_meanwhile_is_not_held(
    again: bool, store: ReleaseStore, state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = stage_text(state_dir, "one").release.id
    record = store.directory(one) / "release.json"

    def replace(descriptor: int, operation: int) -> None:
        # In either order of the two, the record has no name, or is another file, once there is the lock.
        content = record.read_bytes()
        record.unlink()
        if again:
            record.write_bytes(content)

    monkeypatch.setattr(store_module.fcntl, "flock", replace)
    with pytest.raises(ReleaseGoneError), store.hold(one):
        pass


@pytest.mark.parametrize("name", ["release.json", "pin"])
def test_nobody_waits_for_a_fifo_in_the_store(name: str, store: ReleaseStore, state_dir: Path) -> None:
    one = stage_text(state_dir, "one").release.id
    if name == "release.json":
        path = store.directory(one) / name
        path.unlink()
        os.mkfifo(path)
        with pytest.raises(FileError, match=r"release\.json: not a regular file"), store.hold(one):
            pass
        with pytest.raises(FileError, match=r"release\.json: not a regular file"):
            store.find_current()
        assert store.list_releases() == []
        assert [damage.name for damage in check_staged(store, one).damage] == ["release.json"]
        assert stage_text(state_dir, "one").outcome is StageOutcome.UNCHANGED
        assert check_whole(state_dir)
    else:
        pin(store, one)
        (state_dir / "pinned" / one).unlink()
        os.mkfifo(state_dir / "pinned" / one)
        with pytest.raises(FileError, match="not a regular file"):
            pin(store, one)
        assert unpin(store, one)


def test_a_record_without_an_end_is_not_read(store: ReleaseStore, state_dir: Path) -> None:
    one = stage_text(state_dir, "one").release.id
    os.truncate(store.directory(one) / "release.json", 1 << 40)
    with pytest.raises(FileError, match=r"release\.json: is larger than \d+ bytes"), store.hold(one):
        pass


def test_a_command_waits_for_the_store_with_a_bound_and_says_for_whom(
    store: ReleaseStore, state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage_text(state_dir, "one")
    monkeypatch.setattr(store_module, "LOCK_SECONDS", 0.2)
    with store.lock():
        with pytest.raises(LockedError, match=rf"is in use by another process \(pid {os.getpid()}\)"):
            roll_back(store)


def test_pins(store: ReleaseStore, state_dir: Path) -> None:
    for bad in ("", "..", "../../etc", "sha256-", "current"):
        for act in (pin, unpin):
            with pytest.raises(InputError, match="is no release's id"):
                act(store, bad)
    assert not state_dir.exists()
    one = stage_text(state_dir, "one").release.id
    with pytest.raises(ReleaseGoneError, match="is not staged"):
        pin(store, "sha256-" + "0" * 32)
    pin(store, one)
    assert (state_dir / "pinned" / one).read_bytes() == b""
    assert store.list_pinned() == {one}


def test_one_staging_at_a_time_and_nobody_waits_for_it(store: ReleaseStore, state_dir: Path) -> None:
    one, two = (stage_text(state_dir, text).release.id for text in ("one", "two"))
    with store.lock_staging() as directory:
        (directory / "tree").mkdir()
        with pytest.raises(LockedError, match="in use by another process"):
            stage_text(state_dir, "three")
        roll_back(store)
        prune(store, keep=0)
        pin(store, one)
        assert (directory / "tree").is_dir()
    assert links(store) == (one, two)


def test_staging_again_repairs(store: ReleaseStore, state_dir: Path) -> None:
    release = stage_text(state_dir, "one").release
    directory = store.directory(release.id)
    (directory / "kernel").write_bytes(b"bad")
    (directory / "initrd").unlink()
    (directory / "netboot.ipxe").unlink()
    (directory / "netboot.ipxe").mkdir()
    (directory / "extra").write_bytes(b"not ours")
    damage = check_staged(store, release.id).damage
    assert {(each.name, each.fault.partition(":")[0]) for each in damage} == {
        ("kernel", f"has 3 bytes; {release.files['kernel'].size} were staged"),
        ("initrd", "cannot be opened"),
        ("netboot.ipxe", "is not a file"),
        ("extra", "is not in the release's record"),
    }
    assert stage_text(state_dir, "one").outcome is StageOutcome.UNCHANGED
    (directory / "extra").unlink()
    assert check_whole(state_dir)


def test_a_file_that_is_not_of_the_release_is_in_nobodys_way(store: ReleaseStore, state_dir: Path) -> None:
    one, two = (stage_text(state_dir, text).release.id for text in ("one", "two"))
    (store.directory(one) / "notes.txt").write_text("an operator's")
    assert [damage.name for damage in check_staged(store, one).damage] == ["notes.txt"]
    assert roll_back(store).current.id == one
    assert links(store) == (one, two)


@pytest.mark.parametrize("name", ["kernel", "netboot.ipxe"])
def test_damage_of_every_kind_is_found(name: str, store: ReleaseStore, state_dir: Path) -> None:
    release = stage_text(state_dir, "one").release
    path = store.directory(release.id) / name
    whole = path.read_bytes()
    path.write_bytes(whole[:-1] + b"?")
    assert find_damage(release, path.parent)[0].fault == "its content is not what was staged"
    path.unlink()
    path.mkdir()
    assert "is not a file" in find_damage(release, path.parent)[0].fault
    path.rmdir()
    path.symlink_to("/etc/passwd")
    assert "cannot be opened" in find_damage(release, path.parent)[0].fault
    path.unlink()
    os.mkfifo(path)
    assert find_damage(release, path.parent)[0].fault == "is not a file"


def test_a_damaged_record(store: ReleaseStore, state_dir: Path) -> None:
    one = stage_text(state_dir, "one").release.id
    (store.directory(one) / "release.json").write_text("{}")
    with pytest.raises(EcError, match=r"release\.json: format"):
        store.find_current()
    assert store.list_releases() == []
    (damage,) = check_staged(store, one).damage
    assert damage.name == "release.json"
    assert "release.json: format" in damage.fault
    assert stage_text(state_dir, "one").release.id == one
    assert check_whole(state_dir)


@pytest.mark.parametrize("target", ["/etc", "releases/../../etc", "releases/sha256-0", "nowhere"])
def test_a_link_that_is_not_ours(target: str, store: ReleaseStore, state_dir: Path) -> None:
    stage_text(state_dir, "one")
    (state_dir / "current").unlink()
    (state_dir / "current").symlink_to(target)
    with pytest.raises(StoreError, match="which is no release"):
        store.find_current()


def test_a_release_that_somebody_removed(store: ReleaseStore, state_dir: Path) -> None:
    one = stage_text(state_dir, "one").release.id
    shutil.rmtree(store.directory(one))
    with pytest.raises(StoreError, match="is not there"):
        store.find_current()
    two = stage_text(state_dir, "two").release.id
    assert links(store) == (two, None)


def test_what_a_kill_left_is_cleared(store: ReleaseStore, state_dir: Path) -> None:
    stage_text(state_dir, "one")
    (state_dir / ".staging" / "tree" / "a").mkdir(parents=True)
    (state_dir / ".staging" / "tree" / "a" / "kernel").write_bytes(b"half")
    (state_dir / ".changing" / "swap.new").mkdir()
    (state_dir / ".changing" / "swap.new" / "current").symlink_to("releases/none")
    stage_text(state_dir, "two")
    assert os.listdir(state_dir / ".staging") == os.listdir(state_dir / ".changing") == []
    assert check_whole(state_dir)


@pytest.mark.parametrize("done", [0, 1])
def test_a_swap_that_was_decided_is_carried_out(done: int, store: ReleaseStore, state_dir: Path) -> None:
    one, two = (stage_text(state_dir, text).release.id for text in ("one", "two"))
    decided = state_dir / ".changing" / "swap"
    decided.mkdir()
    (decided / "previous").symlink_to(f"releases/{two}")
    (decided / "current").symlink_to(f"releases/{one}")
    if done:
        (decided / "previous").rename(state_dir / "previous")
        assert links(store) == (two, two)
    prune(store, keep=3)
    assert links(store) == (one, two)


@pytest.mark.parametrize("call", ["sync_directory", "sync_file_system"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS])
def test_a_disk_that_fails_at_the_end(
    number: int, call: str, store: ReleaseStore, state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """fsync(2) and syncfs(2) are where a network file system says that it is full."""
    stage_text(state_dir, "one")
    before = snapshot(state_dir)

    def fail(_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(extract_module, call, fail)
    if call == "sync_file_system":
        monkeypatch.setattr(extract_module, "SYNC_EACH", 2)
    with pytest.raises(StoreError, match=os.strerror(number)):
        stage_text(state_dir, "two")
    assert snapshot(state_dir) == before


def test_many_files_are_synced_at_once_and_before_they_are_published(
    store: ReleaseStore, state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[object] = []

    def sync(descriptor: int) -> None:
        tree = state_dir / ".staging" / "tree"
        assert os.path.samestat(os.fstat(descriptor), tree.stat())
        # All is written by now, and nothing of it in its place.
        assert len([path for path in (tree / "extra").iterdir() if path.read_bytes() == b"x"]) == 1000
        assert store.list_ids() == []
        sync_file_system(descriptor)
        synced.append(tree)

    fsynced: list[int] = []
    fsync = os.fsync
    monkeypatch.setattr(extract_module, "sync_file_system", sync)
    monkeypatch.setattr(os, "fsync", lambda descriptor: (fsynced.append(descriptor), fsync(descriptor)))
    files = {**release_files(), **{f"extra/{number}": b"x" for number in range(1000)}}
    stage(build_settings(state_dir, release_tarball=str(write_archive(state_dir.parent, files))))
    assert len(synced) == 1
    assert len(fsynced) < extract_module.SYNC_EACH + 20
    assert check_whole(state_dir)


def test_a_state_directory_that_cannot_be(tmp_path: Path) -> None:
    archive = write_archive(tmp_path, release_files())
    with pytest.raises(StoreError, match="Not a directory"):
        stage(build_settings(archive / "state", release_tarball=str(archive)))
