"""What a node boots and why; and what another fleet changes of it."""

from __future__ import annotations

from typing import Any

from hypothesis import assume, given
from support.fleets import DOCUMENTS, MACHINES, build_fleet, make_fleet

from ectools.netboot.fleet.assignment import assign, assign_unknown, describe_assignment
from ectools.netboot.fleet.difference import UNKNOWN_MACHINES, find_differences
from ectools.netboot.fleet.machine import Machine, parse_machine
from ectools.netboot.fleet.model import Fleet, NodeTarget
from ectools.netboot.fleet.roster import Roster

MATCH = {"mac": ["02:00:00:00:00:07"]}


def test_a_node_adds_to_its_group_and_wins() -> None:
    group = {
        "system": "s",
        "release": "boot-v1",
        "boot": "disk",
        "kernelArguments": ["a"],
        "healthyWithin": 60,
        "healthUnits": ["a.service", "b.target", "a.service"],
    }
    node = {"group": "g", "match": MATCH, "boot": "network", "kernelArguments": ["b"]}
    fleet = make_fleet(groups={"g": group}, nodes={"n": node})
    found = assign(fleet, fleet.nodes["n"])
    assert (found.system, found.release, found.boot) == ("s", "boot-v1", NodeTarget.NETWORK)
    assert found.kernel_arguments == ("a", "b")
    assert (found.healthy_within, found.health_units) == (60, ("a.service", "b.target"))
    assert found.origins == {
        "system": "groups.g.system",
        "release": "groups.g.release",
        "boot": "nodes.n.boot",
        "healthyWithin": "groups.g.healthyWithin",
        "healthUnits": "groups.g.healthUnits",
        "kernelArguments": "groups.g.kernelArguments, nodes.n.kernelArguments",
    }


def test_a_node_that_is_held_boots_nothing_whatever_else_is_said() -> None:
    fleet = make_fleet(nodes={"n": {"match": MATCH, "boot": "network", "hold": True}})
    found = assign(fleet, fleet.nodes["n"])
    assert (found.boot, found.group, found.origins) == (NodeTarget.HOLD, None, {"boot": "nodes.n.hold"})


def test_machines_that_no_node_is() -> None:
    wanted = {"default": (NodeTarget.NETWORK, False), "hold": (NodeTarget.HOLD, False)}
    for unknown, expected in {**wanted, "refuse": (NodeTarget.HOLD, True)}.items():
        found = assign_unknown(make_fleet(unknown=unknown))
        assert (found.boot, found.refused) == expected
        assert (found.healthy_within, found.health_units) == (600, ())


def test_what_another_fleet_changes() -> None:
    old = make_fleet(nodes={"gone": {"match": MATCH}, "same": {"match": {"asset": "same"}}})
    new = make_fleet(
        unknown="hold",
        nodes={
            "same": {"match": {"asset": "same"}},
            "come": {"match": {"asset": "come"}, "kernelArguments": ["quiet"]},
        },
    )
    unknown, come, gone = find_differences(old, new)
    assert (unknown.name, unknown.values) == (
        UNKNOWN_MACHINES,
        {"boot": (NodeTarget.NETWORK, NodeTarget.HOLD)},
    )
    assert (come.name, come.before, come.keys) == ("come", None, ((), ("asset come",)))
    assert come.values == {"kernel_arguments": ((), ("quiet",))}
    assert (gone.name, gone.after, gone.keys) == ("gone", None, (("mac 02:00:00:00:00:07",), ()))
    # It is an unknown machine now.
    assert gone.values == {"boot": (NodeTarget.NETWORK, NodeTarget.HOLD)}
    assert list(find_differences(new, new)) == []


def test_what_a_node_on_a_disk_goes_on_to_is_a_difference_and_what_another_would_is_none() -> None:
    def make(boot: str, system: str) -> Fleet:
        group = {"boot": boot, "install": {"system": system}}
        return make_fleet(groups={"g": group}, nodes={"n": {"match": MATCH, "group": "g"}})

    (change,) = find_differences(make("disk", "x"), make("disk", "y"))
    assert change.values == {"installs": ("x", "y")}
    shown = describe_assignment(assign(make("disk", "x"), make("disk", "x").nodes["n"]))
    assert (shown["installs"], shown["origins"]["installs"]) == ("x", "groups.g.install.system")
    assert list(find_differences(make("network", "x"), make("network", "y"))) == []


@given(DOCUMENTS, DOCUMENTS, MACHINES)
def test_a_machine_boots_the_same_unless_the_difference_says_so(
    before: dict[str, Any], after: dict[str, Any], sent: dict[str, str]
) -> None:
    """``diff`` agrees with what each of the two makes of any machine."""
    (old, wrong), (new, worse) = build_fleet(before), build_fleet(after)
    assume(not wrong and not worse)
    machine = parse_machine(sent) or Machine()
    found, assigned = [], []
    for fleet in (old, new):
        node = Roster(fleet).find(machine).node
        found.append(UNKNOWN_MACHINES if node is None else node.name)
        assignment = assign_unknown(fleet) if node is None else assign(fleet, node)
        assigned.append(
            (
                *(assignment.boot, assignment.system, assignment.release, assignment.kernel_arguments),
                *(assignment.healthy_within, assignment.health_units),
                assignment.installs if assignment.boot is NodeTarget.DISK else None,
            )
        )
    changed = {change.name for change in find_differences(old, new)}
    if not changed & {*found}:
        assert assigned[0] == assigned[1]
