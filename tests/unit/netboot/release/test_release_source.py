"""Which sum and which time count for an archive, and what must be published beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support.fetching import RETRY
from support.forge import DOWNLOADS, Forge, body
from support.releases import ARCHIVE, build_settings
from support.signing import Minisign

from ectools.errors import InputError
from ectools.files import FileError
from ectools.netboot.release.checksums import ChecksumsError
from ectools.netboot.release.download import Download, LocalArchive
from ectools.netboot.release.source import ArchiveSource, find_source
from ectools.netboot.signature import SignatureError

if TYPE_CHECKING:
    from pathlib import Path

SUM = "a" * 64
SUMS = f"{SUM}  {ARCHIVE}\n"


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    (tmp_path / ARCHIVE).write_bytes(b"archive")
    return tmp_path


def find(directory: Path, **flags: Any) -> ArchiveSource:
    tarball = {"release_tarball": str(directory / ARCHIVE), **flags}
    (found,) = find_source(build_settings(directory / "state", **tarball).release, RETRY).archives
    return found


def sign(directory: Path, sums: str, comment: bytes = b"timestamp:5") -> dict[str, str]:
    """Publish ``sums`` with their signature; the settings that pin its key."""
    key = Minisign()
    (directory / "SHA256SUMS.txt").write_text(sums)
    (directory / "SHA256SUMS.txt.minisig").write_bytes(key.sign(sums.encode(), comment))
    (directory / "key.pub").write_bytes(key.public())
    return {
        "release_signature.format": "minisign",
        "release_signature.publicKeyFile": str(directory / "key.pub"),
    }


def test_an_archive_of_this_machine(directory: Path) -> None:
    (directory / "SHA256SUMS.txt").write_text(SUMS)
    source = find(directory)
    assert isinstance(source.archive, LocalArchive)
    assert (source.archive.name, source.archive.size) == (ARCHIVE, 7)
    assert source.archive.source == str(directory / ARCHIVE)
    assert (source.tag, source.wanted_sha256) == ("test", SUM)
    assert source.sums == str(directory / "SHA256SUMS.txt")
    assert (source.is_signed, source.released_at) == (False, None)


@pytest.mark.parametrize(
    ("name", "tag"),
    [
        ("ec-runner-x86_64-netboot-boot-v2026.03.02.tar.gz", "boot-v2026.03.02"),
        ("ec-runner-aarch64-netboot-v1.tar.zst", "v1"),
        ("ec-runner-x86_64-netboot-a+b_c.tgz", "a+b_c"),
        ("ec-runner-x86_64-netboot-v1.tar", "v1"),
        ("ec-runner-x86_64-netboot-v1.tzst", "v1"),
        ("ec-runner-x86_64-netboot-.tar.gz", None),
        ("ec-runner-x86_64-netboot-v1.zip", None),
        ("release.tar.gz", None),
        ("my-ec-runner-x86_64-netboot-v1.tar.gz", None),
    ],
)
def test_the_tag_of_a_local_archive_is_its_names(tmp_path: Path, name: str, tag: str | None) -> None:
    (tmp_path / name).write_bytes(b"archive")
    settings = build_settings(tmp_path / "state", release_tarball=str(tmp_path / name))
    assert find_source(settings.release, RETRY).tag == tag


def test_an_archive_of_a_forge(forge: Forge, directory: Path) -> None:
    flags = {"release_tarball": None, "release_host": forge.url, "release_repo": "owner/name"}
    forge.answers[f"{DOWNLOADS}/SHA256SUMS.txt"] = [body(SUMS.encode())]
    forge.publish(sums=SUMS)
    source = find(directory, **flags)
    assert isinstance(source.archive, Download)
    assert source.archive.source == f"{forge.url}{DOWNLOADS}/{ARCHIVE}"
    assert (source.tag, source.wanted_sha256, source.sums) == ("boot-v1", SUM, "SHA256SUMS.txt of boot-v1")
    assert (source.is_signed, source.released_at) == (False, None)
    assert forge.asked_archive() == []


def test_without_sums_there_is_a_warning_in_capitals(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = find(directory)
    assert (source.wanted_sha256, source.released_at) == (None, None)
    (record,) = caplog.records
    assert record.levelname == "WARNING"
    assert record.getMessage() == (
        "NO SHA256SUMS.txt IS PUBLISHED: nothing tells whether the archive is what it was"
    )
    assert record.__dict__["fields"] == {"archive": ARCHIVE}


def test_without_sums_that_are_required_there_is_an_error(directory: Path) -> None:
    with pytest.raises(ChecksumsError) as caught:
        find(directory, release_requireSums=True)
    where = f"{directory}: there is no SHA256SUMS.txt, and "
    assert caught.value.message == f"{where}release.requireSums is set"
    assert caught.value.hint == f"publish it beside {ARCHIVE}: `sha256sum {ARCHIVE} > SHA256SUMS.txt`"
    pinned = sign(directory, SUMS)
    (directory / "SHA256SUMS.txt").unlink()
    with pytest.raises(ChecksumsError) as caught:
        find(directory, **pinned)
    assert caught.value.message.startswith(f"{where}a signature of it is required (SHA256SUMS.txt.minisig: ")


def test_a_signature_that_is_missing_is_told(directory: Path) -> None:
    pinned = sign(directory, SUMS)
    (directory / "SHA256SUMS.txt.minisig").unlink()
    with pytest.raises(SignatureError) as caught:
        find(directory, **pinned)
    assert caught.value.message == (
        f"{directory}: there is no SHA256SUMS.txt.minisig, and release.signature pins a key"
    )
    assert caught.value.hint == "a release that is not signed is not staged while a key is pinned"


def test_a_signature_that_is_wrong_is_told_with_its_file_and_the_key(directory: Path) -> None:
    pinned = sign(directory, SUMS)
    (directory / "SHA256SUMS.txt").write_text(SUMS + "\n")
    with pytest.raises(SignatureError) as caught:
        find(directory, **pinned)
    assert caught.value.message.startswith(f"SHA256SUMS.txt.minisig of {directory}: not what the key ")
    assert caught.value.message.endswith(f" signed (the key is {directory}/key.pub)")
    assert caught.value.hint == "nothing was staged"
    (directory / "key.pub").write_bytes(Minisign().public())
    with pytest.raises(SignatureError) as caught:
        find(directory, **pinned)
    assert caught.value.hint == "if the publisher changed keys, pin the new one"


def test_a_signature_is_looked_at_before_the_sums(directory: Path) -> None:
    pinned = sign(directory, SUMS)
    (directory / "SHA256SUMS.txt").write_text("nonsense")
    with pytest.raises(SignatureError):
        find(directory, **pinned)


def test_what_is_signed_is_told(directory: Path, caplog: pytest.LogCaptureFixture) -> None:
    pinned = sign(directory, SUMS)
    caplog.set_level("INFO", logger="ectools")
    assert find(directory, **pinned).is_signed
    (record,) = caplog.records
    assert record.getMessage() == "the published sums are signed by the pinned key"
    assert record.__dict__["fields"] == {"format": "minisign"}


@pytest.mark.parametrize(
    ("sums", "comment", "released_at"),
    [
        (SUMS, b"timestamp:5", 5),
        (SUMS, b"x", None),
        (f"# timestamp: 7  {ARCHIVE}\n{SUMS}", b"timestamp:5", 7),
        (f"# timestamp: 7  {ARCHIVE}\n{SUMS}", b"x", 7),
        (f"# timestamp: 0  {ARCHIVE}\n{SUMS}", b"timestamp:5", 0),
        (f"# timestamp: 7  other\n{SUMS}", b"timestamp:5", None),
    ],
)
def test_when_it_was_released(sums: str, comment: bytes, released_at: int | None, directory: Path) -> None:
    pinned = sign(directory, sums, comment)
    assert find(directory, **pinned).released_at == released_at
    # Where nobody checks who says so, nobody has said it.
    assert find(directory).released_at is None


def test_the_sum_is_that_of_the_archives_name(directory: Path) -> None:
    (directory / "SHA256SUMS.txt").write_text(f"{SUM}  other\n")
    with pytest.raises(ChecksumsError, match=rf"^SHA256SUMS.txt of {directory}: {ARCHIVE} is not listed"):
        find(directory)


@pytest.mark.parametrize(
    ("name", "limit"),
    [("SHA256SUMS.txt", 1 << 20), ("SHA256SUMS.txt.minisig", 64 << 10), ("key.pub", 64 << 10)],
)
def test_what_is_published_has_a_size(name: str, limit: int, directory: Path) -> None:
    pinned = sign(directory, SUMS)
    path = directory / name
    path.write_bytes(path.read_bytes().ljust(limit + 1, b"\n"))
    with pytest.raises(FileError, match=rf"{name}: is larger than {limit} bytes"):
        find(directory, **pinned)
    padded = path.read_bytes()[:-1]
    if name == "SHA256SUMS.txt":
        pinned = sign(directory, padded.decode())
    path.write_bytes(padded)
    assert find(directory, **pinned).wanted_sha256 == SUM


def test_a_tarball_that_is_none(directory: Path) -> None:
    hint = "release.tarball, or --tarball, names a release's archive"
    with pytest.raises(InputError, match=r"missing: cannot be read: No such file or directory$") as caught:
        find(directory, release_tarball=str(directory / "missing"))
    assert caught.value.hint == hint
    with pytest.raises(InputError, match=rf"^{directory}: is not a file$") as caught:
        find(directory, release_tarball=str(directory))
    assert caught.value.hint == hint
