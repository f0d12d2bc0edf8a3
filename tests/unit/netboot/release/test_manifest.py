from __future__ import annotations

import json
import unicodedata
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.staged import make_system

from ectools.archive.file_record import FileRecord
from ectools.archive.names import _look_closer, find_name_fault, fold_name
from ectools.netboot.kernel import KernelArchitecture
from ectools.netboot.release.manifest import (
    BootEntry,
    ManifestError,
    Release,
    System,
    build_id,
    parse_manifest,
    render_manifest,
)
from ectools.netboot.release.systems import find_system_name

NAMES = st.text(min_size=1, max_size=20).filter(lambda name: find_name_fault(name) is None)
RECORDS = st.builds(
    FileRecord, size=st.integers(0, 2**63), sha256=st.binary(min_size=32, max_size=32).map(bytes.hex)
)
FILES = st.dictionaries(NAMES, RECORDS, min_size=1, max_size=6)
TEXT = st.text(max_size=20)
SYSTEM_NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)


@st.composite
def releases(draw: st.DrawFn) -> Release:
    tag = draw(st.none() | TEXT)
    names = sorted(draw(st.sets(SYSTEM_NAMES, max_size=3)))
    files: dict[str, FileRecord] = {}
    systems = []
    for name in names if len(names) > 1 else [""]:
        prefix = f"{name}/" if name else ""
        own = {f"{prefix}{file}": record for file, record in draw(FILES).items()}
        files |= own
        systems.append(draw(systems_of(sorted(own), name, tag)))
    return Release(
        id=build_id(files),
        tag=tag,
        staged_at=draw(st.integers(0, 2**37)),
        files=files,
        systems=tuple(systems),
    )


@st.composite
def systems_of(draw: st.DrawFn, files: list[str], name: str, tag: str | None) -> System:
    """A system that boots some of these files; without a name, the only one of its release."""
    file, architecture = st.sampled_from(files), st.sampled_from(KernelArchitecture)
    archive = draw(TEXT)
    return System(
        name=name or find_system_name(archive, tag),
        architecture=draw(architecture if name else st.none() | architecture),
        source=draw(TEXT),
        archive_name=archive,
        archive_sha256=draw(RECORDS).sha256,
        boot=BootEntry(
            kernel=draw(file),
            arguments=tuple(draw(st.lists(TEXT, max_size=4))),
            initrds=tuple(draw(st.lists(file, max_size=3))),
        ),
    )


@settings(deadline=None)
@given(releases())
def test_a_record_is_read_as_it_was_written(release: Release) -> None:
    assert parse_manifest(render_manifest(release), where="release.json") == release


@settings(deadline=None)
@given(FILES, st.randoms())
def test_the_id_does_not_depend_on_order(files: dict[str, FileRecord], random: Any) -> None:
    names = list(files)
    random.shuffle(names)
    assert build_id({name: files[name] for name in names}) == build_id(files)


@settings(deadline=None)
@given(FILES, FILES)
def test_other_content_has_another_id(one: dict[str, FileRecord], other: dict[str, FileRecord]) -> None:
    assume(one != other)
    assert build_id(one) != build_id(other)


@settings(deadline=None)
@given(FILES)
def test_a_name_is_a_part_of_the_content(files: dict[str, FileRecord]) -> None:
    name = min(files)
    assume(f"{name}x" not in files and find_name_fault(f"{name}x") is None)
    renamed = {f"{key}x" if key == name else key: record for key, record in files.items()}
    assert build_id(renamed) != build_id(files)


GOOD = Release(
    id=build_id({"kernel": FileRecord(size=1, sha256="0" * 64)}),
    tag=None,
    staged_at=0,
    files={"kernel": FileRecord(size=1, sha256="0" * 64)},
    systems=(make_system(BootEntry(kernel="kernel", arguments=(), initrds=())),),
)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"format": 3}, "format: 3; this program reads 1 and 2"),
        ({"architecture": "vax"}, "architecture: one of i686, x86_64, "),
        ({"id": "../../etc"}, "id: sha256-"),
        ({"id": "sha256-" + "0" * 32}, "is not that of the files"),
        ({"tag": 7}, "tag: a string"),
        ({"source": None}, "source: a string"),
        ({"archive_sha256": "00"}, "archive_sha256:"),
        ({"staged_at": -1}, "staged_at: a number"),
        ({"staged_at": True}, "staged_at: a number"),
        ({"staged_at": 10**12}, "staged_at: a number"),
        ({"files": []}, "files: an object"),
        ({"files": {"kernel": 1}}, "kernel: an object"),
        ({"files": {"../x": {"size": 1, "sha256": "0" * 64}}}, "leads out of the directory"),
        ({"files": {"kernel": {"size": 1.5, "sha256": "0" * 64}}}, "files.kernel.size"),
        ({"boot": {"kernel": "other", "arguments": [], "initrds": []}}, "boot: names a file"),
        ({"boot": {"kernel": "kernel", "arguments": "x", "initrds": [1]}}, "boot.arguments.*boot.initrds"),
    ],
)
def test_a_bad_record(change: dict[str, Any], words: str) -> None:
    raw = {**json.loads(render_manifest(GOOD)), **change}
    with pytest.raises(ManifestError, match=words):
        parse_manifest(json.dumps(raw).encode(), where="release.json")


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100000])
def test_what_is_no_record(data: bytes) -> None:
    with pytest.raises(ManifestError, match=r"release\.json"):
        parse_manifest(data, where="release.json")


def test_what_a_release_tells_of_itself() -> None:
    assert (GOOD.size, GOOD.title) == (1, GOOD.id)
    assert replace(GOOD, tag="boot-v1").title == f"boot-v1 ({GOOD.id})"


@settings(deadline=None)
@given(st.text(max_size=40))
def test_a_good_name_has_one_spelling(name: str) -> None:
    if find_name_fault(name) is None:
        assert not name.startswith("/")
        assert all(segment not in ("", ".", "..") for segment in name.split("/"))
        assert fold_name(fold_name(name)) == fold_name(name)


@settings(deadline=None)
@given(
    st.one_of(
        st.text(max_size=20),
        st.text(alphabet="a.-/Z\n", max_size=12),
        st.builds(str.__mul__, st.sampled_from(["a", "a/", "ab/c", "./", "../"]), st.integers(0, 600)),
        st.sampled_from(["release.json", "release.json/a", "a/release.json", "release.jso", "a\n", "\u00e9"]),
    )
)
def test_one_look_says_what_a_closer_one_says(name: str) -> None:
    assert find_name_fault(name) == _look_closer(name)


@settings(deadline=None)
@given(st.text(alphabet=st.characters(max_codepoint=0x180), max_size=20))
def test_names_are_folded_by_unicodes_rules(name: str) -> None:
    form = "NFKC"
    assert fold_name(name) == unicodedata.normalize(form, unicodedata.normalize(form, name).casefold())
