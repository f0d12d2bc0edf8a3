"""Documents that the schema takes → fleets, or all that is wrong with them at once."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from support.fleets import DOCUMENTS, build_fleet, make_fleet

from ectools.netboot.fleet import build
from ectools.netboot.fleet.build import build_part, join_parts
from ectools.netboot.fleet.load import load_fleet_schema
from ectools.netboot.fleet.model import Fleet, Match, Node, NodeGroup, NodeTarget, UnknownPolicy
from ectools.parsing import Problems

MAC = "02:00:00:00:00:07"


def test_a_fleet_as_it_is_written() -> None:
    fleet = make_fleet(
        unknown="hold",
        groups={"runners": {"system": "ec-runner-x86_64-netboot", "kernelArguments": ["console=ttyS0"]}},
        nodes={"nuc-07": {"group": "runners", "match": {"mac": ["02-00-00-00-00-07", MAC]}, "boot": "disk"}},
    )
    runners = NodeGroup(
        name="runners", system="ec-runner-x86_64-netboot", kernel_arguments=("console=ttyS0",)
    )
    node = Node(name="nuc-07", match=Match(macs=(MAC,)), group="runners", boot=NodeTarget.DISK)
    assert fleet == Fleet(unknown=UnknownPolicy.HOLD, groups={"runners": runners}, nodes={"nuc-07": node})
    assert not fleet.is_empty
    assert make_fleet().is_empty
    assert make_fleet(groups={"runners": {}}).is_empty
    assert not make_fleet(unknown="refuse").is_empty


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ({"nodes": {"a b": {"match": {"mac": [MAC]}}}}, 'fleet.nodes."a b": is no name that '),
        ({"groups": {"-x": {}}}, 'fleet.groups."-x": is no name that '),
        ({"groups": {"x" * 64: {}}}, f"fleet.groups.{'x' * 64}: is no name that "),
        ({"nodes": {"n": {}}}, "fleet.nodes.n.match: says nothing that the machine is known by"),
        ({"nodes": {"n": {"match": {"mac": []}}}}, "fleet.nodes.n.match: says nothing that the machine is"),
        (
            {"nodes": {"n": {"match": {"mac": [MAC, "ff:ff:ff:ff:ff:ff"]}}}},
            "fleet.nodes.n.match.mac[1]: tells no machine from others",
        ),
        (
            {"nodes": {"n": {"match": {"serial": "Default string"}}}},
            "fleet.nodes.n.match.serial: tells no machine from others",
        ),
        (
            {"nodes": {"n": {"match": {"mac": [MAC]}, "group": "x"}}},
            "fleet.nodes.n.group: is no group of the fleet",
        ),
        (
            {"groups": {"g": {"kernelArguments": ["quiet", "x${ec-nic}"]}}},
            "fleet.groups.g.kernelArguments[1]: cannot stand in a boot script",
        ),
        (
            {"groups": {"g": {"healthUnits": [f"{'x' * 250}.service", f"{'y' * 250}.service"]}}},
            "fleet.groups.g.healthUnits: too long for a kernel's command line",
        ),
        (
            {"nodes": {"n": {"match": {"mac": [MAC]}, "kernelArguments": ["x\\"]}}},
            "fleet.nodes.n.kernelArguments[0]: cannot stand in a boot script",
        ),
        (
            {"nodes": {"n": {"match": {"mac": [MAC]}}, "m": {"match": {"mac": [MAC.upper()]}}}},
            "fleet.nodes.m.match.mac: is what nodes.n is known by too",
        ),
        (
            {"nodes": {"n": {"match": {"asset": "a"}}, "m": {"match": {"asset": " a "}}}},
            "fleet.nodes.m.match.asset: is what nodes.n is known by too",
        ),
    ],
)
def test_what_cannot_be_used(document: dict[str, Any], problem: str) -> None:
    _, problems = build_fleet(document)
    assert len(problems) == 1
    assert problems[0].startswith(problem)


def test_what_is_in_the_options_and_in_the_file_names_both() -> None:
    mine, theirs = Problems("services.every-channel.netboot"), Problems("fleet")
    options = build_part(
        {"unknown": "hold", "groups": {"g": {}}, "nodes": {"n": {"match": {"mac": [MAC]}}}},
        mine,
        where="the options",
        prefix="fleet",
    )
    file = build_part(
        {
            "unknown": "refuse",
            "groups": {"g": {}},
            "nodes": {"n": {"match": {"asset": "n"}}, "m": {"group": "h", "match": {"mac": [MAC]}}},
        },
        theirs,
        where="fleet.toml",
    )
    join_parts([options, file])
    assert mine.found == []
    assert [f"{each.option}: {each.message}" for each in theirs.found] == [
        'fleet.groups.g: is in the options too: "g"',
        'fleet.nodes.n: is in the options too: "n"',
        'fleet.unknown: is "hold" in the options: "refuse"',
        'fleet.nodes.m.group: is no group of the fleet: "h"',
        f'fleet.nodes.m.match.mac: is what fleet.nodes.n in the options is known by too: "{MAC}"',
    ]


def test_a_group_may_be_in_the_other_part() -> None:
    problems = Problems("fleet")
    options = build_part({"unknown": "default", "groups": {"g": {}}}, problems, where="the options")
    document = {"unknown": "hold", "nodes": {"n": {"group": "g", "match": {"mac": [MAC]}}}}
    file = build_part(document, problems, where="fleet.toml")
    assert join_parts([file], is_whole=False).nodes["n"].group == "g"
    fleet = join_parts([options, file])
    assert (fleet.unknown, problems.found) == (UnknownPolicy.HOLD, [])


@given(DOCUMENTS)
def test_the_models_defaults_are_the_schemas(document: dict[str, Any]) -> None:
    """What is left out is what the schema fills in."""
    from ectools.schemas import fill_defaults

    filled = fill_defaults(json.loads(json.dumps(document)), load_fleet_schema())
    assert build_fleet(filled) == build_fleet(document)


def test_what_was_meant_by_a_wrong_group_is_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def find(name: str, _: Any) -> str:
        asked.append(name)
        return "did you mean runners?"

    monkeypatch.setattr(build, "did_you_mean", find)
    problems = Problems("fleet.toml")
    nodes = {f"n-{number}": {"group": "runner", "match": {"serial": f"S{number}"}} for number in range(20)}
    join_parts([build_part({"groups": {"runners": {}}, "nodes": nodes}, problems, where="fleet.toml")])
    assert asked == ["runner"]
    assert {each.expected for each in problems.found} == {"did you mean runners?"}
    assert len(problems.found) == 20
