"""Fleets for tests: documents that the schema takes, and what is made of them."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from ectools.netboot.fleet.build import build_part, join_parts
from ectools.netboot.fleet.model import Fleet
from ectools.parsing import Problems

NAMES = ("nuc-07", "nuc-08", "studio")
_MACS = tuple(f"02:00:00:00:00:{number:02x}" for number in range(4))
_SERIALS = ("S1", "S2")
_GROUPS = ("runners", "publishers")


def build_fleet(document: dict[str, Any]) -> tuple[Fleet, list[str]]:
    """The fleet of one document, and its problems as ``option: message``."""
    problems = Problems("fleet")
    fleet = join_parts([build_part(document, problems, where="a test")])
    return fleet, [f"{each.option}: {each.message}" for each in problems.found]


def make_fleet(**document: Any) -> Fleet:
    """The fleet of ``unknown``, ``groups`` and ``nodes``, which has no problem."""
    fleet, problems = build_fleet(document)
    assert problems == []
    return fleet


_BOOT = st.sampled_from(["network", "disk", "hold"])
_ARGUMENTS = st.lists(st.sampled_from(["console=ttyS0", "quiet", "isolcpus=3"]), max_size=2)
_GROUP = st.fixed_dictionaries(
    {},
    optional={
        "boot": _BOOT,
        "system": st.none() | st.just("ec-runner-x86_64-netboot"),
        "release": st.none() | st.just("boot-v1"),
        "kernelArguments": _ARGUMENTS,
        "healthyWithin": st.integers(10, 86400),
        "healthUnits": st.lists(st.sampled_from(["a.service", "b.target"]), max_size=3),
    },
)
_MATCH = st.fixed_dictionaries(
    {"mac": st.lists(st.sampled_from(_MACS), max_size=2)},
    optional={"serial": st.none() | st.sampled_from(_SERIALS)},
)
_NODE = st.fixed_dictionaries(
    {"match": _MATCH},
    optional={
        "group": st.none() | st.sampled_from(_GROUPS),
        "boot": st.none() | _BOOT,
        "kernelArguments": _ARGUMENTS,
        "hold": st.booleans(),
    },
)
DOCUMENTS = st.fixed_dictionaries(
    {"groups": st.fixed_dictionaries(dict.fromkeys(_GROUPS, _GROUP))},
    optional={
        "unknown": st.sampled_from(["default", "hold", "refuse"]),
        "nodes": st.dictionaries(st.sampled_from(NAMES), _NODE),
    },
)
"""Documents of a few machines, many of which contradict themselves."""
MACHINES = st.fixed_dictionaries(
    {"mac": st.sampled_from(("", *_MACS))}, optional={"serial": st.sampled_from(("", *_SERIALS))}
)
"""What machines send, some of which these documents' nodes are known by."""
