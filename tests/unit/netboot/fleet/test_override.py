"""What is said of a node for a while: what it makes of its assignment, and that the store gives it back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from support.fleets import DOCUMENTS, build_fleet, make_fleet

from ectools.netboot.fleet.assignment import assign
from ectools.netboot.fleet.install import INSTALL_WITHIN
from ectools.netboot.fleet.model import NodeTarget
from ectools.netboot.fleet.override import (
    ONCE_TARGETS,
    BootOnce,
    NodeHold,
    NodeOverride,
    encode_override,
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
OVERRIDES = st.builds(NodeOverride, hold=st.none() | _HOLDS, once=st.none() | _ONCE)


@given(OVERRIDES)
def test_the_store_gives_back_what_was_said(override: NodeOverride) -> None:
    assert parse_override(json.loads(json.dumps(encode_override(override)))) == override


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


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"hold": None},
        {"hold": 1, "once": None},
        {"hold": {"at": 1e18}, "once": None},
        {"hold": {"at": 1, "by": 2}, "once": None},
        {"hold": None, "once": {"boot": "moon", "at": 1}},
        {"hold": None, "once": {"boot": "disk"}},
        {"hold": {"at": "today", "by": None, "why": None}, "once": None},
    ],
)
def test_what_this_program_would_not_write(value: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no override"):
        parse_override(value)


def test_a_hold_of_a_later_version_holds() -> None:
    assert parse_override({"hold": {"at": 1, "whose": 2}, "once": None}).hold == NodeHold(at=1.0)
