"""Which of a release's installed systems is meant, and what is said where that is none or several."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.staged import make_release

from ectools.netboot.release.installed_systems import (
    NoInstalledSystemError,
    choose_root,
    find_cache,
    find_root,
    find_update,
    read_roots,
)

HASHES = [letter * 32 for letter in "abc"]
RUNNER, BIG, FORGE = (
    f"/nix/store/{hash_}-nixos-system-{name}"
    for hash_, name in zip(HASHES, ("ec-runner-26.05.1", "ec-runner-big-26.05.1", "forge-26.05"), strict=True)
)
ROOTS = [RUNNER, BIG, FORGE]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ("ec-runner", RUNNER),
        ("ec-runner-big", BIG),
        ("nixos-system-forge-26.05", FORGE),
        (FORGE, FORGE),
    ],
)
def test_a_system_by_its_name(wanted: str, found: str) -> None:
    assert choose_root(ROOTS, wanted, title="v1") == found
    assert choose_root([found], None, title="v1") == found


@pytest.mark.parametrize(
    ("roots", "wanted", "told"),
    [
        (ROOTS, None, "v1 has 3 systems to install"),
        (ROOTS, "ec", "v1 has no system ec"),
        ([], None, "v1 has no system to install"),
        ([RUNNER, RUNNER.replace("a" * 32, "d" * 32)], "ec-runner", "v1 has 2 systems to install"),
    ],
)
def test_none_or_several(roots: list[str], wanted: str | None, told: str) -> None:
    with pytest.raises(NoInstalledSystemError, match=told) as raised:
        choose_root(roots, wanted, title="v1")
    assert raised.value.hint is not None


def test_a_cache_in_a_release(tmp_path: Path) -> None:
    content = f"{RUNNER}\nnonsense\n{RUNNER}/../x\n".encode()
    files = {"bzImage": b"k", "initrd": b"i", "cache/roots.txt": content}
    release = make_release(files)
    (system,) = release.systems
    assert find_cache(release, system) == "cache"
    with pytest.raises(NoInstalledSystemError, match=r"roots\.txt"):
        find_root(tmp_path, release, system, None)
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache/roots.txt").write_bytes(content)
    assert read_roots(tmp_path, "cache") == [RUNNER]
    assert find_root(tmp_path, release, system, "ec-runner") == RUNNER
    without = make_release({"bzImage": b"k", "initrd": b"i"})
    with pytest.raises(NoInstalledSystemError, match="no system"):
        find_root(tmp_path, without, without.systems[0], None)


def test_what_a_node_on_a_disk_goes_on_to(tmp_path: Path) -> None:
    one = {"bzImage": b"k", "initrd": b"i", "cache/roots.txt": f"{RUNNER}\n".encode()}
    directory, release = tmp_path, make_release(one)
    (directory / "cache").mkdir()
    (directory / "cache/roots.txt").write_bytes(one["cache/roots.txt"])
    # Of the only system that has a cache, whatever the node was installed by.
    for system in (release.systems[0].name, "another"):
        assert find_update(directory, release, system, None) == (RUNNER, "cache")
    with pytest.raises(NoInstalledSystemError, match="has no system forge"):
        find_update(directory, release, "s", "forge")
    bare = make_release({"bzImage": b"k", "initrd": b"i"})
    with pytest.raises(NoInstalledSystemError, match="has no system to install"):
        find_update(directory, bare, "s", None)
