"""Paths of options in text, and references within a schema."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ectools.names import reference_to, resolve_reference, show_path


@pytest.mark.parametrize(
    ("steps", "start", "text"),
    [
        ((), "", ""),
        ((), "a.b", "a.b"),
        (("a",), "", "a"),
        (("a", "b-c'd_9"), "", "a.b-c'd_9"),
        (("a",), "s.t", "s.t.a"),
        (("a", 0, "b", 12), "", "a[0].b[12]"),
        ((3,), "", "[3]"),
        (("9a", "", "a b", "é", 'q"'), "", '"9a".""."a b"."é"."q\\""'),
        (("<name>", "*"), "x", "x.<name>.*"),
        (("<a.b>", "<a", "**"), "", '"<a.b>"."<a"."**"'),
        (("a\n",), "", '"a\\n"'),
    ],
)
def test_a_path_is_written_as_nix_would(steps: tuple[str | int, ...], start: str, text: str) -> None:
    assert show_path(steps, start) == text
    assert show_path(iter(steps), start) == text


@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("a.b", "#/$defs/a.b"),
        ("x.<name>.*", "#/$defs/x.%3Cname%3E.*"),
        ("a/b~c", "#/$defs/a~1b~0c"),
        ("~1", "#/$defs/~01"),
        ("a#2 %", "#/$defs/a%232%20%25"),
        ("é", "#/$defs/%C3%A9"),
    ],
)
def test_a_reference_is_a_fragment_of_a_uri(name: str, reference: str) -> None:
    assert reference_to(name) == reference


@given(st.text(st.characters(codec="utf-8"), min_size=1))
def test_a_reference_leads_to_the_definition_of_that_name(name: str) -> None:
    root: dict[str, Any] = {"$defs": {name: {"type": "null"}, name + "x": {}}}
    assert resolve_reference(reference_to(name), root) is root["$defs"][name]


def test_a_reference_may_lead_anywhere_in_the_document() -> None:
    root = {"properties": {"a": {"items": 3}}}
    assert resolve_reference("#/properties/a/items", root) == 3
    with pytest.raises(KeyError):
        resolve_reference("#/$defs/none", root)


def test_a_reference_is_a_pointer_an_anchor_or_the_root() -> None:
    root: dict[str, Any] = {
        "$defs": {"a/b": {"anyOf": [{"type": "null"}, {"$anchor": "here"}]}},
        "properties": {"x": {}},
    }
    assert resolve_reference("#", root) is root
    assert resolve_reference("#/$defs/a~1b/anyOf/1", root) == {"$anchor": "here"}
    assert resolve_reference("#/%24defs/a~1b/anyOf/0", root) == {"type": "null"}
    assert resolve_reference("#here", root) is root["$defs"]["a/b"]["anyOf"][1]


@pytest.mark.parametrize(
    "reference",
    [
        "",
        "#there",
        "#/x",
        "#/$defs/a/2",
        "#/list/2",
        "#/list/x",
        "#/text/0",
        "other.json",
        "http://h/#/$defs/a",
    ],
)
def test_a_reference_that_leads_nowhere(reference: str) -> None:
    with pytest.raises(KeyError):
        resolve_reference(reference, {"$defs": {"a": {}}, "list": [1], "text": "x"})
