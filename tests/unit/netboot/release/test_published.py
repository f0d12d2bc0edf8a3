"""Sums under other names than SHA256SUMS.txt: used where they can be, and else named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support.fetching import RETRY
from support.forge import API, DOWNLOADS, Forge, body
from support.releases import ARCHIVE, build_settings, release_files, write_archive
from support.signing import Minisign

from ectools.netboot.release.checksums import MAX_SUMS_BYTES, ChecksumsError
from ectools.netboot.release.published import Published, PublishedSum, find_published_sum
from ectools.netboot.release.source import ArchiveSource, find_source
from ectools.netboot.release.stage import stage

if TYPE_CHECKING:
    from pathlib import Path

SUM, OTHER = "a" * 64, "b" * 64
LINE = f"{SUM}  {ARCHIVE}\n"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / ARCHIVE).write_bytes(b"archive")
    return tmp_path


def find(directory: Path, **flags: Any) -> ArchiveSource:
    tarball = {"release_tarball": str(directory / ARCHIVE), **flags}
    (found,) = find_source(build_settings(directory / "state", **tarball).release, RETRY).archives
    return found


def warnings(caplog: pytest.LogCaptureFixture) -> list[tuple[str, dict[str, Any]]]:
    records = [record for record in caplog.records if record.levelname == "WARNING"]
    return [(record.getMessage(), record.__dict__["fields"]) for record in records]


def test_what_else_lies_beside_a_local_archive_and_cannot_be_read_is_named(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with (directory / "CHECKSUMS").open("wb") as large:
        large.truncate(MAX_SUMS_BYTES + 1)
    assert find(directory).wanted_sha256 is None
    ((_message, fields),) = warnings(caplog)
    assert "CHECKSUMS" in fields["published"]
    with pytest.raises(ChecksumsError, match="CHECKSUMS"):
        find(directory, release_requireSums=True)
    (directory / f"{ARCHIVE}.sha256").write_text(LINE)
    assert find(directory).wanted_sha256 == SUM


@pytest.mark.parametrize(
    "name",
    [
        *("SHA256SUMS", "sha256sums.txt", "Sha256Sum.txt", "sha256.txt", "sha256.sum", "ec_1.2_SHA256SUMS"),
        *(
            "checksums.txt",
            "CHECKSUM",
            "sha256-checksums.txt",
            "checksums_sha256.txt",
            "ec_1.2_checksums.txt",
        ),
        *(f"{ARCHIVE}.sha256", f"{ARCHIVE}.SHA256SUM", f"{ARCHIVE}.sha256.txt", f"{ARCHIVE}.sha256sums"),
    ],
)
def test_other_usual_names_are_used(directory: Path, name: str, caplog: pytest.LogCaptureFixture) -> None:
    (directory / name).write_text(LINE)
    source = find(directory, release_requireSums=True)
    assert (source.wanted_sha256, source.sums) == (SUM, str(directory / name))
    assert warnings(caplog) == []


def test_the_own_name_comes_before_all_others(directory: Path) -> None:
    for name in ("SHA256SUMS", f"{ARCHIVE}.sha256", "checksums.txt"):
        (directory / name).write_text(LINE)
    (directory / "SHA256SUMS.txt").write_text(f"{OTHER}  {ARCHIVE}\n")
    assert find(directory).wanted_sha256 == OTHER
    # It is the one to be told of, whatever else is there.
    (directory / "SHA256SUMS.txt").write_text(f"{OTHER}  other\n")
    with pytest.raises(ChecksumsError, match=r"SHA256SUMS\.txt of .* is not listed in it"):
        find(directory)


def test_a_list_of_sha256_comes_before_the_archives_own_and_that_before_the_rest(directory: Path) -> None:
    (directory / "checksums.txt").write_text(f"{OTHER}  {ARCHIVE}\n")
    (directory / f"{ARCHIVE}.sha256").write_text(SUM)
    assert find(directory).wanted_sha256 == SUM
    (directory / "sha256sums").write_text(f"{'c' * 64}  {ARCHIVE}\n")
    assert find(directory).wanted_sha256 == "c" * 64


def test_what_cannot_be_used_is_passed_over_and_named(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (directory / "SHA256SUMS").write_text(f"{SUM}  other\n")
    (directory / "checksums.txt").write_bytes(LINE.encode("utf-16"))
    (directory / "SHA512SUMS").write_text(f"{SUM}{SUM}  {ARCHIVE}\n")
    (directory / f"{ARCHIVE}.md5").write_text("x")
    (directory / "SHA256SUMS (1).txt").write_text(LINE)
    # Another archive's.
    (directory / "other.tar.gz").write_text("x")
    (directory / "other.tar.gz.sha256").write_text(SUM)
    (directory / "notes.txt").write_text("x")
    assert find(directory).wanted_sha256 is None
    ((message, fields),) = warnings(caplog)
    assert message == (
        "NO SHA256SUMS.txt IS PUBLISHED, and what is cannot be used: nothing tells whether the archive is "
        "what it was"
    )
    assert fields["archive"] == ARCHIVE
    for words in (
        "SHA512SUMS: is not read: SHA-256 sums are not called so",
        f"{ARCHIVE}.md5: is not read",
        "SHA256SUMS (1).txt: is not read",
        f"SHA256SUMS: SHA256SUMS of {directory}: {ARCHIVE} is not listed in it; listed are other",
        f"checksums.txt: checksums.txt of {directory}: is UTF-16 text, not UTF-8",
    ):
        assert words in fields["published"]
    assert "other.tar.gz" not in fields["published"]
    assert "notes.txt" not in fields["published"]


def test_where_sums_are_required_the_error_names_what_is_there(directory: Path) -> None:
    (directory / "md5sums.txt").write_text("x")
    with pytest.raises(ChecksumsError) as caught:
        find(directory, release_requireSums=True)
    assert caught.value.message == (
        f"{directory}: there is no SHA256SUMS.txt, and release.requireSums is set "
        "(md5sums.txt: is not read: SHA-256 sums are not called so)"
    )


def test_sums_of_another_name_are_signed_under_that_name(directory: Path) -> None:
    key = Minisign()
    (directory / "key.pub").write_bytes(key.public())
    (directory / "SHA256SUMS").write_text(LINE)
    pinned = {
        "release_signature.format": "minisign",
        "release_signature.publicKeyFile": str(directory / "key.pub"),
    }
    with pytest.raises(
        ChecksumsError, match=r"a signature of it is required \(SHA256SUMS: .*no SHA256SUMS\.min"
    ):
        find(directory, **pinned)
    (directory / "SHA256SUMS.minisig").write_bytes(key.sign(LINE.encode(), b"timestamp:5"))
    source = find(directory, **pinned)
    assert (source.wanted_sha256, source.is_signed, source.released_at) == (SUM, True, 5)
    (directory / "SHA256SUMS").write_text(LINE + "\n")
    with pytest.raises(ChecksumsError, match="not what the key"):
        find(directory, **pinned)


def test_a_sum_of_another_name_that_does_not_match_is_refused_too(tmp_path: Path) -> None:
    archive = write_archive(tmp_path, release_files())
    (tmp_path / f"{ARCHIVE}.sha256").write_text(SUM)
    with pytest.raises(ChecksumsError, match=rf"{ARCHIVE}\.sha256 says {SUM}"):
        stage(build_settings(tmp_path / "state", release_tarball=str(archive)))
    assert not (tmp_path / "state/current").exists()


def test_at_most_eight_files_are_read(directory: Path) -> None:
    asked: list[str] = []

    def read(name: str, limit: int) -> bytes | None:
        asked.append(name)
        return None if name == "SHA256SUMS.txt" else f"{SUM}  other\n".encode()[:limit]

    names = [f"v{number}_checksums.txt" for number in range(20)]
    settings = build_settings(directory / "state").release
    found = find_published_sum(Published(where="here", names=lambda: names, read=read), ARCHIVE, settings)
    assert found == PublishedSum(name=None, sha256=None, released_at=None)
    assert len(asked) == 9


def test_a_file_that_has_gone_meanwhile_is_none(directory: Path) -> None:
    published = Published(where="here", names=lambda: ["SHA256SUMS"], read=lambda _name, _limit: None)
    assert find_published_sum(published, ARCHIVE, build_settings(directory / "state").release).name is None


def test_the_files_of_a_forges_release_are_looked_at(forge: Forge, directory: Path) -> None:
    assets = [
        {"name": name, "size": size, "browser_download_url": f"{forge.url}{DOWNLOADS}/{name}"}
        for name, size in ((ARCHIVE, len(forge.archive)), ("checksums.txt", len(LINE)))
    ]
    forge.publish(assets=assets)
    forge.answers[f"{DOWNLOADS}/checksums.txt"] = [body(LINE.encode())]
    flags = {"release_tarball": None, "release_host": forge.url, "release_repo": "owner/name"}
    source = find(directory, **flags)
    assert (source.wanted_sha256, source.sums) == (SUM, "checksums.txt of boot-v1")
    assert [path for path, _ in forge.seen] == [f"{API}/latest", f"{DOWNLOADS}/checksums.txt"]


def test_a_directory_that_is_not_to_be_looked_into_has_no_other_names(
    directory: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (directory / "SHA256SUMS").write_text(LINE)

    def refuse(_path: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.iterdir", refuse)
    assert find(directory).wanted_sha256 is None
    assert warnings(caplog)[0][0].startswith("NO SHA256SUMS.txt IS PUBLISHED: nothing tells")
