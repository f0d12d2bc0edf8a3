"""``ectools netboot rollback``: there, back, and where there is no way back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from support.staged import make_release, put_release

from ectools.cli.netboot.rollback import COMMAND
from ectools.netboot.release.store import ReleaseStore

if TYPE_CHECKING:
    from conftest import Program

    from ectools.netboot.release.manifest import Release


def put(state: Path, text: str) -> Release:
    files = {"kernel": text.encode(), "initrd": b"initrd"}
    release = make_release(files)
    put_release(state, release, files)
    return release


def test_there_and_back(program: Program, tmp_path: Path, owners: list[Path]) -> None:
    one, two = put(tmp_path, "one"), put(tmp_path, "two")
    (tmp_path / "previous").symlink_to(f"releases/{one.id}")
    store = ReleaseStore(tmp_path)
    assert program(COMMAND, "--state-dir", tmp_path) == (
        0,
        f"{one.title}: current now, in place of {two.id}\n",
        "",
    )
    assert (store.find_link_id("current"), store.list_withdrawn()) == (one.id, {two.id})
    status, out, _ = program(COMMAND, "--state-dir", tmp_path, "--json")
    assert (status, json.loads(out)) == (0, {"current": two.id, "previous": one.id})
    assert (store.find_link_id("current"), store.list_withdrawn()) == (two.id, frozenset())
    assert owners == [tmp_path, tmp_path]


def test_without_a_previous_release(program: Program, tmp_path: Path, owners: list[Path]) -> None:
    one = put(tmp_path, "one")
    status, out, err = program(COMMAND, "--state-dir", tmp_path, "--json")
    assert (status, out) == (1, "")
    assert f"{tmp_path}: there is no previous release to go back to" in err
    assert "`ectools netboot releases list` shows what is staged" in err
    assert ReleaseStore(tmp_path).find_link_id("current") == one.id
    assert owners == [tmp_path]
