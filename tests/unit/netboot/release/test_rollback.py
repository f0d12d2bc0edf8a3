"""The way back: to a whole release alone, and withdrawn before the links have changed."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.staged import make_release, put_release

from ectools.netboot.release import rollback as rollback_module
from ectools.netboot.release.manifest import Release
from ectools.netboot.release.rollback import RollbackError, RolledBack, roll_back
from ectools.netboot.release.store import ReleaseStore


@pytest.fixture
def store(tmp_path: Path) -> ReleaseStore:
    return ReleaseStore(tmp_path)


def put(store: ReleaseStore, text: str) -> Release:
    """A release that is current; what was current is previous."""
    files = {"kernel": text.encode(), "initrd": b"initrd"}
    current, previous = store.state_dir / "current", store.state_dir / "previous"
    if current.is_symlink():
        previous.unlink(missing_ok=True)
        current.rename(previous)
    release = make_release(files)
    put_release(store.state_dir, release, files)
    return release


def links(store: ReleaseStore) -> tuple[str | None, str | None]:
    return store.find_link_id("current"), store.find_link_id("previous")


def test_there_and_back(store: ReleaseStore) -> None:
    one, two = put(store, "one"), put(store, "two")
    assert roll_back(store) == RolledBack(current=one, previous=two.id)
    assert (links(store), store.list_withdrawn()) == ((one.id, two.id), {two.id})
    assert roll_back(store) == RolledBack(current=two, previous=one.id)
    # Going forth takes the withdrawal back, and withdraws nothing.
    assert (links(store), store.list_withdrawn()) == ((two.id, one.id), frozenset())


@pytest.mark.parametrize("linked", ["nothing", "current alone", "previous alone", "both to one"])
def test_where_there_is_nothing_to_go_back_to(linked: str, store: ReleaseStore) -> None:
    one = put(store, "one")
    if linked in ("previous alone", "both to one"):
        (store.state_dir / "previous").symlink_to(f"releases/{one.id}")
    if linked in ("nothing", "previous alone"):
        (store.state_dir / "current").unlink()
    before = links(store)
    with pytest.raises(RollbackError) as caught:
        roll_back(store)
    assert caught.value.message == f"{store.state_dir}: there is no previous release to go back to"
    assert caught.value.hint == "`ectools netboot releases list` shows what is staged"
    assert (links(store), store.list_withdrawn()) == (before, frozenset())


def test_all_that_is_damaged_is_told(store: ReleaseStore) -> None:
    one, two = put(store, "one"), put(store, "two")
    (store.directory(one.id) / "kernel").write_bytes(b"x")
    (store.directory(one.id) / "initrd").unlink()
    with pytest.raises(RollbackError) as caught:
        roll_back(store)
    assert caught.value.message == (
        f"the previous release, {one.title}, is damaged: initrd cannot be opened: No such file or directory; "
        "kernel has 1 bytes; 3 were staged"
    )
    assert caught.value.hint == "stage it again"
    assert (links(store), store.list_withdrawn()) == ((two.id, one.id), frozenset())


def test_a_crash_in_between_cannot_let_the_next_staging_undo_it(
    store: ReleaseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is withdrawn before the links change; and on the way forth it stays so until they have."""
    one, two = put(store, "one"), put(store, "two")
    seen: list[tuple[str, frozenset[str]]] = []
    activate = rollback_module.activate

    def watch(store: ReleaseStore, *, current: str, previous: str | None) -> None:
        seen.append((current, store.list_withdrawn()))
        activate(store, current=current, previous=previous)

    monkeypatch.setattr(rollback_module, "activate", watch)
    roll_back(store)
    roll_back(store)
    assert seen == [(one.id, frozenset({two.id})), (two.id, frozenset({two.id}))]


def test_what_was_decided_before_is_carried_out_first(store: ReleaseStore) -> None:
    one, two = put(store, "one"), put(store, "two")
    decided = store.changing_dir / "swap"
    decided.mkdir(parents=True)
    (decided / "previous").symlink_to(f"releases/{two.id}")
    (decided / "current").symlink_to(f"releases/{one.id}")
    assert roll_back(store).current == two
    assert links(store) == (two.id, one.id)
