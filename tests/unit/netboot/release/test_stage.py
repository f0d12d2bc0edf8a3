"""Staging from a file: what is passed on, what is told, and which of several errors."""

from __future__ import annotations

import contextlib
import fcntl
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from support.clock import Clock
from support.releases import (
    ARCHIVE,
    SCRIPT,
    build_settings,
    build_tar,
    compress,
    release_files,
    snapshot,
    write_archive,
)
from support.staged import make_release, put_release

from ectools.archive.decompress import ArchiveError
from ectools.errors import EcError
from ectools.fetch.client import HttpClient
from ectools.fetch.retry import RetryPolicy
from ectools.netboot.release import stage as stage_module
from ectools.netboot.release.boot_entry import BootEntryError
from ectools.netboot.release.checksums import ChecksumsError
from ectools.netboot.release.download import Download, LocalArchive
from ectools.netboot.release.forge import Asset
from ectools.netboot.release.rollback import roll_back
from ectools.netboot.release.source import ArchiveSource, ReleaseSource
from ectools.netboot.release.stage import Staged, StageOutcome, stage
from ectools.netboot.release.store import ReleaseStore, StoreError

if TYPE_CHECKING:
    from pathlib import Path


def run(tmp_path: Path, files: dict[str, bytes] | None = None, **flags: Any) -> Staged:
    archive = write_archive(tmp_path, files or release_files())
    accept = flags.pop("accept_withdrawn", False)
    settings = build_settings(tmp_path / "state", release_tarball=str(archive), **flags)
    return stage(settings, accept_withdrawn=accept)


def test_what_is_known_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage_module, "time", Clock(1234.9))
    release = run(tmp_path).release
    assert (release.staged_at, release.tag) == (1234, "test")
    (system,) = release.systems
    assert (system.name, system.architecture) == ("ec-runner-x86_64-netboot", None)
    assert (system.source, system.archive_name) == (str(tmp_path / ARCHIVE), ARCHIVE)
    assert {name: file.size for name, file in release.files.items()} == {
        name: len(data) for name, data in release_files().items()
    }


def test_progress_is_told_of_each_part(tmp_path: Path) -> None:
    archive = write_archive(tmp_path, {**release_files(), "random": os.urandom(300_000)})
    told: list[tuple[str, int, int | None]] = []
    settings = build_settings(tmp_path / "state", release_tarball=str(archive))
    stage(settings, on_progress=lambda *part: told.append(part))
    size = archive.stat().st_size
    assert {(name, of) for name, _, of in told} == {(ARCHIVE, size)}
    assert [done for _, done, _ in told] == [131072, 262144, size]


def test_what_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="ectools")
    run(tmp_path)
    record = caplog.records[-1]
    assert record.getMessage() == "staging"
    size = (tmp_path / ARCHIVE).stat().st_size
    assert record.__dict__["fields"] == {"archive": str(tmp_path / ARCHIVE), "size": size, "tag": "test"}


def test_limits_of_the_settings_are_those_of_the_archive(tmp_path: Path) -> None:
    files = {**release_files(), "large": os.urandom(1 << 20)}
    with pytest.raises(ArchiveError, match="its files are larger than 1048576 bytes"):
        run(tmp_path, files, release_maxUnpackedMiB=1)
    with pytest.raises(ArchiveError, match="it has more than 3 entries"):
        run(tmp_path, files, release_maxFiles=3)
    assert run(tmp_path, files, release_maxUnpackedMiB=2, release_maxFiles=4).outcome is StageOutcome.STAGED


def test_an_archive_without_a_script(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError) as caught:
        run(tmp_path, {"kernel": b"k", "initrd": b"i"})
    assert caught.value.message == f"{ARCHIVE}: has no netboot.ipxe; it has initrd, kernel"
    assert caught.value.hint == ("a release's archive holds kernel, initrd and netboot.ipxe, in no directory")
    (tmp_path / ARCHIVE).write_bytes(compress(build_tar({})))
    with pytest.raises(ArchiveError, match=r"has no netboot.ipxe; it has no file$"):
        stage(build_settings(tmp_path / "state", release_tarball=str(tmp_path / ARCHIVE)))


def test_a_script_has_a_size(tmp_path: Path) -> None:
    script = SCRIPT.ljust(65536, b"\n")
    assert run(tmp_path, {**release_files(), "netboot.ipxe": script}).outcome is StageOutcome.STAGED
    with pytest.raises(BootEntryError, match=rf"^{ARCHIVE}: netboot.ipxe: larger than 65536 bytes: no"):
        run(tmp_path, {**release_files(), "netboot.ipxe": script + b"\n"})


@pytest.mark.parametrize(
    ("name", "kind"), [("kernel", "kernel"), ("initrd", "initrd"), ("store.squashfs", "store's image")]
)
def test_nothing_empty_is_staged_to_be_booted(tmp_path: Path, name: str, kind: str) -> None:
    script = SCRIPT.replace(b"loglevel=4", b"every_channel.store=${cwuri}")
    files = {**release_files(), "netboot.ipxe": script, "store.squashfs": b"s", "closure.txt": b""}
    with pytest.raises(BootEntryError, match=rf"^{ARCHIVE}: the {kind} {name} is empty: no machine could"):
        run(tmp_path, {**files, name: b""})
    assert not (tmp_path / "state/current").exists()
    assert run(tmp_path, files).outcome is StageOutcome.STAGED


def test_of_a_wrong_sum_and_a_bad_script_the_sum_is_told(tmp_path: Path) -> None:
    """What is not what was published may hold anything."""
    (tmp_path / "SHA256SUMS.txt").write_text(f"{'0' * 64}  {ARCHIVE}\n")
    with pytest.raises(ChecksumsError, match=rf"^{ARCHIVE}: its SHA-256 is "):
        run(tmp_path, {"kernel": b"k"})
    with pytest.raises(ChecksumsError, match=f"and {tmp_path}/SHA256SUMS.txt says {'0' * 64}: "):
        run(tmp_path, {**release_files(), "netboot.ipxe": b"nonsense"})


def test_a_release_that_was_rolled_back_from(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    one = run(tmp_path, release_files("one")).release
    two = run(tmp_path, release_files("two")).release
    store = ReleaseStore(tmp_path / "state")
    roll_back(store)
    caplog.clear()
    assert run(tmp_path, release_files("two")).outcome is StageOutcome.WITHDRAWN
    records = {record.getMessage(): record for record in caplog.records}
    record = records["this release was rolled back from; what is current stays so"]
    assert record.__dict__["fields"] == {"release": two.title}
    assert store.find_current() == one
    assert run(tmp_path, release_files("two"), accept_withdrawn=True).outcome is StageOutcome.REUSED
    assert store.find_current() == two


@pytest.mark.parametrize("error", [OSError("bad disk"), StoreError("bad store")])
def test_pruning_that_fails_undoes_no_staging(
    error: Exception, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(stage_module, "prune_locked", fail)
    staged = run(tmp_path)
    assert (staged.outcome, staged.removed) == (StageOutcome.STAGED, ())
    record = caplog.records[-1]
    assert record.getMessage() == "old releases could not be removed"
    assert record.__dict__["fields"] == {"reason": str(error)}


def test_what_was_removed_is_told(tmp_path: Path) -> None:
    releases = [run(tmp_path, release_files(text), release_keep=0).release for text in ("one", "two")]
    staged = run(tmp_path, release_files("three"), release_keep=0)
    assert staged.removed == (releases[0],)
    assert run(tmp_path, release_files("four"), release_keep=1).removed == ()


def test_a_name_that_is_wrong_leaves_no_directory(tmp_path: Path) -> None:
    settings = build_settings(tmp_path / "state", release_tarball=str(tmp_path / "missing"))
    with pytest.raises(EcError):
        stage(settings)
    assert snapshot(tmp_path) == {}


def test_words_for_people() -> None:
    assert {str(each) for each in StageOutcome} == {"staged", "reused", "unchanged", "withdrawn"}


def test_one_that_somebody_locks_is_passed_over(tmp_path: Path) -> None:
    """Of two releases of one archive, as two versions of this program may have unpacked it."""
    store = ReleaseStore(tmp_path)
    releases = []
    for number in range(2):
        files = {"kernel": bytes([number])}
        releases.append(replace(make_release(files, sha256="a" * 64), staged_at=number))
        put_release(tmp_path, releases[-1], files)
    archive = ArchiveSource(
        system="x",
        archive=Download(
            HttpClient("http://forge.invalid", retry=RetryPolicy()), Asset(name="x", url="x", size=1)
        ),
        tag="boot-v1",
        wanted_sha256="a" * 64,
        sums="SUMS",
        is_signed=False,
        released_at=None,
    )
    source = ReleaseSource(archives=(archive,))
    with contextlib.ExitStack() as held:
        assert stage_module._find_staged(store, source, held) == releases[1]
    with (
        (store.directory(releases[1].id) / "release.json").open("rb") as file,
        contextlib.ExitStack() as held,
    ):
        fcntl.flock(file, fcntl.LOCK_EX)
        assert stage_module._find_staged(store, source, held) == releases[0]
        # It is held for as long as the staging takes.
        with (store.directory(releases[0].id) / "release.json").open("rb") as other:
            with pytest.raises(BlockingIOError):
                fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for asked in (
            replace(archive, archive=LocalArchive(tmp_path / "x", size=1)),
            replace(archive, wanted_sha256="b" * 64),
        ):
            assert stage_module._find_staged(store, ReleaseSource(archives=(asked,)), held) is None


def test_the_same_content_by_another_tag_is_said_to_be_that(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = run(tmp_path).release
    again = tmp_path / ARCHIVE.replace("test", "boot-v2")
    (tmp_path / ARCHIVE).rename(again)
    assert "under another tag" not in caplog.text
    done = stage(build_settings(tmp_path / "state", release_tarball=str(again)))
    assert (done.release, done.outcome) == (first, StageOutcome.UNCHANGED)
    (warning,) = [record for record in caplog.records if "under another tag" in record.getMessage()]
    assert warning.levelname == "WARNING"
