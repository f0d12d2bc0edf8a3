"""Content of binary caches that staged releases have in common: one file, and never a damaged one."""

from __future__ import annotations

import os
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.staged import make_release, put_release

from ectools.netboot.release.share import share_cache
from ectools.netboot.release.store import ReleaseStore

if TYPE_CHECKING:
    from pathlib import Path

    from ectools.netboot.release.manifest import Release

BOOT = {"kernel": b"k", "initrd": b"i", "netboot.ipxe": b"#!ipxe\nkernel kernel\ninitrd initrd\nboot\n"}


def put(state: Path, cache: dict[str, bytes]) -> Release:
    """A staged release whose cache has these contents."""
    files = _name(cache)
    release = make_release(files)
    if ReleaseStore(state).find_link_id("current") is not None:
        (state / "current").unlink()
    put_release(state, release, files)
    return release


def unpack(tree: Path, files: dict[str, bytes]) -> Release:
    for name, data in files.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return make_release(files)


def count_links(directory: Path) -> dict[str, int]:
    return {
        path.relative_to(directory).as_posix(): path.stat().st_nlink
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def test_what_is_the_same_is_one_file_and_boot_files_are_not(tmp_path: Path) -> None:
    put(tmp_path, {"a": b"shared", "b": b"only there"})
    files = {**BOOT, "cache/nar/c": b"shared", "cache/nar/d": b"new", "cache/a.narinfo": b"shared"}
    tree = tmp_path / "tree"
    release = unpack(tree, files)
    assert share_cache(ReleaseStore(tmp_path), release, tree) == len(b"shared")
    links = count_links(tree)
    assert {name for name, count in links.items() if count > 1} == {"cache/nar/c"}
    assert {name: (tree / name).read_bytes() for name in links} == files


@pytest.mark.parametrize("damage", ["other content", "gone", "a link", "a fifo"])
def test_a_damaged_file_is_not_shared(tmp_path: Path, damage: str) -> None:
    staged = put(tmp_path, {"a": b"shared"})
    path = ReleaseStore(tmp_path).directory(staged.id) / "cache" / "nar" / "a"
    if damage == "other content":
        path.write_bytes(b"shAred")
    else:
        path.unlink()
    if damage == "a link":
        path.symlink_to(tmp_path / "elsewhere")
        (tmp_path / "elsewhere").write_bytes(b"shared")
    if damage == "a fifo":
        os.mkfifo(path)
    tree = tmp_path / "tree"
    release = unpack(tree, {**BOOT, "cache/nar/a": b"shared"})
    assert share_cache(ReleaseStore(tmp_path), release, tree) == 0
    assert (tree / "cache" / "nar" / "a").read_bytes() == b"shared"
    assert set(count_links(tree).values()) == {1}


CONTENTS = st.dictionaries(st.sampled_from("abcd"), st.binary(max_size=3), max_size=4)


@given(staged=st.lists(CONTENTS, max_size=3), mine=CONTENTS)
def test_sharing_changes_no_content(
    tmp_path_factory: pytest.TempPathFactory, staged: list[dict[str, bytes]], mine: dict[str, bytes]
) -> None:
    state = tmp_path_factory.mktemp("state")
    for each in staged:
        if not (ReleaseStore(state).directory(make_release(_name(each)).id)).exists():
            put(state, each)
    files = _name(mine)
    release = unpack(state / "tree", files)
    shared = share_cache(ReleaseStore(state), release, state / "tree")
    there = {sha256(data).digest() for each in staged for data in each.values()}
    assert shared == sum(len(data) for data in mine.values() if sha256(data).digest() in there)
    assert {name: (state / "tree" / name).read_bytes() for name in files} == files


def _name(cache: dict[str, bytes]) -> dict[str, bytes]:
    return {**BOOT, **{f"cache/nar/{name}": data for name, data in cache.items()}}
