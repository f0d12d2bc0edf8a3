"""What changes from one staged release to another: packages where they are known, and files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.releases import build_settings, release_files, write_archive

from ectools.netboot.release.difference import (
    FileChange,
    PackageChange,
    describe_difference,
    find_difference,
)
from ectools.netboot.release.stage import stage
from ectools.netboot.release.store import ReleaseStore

if TYPE_CHECKING:
    from pathlib import Path

    from ectools.netboot.release.manifest import Release


def narinfo(number: int, name: str, size: int) -> dict[str, bytes]:
    """A store path of the cache, with its content."""
    digest = f"{number:032d}"
    text = f"StorePath: /nix/store/{digest}-{name}\nURL: nar/{digest}.nar\nNarSize: {size}\nSig: x:y\n"
    return {f"cache/{digest}.narinfo": text.encode(), f"cache/nar/{digest}.nar": bytes([number]) * size}


def stage_files(tmp_path: Path, files: dict[str, bytes]) -> Release:
    return stage(
        build_settings(tmp_path / "state", release_tarball=str(write_archive(tmp_path, files)))
    ).release


_NEW = [
    (5, "glibc-2.40-36", 120),
    (6, "glibc-2.40-36-bin", 7),
    (7, "unit-script-start", 6),
    (8, "curl-8.9", 30),
]


def test_packages_and_bytes(tmp_path: Path) -> None:
    same = {**narinfo(1, "bash-5.2p37", 10), "cache/nix-cache-info": b"StoreDir: /nix/store\n"}
    old = stage_files(
        tmp_path,
        {
            **release_files("one"),
            **same,
            **narinfo(2, "glibc-2.39-52", 100),
            **narinfo(3, "openssl-3.0.14", 50),
            **narinfo(4, "unit-script-start", 5),
            "gone": b"x",
        },
    )
    new = stage_files(
        tmp_path,
        {
            **release_files("one"),
            **same,
            **{name: data for each in _NEW for name, data in narinfo(*each).items()},
            "initrd": b"another",
            "more": b"more",
        },
    )
    found = find_difference(ReleaseStore(tmp_path / "state"), old, new)
    assert found.packages == (
        PackageChange(name="curl", before=(), after=("8.9",), grows=30),
        PackageChange(name="glibc", before=("2.39-52",), after=("2.40-36", "2.40-36-bin"), grows=27),
        PackageChange(name="openssl", before=("3.0.14",), after=(), grows=-50),
        PackageChange(name="unit-script-start", before=("",), after=("",), grows=1),
    )
    size = len(release_files("one")["initrd"])
    assert found.files == (
        FileChange(name="gone", before=1, after=None),
        FileChange(name="initrd", before=size, after=7),
        FileChange(name="more", before=None, after=4),
    )
    infos = sum(
        len(data)
        for number, name, size in _NEW
        for file, data in narinfo(number, name, size).items()
        if file.endswith(".narinfo")
    )
    assert found.new_bytes == infos + 120 + 7 + 6 + 30 + 7 + 4
    shown = describe_difference(found)
    assert shown["packages"][0] == {"name": "curl", "before": [], "after": ["8.9"], "grows": 30}
    back = find_difference(ReleaseStore(tmp_path / "state"), new, new)
    assert (back.packages, back.files, back.new_bytes) == ((), (), 0)


def test_without_closures_the_files_say_what_changes(tmp_path: Path) -> None:
    old = stage_files(tmp_path, release_files("one"))
    new = stage_files(tmp_path, {**release_files("one"), **narinfo(1, "bash-5.2", 10)})
    assert find_difference(ReleaseStore(tmp_path / "state"), old, new).packages is None
