"""Nodes that were added: by the fleet file's own rules, and never against what is written."""

from __future__ import annotations

from typing import Any

import pytest
from support.fleets import make_fleet

from ectools.errors import ProblemsError
from ectools.netboot.fleet.added import AddedNode, build_added, find_contradiction, parse_added
from ectools.netboot.fleet.roster import Roster

MAC = "02:00:00:12:34:56"
FLEET = make_fleet(
    groups={"runners": {}}, nodes={"nuc-07": {"group": "runners", "match": {"mac": [MAC], "serial": "S1"}}}
)


def add(name: str = "nuc-08", **node: Any) -> AddedNode:
    return build_added(name, node, at=1.5, by="alice")


def test_it_is_what_a_file_would_make_of_it_and_comes_back() -> None:
    added = add(group="runners", match={"mac": ["02-00-00-12-34-57"]}, kernelArguments=["quiet"])
    assert (added.node.name, added.node.match.macs) == ("nuc-08", ("02:00:00:12:34:57",))
    assert parse_added("nuc-08", added.encode()) == added


@pytest.mark.parametrize(
    "node",
    [{"match": {"mac": ["x"]}}, {"match": {}}, {"group": 5, "match": {"serial": "S"}}, {"odd": 1}],
)
def test_every_fault_of_it_is_told(node: dict[str, Any]) -> None:
    with pytest.raises(ProblemsError):
        add(**node)


@pytest.mark.parametrize("value", [{}, {"node": 5, "at": 1, "by": None}, {"node": {}, "at": "x", "by": None}])
def test_an_entry_that_is_none_is_a_value_error(value: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_added("nuc-08", value)


@pytest.mark.parametrize(
    ("added", "why"),
    [
        (add("nuc-07", match={"serial": "S9"}), "nodes.nuc-07 is in fleet.toml too"),
        (add(match={"mac": [MAC]}), f"mac {MAC} is what nuc-07 is known by too, in fleet.toml"),
        (add(match={"serial": "S1"}), "serial S1 is what nuc-07 is known by too, in fleet.toml"),
        (add(group="runner", match={"serial": "S9"}), "runner is no group of the fleet in fleet.toml"),
    ],
)
def test_what_is_written_goes_first(added: AddedNode, why: str) -> None:
    told = find_contradiction(added.node, FLEET, Roster(FLEET), where="fleet.toml")
    assert told is not None
    assert why in told


def test_what_contradicts_nothing_can_be_added() -> None:
    added = add(group="runners", match={"serial": "S9"})
    assert find_contradiction(added.node, FLEET, Roster(FLEET), where="fleet.toml") is None
