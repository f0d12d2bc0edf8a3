"""What ends up on the disk: plain files with fixed modes, below the directory, whatever the archive says."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import subprocess
import tarfile
import tempfile
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.needs import require_tool
from support.releases import (
    SCRIPT,
    TAR_END,
    build_settings,
    check_whole,
    pax,
    release_files,
    snapshot,
    tar_file,
    tar_header,
)

from ectools.archive.decompress import ArchiveError
from ectools.archive.extract import extract
from ectools.archive.file_record import FileRecord
from ectools.archive.limits import ArchiveLimits
from ectools.netboot.release.stage import stage


def unpack(tar: bytes, directory: Path, *, chunk: int = 1000) -> dict[str, FileRecord]:
    chunks = (tar[start : start + chunk] for start in range(0, len(tar), chunk))
    return extract(chunks, directory, archive="test.tar", limits=ArchiveLimits())


def read(directory: Path) -> dict[str, bytes]:
    return {name: data for name, data in snapshot(directory).items() if isinstance(data, bytes)}


def test_what_macos_adds_is_left_out_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="ectools")
    litter = ["._.", "._kernel", "d/._initrd", "__MACOSX/d/x", ".DS_Store", "d/.DS_Store"]
    kept = ["kernel", "d/initrd", "d/x._y", ".DS_Store.txt", "MACOSX", "._/x"]
    tar = b"".join(tar_file(name.encode(), name.encode() * 100) for name in [*litter, *kept]) + TAR_END
    assert set(unpack(tar, tmp_path)) == set(kept)
    assert set(read(tmp_path)) == set(kept)
    assert (tmp_path / "kernel").read_bytes() == b"kernel" * 100
    (record,) = caplog.records
    assert record.getMessage() == "left out of the archive: what macOS adds to it"
    assert record.__dict__["fields"]["files"] == ", ".join(litter)


def test_directories_and_links_of_macos_are_left_out_too(tmp_path: Path) -> None:
    tar = (
        tar_header(b"__MACOSX/", kind=b"5")
        + tar_header(b"._link", kind=b"2", link=b"nothing")
        + tar_file(b"kernel", b"k")
        + TAR_END
    )
    assert set(unpack(tar, tmp_path)) == {"kernel"}
    assert [path.name for path in tmp_path.iterdir()] == ["kernel"]


def test_modes_owners_and_times_are_not_the_archives(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        unpack(
            tar_header(b"d/", kind=b"5", mode=0o7777)
            + tar_file(b"d/suid", b"x", mode=0o6777)
            + tar_file(b"closed", b"x", mode=0)
            + TAR_END,
            tmp_path,
        )
    finally:
        os.umask(before)
    modes = {path.name: stat.S_IMODE(path.lstat().st_mode) for path in tmp_path.rglob("*")}
    assert modes == {"d": 0o755, "suid": 0o644, "closed": 0o644}
    assert all(
        path.lstat().st_uid == os.getuid() and path.lstat().st_mtime > 1e9 for path in tmp_path.rglob("*")
    )


def test_links_to_files_of_the_archive_become_these_files(tmp_path: Path) -> None:
    tar = (
        tar_header(b"later", kind=b"2", link=b"d/../d/kernel")
        + tar_header(b"d/", kind=b"5")
        + tar_file(b"d/kernel", b"kernel")
        + tar_header(b"d/up", kind=b"2", link=b"../later")
        + tar_header(b"same", kind=b"1", link=b"./d/kernel")
        + TAR_END
    )
    files = unpack(tar, tmp_path)
    assert read(tmp_path) == dict.fromkeys(("later", "d/kernel", "d/up", "same"), b"kernel")
    assert set(files) == {"later", "d/kernel", "d/up", "same"}
    assert len(set(files.values())) == 1
    assert not any(path.is_symlink() for path in tmp_path.rglob("*"))


def test_names_of_every_form(tmp_path: Path) -> None:
    long = "n" * 200
    tar = (
        tar_header(b"./", kind=b"5")
        + tar_file(b"./kernel", b"1")
        + tar_file(b"name", b"2", prefix=b"prefix")
        + pax({b"path": b"pax/" + long.encode(), b"mtime": b"1.5"})
        + tar_file(b"short", b"3")
        + tar_file(b"././@LongLink", b"gnu/" + long.encode() + b"\0", kind=b"L")
        + tar_file(b"short", b"4")
        + pax({b"comment": b"0" * 40}, kind=b"g")
        + tar_file("grün ☃".encode(), b"5")
        + tar_file(b"old", b"6", kind=b"\0", magic=bytes(8))
        + tar_file(b"gnu-magic", b"7", magic=b"ustar  \0", prefix=b"12345670000\0" * 2)
        + tar_header(b"directory-of-old/", kind=b"0")
        + pax({b"size": b"3"})
        + tar_header(b"size", size=0)
        + b"abc".ljust(512, b"\0")
        + tar_header(b"base256", size_field=b"\x80" + bytes(10) + b"\x02")
        + b"xy".ljust(512, b"\0")
        + TAR_END
    )
    unpack(tar, tmp_path)
    assert read(tmp_path) == {
        "kernel": b"1",
        "prefix/name": b"2",
        f"pax/{long}": b"3",
        f"gnu/{long}": b"4",
        "grün ☃": b"5",
        "old": b"6",
        "gnu-magic": b"7",
        "size": b"abc",
        "base256": b"xy",
    }


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_what_python_writes(form: int, tmp_path: Path) -> None:
    files = {"kernel": b"k" * 3000, "a/" + "b" * 80 + "/" + "c" * 60: b"deep", "empty": b""}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=form) as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size, member.mtime = len(data), 1.5 if form == tarfile.PAX_FORMAT else 1
            tar.addfile(member, io.BytesIO(data))
    unpack(buffer.getvalue(), tmp_path)
    assert read(tmp_path) == files


@pytest.mark.parametrize("form", ["v7", "ustar", "gnu", "pax"])
@pytest.mark.parametrize("kind", ["gz", "xz", "zst"])
def test_what_gnu_tar_writes(form: str, kind: str, tmp_path: Path) -> None:
    program = require_tool("tar", "GNU tar")
    tree = tmp_path / "tree"
    tree.mkdir()
    for name, data in release_files().items():
        (tree / name).write_bytes(data)
    os.link(tree / "kernel", tree / "kernel-again")
    (tree / "kernel-link").symlink_to("kernel")
    archive = tmp_path / f"boot.tar.{kind}"
    subprocess.run([program, "-C", tree, f"--format={form}", "-caf", archive, "."], check=True)
    stage(build_settings(tmp_path / "state", release_tarball=str(archive)))
    release = check_whole(tmp_path / "state")
    assert release is not None
    assert {name: record.sha256 for name, record in release.files.items()} == {
        name: sha256((tree / name).read_bytes()).hexdigest() for name in os.listdir(tree)
    }


FIELD = st.sampled_from(
    [b"", b"a", b"b/", b"a/b", b"../x", b"/x", b"a/../../x", b".", b"./a", b"a\xff", b"A", b"//"]
)
ENTRIES = st.lists(
    st.builds(
        lambda name, kind, link, data, extra: extra + tar_file(name, data, kind=kind, link=link),
        FIELD,
        st.sampled_from([b"0", b"1", b"2", b"5", b"L", b"K", b"x", b"g", b"3"]),
        FIELD,
        st.sampled_from([b"", b"x", b"../evil\0", b"14 path=../ev\n", b"16 linkpath=/x\n"]),
        st.sampled_from(
            [b"", pax({b"path": b"../evil"}), pax({b"linkpath": b"/etc/passwd"}), pax({b"size": b"1"})]
        ),
    ),
    max_size=6,
)


@settings(max_examples=150, deadline=None)
@given(ENTRIES, st.integers(1, 700))
def test_nothing_is_ever_written_outside(entries: list[bytes], chunk: int) -> None:
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as name:
        top = Path(name)
        (top / "inside").mkdir()
        (top / "x").write_bytes(b"mine")
        try:
            files = unpack(b"".join(entries) + TAR_END, top / "inside", chunk=chunk)
        except ArchiveError:
            files = None
        below = snapshot(top / "inside")
        assert {name: data for name, data in snapshot(top).items() if not name.startswith("inside")} == {
            "x": b"mine"
        }
        assert not any(path.is_symlink() for path in top.rglob("*"))
        if files is not None:
            assert {name for name, data in below.items() if isinstance(data, bytes)} == set(files)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_flipped_byte_is_refused_or_does_no_harm(data: st.DataObject) -> None:
    tar = tar_file(b"kernel", b"k" * 600) + tar_file(b"netboot.ipxe", SCRIPT) + TAR_END
    place = data.draw(st.integers(0, len(tar) - 1))
    bad = tar[:place] + bytes([tar[place] ^ data.draw(st.integers(1, 255))]) + tar[place + 1 :]
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as name:
        with contextlib.suppress(ArchiveError):
            unpack(bad, Path(name))


def test_memory_does_not_grow_with_the_archive(tmp_path: Path) -> None:
    import tracemalloc

    def chunks() -> object:
        yield tar_header(b"zeros", size=64 << 20)
        for _ in range(512):
            yield bytes(128 << 10)
        yield TAR_END

    tracemalloc.start()
    try:
        extract(iter(chunks()), tmp_path, archive="test.tar", limits=ArchiveLimits())  # type: ignore[call-overload]
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
