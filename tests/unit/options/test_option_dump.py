"""Dumps of options as ``nix/lib`` writes them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from ectools.errors import InputError
from ectools.options.dump import DUMP_VERSION, Dump, Tree, decode_value, hang_tree, parse_dump, read_dump
from ectools.options.export import export_tree

DOCUMENT: dict[str, Any] = {
    "version": 1,
    "emptyIsDefault": False,
    "roots": [{"path": "/a/b//", "prefix": "x/"}, {"path": "/c", "prefix": ""}],
    "trees": [{"name": "n", "path": ["s", "t"], "options": [{"path": ["o"]}]}],
}
EXPECTED = Dump(
    empty_is_default=False,
    roots=(("/a/b/", "x/"), ("/c/", "")),
    trees=(Tree("n", ("s", "t"), [{"path": ["o"]}]),),
)


def test_a_dump_is_read_from_its_value_and_from_its_file(tmp_path: Path) -> None:
    assert parse_dump(DOCUMENT) == EXPECTED
    (tmp_path / "dump.json").write_text(json.dumps(DOCUMENT))
    assert read_dump(tmp_path / "dump.json") == EXPECTED
    assert parse_dump({**DOCUMENT, "emptyIsDefault": True}).empty_is_default is True
    # One that was made before dumps said so.
    assert parse_dump(DOCUMENT).required is True
    assert parse_dump({**DOCUMENT, "required": False}).required is False


def test_a_tree_is_hung_at_the_innermost_group_of_all_its_options() -> None:
    options = [{"path": ["s", "t", "a"]}, {"path": ["s", "t", "u", "b"], "type": {"name": "str"}}]
    hung = hang_tree(Tree("n", (), options, frozenset({(), ("s",), ("s", "t"), ("s", "t", "u"), ("x",)})))
    assert hung.path == ("s", "t")
    assert [option["path"] for option in hung.options] == [["a"], ["u", "b"]]
    assert hung.open == {(), ("u",)}
    assert hang_tree(Tree("n", (), [{"path": ["a"]}, {"path": ["b", "c"]}])).path == ()
    assert hang_tree(Tree("n", (), [])) == Tree("n", (), [])


def test_other_modules_may_have_options_in_an_open_group() -> None:
    options = [{"path": ["a"]}, {"path": ["u", "b"]}, {"path": ["v", "b"]}]
    tree = {"name": "n", "path": ["s"], "options": options, "open": [["u"]]}
    dump = parse_dump({**DOCUMENT, "trees": [tree]})
    document = export_tree(dump, dump.trees[0]).document
    assert document["additionalProperties"] is False
    assert "additionalProperties" not in document["properties"]["u"]
    assert document["properties"]["v"]["additionalProperties"] is False


@pytest.mark.parametrize("data", [3, "version", [DOCUMENT], {}, {**DOCUMENT, "version": 2}])
def test_what_is_no_dump_of_this_version_is_named(data: Any) -> None:
    with pytest.raises(InputError, match="not a dump of options of version 1") as caught:
        parse_dump(data)
    assert "nix/lib" in str(caught.value.hint)


def test_the_version_is_the_one_that_nix_writes() -> None:
    library = Path(__file__).parents[3] / "nix" / "lib" / "dumps.nix"
    assert f"version = {DUMP_VERSION};" in library.read_text()


@pytest.mark.parametrize(
    ("encoded", "value"),
    [
        (None, None),
        ({"float": [3, -1]}, 1.5),
        ({"float": [-1, 0]}, -1.0),
        ({"set": {"a": {"float": [1, 4]}, "b": [True, {"set": {}}]}}, {"a": 16.0, "b": [True, {}]}),
        ({"set": {"float": 1, "set": "x"}}, {"float": 1, "set": "x"}),
        ({"float": [1, -1074]}, 5e-324),
    ],
)
def test_a_value_is_decoded(encoded: Any, value: Any) -> None:
    decoded = decode_value(encoded)
    assert decoded == value
    assert type(decoded) is type(value)
    assert not (isinstance(decoded, float) and math.isnan(decoded))
