"""Staged releases by their tags."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from support.staged import make_release, put_release

from ectools.netboot.release.manifest import render_manifest
from ectools.netboot.release.store import ReleaseStore
from ectools.netboot.release.tags import ReleaseTags

if TYPE_CHECKING:
    from pathlib import Path


def put(state: Path, text: str, tag: str, staged_at: int) -> str:
    files = {"bzImage": text.encode(), "initrd": b"initrd"}
    release = replace(make_release(files), tag=tag, staged_at=staged_at)
    put_release(state, release, files)
    return release.id


def test_a_release_by_its_id_and_by_its_tag(tmp_path: Path) -> None:
    tags = ReleaseTags(ReleaseStore(tmp_path))
    assert tags.find_id("boot-v1") is None
    one = put(tmp_path, "one", "boot-v1", 1)
    assert (tags.find_id(one), tags.find_id("boot-v1")) == (one, one)
    assert tags.find_id("sha256-" + "0" * 32) is None
    # Of a tag that was moved, what was staged last.
    two = put(tmp_path, "two", "boot-v1", 2)
    assert tags.find_id("boot-v1") == two


def test_a_record_that_is_written_anew_is_read_anew(tmp_path: Path) -> None:
    tags = ReleaseTags(ReleaseStore(tmp_path))
    release_id = put(tmp_path, "one", "boot-v1", 1)
    assert tags.find_id("boot-v1") == release_id
    record = tmp_path / "releases" / release_id / "release.json"
    release = ReleaseStore(tmp_path).find(release_id)
    assert release is not None
    record.with_name("new").write_bytes(render_manifest(replace(release, tag="boot-v2")))
    os.replace(record.with_name("new"), record)
    assert (tags.find_id("boot-v1"), tags.find_id("boot-v2")) == (None, release_id)


def test_a_record_that_cannot_be_read_has_no_tag(tmp_path: Path) -> None:
    tags = ReleaseTags(ReleaseStore(tmp_path))
    release_id = put(tmp_path, "one", "boot-v1", 1)
    (tmp_path / "releases" / release_id / "release.json").write_text("{")
    assert tags.find_id("boot-v1") is None
