"""What was packed is one release of one tag, or it is refused before anything of it is sent."""

from __future__ import annotations

import hashlib
import io
import shutil
import tarfile
from typing import TYPE_CHECKING, Any

import pytest
from support.promoted import FORM, Promoted
from support.releases import release_files

from ectools.archive.decompress import ArchiveError
from ectools.errors import EcError, InputError
from ectools.netboot.publishing.packed import check_listed
from ectools.netboot.publishing.publication import read_publication
from ectools.netboot.release.archive_writer import Compression
from ectools.netboot.release.boot_entry import BootEntryError
from ectools.netboot.release.checksums import parse_checksums, parse_release_times, render_checksums
from ectools.netboot.release.pack import SigningKey, pack
from ectools.netboot.signature import make_signature

if TYPE_CHECKING:
    from pathlib import Path

TAG, OTHER = "boot-v2026.03.02", "boot-v2026.04.01"
SYSTEM = "ec-runner-x86_64-netboot"


@pytest.fixture
def made(tmp_path: Path) -> Promoted:
    return Promoted(home=tmp_path, place=str(tmp_path / "depot"), source=f"file:{tmp_path / 'depot'}")


def pack_to(made: Promoted, out: Path, *, tag: str = TAG, text: str = "one", **options: Any) -> Path:
    output = made.home / f"output-{text}"
    output.mkdir(exist_ok=True)
    for name, data in release_files(text).items():
        (output / name).write_bytes(data)
    key = SigningKey(format=FORM, file=made.home / "key")
    pack([output], out, tag=tag, key=key, **options)
    return out


def read(made: Promoted, packed: Path, *, tag: str = TAG) -> None:
    work = made.home / "work"
    work.mkdir(exist_ok=True)
    read_publication(packed, work, tag=tag)


def rename(made: Promoted, packed: Path, old: str, new: str) -> None:
    """As somebody does who renames an archive, and signs the sums anew."""
    (packed / old).rename(packed / new)
    rewrite(made, packed, {old: new})


def rewrite(made: Promoted, packed: Path, renamed: dict[str, str] | None = None) -> None:
    sums = (packed / "SHA256SUMS.txt").read_bytes()
    named = renamed or {}
    listed = [named.get(name, name) for name in parse_checksums(sums, where="it")]
    times = {named.get(name, name): at for name, at in parse_release_times(sums, where="it").items()}
    digests = {name: hashlib.sha256((packed / name).read_bytes()).hexdigest() for name in listed}
    text = render_checksums(digests, times)
    (packed / "SHA256SUMS.txt").write_bytes(text)
    (packed / "SHA256SUMS.txt.sig").write_bytes(make_signature(FORM, data=text, private_key=made.private))


def rewrite_archive(path: Path, change: dict[str, bytes | None]) -> None:
    """Its files with others in their place; None: without that."""
    with tarfile.open(path) as tar:
        files = {each.name: tar.extractfile(each).read() for each in tar}  # type: ignore[union-attr]
    files |= change  # type: ignore[arg-type]
    with tarfile.open(path, "w:gz") as tar:
        for name, data in files.items():
            if data is not None:
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))


def test_what_was_packed_is_good(made: Promoted) -> None:
    packed = pack_to(made, made.home / "packed")
    read(made, packed)
    assert sorted(path.name for path in (made.home / "work").iterdir()) == ["release.json"]


def test_what_was_packed_for_another_tag_is_refused_by_name(made: Promoted) -> None:
    packed = pack_to(made, made.home / "packed", tag=OTHER)
    with pytest.raises(InputError) as caught:
        read(made, packed)
    assert f"which is an archive of the tag {OTHER}, and the tag is {TAG}" in caught.value.message
    assert f"--tag {OTHER}" in (caught.value.hint or "")
    # Its name says the right tag, and its statement the other one.
    rename(made, packed, f"{SYSTEM}-{OTHER}.tar.gz", f"{SYSTEM}-{TAG}.tar.gz")
    with pytest.raises(InputError, match=rf"it says 'tag {OTHER}', and 'tag {TAG}' is so"):
        read(made, packed)


def test_two_archives_of_one_system_are_refused(made: Promoted) -> None:
    packed = pack_to(made, made.home / "packed")
    pack_to(made, packed, text="two", compression=Compression.XZ)
    with pytest.raises(InputError, match=rf"both are of the system {SYSTEM}, and no boot host"):
        read(made, packed)
    twice = pack_to(made, made.home / "twice", tag=OTHER)
    pack_to(made, twice)
    with pytest.raises(InputError, match="which is an archive of the tag"):
        read(made, twice)


def test_sums_and_statement_are_signed_by_one_program(made: Promoted) -> None:
    packed = pack_to(made, made.home / "packed")
    (packed / "SHA256SUMS.txt.sig").rename(packed / "SHA256SUMS.txt.minisig")
    with pytest.raises(InputError, match=r"is signed: \.sig; and SHA256SUMS\.txt beside it: \.minisig"):
        read(made, packed)
    (packed / "SHA256SUMS.txt.minisig").unlink()
    with pytest.raises(InputError, match="beside it: by nothing"):
        read(made, packed)


def test_a_time_of_release_that_is_not_the_statements_is_refused(made: Promoted) -> None:
    packed = pack_to(made, made.home / "packed", released_at=1_700_000_000)
    sums = packed / "SHA256SUMS.txt"
    sums.write_bytes(sums.read_bytes().replace(b"1700000000", b"1700000001"))
    rewrite(made, packed)
    with pytest.raises(InputError, match="it says 'counter 1700000000', and 'counter 1700000001' is so here"):
        read(made, packed)


@pytest.mark.parametrize(
    ("change", "kind", "words"),
    [
        ({"initrd": b"another"}, InputError, "is of another release: it says 'initrd "),
        ({"boot-statement.txt": b"every-channel-boot 2\n"}, InputError, "it says 'every-channel-boot 2'"),
        ({"boot-statement.txt": b""}, InputError, "it says ''"),
        ({"netboot.ipxe": None}, ArchiveError, r"has no netboot\.ipxe"),
        ({"netboot.ipxe": b"#!ipxe\nboot\n"}, BootEntryError, rf"^{SYSTEM}-{TAG}\.tar\.gz: netboot\.ipxe"),
        ({"kernel": b""}, BootEntryError, "the kernel kernel is empty"),
        ({"../kernel": b"x"}, ArchiveError, "kernel"),
    ],
)
def test_an_archive_that_is_refused_later_is_refused_here(
    made: Promoted, change: dict[str, bytes | None], kind: type[EcError], words: str
) -> None:
    packed = pack_to(made, made.home / "packed")
    rewrite_archive(packed / f"{SYSTEM}-{TAG}.tar.gz", change)
    rewrite(made, packed)
    with pytest.raises(kind, match=words):
        read(made, packed)


def test_an_empty_archive_is_refused(made: Promoted) -> None:
    packed = pack_to(made, made.home / "packed")
    (packed / f"{SYSTEM}-{TAG}.tar.gz").write_bytes(b"")
    rewrite(made, packed)
    with pytest.raises(ArchiveError):
        read(made, packed)


def test_an_archive_that_is_called_for_another_architecture_is_refused(made: Promoted) -> None:
    packed = pack_to(made, made.home / "packed")
    other = f"ec-runner-aarch64-netboot-{TAG}.tar.gz"
    shutil.copy(packed / f"{SYSTEM}-{TAG}.tar.gz", packed / other)
    sums = packed / "SHA256SUMS.txt"
    sums.write_bytes(sums.read_bytes() + b"0" * 64 + f"  {other}\n".encode())
    rewrite(made, packed)
    with pytest.raises(EcError, match=r"aarch64"):
        read(made, packed)


def test_a_tag_that_was_burnt_before_is_not_promoted(made: Promoted) -> None:
    """As a publisher of before has put it there."""
    made.publish(TAG)
    made.publish(OTHER)
    releases = made.home / "depot/releases"
    shutil.rmtree(releases / OTHER)
    shutil.copytree(releases / TAG, releases / OTHER)
    with pytest.raises(InputError, match=f"which is an archive of the tag {TAG}, and the tag is {OTHER}"):
        made.promote(OTHER, "stable")
    assert made.open().read_channel("stable") is None


ARCHIVE = f"{SYSTEM}-{TAG}.tar.gz"


@pytest.mark.parametrize(
    ("names", "tag", "words"),
    [
        ([ARCHIVE, "release.json"], TAG, "is made when it is published"),
        ([ARCHIVE, "SHA256SUMS.txt.sig"], TAG, "is made when it is published"),
        ([ARCHIVE, "a b"], TAG, "is no name of a published file"),
        ([ARCHIVE, "../a"], TAG, "is no name of a published file"),
        ([ARCHIVE, "a%2fb.tar.gz"], TAG, "is no name of a published file"),
        ([ARCHIVE, "a" * 256], TAG, "is no name of a published file"),
        (["readme.txt"], TAG, "lists no archive"),
        ([f"{SYSTEM}-{TAG}.tgz", ARCHIVE], TAG, "both are of the system"),
        ([f"a-{TAG}.tar.gz", "a.tar.gz"], TAG, "both are of the system a,"),
        ([ARCHIVE], f"sha256-{'0' * 32}", "looks like the id of a staged release"),
    ],
)
def test_names_that_are_refused(names: list[str], tag: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        check_listed(names, tag=tag, where="it")
    assert caught.value.hint


@pytest.mark.parametrize(
    "names",
    [
        [ARCHIVE],
        [ARCHIVE, f"ec-runner-aarch64-netboot-{TAG}.tar.xz", "provenance.json"],
        [f"appliance-{TAG}.tar.zst"],
        ["mine-netboot.tar.gz"],
    ],
)
def test_names_that_are_taken(names: list[str]) -> None:
    assert check_listed(names, tag=TAG, where="it") == sorted(n for n in names if n != "provenance.json")
