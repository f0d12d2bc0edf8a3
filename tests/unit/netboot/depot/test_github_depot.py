"""GitHub as a depot, and as a source: its uploads' host, drafts of one tag, and private files."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest
from support.depots import at_once, build_publication, open_at
from support.github import GitHubApi, start_github_api
from support.promoted import Promoted

from ectools.fetch.client import FetchError
from ectools.netboot.depot.forge_depot import BRANCH
from ectools.netboot.depot.github_depot import GitHubDepot
from ectools.netboot.depot.interface import DepotError, MovedError, TakenError
from ectools.netboot.release.forge_token import FORGE_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def forge() -> Iterator[GitHubApi]:
    with start_github_api() as started:
        yield started


def reopen(forge: GitHubApi, token: str | None = "github-token") -> GitHubDepot:
    depot = open_at(forge.address, token=token)
    assert isinstance(depot, GitHubDepot)
    return depot


def test_a_release_and_the_same_once_more(forge: GitHubApi, tmp_path: Path) -> None:
    wanted = build_publication(tmp_path / "one")
    assert reopen(forge).publish(wanted) is True
    assert reopen(forge).publish(wanted) is False
    with pytest.raises(TakenError):
        reopen(forge).publish(build_publication(tmp_path / "two", text="two"))
    assert len(forge.releases) == 1
    for file in wanted.files:
        found = reopen(forge).read_file("boot-v1", file.name, limit=1 << 20)
        assert found == file.path.read_bytes()
    # What reads a private file goes to the API with the token, and to where that leads without.
    assert {given for _, path, given in forge.seen if path.startswith("/storage/")} == {None}


def test_of_publishers_at_once_one_has_the_tag(forge: GitHubApi, tmp_path: Path) -> None:
    one, two = build_publication(tmp_path / "one"), build_publication(tmp_path / "two", text="two")
    results: list[object] = []
    forge.before_finish = [lambda: results.extend(at_once(partial(reopen(forge).publish, two)))]
    with pytest.raises(TakenError):
        reopen(forge).publish(one)
    assert results == [True]
    [release] = forge.releases.values()
    assert release["draft"] is False
    found = reopen(forge).read_file("boot-v1", "release.json", limit=1 << 20)
    assert found == two.files[-1].path.read_bytes()
    forge.releases.clear()
    forge.before_finish = [partial(reopen(forge).publish, one)]
    assert reopen(forge).publish(one) is False


def test_of_two_that_are_published_the_one_without_the_tag_goes(
    forge: GitHubApi, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one, two = build_publication(tmp_path / "one"), build_publication(tmp_path / "two", text="two")
    forge.lets_two = True
    forge.before_finish = [partial(reopen(forge).publish, two)]
    with pytest.raises(TakenError):
        reopen(forge).publish(one)
    [release] = forge.releases.values()
    assert release["draft"] is False
    found = reopen(forge).read_file("boot-v1", "release.json", limit=1 << 20)
    assert found == two.files[-1].path.read_bytes()
    forge.releases.clear()
    forge.before_finish = [lambda: (reopen(forge).publish(two), forge.refuses.add("DELETE"))]
    with pytest.raises(TakenError):
        reopen(forge).publish(one)
    assert len(forge.releases) == 2
    assert "cannot be removed" in caplog.text


def test_files_are_sent_to_its_own_host_alone(forge: GitHubApi, tmp_path: Path) -> None:
    forge.uploads_at = "https://uploads.example.org"
    with pytest.raises(DepotError, match="names a host for its files that is not its own"):
        reopen(forge).publish(build_publication(tmp_path / "one"))
    assert forge.releases == {}


def test_a_channel_is_a_file_of_its_branch(forge: GitHubApi) -> None:
    depot = reopen(forge)
    assert depot.read_channel("stable") is None
    depot.write_channel("stable", b"1" * 100, version=None)
    assert forge.branches == {"main": "c" * 40, BRANCH: "c" * 40}
    there = depot.read_channel("stable")
    assert there is not None
    assert there.data == b"1" * 100
    depot.write_channel("stable", b"2", version=there.version)
    with pytest.raises(MovedError):
        reopen(forge).write_channel("stable", b"3", version=there.version)
    with pytest.raises(MovedError):
        reopen(forge).write_channel("stable", b"3", version=None)
    assert forge.files == {"channels/stable.json": b"2"}


def test_who_has_no_right_is_told(forge: GitHubApi, tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="status 401") as caught:
        reopen(forge, "another").publish(build_publication(tmp_path / "one"))
    assert "another" not in caught.value.render()


@pytest.mark.parametrize("is_private", [False, True])
def test_a_boot_host_stages_and_follows(
    forge: GitHubApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_private: bool
) -> None:
    made = Promoted(home=tmp_path, place=forge.address, source=forge.address, token=forge.token)
    made.publish("boot-v1", "one")
    made.publish("boot-v2", "two")
    made.promote("boot-v1", "stable")
    forge.is_private = is_private
    if is_private:
        with pytest.raises(FetchError, match="status 404"):
            made.stage(None)
        monkeypatch.setenv(FORGE_VARIABLE, forge.token)
    forge.seen.clear()
    assert made.stage(None).release.tag == "boot-v2"
    assert any("/releases/assets/" in path for _, path, _ in forge.seen) is is_private
    assert {given for _, path, given in forge.seen if path.startswith("/storage/")} == {None}
    assert made.stage().release.tag == "boot-v1"
