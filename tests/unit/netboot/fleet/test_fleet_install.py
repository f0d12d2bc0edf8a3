"""What a node installs, and when it does no more: the fleet's order, somebody's, and what is kept of both."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fleets import build_fleet, make_fleet

from ectools.netboot.fleet.assignment import Assignment, assign, describe_assignment
from ectools.netboot.fleet.install import (
    FIRST_ORDER,
    DiskChoice,
    HostKeys,
    InstallSettings,
    NodeInstall,
    build_install_plan,
    name_order,
)
from ectools.netboot.fleet.model import NodeTarget
from ectools.netboot.fleet.override import (
    BootOnce,
    NodeHold,
    NodeOverride,
    begin_install,
    encode_override,
    end_install,
    parse_override,
)

DISK = {"match": {"serial": "S1"}, "group": "g"}
INSTALL = NodeInstall(
    order=FIRST_ORDER, at=5.0, boot_id="b1", disk="d1", system="/nix/store/x", release="sha256-x"
)
ORDER = BootOnce(boot=NodeTarget.INSTALL, at=7.25)


def find(boot: str = "install", override: NodeOverride | None = None, **install: Any) -> Assignment:
    fleet = make_fleet(groups={"g": {"boot": boot, "install": install}}, nodes={"n": DISK})
    return assign(fleet, fleet.nodes["n"], override)


def test_the_node_goes_before_its_group_and_a_disk_is_one_choice() -> None:
    group = {"system": "a", "disk": {"minGiB": 100}, "erase": True, "within": 90}
    node = {**DISK, "install": {"disk": {"serial": "D1"}, "hostKeys": "make", "erase": False}}
    fleet = make_fleet(groups={"g": {"boot": "install", "install": group}}, nodes={"n": node})
    told = assign(fleet, fleet.nodes["n"])
    assert told.install == build_install_plan(
        InstallSettings(
            system="a", disk=DiskChoice(serial="D1"), erase=False, host_keys=HostKeys.MAKE, within=90
        ),
        FIRST_ORDER,
    )
    assert told.healthy_within == 90
    assert told.origins["install"] == "groups.g.install, nodes.n.install"
    assert describe_assignment(told)["install"]["disk"] == {"id": None, "serial": "D1", "minGiB": None}


def test_two_ways_to_choose_a_disk_are_an_error() -> None:
    disk = {"serial": "D1", "minGiB": 1}
    _, problems = build_fleet({"groups": {"g": {"install": {"disk": disk}}}})
    assert "install.disk" in problems[0]


@pytest.mark.parametrize(
    ("boot", "override", "target"),
    [
        ("install", NodeOverride(), NodeTarget.INSTALL),
        ("install", NodeOverride(install=INSTALL), NodeTarget.INSTALL),  # killed half-way
        ("install", end_install(NodeOverride(), INSTALL), NodeTarget.DISK),
        ("install", end_install(NodeOverride(), INSTALL).released(), NodeTarget.DISK),  # not a second time
        ("install", NodeOverride(hold=NodeHold(at=1.0)), NodeTarget.HOLD),
        ("network", NodeOverride(once=ORDER), NodeTarget.INSTALL),
        ("network", NodeOverride(once=ORDER, hold=NodeHold(at=1.0)), NodeTarget.INSTALL),
        ("disk", NodeOverride(once=ORDER), NodeTarget.INSTALL),
        ("hold", end_install(NodeOverride(), INSTALL), NodeTarget.HOLD),
        ("network", end_install(NodeOverride(), INSTALL).released(), NodeTarget.NETWORK),
    ],
)
def test_what_it_boots(boot: str, override: NodeOverride, target: NodeTarget) -> None:
    told = find(boot, override)
    assert told.boot is target
    assert (told.install is not None) is (target is NodeTarget.INSTALL)


def test_an_order_is_over_when_its_installation_is() -> None:
    ordered = NodeInstall(**{**_fields(INSTALL), "order": name_order(ORDER.at)})
    done = end_install(NodeOverride(once=ORDER), ordered)
    assert done.once is None
    assert done.leads
    assert find("network", done).boot is NodeTarget.DISK
    assert find("network", done).origins["boot"] == "installed since 1970-01-01T00:00:05Z"
    # Taken back, or given anew, while it was carried out: the later word counts.
    assert not end_install(NodeOverride(), ordered).leads
    later = BootOnce(boot=NodeTarget.INSTALL, at=9.0)
    assert end_install(NodeOverride(once=later), ordered).once == later
    network = BootOnce(boot=NodeTarget.NETWORK, at=9.0)
    assert find("install", end_install(NodeOverride(once=network), INSTALL)).boot is NodeTarget.NETWORK


def test_a_word_that_is_said_twice_undoes_nothing() -> None:
    """The answer to the first was lost, or could not be given."""
    ordered = NodeInstall(**{**_fields(INSTALL), "order": name_order(ORDER.at)})
    begun = begin_install(NodeOverride(once=ORDER), ordered)
    again = NodeInstall(**{**_fields(ordered), "at": 6.0})
    assert begin_install(begun, again) is begun
    other_disk = begin_install(begun, NodeInstall(**{**_fields(ordered), "disk": "d2"}))
    assert (other_disk.install and other_disk.install.disk) == "d2"
    done = end_install(begun, ordered)
    assert end_install(done, again) is done
    assert begin_install(done, again) is done
    # The system on the disk has shown what it was given since, and somebody has said something else.
    assert done.install is not None
    renewed = done.say(install=done.install.renew("a", "b"))
    assert end_install(renewed, again) is renewed
    assert end_install(done.released(), again) == done.released()
    other_boot = NodeInstall(**{**_fields(again), "boot_id": "b2"})
    assert end_install(done, other_boot).install != done.install


def test_what_was_kept_before_there_were_installations() -> None:
    assert parse_override({"hold": None, "once": None}, []) == NodeOverride()


@given(st.booleans(), st.booleans(), st.floats(0, 4e9))
def test_the_store_gives_back_an_installation(done: bool, leads: bool, at: float) -> None:
    install = NodeInstall(**{**_fields(INSTALL), "done": done, "leads": leads, "at": at})
    override = NodeOverride(install=install)
    assert parse_override(json.loads(json.dumps(encode_override(override))), []) == override


def _fields(install: NodeInstall) -> dict[str, Any]:
    return {name: getattr(install, name) for name in NodeInstall.__slots__}
