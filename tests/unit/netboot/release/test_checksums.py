from __future__ import annotations

import contextlib
import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.needs import require_tool
from support.releases import (
    ARCHIVE,
    build_settings,
    check_whole,
    release_files,
    snapshot,
    write_archive,
)

from ectools.errors import EcError
from ectools.netboot.release import download as download_module
from ectools.netboot.release import source as source_module
from ectools.netboot.release.checksums import (
    ChecksumsError,
    find_checksum,
    find_own_checksum,
    parse_checksums,
)
from ectools.netboot.release.stage import StageOutcome, stage

if TYPE_CHECKING:
    from pathlib import Path

A, B = "a" * 64, "b" * 64


@pytest.mark.parametrize(
    "data",
    [
        f"{A}  {ARCHIVE}\n",
        f"{A} *{ARCHIVE}\n",
        f"{A.upper()}  {ARCHIVE}",
        f"{A}  ./{ARCHIVE}\n",
        f"\ufeff{A}  {ARCHIVE}\r\n{B}  other\r\n",
        f"SHA256 ({ARCHIVE}) = {A}\n",
        f"SHA256(./{ARCHIVE})= {A.upper()}\r\n",
        f"SHA2-256({ARCHIVE})= {A}\nSHA512 ({ARCHIVE}) = {A}{A}\nMD5 ({ARCHIVE}) = {A[:32]}\n",
        f"{B}  other\nSHA256 ({ARCHIVE}) = {A}\n",
        f"# comment\n\n{B}  other file\n{A}  {ARCHIVE}\n{A}  {ARCHIVE}\n",
    ],
)
def test_what_sha256sum_writes(data: str) -> None:
    assert find_checksum(parse_checksums(data.encode(), where="SUMS"), ARCHIVE, where="SUMS") == A


# Content → words of the refusal.
SUMS_FROM_HELL = {
    "": "lists nothing",
    "\n\n# nothing\n": "lists nothing",
    f"{A} {ARCHIVE}\n": "two spaces",
    f"{A}\t{ARCHIVE}\n": "two spaces",
    f"{A}\n": "two spaces",
    f"{A}  \n": "two spaces",
    f"{A[:40]}  {ARCHIVE}\n": "not a SHA-256",
    f"{A}{A}  {ARCHIVE}\n": "not a SHA-256",
    f"{'g' * 64}  {ARCHIVE}\n": "64 hexadecimal digits",
    f"\\{A}  a\\nb\n": "escapes names",
    f"SHA256 ({ARCHIVE}) = {A[:40]}\n": "64 hexadecimal digits",
    f"SHA512 ({ARCHIVE}) = {A}{A}\nMD5 ({ARCHIVE}) = {A[:32]}\n": "lists nothing",
    f"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\n{A}  {ARCHIVE}\n": "signed within itself",
    "<!doctype html><title>Sign in</title>": "web page",
    f"{A}  {ARCHIVE}\n{B}  {ARCHIVE}\n": "twice, with different sums",
    f"{A}  {ARCHIVE}\n{B}  ./{ARCHIVE}\n": "twice, with different sums",
    f"{A}  other.tar.gz\n": "is not listed",
    f"{A}  sub/{ARCHIVE}\n": "is not listed",
    f"{A}  {ARCHIVE} \n": "is not listed",
    f"{A}  {ARCHIVE}\x00\n": "is not listed",
    f"  {A}  {ARCHIVE}\n": "64 hexadecimal digits",
}


@pytest.mark.parametrize("data", SUMS_FROM_HELL)
def test_sums_from_hell(data: str, tmp_path: Path) -> None:
    with pytest.raises(ChecksumsError) as caught:
        find_checksum(parse_checksums(data.encode(), where="SUMS"), ARCHIVE, where="SUMS")
    assert SUMS_FROM_HELL[data] in caught.value.render()
    # And so all the way, before the archive is so much as opened.
    write_archive(tmp_path, release_files())
    (tmp_path / "SHA256SUMS.txt").write_bytes(data.encode())
    with pytest.raises(ChecksumsError):
        stage(build_settings(tmp_path / "state", release_tarball=str(tmp_path / ARCHIVE)))
    assert not (tmp_path / "state").exists()


def test_sums_that_are_not_text() -> None:
    with pytest.raises(ChecksumsError, match=r"^SUMS: not UTF-8: invalid start byte$"):
        parse_checksums(b"\xfd" + f"{A}  x".encode(), where="SUMS")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_sums_in_utf_16_are_called_so(encoding: str) -> None:
    data = f"{A}  x\r\n".encode(encoding)
    with pytest.raises(ChecksumsError, match=r"^SUMS: is UTF-16 text, not UTF-8$") as caught:
        parse_checksums(data, where="SUMS")
    assert "PowerShell" in str(caught.value.hint)
    with pytest.raises(ChecksumsError, match="UTF-16"):
        find_own_checksum(data, "x", where="SUMS")


@pytest.mark.parametrize(
    "data",
    [
        *(A, f"{A.upper()}\r\n", f"\ufeff{A}\n", f"{A}  {ARCHIVE}\n", f"{A} *dist/{ARCHIVE}\n"),
        *(f"SHA256 (/srv/{ARCHIVE}) = {A}\n", f"{A}  out\\{ARCHIVE}\r\n", f"{B}  other\n{A}  {ARCHIVE}\n"),
    ],
)
def test_the_sums_of_one_archive(data: str) -> None:
    assert find_own_checksum(data.encode(), ARCHIVE, where="SUM") == A


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (f"{A}  other.tar.gz\n", "is not listed in it; listed are other.tar.gz"),
        (f"{B}  other\n{A}  dist/{ARCHIVE}\n", "is not listed"),
        (A[:63], "not a line of sha256sum"),
        ("", "lists nothing"),
    ],
)
def test_the_sums_of_one_archive_that_are_none(data: str, words: str) -> None:
    with pytest.raises(ChecksumsError, match=words):
        find_own_checksum(data.encode(), ARCHIVE, where="SUM")


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_no_bytes_do_more_than_raise(data: bytes) -> None:
    with contextlib.suppress(ChecksumsError):
        parse_checksums(data, where="SUMS")


def test_sums_of_the_real_program(tmp_path: Path) -> None:
    archive = write_archive(tmp_path, release_files())
    program = require_tool("sha256sum", "it is part of coreutils")
    openssl = require_tool("openssl", "install openssl")
    for number, words in enumerate(
        ([program, "--text"], [program, "--binary"], [program, "--tag"], [openssl, "dgst", "-sha256"])
    ):
        sums = subprocess.run([*words, archive.name], cwd=tmp_path, capture_output=True, check=True).stdout
        (tmp_path / "SHA256SUMS.txt").write_bytes(sums)
        state = tmp_path / f"state-{number}"
        stage(build_settings(state, release_tarball=str(archive), release_requireSums=True))
        assert check_whole(state)


def test_a_sum_that_does_not_match_changes_nothing(tmp_path: Path) -> None:
    archive = write_archive(tmp_path, release_files())
    settings = build_settings(tmp_path / "state", release_tarball=str(archive))
    first = stage(settings)
    write_archive(tmp_path, release_files("two"))
    (tmp_path / "SHA256SUMS.txt").write_text(f"{first.release.systems[0].archive_sha256}  {ARCHIVE}\n")
    before = snapshot(tmp_path / "state")
    with pytest.raises(ChecksumsError, match=r"its SHA-256 is .*, and .*SHA256SUMS.txt says"):
        stage(settings)
    assert snapshot(tmp_path / "state") == before


def test_without_sums_there_is_a_warning_or_an_error(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from ectools import log

    log.set_up()
    archive = write_archive(tmp_path, release_files())
    with pytest.raises(ChecksumsError, match=r"release\.requireSums"):
        stage(build_settings(tmp_path / "state", release_tarball=str(archive), release_requireSums=True))
    assert (
        stage(build_settings(tmp_path / "state", release_tarball=str(archive))).outcome is StageOutcome.STAGED
    )
    assert '"level": "warning", "event": "NO SHA256SUMS.txt IS PUBLISHED' in capfd.readouterr().err


def test_sums_of_many_megabytes_are_not_read(tmp_path: Path) -> None:
    archive = write_archive(tmp_path, release_files())
    with (tmp_path / "SHA256SUMS.txt").open("wb") as file:
        file.truncate(1 << 30)
    with pytest.raises(EcError, match="larger than"):
        stage(build_settings(tmp_path / "state", release_tarball=str(archive)))


@pytest.mark.parametrize("name", ["SHA256SUMS.txt", "key.pub", "SHA256SUMS.txt.minisig"])
def test_nobody_waits_for_a_fifo_or_reads_without_an_end(name: str, tmp_path: Path) -> None:
    archive = write_archive(tmp_path, release_files())
    pinned = {
        "release_signature.format": "minisign",
        "release_signature.publicKeyFile": str(tmp_path / "key.pub"),
    }
    sums = subprocess.run(["sha256sum", archive.name], cwd=tmp_path, capture_output=True, check=True).stdout
    for other in ("SHA256SUMS.txt", "key.pub", "SHA256SUMS.txt.minisig"):
        (tmp_path / other).write_bytes(sums)
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)
    settings = build_settings(tmp_path / "state", release_tarball=str(archive), **pinned)
    with pytest.raises(EcError, match=f"{name}: not a regular file"):
        stage(settings)
    (tmp_path / name).unlink()
    (tmp_path / name).touch()
    os.truncate(tmp_path / name, 1 << 40)
    with pytest.raises(EcError, match=f"{name}: is larger than"):
        stage(settings)


def test_an_archive_that_becomes_a_fifo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = write_archive(tmp_path, release_files())
    archive_class = download_module.LocalArchive

    def swap(path: Path, *, size: int) -> download_module.LocalArchive:
        path.unlink()
        os.mkfifo(path)
        return archive_class(path, size=size)

    monkeypatch.setattr(source_module, "LocalArchive", swap)
    with pytest.raises(EcError, match=f"{ARCHIVE}: not a regular file"):
        stage(build_settings(tmp_path / "state", release_tarball=str(archive)))
