"""A depot in a directory: what a publisher who was killed leaves, and what is there already."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.depots import build_publication, open_at

from ectools.netboot.depot.directory import DirectoryDepot
from ectools.netboot.depot.interface import DepotError, TakenError

if TYPE_CHECKING:
    from pathlib import Path


def test_what_a_killed_publisher_left_is_removed(tmp_path: Path) -> None:
    left = tmp_path / "releases/.publishing-dead"
    left.mkdir(parents=True)
    (left / "SHA256SUMS.txt").write_text("x")
    depot = open_at(str(tmp_path))
    assert isinstance(depot, DirectoryDepot)
    assert depot.publish(build_publication(tmp_path / "one"))
    assert [path.name for path in (tmp_path / "releases").iterdir()] == ["boot-v1"]
    assert (tmp_path / "releases/boot-v1").stat().st_mode & 0o777 == 0o755


def test_a_directory_that_is_not_a_release_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "releases").mkdir()
    (tmp_path / "releases/boot-v1").write_text("mine")
    with pytest.raises(TakenError):
        open_at(str(tmp_path)).publish(build_publication(tmp_path / "one"))
    assert (tmp_path / "releases/boot-v1").read_text() == "mine"


def test_a_file_that_changes_meanwhile_is_not_published(tmp_path: Path) -> None:
    wanted = build_publication(tmp_path / "one")
    wanted.files[1].path.write_text("another")
    with pytest.raises(DepotError, match="was changed while it was published"):
        open_at(str(tmp_path / "depot")).publish(wanted)
    assert list((tmp_path / "depot/releases").iterdir()) == []


def test_where_nobody_may_write(tmp_path: Path) -> None:
    (tmp_path / "depot").write_text("a file")
    with pytest.raises(DepotError, match="depot"):
        open_at(str(tmp_path / "depot")).publish(build_publication(tmp_path / "one"))
