"""Which node a machine is: total, the same in any order, and never a guess."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st
from support.fleets import DOCUMENTS, MACHINES, build_fleet, make_fleet

from ectools.netboot.fleet.machine import Machine, list_keys, parse_machine
from ectools.netboot.fleet.roster import Roster

FLEET = make_fleet(
    nodes={
        "nuc-07": {"match": {"mac": ["02:00:00:00:00:07", "02-00-00-00-00-A7"]}},
        "nuc-08": {"match": {"mac": ["02:00:00:00:00:08"], "serial": "S8"}},
    }
)


def find(**sent: str) -> str | None:
    node = Roster(FLEET).find(parse_machine(sent) or Machine()).node
    return None if node is None else node.name


def test_any_of_what_a_node_is_known_by_is_enough() -> None:
    assert find(mac="02:00:00:00:00:07") == "nuc-07"
    assert find(mac="02:00:00:00:00:a7") == "nuc-07"
    assert find(mac="02:00:00:00:00:99", serial="S8") == "nuc-08"
    assert find(serial="S8", mac="") == "nuc-08"
    assert find(mac="02:00:00:00:00:08", serial="another") == "nuc-08"
    assert find(mac="02:00:00:00:00:99") is None
    assert find(mac="") is None


def test_a_machine_that_two_nodes_are_known_by_is_neither() -> None:
    """A NIC of one in the other: nobody guesses, and it is told."""
    found = Roster(FLEET).find(Machine(mac="02:00:00:00:00:07", serial="S8"))
    assert found.node is None
    assert found.is_torn
    assert found.claims == {"mac 02:00:00:00:00:07": "nuc-07", "serial S8": "nuc-08"}


@given(DOCUMENTS, MACHINES, st.randoms())
def test_matching_is_total_and_free_of_order(
    document: dict[str, Any], sent: dict[str, str], random: Any
) -> None:
    fleet, problems = build_fleet(document)
    assume(not problems)
    machine = parse_machine(sent) or Machine()
    found = Roster(fleet).find(machine)
    names = list(fleet.nodes)
    random.shuffle(names)
    shuffled = replace(fleet, nodes={name: fleet.nodes[name] for name in names})
    again = Roster(shuffled).find(machine)
    assert (again.node, again.claims) == (found.node, found.claims)
    keys = set(list_keys(machine))
    known_as = {name for name, node in fleet.nodes.items() if keys & set(list_keys(node.match))}
    assert set(found.claims.values()) == known_as
    assert (found.node is not None) == (len(known_as) == 1)
    assert found.is_torn == (len(known_as) > 1)
