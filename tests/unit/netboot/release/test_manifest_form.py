"""The record of a release as it stands on the disk, which another version of this program will read."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import pytest
from support.staged import ARGUMENTS, make_system, make_systems

from ectools.archive.file_record import FileRecord
from ectools.netboot.kernel import KernelArchitecture
from ectools.netboot.release.manifest import (
    BootEntry,
    ManifestError,
    Release,
    build_id,
    parse_manifest,
    render_manifest,
)

if TYPE_CHECKING:
    from collections.abc import Callable

A, B = FileRecord(size=7, sha256="a" * 64), FileRecord(size=0, sha256="b" * 64)
FILES = {"z": A, "\u00fc": B, "a": B}
RELEASE = Release(
    id=build_id(FILES),
    tag="boot-v1",
    staged_at=5,
    files=FILES,
    systems=(
        make_system(
            BootEntry(kernel="z", arguments=("a=b", "${cmdline}"), initrds=("a",)), name="x", sha256="c" * 64
        ),
    ),
)
TEXT = """{
  "format": 1,
  "id": "%s",
  "tag": "boot-v1",
  "source": "/srv/x.tar.gz",
  "archive_name": "x.tar.gz",
  "archive_sha256": "%s",
  "staged_at": 5,
  "files": {
    "a": {
      "size": 0,
      "sha256": "%s"
    },
    "z": {
      "size": 7,
      "sha256": "%s"
    },
    "\\u00fc": {
      "size": 0,
      "sha256": "%s"
    }
  },
  "boot": {
    "kernel": "z",
    "arguments": [
      "a=b",
      "${cmdline}"
    ],
    "initrds": [
      "a"
    ]
  }
}
"""


def test_a_record() -> None:
    assert render_manifest(RELEASE).decode() == TEXT % (RELEASE.id, "c" * 64, "b" * 64, "a" * 64, "b" * 64)


def test_an_id_is_the_hash_of_the_files_in_the_order_of_their_names_bytes() -> None:
    listing = f'[["a",0,"{"b" * 64}"],["z",7,"{"a" * 64}"],["\u00fc",0,"{"b" * 64}"]]'
    assert build_id(FILES) == "sha256-" + sha256(listing.encode()).hexdigest()[:32]
    assert build_id({}) == "sha256-" + sha256(b"[]").hexdigest()[:32]


def parse(**changes: Any) -> Release:
    raw = {**json.loads(render_manifest(RELEASE)), **changes}
    return parse_manifest(json.dumps(raw).encode(), where="there")


def fail(**changes: Any) -> ManifestError:
    with pytest.raises(ManifestError) as caught:
        parse(**changes)
    return caught.value


def test_numbers_at_their_limits() -> None:
    assert parse(staged_at=253402300799).staged_at == 253402300799
    assert parse(staged_at=0).staged_at == 0
    for wrong in (-1, 253402300800, True, 1.0, "1", None):
        assert fail(staged_at=wrong).message == (
            "there: cannot be used: staged_at: a number from 0 to 253402300799 was expected"
        )
    files = {"z": FileRecord(size=1 << 63, sha256="a" * 64)}
    changed = {"files": {"z": {"size": 1 << 63, "sha256": "a" * 64}}, "id": build_id(files)}
    boot = {"kernel": "z", "arguments": [], "initrds": []}
    assert parse(**changed, boot=boot).size == 1 << 63
    changed["files"] = {"z": {"size": (1 << 63) + 1, "sha256": "a" * 64}}
    assert fail(**changed, boot=boot).message == (
        f"there: cannot be used: files.z.size: a number from 0 to {1 << 63} was expected"
    )


def test_all_that_is_wrong_is_told_at_once() -> None:
    error = fail(
        id="x",
        tag=7,
        source=7,
        archive_name=None,
        archive_sha256="A" * 64,
        staged_at=-1,
        files={},
        boot={"kernel": 7, "arguments": ["a", 7], "initrds": "a"},
    )
    assert error.message == (
        "there: cannot be used: id: sha256-[0-9a-f]{32} was expected; tag: a string was expected; "
        "source: a string was expected; archive_name: a string was expected; "
        "archive_sha256: [0-9a-f]{64} was expected; boot.kernel: a string was expected; "
        "boot.arguments: an array of strings was expected; boot.initrds: an array of strings was expected; "
        "and 1 more"
    )
    assert error.hint == "stage its archive again: that writes the record anew"


def test_what_is_wrong_with_files() -> None:
    error = fail(files={"../x": {"size": 1, "sha256": "a" * 64}, "y": 7})
    assert error.message == "there: cannot be used: " + "; ".join(
        (
            "files: the name '../x' leads out of the directory",
            "y: an object was expected",
            f"files.y.size: a number from 0 to {1 << 63} was expected",
            "files.y.sha256: [0-9a-f]{64} was expected",
        )
    )
    assert fail(files=7).message.startswith("there: cannot be used: files: an object was expected")
    assert "boot: an object was expected" in fail(boot=[]).message


def test_a_boot_entry_names_files_of_the_release() -> None:
    for boot in ({"kernel": "x", "initrds": []}, {"kernel": "z", "initrds": ["a", "x"]}):
        assert fail(boot={"arguments": [], **boot}).message == (
            "there: cannot be used: boot: names a file that the release does not hold"
        )
    assert fail(id="sha256-" + "0" * 32).message == (
        "there: cannot be used: id: is not that of the files listed"
    )


def test_another_format_and_what_is_no_record() -> None:
    error = fail(format=3)
    assert error.message == "there: format: 3; this program reads 1 and 2"
    assert fail(format=True).message == "there: format: True; this program reads 1 and 2"
    assert error.hint == "it was written by another version of ectools"
    for data, words in ((b"[]", "there: an object was expected"), (b"{", "there: not JSON: Expecting")):
        with pytest.raises(ManifestError) as caught:
            parse_manifest(data, where="there")
        assert caught.value.message.startswith(words)
        assert caught.value.hint == "stage its archive again: that writes the record anew"


SYSTEMS, _ = make_systems({"a": KernelArchitecture.X86_64, "b": KernelArchitecture.AARCH64})


def fail_systems(change: Callable[[dict[str, Any]], object]) -> str:
    """What is wrong with the record of two systems once it is changed."""
    raw = json.loads(render_manifest(SYSTEMS))
    change(raw)
    with pytest.raises(ManifestError) as caught:
        parse_manifest(json.dumps(raw).encode(), where="there")
    return caught.value.message.removeprefix("there: cannot be used: ")


def test_a_record_of_several_systems() -> None:
    raw = json.loads(render_manifest(SYSTEMS))
    assert list(raw) == ["format", "id", "tag", "staged_at", "files", "systems"]
    assert (raw["format"], list(raw["systems"])) == (2, ["a", "b"])
    assert raw["systems"]["b"] == {
        "source": "/srv/b.tar.gz",
        "archive_name": "b.tar.gz",
        "archive_sha256": sha256(b"b").hexdigest(),
        "architecture": "aarch64",
        "boot": {"kernel": "b/bzImage", "arguments": list(ARGUMENTS), "initrds": ["b/initrd"]},
    }
    assert parse_manifest(render_manifest(SYSTEMS), where="there") == SYSTEMS
    assert SYSTEMS.find_system("b/initrd") == SYSTEMS.systems[1]
    assert SYSTEMS.find_system("initrd") is None


def test_what_is_wrong_with_systems() -> None:
    assert fail_systems(lambda raw: raw["systems"].pop("b")) == "systems: several were expected"
    assert fail_systems(lambda raw: raw.update(systems=7)) == (
        "systems: an object was expected; systems: several were expected"
    )
    assert "systems: '../x' is no name of a system" in fail_systems(
        lambda raw: raw["systems"].update({"../x": raw["systems"].pop("a")})
    )
    assert fail_systems(lambda raw: raw["systems"]["a"].pop("architecture")) == (
        "systems.a.architecture: must be there"
    )
    assert fail_systems(lambda raw: raw["systems"]["a"]["boot"].update(kernel="b/bzImage")) == (
        "systems.a.boot: names a file that is not in the directory a"
    )
    assert fail_systems(lambda raw: raw["systems"]["a"]["boot"].update(kernel="a/none")) == (
        "boot: names a file that the release does not hold"
    )
    assert fail_systems(lambda raw: raw["systems"]["a"].update(archive_sha256="")) == (
        "systems.a.archive_sha256: [0-9a-f]{64} was expected"
    )


def test_a_release_without_a_tag() -> None:
    assert parse(tag=None).tag is None
    assert replace(RELEASE, tag=None).title == RELEASE.id
    assert (RELEASE.title, RELEASE.size) == (f"boot-v1 ({RELEASE.id})", 7)
