"""An archive is the system that its name says, or it is refused by name."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from support.releases import release_files

from ectools.archive.decompress import ArchiveError
from ectools.archive.limits import ArchiveLimits
from ectools.netboot.release.checksums import ChecksumsError
from ectools.netboot.release.download import LocalArchive
from ectools.netboot.release.pack import pack
from ectools.netboot.release.source import ArchiveSource
from ectools.netboot.release.unpack import check_told_apart, describe_system, unpack_archive

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def source(tmp_path: Path) -> ArchiveSource:
    output = tmp_path / "output"
    output.mkdir()
    for name, data in release_files().items():
        (output / name).write_bytes(data)
    path = pack([output], tmp_path / "out", tag="boot-v1").archives[0].path
    return ArchiveSource(
        system="ec-runner-x86_64-netboot",
        archive=LocalArchive(path, size=path.stat().st_size),
        tag="boot-v1",
        wanted_sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        sums="SHA256SUMS.txt",
        is_signed=False,
        released_at=None,
    )


def test_an_archive_is_unpacked_and_described(source: ArchiveSource, tmp_path: Path) -> None:
    heard: list[tuple[str, int, int | None]] = []
    directory = tmp_path / "tree"
    directory.mkdir()
    files = unpack_archive(
        source, directory, limits=ArchiveLimits(), on_progress=lambda *each: heard.append(each)
    )
    assert set(files) == set(release_files())
    assert heard[-1] == (source.archive.name, source.archive.size, source.archive.size)
    system = describe_system(source, directory, files, prefix="x/")
    assert (system.name, system.archive_sha256) == (source.system, source.wanted_sha256)
    assert system.boot.kernel.startswith("x/")
    check_told_apart([replace(system, architecture=None)])
    with pytest.raises(ArchiveError, match="cannot be told"):
        check_told_apart([replace(system, architecture=None), system])


def test_another_sum_is_another_archive(source: ArchiveSource, tmp_path: Path) -> None:
    directory = tmp_path / "tree"
    directory.mkdir()
    with pytest.raises(ChecksumsError, match="it was damaged or changed"):
        unpack_archive(
            replace(source, wanted_sha256="0" * 64),
            directory,
            limits=ArchiveLimits(),
            on_progress=lambda *_: None,
        )
