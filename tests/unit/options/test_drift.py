"""Drift between schemas, by meaning."""

from __future__ import annotations

import copy
import json
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from support.drift_schemas import INT, Schema, document, group, option

from ectools.errors import InputError
from ectools.options.drift import ChangeKind, compare, worst
from ectools.options.inclusion import Inclusion
from ectools.options.reporting import (
    compare_paths,
    drift_exit_status,
    write_drift_json,
    write_drift_junit,
    write_drift_text,
)


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        (INT, {**INT, "maximum": 9}, ChangeKind.BREAKING),
        (INT, {**INT, "minimum": 1}, ChangeKind.BREAKING),
        (INT, {**INT, "maximum": 11}, ChangeKind.COMPATIBLE),
        (INT, {"type": "number"}, ChangeKind.COMPATIBLE),
        ({"type": "number"}, INT, ChangeKind.BREAKING),
        (INT, {"type": "number", "x-nix-float": True}, ChangeKind.BREAKING),
        ({"type": "number"}, {"type": "number", "x-nix-float": True}, ChangeKind.BREAKING),
        ({"type": "number", "x-nix-float": True}, {"type": "number"}, ChangeKind.COMPATIBLE),
        (INT, {"anyOf": [{"type": "null"}, INT]}, ChangeKind.COMPATIBLE),
        ({"anyOf": [{"type": "null"}, INT]}, INT, ChangeKind.BREAKING),
        ({"enum": ["a"]}, {"enum": ["b", "a"]}, ChangeKind.COMPATIBLE),
        ({"enum": ["a", "b"]}, {"enum": ["b", "a"]}, None),
        ({"enum": ["a", "b"]}, {"enum": ["a"]}, ChangeKind.BREAKING),
        ({"enum": ["a"]}, {"type": "string"}, ChangeKind.COMPATIBLE),
        ({"type": "string"}, {"type": "string", "pattern": "^/"}, ChangeKind.BREAKING),
        ({"type": "string", "pattern": "^/"}, {"type": "string"}, ChangeKind.COMPATIBLE),
        (
            {"type": "array", "items": INT},
            {"type": "array", "items": {"type": "number"}},
            ChangeKind.COMPATIBLE,
        ),
        (
            {"type": "array", "items": INT},
            {"type": "array", "items": INT, "minItems": 1},
            ChangeKind.BREAKING,
        ),
        (
            {"type": "object", "additionalProperties": INT},
            {"type": "object", "additionalProperties": {}},
            ChangeKind.COMPATIBLE,
        ),
        ({}, {"type": "string"}, ChangeKind.BREAKING),
        ({"default": 1}, {"default": 1.0}, ChangeKind.BREAKING),
        ({"default": 1}, {"default": True}, ChangeKind.BREAKING),
        ({"default": 1}, {}, ChangeKind.BREAKING),
        ({"x-nix-default-text": "a"}, {"x-nix-default-text": "b"}, ChangeKind.BREAKING),
        ({"x-nix-default-markdown": "a"}, {"x-nix-default-markdown": "b"}, ChangeKind.DOCS),
        ({}, {"readOnly": True}, ChangeKind.BREAKING),
        ({"readOnly": True}, {}, ChangeKind.COMPATIBLE),
        ({"description": "a"}, {"description": "b"}, ChangeKind.DOCS),
        ({"x-nix-declarations": []}, {"x-nix-declarations": ["g#L2"]}, ChangeKind.DOCS),
        ({"examples": [1]}, {"examples": [2]}, ChangeKind.DOCS),
        ({"default": {"a": 1, "b": 2}}, {"default": {"b": 2, "a": 1}}, None),
    ],
)
def test_what_a_change_of_an_option_means(old: Schema, new: Schema, kind: ChangeKind | None) -> None:
    changes = compare(document({"x": option(**old)}), document({"x": option(**new)}))
    assert worst(changes) == kind
    assert {change.option for change in changes} <= {"s.x"}


def test_an_option_that_is_gone_or_new() -> None:
    before = document({"a": option(**INT), "g": group({"b": option(type="string")})})
    after = document({"g": group({"c": option(type="boolean")})})
    assert [(change.kind, change.option) for change in compare(before, after)] == [
        (ChangeKind.BREAKING, "s.a"),
        (ChangeKind.BREAKING, "s.g.b"),
        (ChangeKind.COMPATIBLE, "s.g.c"),
    ]


def test_a_renamed_option_is_breaking_and_named() -> None:
    before = document({"port": option(**INT, default=1)})
    after = document({"http": group({"port": option(**INT, default=1)}), "other": option(**INT, default=2)})
    gone = next(change for change in compare(before, after) if change.option == "s.port")
    assert gone.kind is ChangeKind.BREAKING
    assert "s.http.port is new and takes the same" in gone.message


def test_an_option_that_must_be_set() -> None:
    free = document({"g": group({"a": option(**INT)})})
    needed = document({"g": group({"a": option(**INT)}, required=("a",))}, required=("g",))
    assert [(c.kind, c.option) for c in compare(free, needed)] == [(ChangeKind.BREAKING, "s.g.a")]
    assert [(c.kind, c.option) for c in compare(needed, free)] == [(ChangeKind.COMPATIBLE, "s.g.a")]
    assert [c.kind for c in compare(document({}), document({"a": option()}, required=("a",)))] == [
        ChangeKind.BREAKING
    ]


def test_a_change_inside_a_submodule_is_reported_there() -> None:
    def with_inner(maximum: int, further: Any = False) -> Schema:
        inner = group({"port": option(**{**INT, "maximum": maximum})}, further=further)
        servers = option(type="object", additionalProperties={"$ref": "#/$defs/servers.%3Cname%3E"})
        return document({"servers": servers}, {"servers.<name>": inner})

    changes = compare(with_inner(10), with_inner(5))
    assert [(c.kind, c.option) for c in changes] == [(ChangeKind.BREAKING, "s.servers.<name>.port")]
    changes = compare(with_inner(10), with_inner(10, further={}))
    assert [(c.kind, c.option) for c in changes] == [(ChangeKind.COMPATIBLE, "s.servers.<name>.<name>")]


@pytest.mark.parametrize(
    ("added", "named"),
    [
        ({"b": option(**INT)}, "b"),
        ({"b": option(**INT, default=3)}, None),
        ({"b": option(**{**INT, "maximum": 3})}, None),
        ({"b": option(**INT), "c": option(**INT)}, None),
        ({"b": option(**INT) | {"description": "other"}}, None),
        ({"g": group({"a": option(**INT) | {"description": "other"}})}, "g.a"),
        ({"b": option(**INT), "c": option(**INT) | {"description": "other"}}, "b"),
    ],
)
def test_a_rename_is_named_where_there_is_one_of_the_same_name_or_words(
    added: Schema, named: str | None
) -> None:
    (gone,) = (c for c in compare(document({"a": option(**INT)}), document(added)) if c.option == "s.a")
    expected = "it is gone" + (f"; s.{named} is new and takes the same" if named else "")
    assert gone.message == expected


def test_a_document_may_have_no_options_at_all() -> None:
    assert [c.render() for c in compare({}, document({"x": option()}) | {"x-nix-path": []})] == [
        "compatible: x: it is new",
        "breaking: <name>: further names take less than before, or are not allowed any more",
    ]
    assert compare({}, {}) == []


def test_changes_are_in_the_order_of_their_options() -> None:
    before = document({"b": option(), "z": option(**INT), "c": group({"k": option()})})
    after = document({"a": option(), "z": option(), "c": group({"k": option()}, further=True)})
    found = [(c.kind, c.option) for c in compare(before, after)]
    assert found == [
        (ChangeKind.COMPATIBLE, "s.a"),
        (ChangeKind.BREAKING, "s.b"),
        (ChangeKind.COMPATIBLE, "s.z"),
        (ChangeKind.COMPATIBLE, "s.c.<name>"),
    ]


def test_a_group_need_not_be_set_where_the_one_around_it_need_not() -> None:
    before = document({"g": group({"a": option()})})
    after = document({"g": group({"a": option()}, required=("a",))})
    assert compare(before, after) == []


def inside(schema: Schema) -> list[Schema]:
    """Types that hold a submodule, each at another place."""
    return [
        option(type="array", items=schema),
        option(type="object", additionalProperties=schema),
        option(anyOf=[{"type": "null"}, schema]),
        option(allOf=[schema, {"pattern": "^/"}]),
        option(anyOf=[{"type": "null"}, {"type": "array", "items": {"type": "array", "items": schema}}]),
    ]


@pytest.mark.parametrize("place", range(5))
def test_a_submodule_is_compared_wherever_it_stands(place: int) -> None:
    old, new = group({"p": option(**INT)}), group({"p": option(**{**INT, "maximum": 3})})
    path = ["s.x.*.p", "s.x.<name>.p", "s.x.p", "s.x.p", "s.x.*.*.p"][place]
    before, after = document({"x": inside(old)[place]}), document({"x": inside(new)[place]})
    assert [(c.kind, c.option) for c in compare(before, after)] == [(ChangeKind.BREAKING, path)]
    assert [(c.kind, c.option) for c in compare(after, before)] == [(ChangeKind.COMPATIBLE, path)]


def test_two_submodules_in_one_type_are_compared_in_their_order() -> None:
    def types(first: int, second: int) -> Schema:
        return document(
            {
                "x": option(
                    anyOf=[
                        group({"a": option(**{**INT, "maximum": first})}),
                        {"type": "array", "items": group({"b": option(**{**INT, "maximum": second})})},
                    ]
                )
            }
        )

    assert [c.option for c in compare(types(1, 2), types(1, 1))] == ["s.x.*.b"]
    assert [c.option for c in compare(types(1, 2), types(0, 2))] == ["s.x.a"]
    # Where there is another number of them, they have no partners: it is the type that differs.
    one = document({"x": option(anyOf=[group({"a": option(**{**INT, "maximum": 1})}), {"type": "null"}])})
    assert [(c.kind, c.option) for c in compare(types(1, 2), one)] == [(ChangeKind.BREAKING, "s.x")]


def test_a_submodule_that_becomes_optional_is_compatible() -> None:
    inner = group({"p": option(**INT)})
    before = document({"x": option(**inner)})
    after = document({"x": option(anyOf=[{"type": "null"}, inner])})
    assert [c.kind for c in compare(before, after) if c.option == "s.x"] == [ChangeKind.COMPATIBLE]


def test_a_type_that_holds_itself_ends() -> None:
    node = group({"next": option(anyOf=[{"type": "null"}, {"$ref": "#/$defs/node"}]), "v": option(**INT)})
    before = document({"node": option(**{"$ref": "#/$defs/node"})}, {"node": node})
    after = copy.deepcopy(before)
    assert compare(before, after) == []
    after["$defs"]["node"]["properties"]["v"]["maximum"] = 3
    assert [c.option for c in compare(before, after)] == ["s.node.v"]


SIMPLE = st.recursive(
    st.sampled_from(
        [
            {},
            {"type": "null"},
            {"type": "boolean"},
            {"type": "string"},
            {"type": "string", "pattern": "^/"},
            {"type": "number"},
            {"enum": ["/a", 1, None]},
        ]
    )
    | st.builds(
        lambda low, high: {"type": "integer", "minimum": low, "maximum": high},
        st.integers(-2, 1),
        st.integers(1, 3),
    )
    | st.builds(lambda low: {"type": "number", "exclusiveMinimum": low}, st.integers(-1, 2)),
    lambda inner: st.one_of(
        st.builds(lambda items: {"type": "array", "items": items}, inner),
        st.builds(lambda items: {"type": "array", "items": items, "minItems": 1}, inner),
        st.builds(lambda values: {"type": "object", "additionalProperties": values}, inner),
        st.builds(lambda a, b: {"anyOf": [a, b]}, inner, inner),
        st.builds(lambda a: {"allOf": [a, {"pattern": "^[^:]*$"}]}, inner),
        st.builds(lambda a, more: group({"k": a}, required=("k",), further=more), inner, st.booleans()),
        st.builds(lambda a: group({"k": a}), inner),
    ),
    max_leaves=4,
)
VALUES = [
    *(None, True, 0, 1, 2, -1, 1.5, 4, "", "/a", "a:b", "/:"),
    *([], [1], [None, "/a"], {}, {"k": 1}, {"k": "/a"}, {"k": None, "l": 0}, {"l": [True]}),
]


@given(SIMPLE, SIMPLE)
def test_inclusion_is_never_claimed_wrongly(old: Schema, new: Schema) -> None:
    if Inclusion(old, new).holds(old, new):
        before, after = Draft202012Validator(old), Draft202012Validator(new)
        assert [value for value in VALUES if before.is_valid(value) and not after.is_valid(value)] == []


@given(SIMPLE)
def test_a_schema_includes_itself_and_does_not_differ_from_itself(schema: Schema) -> None:
    assert Inclusion(schema, schema).holds(schema, copy.deepcopy(schema))
    before = document({"x": option(**schema)} if "properties" not in schema else {"x": schema})
    assert compare(before, copy.deepcopy(before)) == []


def test_the_reports_say_the_same(tmp_path: Path) -> None:
    before = document({"a": option(**INT), "b": option(description='<"&\x01')})
    after = document({"b": option(description="new"), "c": option()})
    changes = compare(before, after)
    assert drift_exit_status(changes) == 5
    assert drift_exit_status([]) == 0
    assert write_drift_text(changes).splitlines()[0] == "breaking: s.a: it is gone"
    report = json.loads(write_drift_json(changes))
    assert report["worst"] == "breaking"
    assert [change["option"] for change in report["changes"]] == ["s.a", "s.b", "s.c"]
    suite = ET.fromstring(write_drift_junit(changes))
    assert (suite.get("tests"), suite.get("failures")) == ("3", "1")
    assert ET.fromstring(write_drift_junit([])).get("failures") == "0"


def test_directories_are_compared_file_by_file(tmp_path: Path) -> None:
    for name, modules in {"old": ["m", "gone"], "new": ["m", "fresh"]}.items():
        (tmp_path / name).mkdir()
        for module in modules:
            (tmp_path / name / f"{module}.schema.json").write_text(json.dumps(document({})))
    changes = compare_paths(tmp_path / "old", tmp_path / "new")
    assert [(c.kind, c.option) for c in changes] == [
        (ChangeKind.COMPATIBLE, "fresh"),
        (ChangeKind.BREAKING, "gone"),
    ]
    with pytest.raises(InputError):
        compare_paths(tmp_path / "old", tmp_path / "new" / "m.schema.json")
