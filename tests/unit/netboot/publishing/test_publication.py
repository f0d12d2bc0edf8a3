"""What is published: archives, sums, signature, the statement of their source, and a record of all."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from support.promoted import FORM, Promoted
from support.releases import release_files

from ectools.errors import InputError
from ectools.netboot.publishing.provenance import (
    ENVELOPE_NAME,
    PROVENANCE_NAME,
    STATEMENT_TYPE,
    BuildSource,
    build_statement,
)
from ectools.netboot.publishing.publication import is_packed, pack_publication, read_publication
from ectools.netboot.release.archive_writer import Compression
from ectools.netboot.release.checksums import parse_checksums
from ectools.netboot.signature.dsse import open_envelope

ARCHIVE = "ec-runner-x86_64-netboot-boot-v2026.03.02.tar.gz"


@pytest.fixture
def made(tmp_path: Path) -> Promoted:
    found = Promoted(home=tmp_path, place=str(tmp_path / "depot"), source=f"file:{tmp_path / 'depot'}")
    assert found.publish("boot-v2026.03.02") is True
    return found


def test_all_of_a_release_is_bound_to_its_signature(made: Promoted) -> None:
    directory = made.home / "depot/releases/boot-v2026.03.02"
    files = {path.name: path.read_bytes() for path in directory.iterdir()}
    assert set(files) == {
        *(ARCHIVE, "SHA256SUMS.txt", "SHA256SUMS.txt.sig", PROVENANCE_NAME, ENVELOPE_NAME, "release.json")
    }
    listed = parse_checksums(files["SHA256SUMS.txt"], where="it")
    assert listed == {name: hashlib.sha256(files[name]).hexdigest() for name in (ARCHIVE, PROVENANCE_NAME)}
    record = json.loads(files["release.json"])
    assert record["tag"] == "boot-v2026.03.02"
    assert {each["name"]: each["size"] for each in record["files"]} == {
        name: len(data) for name, data in files.items() if name != "release.json"
    }
    key = (made.home / "key.pub").read_bytes()
    sealed = open_envelope(files[ENVELOPE_NAME], STATEMENT_TYPE, form=FORM, public_key=key, where="it")
    assert sealed == files[PROVENANCE_NAME]
    statement = json.loads(sealed)
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["subject"] == [{"name": ARCHIVE, "digest": {"sha256": listed[ARCHIVE]}}]
    [dependency] = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert dependency == {"uri": "git+https://git.example.org/boot", "digest": {"gitCommit": "1" * 40}}
    assert statement["predicate"]["runDetails"]["metadata"] == {"finishedOn": "2026-03-02T00:00:00Z"}


def test_the_same_release_has_the_same_bytes(made: Promoted) -> None:
    assert made.publish("boot-v2026.03.02") is False


def test_what_was_packed_is_published_as_it_is(made: Promoted, tmp_path: Path) -> None:
    packed = made.home / "packed-boot-v2026.03.02-one"
    assert is_packed(packed)
    assert not is_packed(made.home / "output-one")
    work = tmp_path / "work"
    work.mkdir()
    assert made.open().publish(read_publication(packed, work, tag="boot-v2026.03.02")) is False
    (packed / ARCHIVE).write_bytes(b"another")
    with pytest.raises(InputError, match=r"is not what SHA256SUMS\.txt says"):
        read_publication(packed, work, tag="boot-v2026.03.02")
    (packed / ARCHIVE).unlink()
    with pytest.raises(InputError, match="which is not beside it"):
        read_publication(packed, work, tag="boot-v2026.03.02")
    (packed / "SHA256SUMS.txt").write_text(f"{'0' * 64}  readme.txt\n")
    with pytest.raises(InputError, match="lists no archive"):
        read_publication(packed, work, tag="boot-v2026.03.02")


def test_without_a_key_or_a_source(tmp_path: Path) -> None:
    output, out = tmp_path / "output", tmp_path / "out"
    output.mkdir()
    out.mkdir()
    for name, data in release_files().items():
        (output / name).write_bytes(data)
    options = {"compression": Compression.GZIP, "key": None}
    found = pack_publication([output], out, tag="boot-v1", source=BuildSource(), **options)
    names = [each.name for each in found.files]
    assert (names[0], names[-1]) == ("SHA256SUMS.txt", "release.json")
    assert ENVELOPE_NAME not in names
    statement = json.loads((out / PROVENANCE_NAME).read_bytes())
    assert statement["predicate"]["buildDefinition"]["resolvedDependencies"] == []
    with pytest.raises(InputError, match="is no tag"):
        pack_publication([output], out, tag="../x", source=BuildSource(), **options)


def test_a_source_that_is_none() -> None:
    for given in ({"commit": "1" * 40}, {"uri": "git+https://x", "commit": "main"}):
        with pytest.raises(InputError, match="is no commit of a source"):
            BuildSource(**given)
    for given in ({"uri": "git+https://bob:s3cret@x/y"}, {"builder": "https://s3cret@ci"}):
        with pytest.raises(InputError, match="an address with a user or a password") as caught:
            BuildSource(**given)
        assert "s3cret" not in str(caught.value)
    with pytest.raises(InputError, match="no --source is given"):
        BuildSource(lock="0" * 64)
    lock = BuildSource(uri="git+https://x", lock="0" * 64, builder="https://ci.example.org")
    statement = json.loads(build_statement({}, tag="t", source=lock, released_at=None))
    assert statement["predicate"]["runDetails"]["builder"]["id"] == "https://ci.example.org"
    (locked,) = statement["predicate"]["buildDefinition"]["resolvedDependencies"][1:]
    assert locked == {"name": "flake.lock", "digest": {"sha256": "0" * 64}}
    assert "metadata" not in statement["predicate"]["runDetails"]
