"""An archive's bytes: what is in each header, in which order, and nothing of the machine that packed it."""

from __future__ import annotations

import gzip
import io
import lzma
import os
import tarfile
from typing import TYPE_CHECKING

import pytest
from support.releases import release_files, zstd

from ectools.errors import InputError
from ectools.netboot.kernel import KernelArchitecture
from ectools.netboot.release.archive_writer import Compression
from ectools.netboot.release.pack import PackError, find_tag_time, pack

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    directory = tmp_path / "tree"
    for name, data in {**release_files(), "d/z": b"z", "\u00fc": b"u", "Z": b"Z"}.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_bytes(data)
        (directory / name).chmod(0o600)
    return directory


def test_what_is_in_it(tree: Path, tmp_path: Path) -> None:
    (tree / "empty").mkdir()
    (tree / "nix-support").mkdir()
    (tree / "nix-support" / "x").touch()
    packed = pack([tree], tmp_path / "out", tag="x")
    with tarfile.open(packed.archives[0].path) as tar:
        members = tar.getmembers()
    assert [member.name for member in members] == ["Z", "d/z", "initrd", "kernel", "netboot.ipxe", "\u00fc"]
    for member in members:
        assert member.isreg()
        assert (member.mtime, member.mode) == (1, 0o644)
        assert (member.uid, member.gid, member.uname, member.gname) == (0, 0, "", "")


def test_a_gzip_header_without_a_time_or_name(tree: Path, tmp_path: Path) -> None:
    data = pack([tree], tmp_path / "out", tag="x").archives[0].path.read_bytes()
    # RFC 1952, section 2.3: magic, deflate, no flags, no time.
    assert data[:8] == b"\x1f\x8b\x08\0\0\0\0\0"


@pytest.mark.parametrize("system", KernelArchitecture)
@pytest.mark.parametrize("compression", Compression)
def test_names(system: KernelArchitecture, compression: Compression, tree: Path, tmp_path: Path) -> None:
    packed = pack([tree], tmp_path / "out", tag="v1_+-.x", architecture=system, compression=compression)
    (archive,) = packed.archives
    assert archive.path == tmp_path / "out" / f"ec-runner-{system}-netboot-v1_+-.x.tar.{compression}"
    assert packed.sums == tmp_path / "out" / "SHA256SUMS.txt"
    assert packed.signature is None
    assert packed.sums.read_text() == f"{archive.sha256}  {archive.path.name}\n"
    assert sorted(os.listdir(tmp_path / "out")) == ["SHA256SUMS.txt", archive.path.name]
    assert archive.path.stat().st_mode & 0o777 == 0o644


def test_what_the_formats_hold_is_the_same(tree: Path, tmp_path: Path) -> None:
    tars = set()
    unpackers = (gzip.decompress, lzma.decompress, zstd.decompress)
    for compression, unpack in zip(Compression, unpackers, strict=True):
        tars.add(
            unpack(
                pack([tree], tmp_path / "out", tag="x", compression=compression).archives[0].path.read_bytes()
            )
        )
    assert len(tars) == 1


@pytest.mark.parametrize("tag", ["", "-x", ".x", "a b", "a/b", "a\n", "\u00fc", "a:b"])
def test_tags_that_are_none(tag: str, tree: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        pack([tree], tmp_path / "out", tag=tag)
    assert caught.value.message == (
        f"{tag!r}: not a tag for an archive's name: letters, digits and . _ + - were expected"
    )


def test_where_it_may_be_written(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tree)
    for out in (tree, tree / "a" / "b", tmp_path / "link" / "out"):
        with pytest.raises(InputError) as caught:
            pack([tree], out, tag="x")
        assert caught.value.message == f"{out}: lies in the directory that is packed"
        assert caught.value.hint == "write the archive somewhere else"
    assert pack([tree], tmp_path / "tree-out", tag="x").archives[0].path.exists()
    (tmp_path / "file").touch()
    with pytest.raises(PackError, match=rf"^{tmp_path}/file: File exists$"):
        pack([tree], tmp_path / "file", tag="x")


def test_what_is_no_output_of_nix(tree: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError) as caught:
        pack([tmp_path / "missing"], tmp_path / "out", tag="x")
    assert caught.value.message == f"{tmp_path}/missing: not a directory"
    assert caught.value.hint == "name a netboot output: result of `nix build …netboot`"
    (tree / "netboot.ipxe").unlink()
    with pytest.raises(PackError) as pack_caught:
        pack([tree], tmp_path / "out", tag="x")
    assert pack_caught.value.message == f"{tree}: has no netboot.ipxe"
    assert pack_caught.value.hint == "name a netboot output: kernel, initrd and netboot.ipxe"


def test_names_that_differ_by_case_alone_are_told_by_the_part_that_does(tree: Path, tmp_path: Path) -> None:
    (tree / "D").mkdir()
    (tree / "D" / "x").touch()
    with pytest.raises(PackError, match=r"^\S+/(D|d): its name and '[Dd]' differ by case or form alone$"):
        pack([tree], tmp_path / "out", tag="x")


def test_a_file_that_grows_meanwhile_is_packed_as_it_was(tree: Path, tmp_path: Path) -> None:
    """Its size is that of the open file; tar reads no further."""
    sizes = {}
    original = tarfile.TarFile.addfile

    def grow(tar: tarfile.TarFile, member: tarfile.TarInfo, content: io.BufferedReader) -> None:
        sizes[member.name] = member.size
        with (tree / member.name).open("ab") as file:
            file.write(b"more")
        original(tar, member, content)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(tarfile.TarFile, "addfile", grow)
        packed = pack([tree], tmp_path / "out", tag="x")
    with tarfile.open(packed.archives[0].path) as tar:
        assert {member.name: member.size for member in tar} == sizes


@pytest.mark.parametrize(
    ("tag", "seconds"),
    [
        ("v1970.01.01", 0),
        ("v1970.01.01.1", 1),
        ("v1970.01.01.9999", 9999),
        ("v1970.01.01.10000", None),
        ("v1970.01.02", 86400),
        ("a-v1970.01.02", 86400),
        ("v1970.13.01", None),
        ("v1970.01.01.", None),
        ("v1970-01-01", None),
        ("1970.01.01", None),
        ("v01970.01.01", None),
    ],
)
def test_days_in_tags(tag: str, seconds: int | None) -> None:
    assert find_tag_time(tag) == seconds
