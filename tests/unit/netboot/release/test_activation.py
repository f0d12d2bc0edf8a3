"""The two links change together, whenever somebody pulls the plug."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ectools.netboot.release import activation
from ectools.netboot.release.activation import activate, recover
from ectools.netboot.release.store import ReleaseStore

ONE, TWO, THREE = ("sha256-" + digit * 32 for digit in "123")


@pytest.fixture
def store(tmp_path: Path) -> ReleaseStore:
    """A store where TWO is current and ONE is previous."""
    made = ReleaseStore(tmp_path)
    made.changing_dir.mkdir()
    activate(made, current=TWO, previous=ONE)
    return made


def links(store: ReleaseStore) -> tuple[str | None, str | None]:
    return store.find_link_id("current"), store.find_link_id("previous")


def test_both_links_lead_to_releases_by_relative_paths(store: ReleaseStore) -> None:
    assert links(store) == (TWO, ONE)
    assert os.readlink(store.state_dir / "current") == f"releases/{TWO}"
    assert os.listdir(store.changing_dir) == []


def test_without_a_previous_one_that_link_stays(store: ReleaseStore) -> None:
    activate(store, current=THREE, previous=None)
    assert links(store) == (THREE, ONE)


class PlugPulledError(Exception):
    """Nothing after this happens."""


@pytest.mark.parametrize("last", range(7))
def test_a_crash_between_any_two_steps_leaves_the_old_or_the_new(
    last: int, store: ReleaseStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []

    def step(name: str) -> None:
        if len(steps) == last:
            raise PlugPulledError
        steps.append(name)

    def rename(path: Path, target: Path) -> None:
        step(f"{path.name} → {Path(target).relative_to(store.state_dir)}")
        os.rename(path, target)

    def sync(directory: Path) -> None:
        step(f"sync {directory.relative_to(store.state_dir)}")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", rename)
        patched.setattr(activation, "sync_directory", sync)
        with pytest.raises(PlugPulledError):
            activate(store, current=THREE, previous=TWO)
    assert (
        steps
        == [
            "sync .changing/swap.new",
            "swap.new → .changing/swap",
            "sync .changing",
            "previous → previous",
            "sync .",
            "current → current",
            "sync .",
        ][:last]
    )
    # Whatever happened, what is current is whole: the old one, or the new one.
    assert store.find_link_id("current") == (TWO if last < 6 else THREE)
    recover(store)
    assert links(store) == ((TWO, ONE) if last < 2 else (THREE, TWO))
    assert os.listdir(store.changing_dir) == []
    recover(store)
    activate(store, current=ONE, previous=THREE)
    assert links(store) == (ONE, THREE)


def test_all_that_is_half_done_is_removed(store: ReleaseStore) -> None:
    (store.changing_dir / "directory" / "below").mkdir(parents=True)
    (store.changing_dir / "file").touch()
    (store.changing_dir / "link").symlink_to(store.state_dir)
    recover(store)
    assert os.listdir(store.changing_dir) == []
    assert links(store) == (TWO, ONE)
