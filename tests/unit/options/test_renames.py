"""Renamed and removed options between two schemas, and what a change looks like on its line."""

from __future__ import annotations

from typing import Any

import pytest

from ectools.options.drift import ChangeKind, compare
from ectools.options.renames import find_renames, is_removed

PORT = {"type": "integer", "maximum": 65535, "x-nix-type": "port", "default": 80, "description": "A port."}
ALIAS = {
    "type": "integer",
    "maximum": 65535,
    "x-nix-type": "port",
    "x-nix-visible": False,
    "description": "Alias of {option}`s.new.port`.",
}
REMOVED = {"x-nix-type": "unspecified value", "x-nix-visible": False, "x-nix-declarations": []}


def group(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}


def show(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    documents = [{"x-nix-path": ["s"], **group(**each)} for each in (old, new)]
    return [change.render() for change in compare(*documents)]


def test_a_rename_is_one_compatible_change() -> None:
    assert show({"port": PORT}, {"port": ALIAS, "new": group(port=PORT)}) == [
        "compatible: s.port: it is renamed to s.new.port, and the former name still works"
    ]
    # It was renamed before.
    assert show({"port": ALIAS, "new": group(port=PORT)}, {"port": ALIAS, "new": group(port=PORT)}) == []


def test_what_else_became_of_a_renamed_option_is_told_of_its_new_name() -> None:
    other = {**PORT, "maximum": 1024, "default": 8080}
    assert show({"port": PORT}, {"port": ALIAS, "new": group(port=other)}) == [
        "compatible: s.port: it is renamed to s.new.port, and the former name still works",
        "breaking: s.new.port: its default was 80 and is 8080",
        "breaking: s.new.port: values that were valid are not any more",
    ]


def test_an_option_that_becomes_an_alias_of_one_that_was_there() -> None:
    both = {"port": PORT, "new": group(port=PORT)}
    assert show(both, {**both, "port": ALIAS}) == [
        "compatible: s.port: it is renamed to s.new.port, and the former name still works"
    ]


@pytest.mark.parametrize(
    "description", ["Alias of {option}`s.new.port`.", "Alias of <option>s.new.port</option>."]
)
def test_the_words_of_every_nixpkgs(description: str) -> None:
    paths = {("s", "port"): {**ALIAS, "description": description}, ("s", "new", "port"): PORT}
    assert find_renames({("s", "port"): PORT}, paths) == {("s", "port"): ("s", "new", "port")}


@pytest.mark.parametrize("description", ["", "Alias of something.", "Alias of {option}`s.absent`.", None])
def test_what_is_no_rename_here(description: Any) -> None:
    paths = {("s", "port"): {**ALIAS, "description": description}, ("s", "new", "port"): PORT}
    assert find_renames({("s", "port"): PORT}, paths) == {}


def test_an_option_that_was_removed_is_gone() -> None:
    assert is_removed(REMOVED)
    assert not is_removed(ALIAS)
    assert show({"port": PORT}, {"port": REMOVED}) == ["breaking: s.port: it is gone"]
    assert show({"port": REMOVED}, {"port": REMOVED}) == []
    assert show({"port": REMOVED}, {}) == ["breaking: s.port: it is gone"]


def test_a_tree_that_is_hung_further_out_is_the_same() -> None:
    old = {"x-nix-path": ["s", "t"], **group(port=PORT)}
    new = {"x-nix-path": ["s"], **group(t=group(port=PORT), u=group(port=PORT))}
    assert [change.render() for change in compare(old, new)] == ["compatible: s.u.port: it is new"]
    assert [change.kind for change in compare(new, old)] == [ChangeKind.BREAKING]


def test_a_change_is_one_line_whatever_is_in_a_default() -> None:
    text = {**PORT, "x-nix-default-text": "let\n  x = 1;\nin\nx" + " + x" * 200}
    del text["default"]
    (line,) = show({"port": PORT}, {"port": text})
    assert "\n" not in line
    assert line.startswith("breaking: s.port: its default was 80 and is let x = 1; in x + x")
    assert len(line) < 400
