"""How the sections of units are made of data and facts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ectools.service import sections
from ectools.service.sections import build_sections, load_definition

if TYPE_CHECKING:
    from collections.abc import Mapping

COMMON: dict[str, Any] = {"fragments": {"base": {"Service": {"User": "a", "List": ["x"]}}}}


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch) -> Any:
    def call(items: list[dict[str, Any]], facts: Mapping[str, Any]) -> Any:
        definitions = {"common": COMMON, "test": {"fragments": {}, "units": {"u": items}}}
        monkeypatch.setattr(sections, "load_definition", definitions.__getitem__)
        return build_sections("test", facts).get("u")

    return call


def test_later_items_replace_and_what_is_added_comes_behind(build: Any) -> None:
    items = [
        {"use": ["base"]},
        {"Service": {"User": "b"}, "add": {"Service": {"List": ["y"]}, "Unit": {"After": ["z"]}}},
    ]
    expected = {"Service": {"User": "b", "List": ["x", "y"]}, "Unit": {"After": ["z"]}}
    assert build(items, {}) == expected
    assert build(items, {}) == expected, "the data itself was changed"
    assert build([*items, {"Service": {"List": ["w"]}}], {})["Service"]["List"] == ["w"]


def test_an_item_counts_by_its_facts(build: Any) -> None:
    items = [
        {"when": "on", "Service": {"A": "1"}},
        {"unless": "on", "Service": {"B": "1"}},
        {"when": "on", "use": ["base"]},
    ]
    assert build(items, {"on": True}) == {"Service": {"A": "1", "User": "a", "List": ["x"]}}
    assert build(items, {"on": False}) == {"Service": {"B": "1"}}
    assert build(items[:1], {"on": False}) is None
    with pytest.raises(KeyError):
        build(items, {})


def test_a_fact_stands_for_itself_alone_and_for_its_text_inside(build: Any) -> None:
    items = [{"S": {"n": "${n}", "t": "<${n}M> $MAINPID", "l": ["a", "${l}", "${n}"], "b": True, "i": 3}}]
    assert build(items, {"n": 7, "l": ["x", "y"]}) == {
        "S": {"n": 7, "t": "<7M> $MAINPID", "l": ["a", "x", "y", 7], "b": True, "i": 3}
    }


@pytest.mark.parametrize("name", ["netboot", "ipxe-qemu"])
def test_every_unit_with_a_user_of_ours_starts_from_the_sandbox(name: str) -> None:
    definition = load_definition(name)
    for unit, items in definition["units"].items():
        assert unit.endswith(".timer") or "sandbox" in items[0]["use"]
    assert definition["group"] in definition["users"]
