"""A forge as a depot: what is not finished, and what a forge does not keep."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.depots import build_publication, open_at, start_forge_api

from ectools.fetch.client import FetchError
from ectools.netboot.depot.forge_depot import BRANCH, ForgeDepot
from ectools.netboot.depot.interface import DepotError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_draft_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    with start_forge_api() as forge:
        forge.releases[1] = {"id": 1, "tag_name": "boot-v1", "draft": True, "assets": []}
        depot = open_at(forge.address, token=forge.token)
        assert isinstance(depot, ForgeDepot)
        with pytest.raises(DepotError, match="unfinished release boot-v1") as caught:
            depot.publish(build_publication(tmp_path / "one"))
        assert "delete that draft" in str(caught.value.hint)
        assert forge.releases[1]["assets"] == []


def test_a_draft_that_was_whole_is_finished_and_no_release_before(tmp_path: Path) -> None:
    wanted = build_publication(tmp_path / "one")
    with start_forge_api() as forge:
        forge.failing = {"PATCH"}
        with pytest.raises(FetchError, match="status 400"):
            open_at(forge.address, token=forge.token).publish(wanted)
        [release] = forge.releases.values()
        assert release["draft"] is True
        forge.is_old = True
        for token in (None, forge.token):
            with pytest.raises(FetchError, match="is a draft") as caught:
                open_at(forge.address, token=token).read_file("boot-v1", "release.json", limit=1 << 20)
            assert caught.value.status == 404
        forge.failing = set()
        with pytest.raises(DepotError, match="unfinished release boot-v1"):
            open_at(forge.address, token=forge.token).publish(build_publication(tmp_path / "two", text="two"))
        assert open_at(forge.address, token=forge.token).publish(wanted) is True
        assert release["draft"] is False
        assert open_at(forge.address, token=forge.token).publish(wanted) is False


def test_a_draft_that_could_not_be_removed_is_no_release_of_somebody_else(tmp_path: Path) -> None:
    wanted = build_publication(tmp_path / "one")
    with start_forge_api() as forge:
        forge.broken, forge.failing = {"archive-1.tar.gz"}, {"DELETE"}
        with pytest.raises(FetchError):
            open_at(forge.address, token=forge.token).publish(wanted)
        with pytest.raises(DepotError, match="unfinished release boot-v1"):
            open_at(forge.address, token=forge.token).publish(wanted)


def test_what_the_forge_does_not_keep_is_no_release(tmp_path: Path) -> None:
    with start_forge_api() as forge:
        forge.broken = {"archive-1.tar.gz"}
        with pytest.raises(DepotError, match=r"has not kept archive-1\.tar\.gz"):
            open_at(forge.address, token=forge.token).publish(build_publication(tmp_path / "one"))
        assert forge.releases == {}
        forge.broken, forge.doubled = set(), {"archive-1.tar.gz"}
        assert open_at(forge.address, token=forge.token).publish(build_publication(tmp_path / "one"))
        [release] = forge.releases.values()
        assert [each["name"] for each in release["assets"]].count("archive-1.tar.gz") == 1


def test_who_has_no_right_is_told(tmp_path: Path) -> None:
    with start_forge_api() as forge:
        with pytest.raises(FetchError, match="status 401") as caught:
            open_at(forge.address, token="another").publish(build_publication(tmp_path / "one"))
        assert "another" not in caught.value.render()
        with pytest.raises(FetchError, match="without a token"):
            open_at(forge.address).write_channel("stable", b"1", version=None)


def test_channels_have_a_branch_of_their_own() -> None:
    with start_forge_api() as forge:
        open_at(forge.address, token=forge.token).write_channel("stable", b"1", version=None)
        assert forge.branches == {BRANCH}
        assert forge.files == {"channels/stable.json": b"1"}
