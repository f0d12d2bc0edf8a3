"""What is said of a node for a while: what it makes of its assignment, and that the store gives it back."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from support.fleets import DOCUMENTS, build_fleet, make_fleet

from ectools.netboot.fleet.assignment import assign
from ectools.netboot.fleet.install import INSTALL_WITHIN, NodeInstall
from ectools.netboot.fleet.model import NodeTarget
from ectools.netboot.fleet.override import (
    ONCE_TARGETS,
    BootOnce,
    NodeHold,
    NodeOverride,
    encode_override,
    end_install,
    parse_override,
)

_TIMES = st.floats(min_value=0, max_value=4e9)
_WHO = st.none() | st.text(max_size=20)
_HOLDS = st.builds(NodeHold, at=_TIMES, by=_WHO, why=_WHO)
_ONCE = st.builds(
    BootOnce,
    boot=st.sampled_from(ONCE_TARGETS),
    at=_TIMES,
    release=st.none() | st.just("boot-v7"),
    by=_WHO,
    given=st.none() | _TIMES,
    boot_id=st.none() | st.just("b1"),
)
INSTALL = NodeInstall(
    order="first", at=5.0, boot_id="b1", disk="d1", system="/nix/store/x", release="r", done=True, leads=True
)
OVERRIDES = st.builds(NodeOverride, hold=st.none() | _HOLDS, once=st.none() | _ONCE)


@given(OVERRIDES)
def test_the_store_gives_back_what_was_said(override: NodeOverride) -> None:
    problems: list[str] = []
    assert parse_override(json.loads(json.dumps(encode_override(override))), problems) == override
    assert problems == []


@given(DOCUMENTS, OVERRIDES)
def test_an_override_decides_what_boots_and_nothing_else(
    document: dict[str, Any], override: NodeOverride
) -> None:
    fleet, problems = build_fleet(document)
    assume(not problems)
    for node in fleet.nodes.values():
        plain, told = assign(fleet, node), assign(fleet, node, override)
        if override.once is not None:  # before a hold: whoever said so knows of the node
            assert told.boot is override.once.boot
            assert told.once
            assert told.release == (override.once.release or plain.release)
            assert told.origins["boot"].startswith("boot once")
        elif override.hold is not None:
            assert told.boot is NodeTarget.HOLD
            assert told.origins["boot"].startswith("held")
            assert told.release == plain.release
        else:
            assert told == plain
        for name in ("node", "group", "system", "kernel_arguments", "refused"):
            assert getattr(told, name) == getattr(plain, name)
        # What is installed is up later.
        assert told.healthy_within == (INSTALL_WITHIN if told.install is not None else plain.healthy_within)


def test_who_says_so_and_since_when_is_told() -> None:
    fleet = make_fleet(nodes={"n": {"match": {"serial": "S1"}}})
    node = fleet.nodes["n"]
    held = assign(fleet, node, NodeOverride(hold=NodeHold(at=1_800_000_000, by="alice")))
    assert held.origins == {"boot": "held by alice since 2027-01-15T08:00:00Z"}
    once = BootOnce(boot=NodeTarget.NETWORK, at=1_800_000_000, release="boot-v7")
    told = assign(fleet, node, NodeOverride(once=once))
    assert told.origins == {
        "boot": "boot once since 2027-01-15T08:00:00Z",
        "release": "boot once since 2027-01-15T08:00:00Z",
    }


HELD, INSTALLED = (
    {"at": 1, "by": "alice", "why": None},
    encode_override(NodeOverride(install=INSTALL))["install"],
)
SAID = NodeOverride(hold=NodeHold(at=1.0, by="alice"), install=INSTALL)


def read(value: dict[str, Any], known: NodeOverride | None = None) -> tuple[NodeOverride, list[str]]:
    problems: list[str] = []
    override = parse_override(value, problems, changed=9.0, known=known)
    # Whatever it is, it stands there as before when something else is said.
    assert {**encode_override(override), **value} == encode_override(override)
    return override, problems


@pytest.mark.parametrize("once", [{"boot": "moon", "at": 1}, {"boot": "disk"}, 1, [], {"boot": 2, "at": 1}])
def test_an_order_that_cannot_be_read_takes_nothing_else_away(once: Any) -> None:
    told, problems = read({"hold": HELD, "once": once, "install": INSTALLED})
    assert (told.hold, told.once, told.install) == (SAID.hold, None, INSTALL)
    assert told.unread == {"once": once}
    assert len(problems) == 1
    assert problems[0].startswith("once: ")
    # Who says what is to be booted, or that it is as the fleet says, says it in place of that.
    order = BootOnce(boot=NodeTarget.DISK, at=2.0)
    assert encode_override(told.say(once=order))["once"]["boot"] == "disk"
    assert told.leads
    assert told.released() == NodeOverride(install=replace(INSTALL, leads=False))


@pytest.mark.parametrize("install", [{"order": 1}, {"form": 2}, 1, {**INSTALLED, "done": "yes"}])
def test_a_node_of_which_it_is_not_known_what_was_installed_is_held(install: Any) -> None:
    value = {"hold": None, "once": None, "install": install}
    told, problems = read(value)
    assert told.is_unclear
    assert told.standing_hold == NodeHold(
        at=9.0, why="what was installed on it cannot be read by this version"
    )
    assert problems[0].startswith("install: ")
    assert boots(told) is NodeTarget.HOLD
    assert boots(told.released()) is NodeTarget.HOLD
    assert boots(told.say(once=BootOnce(boot=NodeTarget.DISK, at=2.0))) is NodeTarget.DISK
    # It is known again once it is installed anew.
    assert boots(end_install(told, INSTALL)) is NodeTarget.DISK
    # What was known before is better than nothing, and is not written over what stands there.
    again, _ = read(value, known=SAID)
    assert (again.hold, again.install) == (None, INSTALL)
    assert boots(again) is NodeTarget.DISK


@pytest.mark.parametrize("hold", [1, {"at": 1e18}, {"at": 1, "by": 2}, {"at": "today", "by": None}])
def test_a_hold_that_cannot_be_read_holds_until_somebody_releases_the_node(hold: Any) -> None:
    value = {"hold": hold, "once": None, "install": INSTALLED}
    told, _ = read(value)
    assert told.hold is not None
    assert told.hold.at == 9.0
    assert "cannot be read" in (told.hold.why or "")
    assert boots(told) is NodeTarget.HOLD
    assert read(value, known=SAID)[0].hold == SAID.hold
    assert encode_override(told.released())["hold"] is None


@pytest.mark.parametrize("value", [{}, {"form": 2}])
def test_what_is_no_override_at_all_holds_until_somebody_releases_the_node(value: dict[str, Any]) -> None:
    told, problems = read(value)
    assert boots(told) is NodeTarget.HOLD
    assert problems == ["none of hold, once, install is there"]
    assert boots(told.released()) is NodeTarget.INSTALL
    known, _ = read(value, known=SAID)
    assert (known.hold, known.install) == (SAID.hold, SAID.install)
    unclear, _ = read({"install": {"form": 2}})
    assert boots(read(value, known=unclear)[0]) is NodeTarget.HOLD


def test_what_a_later_version_adds_changes_nothing_and_stays() -> None:
    told, problems = read({"hold": HELD, "once": None, "install": None, "later": {"a": 1}})
    assert problems == []
    assert told == NodeOverride(hold=SAID.hold, unread={"later": {"a": 1}})
    assert not told.released().is_empty


def test_a_hold_of_a_later_version_holds() -> None:
    assert read({"hold": {"at": 1, "by": None, "why": None}})[0].hold == NodeHold(at=1.0)
    assert parse_override({"hold": {"at": 1, "whose": 2}}, []).hold == NodeHold(at=1.0)


def boots(override: NodeOverride) -> NodeTarget:
    """What a node boots that its group says is to be installed, its disk erased."""
    groups = {"g": {"boot": "install", "install": {"erase": True}}}
    fleet = make_fleet(groups=groups, nodes={"n": {"group": "g", "match": {"serial": "S1"}}})
    return assign(fleet, fleet.nodes["n"], override).boot
