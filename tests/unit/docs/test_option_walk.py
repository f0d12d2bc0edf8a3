"""Which options of a schema are found, and where."""

from __future__ import annotations

from typing import Any

import pytest

from ectools.docs.option_walk import OptionWalk

OPTION = {"x-nix-type": "t"}
INNER = {"type": "object", "properties": {"below": OPTION}}


def find_names(option: dict[str, Any], *, internal: bool = False, **definitions: Any) -> list[str]:
    root = {"properties": {"x": {**OPTION, **option}}, "$defs": {"inner": INNER, **definitions}}
    return [".".join(found.path) for found in OptionWalk(root, internal=internal).find_options(("a",))]


@pytest.mark.parametrize(
    ("option", "names"),
    [
        ({}, ["a.x"]),
        (INNER, ["a.x", "a.x.below"]),
        ({"anyOf": [{"type": "string"}, INNER, {"items": INNER}]}, ["a.x", "a.x.below", "a.x.*.below"]),
        ({"additionalProperties": INNER, "x-nix-placeholder": "host"}, ["a.x", "a.x.<host>.below"]),
        (
            {**INNER, "additionalProperties": {"$ref": "#/$defs/inner"}},
            ["a.x", "a.x.below", "a.x.<name>.below"],
        ),
        ({**INNER, "x-nix-visible": False}, []),
        ({**INNER, "x-nix-visible": "shallow"}, ["a.x"]),
        ({**INNER, "x-nix-visible": "transparent"}, ["a.x.below"]),
        ({**INNER, "x-nix-internal": True}, []),
        ({"anyOf": [{**INNER, "x-nix-unreachable": ["before"]}]}, ["a.x"]),
    ],
)
def test_which(option: dict[str, Any], names: list[str]) -> None:
    assert find_names(option) == names


def test_internal_ones_where_they_are_wanted() -> None:
    assert find_names({**INNER, "x-nix-internal": True}, internal=True) == ["a.x", "a.x.below"]


def test_what_must_be_set_is_told() -> None:
    root = {"properties": {"x": OPTION, "y": OPTION}, "required": ["y"]}
    found = OptionWalk(root, internal=False).find_options(())
    assert [(each.path, each.required) for each in found] == [(("x",), False), (("y",), True)]


@pytest.mark.parametrize(
    "type_of_itself",
    [
        {"$ref": "#/$defs/loop"},
        {"anyOf": [{"type": "null"}, {"additionalProperties": {"$ref": "#/$defs/loop"}}]},
        {"items": {"$ref": "#/$defs/loop"}},
        {"properties": {"y": {**OPTION, "$ref": "#/$defs/loop"}}},
    ],
)
def test_a_type_of_itself_has_an_end(type_of_itself: dict[str, Any]) -> None:
    assert set(find_names({"$ref": "#/$defs/loop"}, loop=type_of_itself)) <= {"a.x", "a.x.y"}
