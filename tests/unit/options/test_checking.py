"""Committed schemas against what the modules say now."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from ectools.errors import InputError
from ectools.options.checking import Stale, check_files, check_schemas
from ectools.options.drift import ChangeKind
from ectools.options.export import Export

if TYPE_CHECKING:
    from pathlib import Path


def export(name: str, maximum: int = 9, description: str = "d") -> Export:
    option = {"type": "integer", "maximum": maximum, "description": description, "x-nix-type": "t"}
    document: dict[str, Any] = {
        "x-nix-path": ["s"],
        "type": "object",
        "properties": {"x": option},
        "additionalProperties": False,
    }
    return Export(name, document, ())


def commit(directory: Path, *exports: Export) -> None:
    for each in exports:
        (directory / f"{each.name}.schema.json").write_bytes(each.render())


def test_what_is_as_exported_is_not_stale(tmp_path: Path) -> None:
    commit(tmp_path, export("a"), export("b"))
    (tmp_path / "README.md").touch()
    assert check_schemas([export("a"), export("b")], tmp_path, known=["a", "b"]) == []


def test_each_file_is_named_with_what_differs(tmp_path: Path) -> None:
    commit(tmp_path, export("same"), export("differs"), export("gone"))
    exports = [export("missing"), export("same"), export("differs", 8, "other")]
    stale = check_schemas(exports, tmp_path, known=[each.name for each in exports])
    assert [(each.path.name, each.reason) for each in stale] == [
        ("missing.schema.json", "is missing"),
        ("differs.schema.json", "differs from the module"),
        ("gone.schema.json", "no module has these options any more"),
    ]
    assert [each.changes for each in stale if each.path.name != "differs.schema.json"] == [(), ()]
    assert stale[1].render().splitlines() == [
        f"{tmp_path}/differs.schema.json: differs from the module",
        "  breaking: s.x: values that were valid are not any more",
        "  docs: s.x: the description differs",
    ]


def test_a_change_goes_from_what_is_committed_to_what_is_exported(tmp_path: Path) -> None:
    commit(tmp_path, export("a", 8))
    (stale,) = check_schemas([export("a", 9)], tmp_path, known=["a"])
    assert [(change.kind, change.old) for change in stale.changes] == [
        (ChangeKind.COMPATIBLE, {"type": "integer", "maximum": 8})
    ]


def test_a_file_may_be_known_and_not_be_asked_for(tmp_path: Path) -> None:
    commit(tmp_path, export("a"), export("b"), export("c"))
    assert [each.path.name for each in check_schemas([export("a")], tmp_path, known=["a", "c"])] == [
        "b.schema.json"
    ]


def test_another_layout_of_the_same_is_stale_too(tmp_path: Path) -> None:
    path = tmp_path / "a.schema.json"
    path.write_text(json.dumps(export("a").document))
    (stale,) = check_schemas([export("a")], tmp_path, known=["a"])
    assert [(change.kind, change.option, change.message) for change in stale.changes] == [
        (ChangeKind.DOCS, "a.schema.json", "only the layout of the file differs")
    ]


def test_a_directory_of_that_name_is_no_schema(tmp_path: Path) -> None:
    (tmp_path / "a.schema.json").mkdir()
    (stale,) = check_schemas([export("a")], tmp_path, known=["a"])
    assert stale == Stale(tmp_path / "a.schema.json", "is missing")


def test_what_is_no_json_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.schema.json").write_text("{")
    with pytest.raises(InputError, match=r"a\.schema\.json"):
        check_schemas([export("a")], tmp_path, known=["a"])


def test_a_file_made_of_all_schemas_is_compared_as_it_is(tmp_path: Path) -> None:
    for name, content in {"same": b"a", "other": b"b"}.items():
        (tmp_path / name).write_bytes(content)
    assert check_files({"same": b"a", "other": b"a", "none": b"a"}, tmp_path) == [
        Stale(tmp_path / "other", "differs from the modules"),
        Stale(tmp_path / "none", "is missing"),
    ]
