"""Which releases stay, in which order they are counted, and what is said of those that go."""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from support.staged import make_release, put_release

from ectools.netboot.release import pins
from ectools.netboot.release import prune as prune_module
from ectools.netboot.release.age import find_time, note_time
from ectools.netboot.release.pins import keep_led, mark, pin, reinstate, set_led, withdraw
from ectools.netboot.release.prune import Pruned, Retention, prune, prune_locked
from ectools.netboot.release.store import ReleaseGoneError, ReleaseStore, StoreError

if TYPE_CHECKING:
    from pathlib import Path

    from ectools.netboot.release.manifest import Release


OTHER = "sha256-" + "0" * 32


@pytest.fixture
def store(tmp_path: Path) -> ReleaseStore:
    return ReleaseStore(tmp_path)


def put(store: ReleaseStore, name: str, *, staged_at: int) -> Release:
    files = {"kernel": name.encode()}
    release = replace(make_release(files), tag=name, staged_at=staged_at)
    put_release(store.state_dir, release, files)
    (store.state_dir / "current").unlink()
    return release


def retentions(pruned: list[Pruned]) -> dict[str | None, str]:
    return {each.release.tag: str(each.retention) for each in pruned}


def test_what_is_needed_and_as_many_of_the_newest_others(store: ReleaseStore) -> None:
    releases = {name: put(store, name, staged_at=number) for number, name in enumerate("abcdefg")}
    (store.state_dir / "current").symlink_to(f"releases/{releases['b'].id}")
    (store.state_dir / "previous").symlink_to(f"releases/{releases['f'].id}")
    for name in "abf":
        pin(store, releases[name].id)
    expected = {
        "g": "recent",
        "f": "previous",
        "e": "recent",
        "d": "removed",
        "c": "removed",
        "b": "current",
        "a": "pinned",
    }
    dry = prune(store, keep=2, dry_run=True)
    assert retentions(dry) == expected
    assert [each.release.tag for each in dry] == list("gfedcba")
    assert len(store.list_ids()) == 7
    assert retentions(prune(store, keep=2)) == expected
    assert set(store.list_ids()) == {releases[name].id for name in "abefg"}
    assert os.listdir(store.changing_dir) == []
    assert retentions(prune(store, keep=0))["g"] == "removed"


def test_what_rollouts_need_stays_for_as_long_as_they_do(store: ReleaseStore) -> None:
    releases = {name: put(store, name, staged_at=number) for number, name in enumerate("abcd")}
    assert keep_led(store, releases["a"].id) == releases["a"]
    set_led(store, {releases["a"].id, releases["b"].id, OTHER})
    pin(store, releases["b"].id)
    assert retentions(prune(store, keep=0)) == {
        "d": "removed",
        "c": "removed",
        "b": "pinned",
        "a": "rollout",
    }
    assert store.list_led() == {releases["a"].id, releases["b"].id, OTHER}
    with pytest.raises(ReleaseGoneError, match="is not there"):
        keep_led(store, releases["c"].id)
    set_led(store, ())
    assert retentions(prune(store, keep=0)) == {"b": "pinned", "a": "removed"}


def test_what_has_become_a_rollouts_meanwhile_stays(
    store: ReleaseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A boot server takes no lock of the store: it holds the release, and marks it."""
    old = put(store, "old", staged_at=1)
    newest = put(store, "new", staged_at=2)
    list_releases = store.list_releases

    def list_late() -> list[Release]:
        """What is needed was looked at by now."""
        keep_led(store, old.id)
        return list_releases()

    monkeypatch.setattr(store, "list_releases", list_late)
    assert retentions(prune(store, keep=1)) == {"new": "recent", "old": "rollout"}
    assert set(store.list_ids()) == {old.id, newest.id}


def test_a_directory_that_cannot_be_written_is_told(store: ReleaseStore) -> None:
    old = put(store, "old", staged_at=1)
    (store.state_dir / "fleet").write_text("no directory")
    for work in (keep_led, withdraw):
        with pytest.raises(StoreError, match="fleet"):
            work(store, old.id)


def test_one_that_a_rollout_has_withdrawn_is_taken_back_as_any(store: ReleaseStore) -> None:
    withdraw(store, OTHER)
    assert store.list_withdrawn() == {OTHER}
    mark(store.withdrawn_dir, OTHER)
    reinstate(store, OTHER)
    assert store.list_withdrawn() == frozenset()


def test_of_two_that_were_staged_at_once_the_first_by_id_stays(store: ReleaseStore) -> None:
    ids = sorted(put(store, name, staged_at=5).id for name in "abcd")
    assert [release.id for release in store.list_releases()] == ids
    prune(store, keep=2)
    assert store.list_ids() == ids[:2]


def test_what_goes_is_told_and_what_was_known_of_it_goes_too(
    store: ReleaseStore, caplog: pytest.LogCaptureFixture
) -> None:
    old = put(store, "old", staged_at=1)
    note_time(store, old.id, 77)
    caplog.set_level("INFO", logger="ectools")
    prune(store, keep=0)
    (record,) = caplog.records
    assert (record.getMessage(), record.levelname) == ("an old release was removed", "INFO")
    assert record.__dict__["fields"] == {"release": f"old ({old.id})"}
    assert find_time(store, old.id) is None


def test_what_was_known_of_one_goes_also_where_its_removal_was_cut_off(store: ReleaseStore) -> None:
    new = put(store, "new", staged_at=1)
    for release_id in (new.id, OTHER):  # which a program that was killed has removed by half
        note_time(store, release_id, 77)
    prune(store, keep=1, dry_run=True)
    assert store.list_timed() == {new.id, OTHER}
    prune(store, keep=1)
    assert store.list_timed() == {new.id}


def name_id(number: int) -> str:
    return f"sha256-{number:032x}"


def test_of_withdrawn_releases_that_are_gone_the_newest_are_remembered(
    store: ReleaseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pins, "MAX_GONE_MARKS", 3)
    staged = put(store, "staged", staged_at=1)
    named = [name_id(number) for number in range(4)]
    gone = [name_id(number) for number in range(10, 16)]
    (store.state_dir / "previous").symlink_to(f"releases/{named[0]}")
    mark(store.pinned_dir, named[1])
    set_led(store, {named[2]})
    store.channels_dir.mkdir()
    known = {"counter": 1, "tag": "v1", "sums": "0" * 64, "release": named[3]}
    (store.channels_dir / "stable").write_text(json.dumps(known))
    for directory in (store.withdrawn_dir, store.stopped_dir):
        # What is staged or named was marked before all others.
        for number, release_id in enumerate([staged.id, *named, *gone]):
            mark(directory, release_id)
            os.utime(directory / release_id, (number, number))
        (directory / "README").write_text("not ours")
    mark(store.withdrawn_dir, gone[0])  # somebody has gone back from it once more
    prune(store, keep=1, dry_run=True)
    assert len(os.listdir(store.withdrawn_dir)) == 12
    prune(store, keep=1)
    stay = {staged.id, *named, "README"}
    assert set(os.listdir(store.stopped_dir)) == {*stay, *gone[3:]}
    assert set(os.listdir(store.withdrawn_dir)) == {*stay, gone[0], *gone[4:]}
    assert store.list_withdrawn() == {*stay - {"README"}, gone[0], *gone[3:]}


def test_one_that_is_served_stays_until_it_is_not(
    store: ReleaseStore, caplog: pytest.LogCaptureFixture
) -> None:
    old = put(store, "old", staged_at=1)
    caplog.set_level("INFO", logger="ectools")
    with store.hold(old.id):
        assert retentions(prune(store, keep=0, dry_run=True)) == {"old": "removed"}
        assert retentions(prune(store, keep=0)) == {"old": "held"}
        assert store.find(old.id) == old
    assert caplog.messages == []
    assert retentions(prune(store, keep=0)) == {"old": "removed"}


def test_whoever_waits_for_the_lock_finds_no_record(
    store: ReleaseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = put(store, "old", staged_at=1)
    record = store.directory(old.id) / "release.json"
    removed: list[str] = []

    def remove(directory: Path) -> None:
        # Its lock is held still, and it has no name any more.
        assert sorted(os.listdir(directory)) == ["kernel"]
        assert not record.exists()
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
        removed.append(directory.name)

    # Only here: what removes the test's own directory uses the same function.
    with monkeypatch.context() as patch, record.open("rb") as other:
        patch.setattr(prune_module.shutil, "rmtree", remove)
        list(prune_locked_of(store))
    assert removed == [f"collected-{old.id}"]


def prune_locked_of(store: ReleaseStore) -> list[Pruned]:
    store.changing_dir.mkdir()
    return list(prune_locked(store, keep=0))


def test_a_release_that_somebody_removes_meanwhile_is_told(
    store: ReleaseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = put(store, "old", staged_at=1)
    monkeypatch.setattr(store, "list_releases", lambda: [old])
    (store.directory(old.id) / "release.json").unlink()
    with pytest.raises(StoreError, match=r"release\.json: was removed meanwhile, without the store's lock$"):
        prune(store, keep=0)


def test_words_for_people() -> None:
    assert {str(each) for each in Retention} == {
        "current",
        "previous",
        "pinned",
        "rollout",
        "channel",
        "recent",
        "held",
        "removed",
    }
