"""Comparing closures, and reading published ones."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ectools.checks.closure import Closure, ClosureSource, build_flake_reference, compare_closures
from ectools.checks.closure_published import read_published
from ectools.errors import EcError, InputError

HASHES = ["0" * 32, "1" * 32, "z" * 32]
PATHS = st.builds(
    "/nix/store/{}-{}".format,
    st.sampled_from(HASHES),
    st.sampled_from(["linux", "glibc-2.40", "a-b", "nixos-system-x-26.05"]),
)
NAME = "ec-runner-x86_64-netboot"
SYSTEM = f"/nix/store/{HASHES[0]}-nixos-system-x-26.05"


def closure(paths: frozenset[str] | None, toplevel: str | None = None) -> Closure:
    return Closure(origin=ClosureSource.PUBLISHED, source="a test", toplevel=toplevel, paths=paths)


@given(st.frozensets(PATHS), st.frozensets(PATHS))
def test_every_difference_is_said_once_and_nothing_else(
    rebuilt: frozenset[str], other: frozenset[str]
) -> None:
    result = compare_closures(closure(rebuilt), closure(other))
    assert result.same == (rebuilt == other)
    left = [*result.removed, *(path for each in result.changed for path in each.rebuilt)]
    right = [*result.added, *(path for each in result.changed for path in each.other)]
    assert sorted(left) == sorted(rebuilt - other)
    assert sorted(right) == sorted(other - rebuilt)
    names = {path[44:] for path in result.added} & {path[44:] for path in result.removed}
    assert not names
    for each in result.changed:
        assert each.rebuilt
        assert each.other
        assert {path[44:] for path in (*each.rebuilt, *each.other)} == {each.name}


def test_where_only_the_system_is_known_it_decides() -> None:
    known = closure(frozenset([SYSTEM]), SYSTEM)
    assert compare_closures(known, closure(None, SYSTEM)).same
    assert not compare_closures(known, closure(None, SYSTEM.replace("0", "1"))).same


def script(system: str = SYSTEM) -> str:
    return f"#!ipxe\nkernel kernel init={system}/init initrd=initrd console=tty0\ninitrd initrd\nboot\n"


def test_a_release_directory(tmp_path: Path) -> None:
    (tmp_path / "netboot.ipxe").write_text(script())
    (tmp_path / "closure.txt").write_text(f"{SYSTEM}\n/nix/store/{HASHES[1]}-linux\n")
    found = read_published(tmp_path, NAME)
    assert found.toplevel == SYSTEM
    assert found.paths == {SYSTEM, f"/nix/store/{HASHES[1]}-linux"}


def test_a_release_of_several_systems_is_asked_for_one(tmp_path: Path) -> None:
    other = SYSTEM.replace("0", "1", 32)
    for name, system in ((NAME, SYSTEM), ("ec-runner-aarch64-netboot", other)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "netboot.ipxe").write_text(script().replace(SYSTEM, system))
        (tmp_path / name / "closure.txt").write_text(f"{system}\n")
    assert read_published(tmp_path, NAME).paths == {SYSTEM}
    found = read_published(tmp_path, "ec-runner-aarch64-netboot")
    assert (found.paths, found.source) == ({other}, str(tmp_path / "ec-runner-aarch64-netboot"))
    with pytest.raises(InputError) as caught:
        read_published(tmp_path, "ecp-forge")
    assert caught.value.message == (
        f"{tmp_path}: holds no system ecp-forge; it has ec-runner-aarch64-netboot, {NAME}"
    )
    assert read_published(tmp_path / NAME, "ecp-forge").paths == {SYSTEM}


@pytest.mark.parametrize("compression", ["gz", "xz"])
def test_a_release_archive(tmp_path: Path, compression: str) -> None:
    archive = tmp_path / "release.tar"
    with tarfile.open(archive, f"w:{compression}") as tar:  # type: ignore[call-overload]
        for name, data in (
            ("./initrd", bytes(70_000)),
            ("./netboot.ipxe", script().encode()),
            ("./closure.txt", f"{SYSTEM}\n".encode()),
        ):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    assert read_published(archive, NAME).paths == {SYSTEM}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "holds no netboot.ipxe"),
        ({"netboot.ipxe": "#!ipxe\nboot\n"}, "names 0 systems"),
        ({"netboot.ipxe": script() + script(SYSTEM.replace("0", "1"))}, "names 2 systems"),
        ({"netboot.ipxe": script(), "closure.txt": ""}, "lists no store path"),
        ({"netboot.ipxe": script(), "closure.txt": "/etc/passwd\n"}, "'/etc/passwd' is no store path"),
        (
            {"netboot.ipxe": script(), "closure.txt": f"/nix/store/{HASHES[1]}-linux\n"},
            "closure.txt does not list /nix/store/0000",
        ),
    ],
)
def test_a_release_that_is_none(tmp_path: Path, files: dict[str, str], message: str) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        read_published(tmp_path, NAME)


def test_a_file_that_is_neither_archive_nor_listing(tmp_path: Path) -> None:
    (tmp_path / "page").write_text("<html>")
    with pytest.raises(InputError, match="'<html>' is no store path"):
        read_published(tmp_path / "page", NAME)
    (tmp_path / "cut.tar.gz").write_bytes(b"\x1f\x8b\x08\x00")
    with pytest.raises(EcError, match=r"cut\.tar\.gz: .*truncated"):
        read_published(tmp_path / "cut.tar.gz", NAME)


def test_a_listing_knows_its_system_where_there_is_one(tmp_path: Path) -> None:
    listing = tmp_path / "closure.txt"
    listing.write_text(f"{SYSTEM}\n")
    assert read_published(listing, NAME).toplevel == SYSTEM
    listing.write_text(f"{SYSTEM}\n{SYSTEM.replace('0', '1', 32)}\n")
    assert read_published(listing, NAME).toplevel is None


def test_how_nix_is_told_of_a_flake(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert build_flake_reference(str(tmp_path / "link")) == f"path:{tmp_path}/real"
    (tmp_path / "real/.git").mkdir()
    assert build_flake_reference(str(tmp_path / "link")) == f"{tmp_path}/real"
    assert build_flake_reference("github:every-channel/every.channel") == "github:every-channel/every.channel"
