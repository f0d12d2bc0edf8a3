"""Changes between schemas as text, JSON, JUnit XML and an exit status."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Any

import pytest

from ectools.errors import InputError
from ectools.files import FileError
from ectools.options.drift import Change, ChangeKind, worst
from ectools.options.reporting import (
    compare_paths,
    drift_exit_status,
    write_drift_json,
    write_drift_junit,
    write_drift_text,
)

if TYPE_CHECKING:
    from pathlib import Path

DOCS = Change(kind=ChangeKind.DOCS, option="a", message="the description differs", old="x", new="ÿ")
COMPATIBLE = Change(kind=ChangeKind.COMPATIBLE, option="b", message="it is new", new={"type": "string"})
BREAKING = Change(kind=ChangeKind.BREAKING, option="c", message="it is gone", old={"type": "null"})


@pytest.mark.parametrize(
    ("changes", "kind", "status"),
    [
        ([], None, 0),
        ([DOCS], ChangeKind.DOCS, 3),
        ([COMPATIBLE, DOCS], ChangeKind.COMPATIBLE, 4),
        ([DOCS, BREAKING, COMPATIBLE], ChangeKind.BREAKING, 5),
    ],
)
def test_the_status_is_that_of_the_worst(changes: list[Change], kind: ChangeKind | None, status: int) -> None:
    assert worst(changes) is kind
    assert drift_exit_status(changes) == status


def test_text_has_the_worst_first_and_keeps_the_order_within_a_kind() -> None:
    later = Change(kind=ChangeKind.BREAKING, option="a", message="it must be set now")
    assert write_drift_text([DOCS, BREAKING, COMPATIBLE, later]).splitlines() == [
        "breaking: c: it is gone",
        "breaking: a: it must be set now",
        "compatible: b: it is new",
        "docs: a: the description differs",
    ]
    assert write_drift_text([]) == ""


def test_json_has_every_change_with_both_sides() -> None:
    text = write_drift_json([DOCS, BREAKING])
    assert "ÿ" in text
    assert text.splitlines()[1] == '  "worst": "breaking",'
    assert json.loads(text) == {
        "worst": "breaking",
        "changes": [
            {"kind": "docs", "option": "a", "message": "the description differs", "old": "x", "new": "ÿ"},
            {
                "kind": "breaking",
                "option": "c",
                "message": "it is gone",
                "old": {"type": "null"},
                "new": None,
            },
        ],
    }
    assert json.loads(write_drift_json([])) == {"worst": None, "changes": []}


def test_junit_fails_what_is_breaking_and_shows_the_rest() -> None:
    document = ET.fromstring(write_drift_junit([DOCS, BREAKING]))
    (suite,) = document.findall("testsuite")
    assert suite.attrib == {
        "name": "ectools schema diff",
        "tests": "2",
        "failures": "1",
        "errors": "0",
        "skipped": "0",
    }
    docs, breaking = suite.findall("testcase")
    assert (docs.get("classname"), docs.get("name")) == ("docs", "a")
    assert docs.find("failure") is None
    assert docs.findtext("system-out") == "the description differs"
    assert (breaking.get("classname"), breaking.get("name")) == ("breaking", "c")
    failure = breaking.find("failure")
    assert failure is not None
    assert failure.get("message") == "it is gone"
    assert breaking.find("system-out") is None


def test_junit_without_a_change_has_one_case_that_passes() -> None:
    (case,) = ET.fromstring(write_drift_junit([])).iter("testcase")
    assert (case.get("classname"), case.get("name"), list(case)) == ("schema", "no change", [])


def schema(*names: str) -> str:
    properties: dict[str, Any] = {name: {"type": "string", "x-nix-type": "t"} for name in names}
    return json.dumps({"type": "object", "properties": properties, "additionalProperties": False})


def test_files_are_compared_from_the_old_to_the_new(tmp_path: Path) -> None:
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    old.write_text(schema("a"))
    new.write_text(schema("a", "b"))
    assert [change.render() for change in compare_paths(old, new)] == ["compatible: b: it is new"]
    assert [change.render() for change in compare_paths(new, old)] == ["breaking: b: it is gone"]


def test_directories_are_compared_by_the_names_of_their_schemas(tmp_path: Path) -> None:
    for directory, files in {
        "old": {"both": schema("a"), "gone": schema()},
        "new": {"both": schema("a", "b"), "fresh": schema()},
    }.items():
        (tmp_path / directory).mkdir()
        for name, text in files.items():
            (tmp_path / directory / f"{name}.schema.json").write_text(text)
    (tmp_path / "old" / "notes.json").write_text("no schema")
    assert [change.render() for change in compare_paths(tmp_path / "old", tmp_path / "new")] == [
        "compatible: b: it is new",
        "compatible: fresh: the module is new",
        "breaking: gone: the module is gone",
    ]


def test_a_file_and_a_directory_have_nothing_to_compare(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text(schema("a"))
    for old, new in ((file, tmp_path), (tmp_path, file)):
        with pytest.raises(InputError, match="one is a directory, the other is not") as caught:
            compare_paths(old, new)
        assert f"{old} and {new}" in caught.value.message
    with pytest.raises(FileError):
        compare_paths(file, tmp_path / "absent.json")


@pytest.mark.parametrize("document", ["[]", '{"type": "object"}', '"properties"'])
def test_what_is_no_schema_of_options_is_named(tmp_path: Path, document: str) -> None:
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(schema("a"))
    bad.write_text(document)
    for old, new in ((good, bad), (bad, good)):
        with pytest.raises(InputError, match=r"bad\.json: not a schema of options"):
            compare_paths(old, new)
