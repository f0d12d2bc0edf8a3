"""``lib.fleet``: what becomes of a fleet's groups and nodes as systems of NixOS."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pynix_eval_shim import ThrownError, evaluate

pytestmark = [pytest.mark.nix]

HERE = Path(__file__).parent
FLEET: dict[str, Any] = {
    "groups": {
        "runners": {
            "system": "ec-runner-x86_64-netboot",
            "kernelArguments": ["ec.group=runners"],
            "healthUnits": ["a.service"],
        },
        "boards": {"system": "ec-runner-aarch64-netboot"},
        "installed": {"boot": "disk", "kernelArguments": ["ec.group=installed"]},
    },
    "nodes": {
        "nuc-07.lab.example.org": {
            "group": "runners",
            "boot": "disk",
            "kernelArguments": ["ec.node=nuc-07"],
            "match": {"mac": ["02:00:00:00:00:07"]},
        },
        "pc": {
            "group": "installed",
            "boot": "install",
            "match": {"asset": "pc"},
            "kernelArguments": ["ec.node=pc"],
        },
        "guest": {"group": None, "match": {"asset": "guest"}},
        "alone": {"match": {"asset": "alone"}},
    },
}
MODULES: dict[str, Any] = {"runners": {}, "boards": {}, "installed": {}}


def make(nixpkgs: Path, **arguments: Any) -> dict[str, Any]:
    data = {"modules": MODULES, **arguments}
    made: dict[str, Any] = evaluate(
        file=HERE / "fleet_lib.nix", data={"data": data, "nixpkgs": str(nixpkgs)}, impure=True
    )
    return made


def test_a_group_is_a_configuration(nixpkgs: Path) -> None:
    modules = {**MODULES, "installed": {"networking": {"hostName": "own"}}}
    made = make(nixpkgs, fleet=FLEET, modules=modules, report=True)
    assert sorted(made) == ["boards", "installed", "runners"]
    assert {name: each["platform"] for name, each in made.items()} == {
        "boards": "aarch64-linux",
        "installed": "x86_64-linux",
        "runners": "x86_64-linux",
    }
    assert {each["hostName"] for each in made.values()} == {"boards", "own", "runners"}
    # The boot server gives them to who boots from it.
    assert made["runners"]["kernelParams"] == []
    assert made["installed"]["kernelParams"] == ["ec.group=installed"]
    assert (made["runners"]["healthUnits"], made["boards"]["healthUnits"]) == (["a.service"], [])
    member = {"name": "runners", "group": FLEET["groups"]["runners"], "node": None}
    assert made["runners"]["member"] == member


def test_what_the_fleet_says_stands_above_a_profile_and_below_a_default(nixpkgs: Path) -> None:
    """The own profiles have a host name, and ``nixos-generate-config`` writes a default platform."""
    runner = ["nix/modules/ec-runner.nix", "nix/hosts/runner.nix"]
    guest = ["nix/modules/ec-publisher-guest.nix", "nix/hosts/publisher.nix"]

    def default(value: str) -> dict[str, Any]:
        return {"_type": "override", "priority": 1000, "content": value}

    modules = {
        "runners": {"imports": runner},
        "publishers.example.org": {"imports": guest},
        "own": {
            "imports": runner,
            "networking": {"hostName": default("box"), "domain": default("lan")},
            "nixpkgs": {"hostPlatform": default("aarch64-linux")},
        },
    }
    made = make(nixpkgs, fleet={"groups": {name: {} for name in modules}}, modules=modules)
    assert {name: (each["hostName"], each["domain"]) for name, each in made.items()} == {
        "runners": ("runners", None),
        "publishers.example.org": ("publishers", "example.org"),
        "own": ("box", "lan"),
    }
    assert made["own"]["platform"] == "aarch64-linux"


def test_a_node_is_one_of_its_group_with_what_is_its_own(nixpkgs: Path) -> None:
    name = "nuc-07.lab.example.org"
    made = make(nixpkgs, fleet=FLEET, withNodes=True, nodeModules={"alone": {}})
    # One without a group and without modules boots what everybody boots.
    assert sorted(made) == ["alone", "boards", "installed", name, "pc", "runners"]
    assert (made[name]["hostName"], made[name]["domain"]) == ("nuc-07", "lab.example.org")
    assert made[name]["kernelParams"] == ["ec.group=runners", "ec.node=nuc-07"]
    assert made["pc"]["kernelParams"] == ["ec.group=installed", "ec.node=pc"]
    assert made[name]["member"] == {
        "name": name,
        "group": FLEET["groups"]["runners"],
        "node": FLEET["nodes"][name],
    }
    assert made["alone"]["member"]["group"] == {}
    # Where the module of reports is not there, nothing is said of it.
    assert made[name]["healthUnits"] is None


def test_the_forms_that_nix_reads(nixpkgs: Path, tmp_path: Path) -> None:
    modules = {"runners": {}, "publishers": {}}
    toml = HERE.parent.parent / "examples/fleet.toml"
    made = make(nixpkgs, file=str(toml), modules=modules)
    assert sorted(made) == ["publishers", "runners"]
    file = tmp_path / "fleet.json"
    file.write_text(json.dumps({"groups": {"runners": {}}}))
    assert list(make(nixpkgs, file=str(file), modules={"runners": {}})) == ["runners"]
    yaml = file.with_suffix(".yaml")
    yaml.write_text("groups:\n  runners: {}\n")
    with pytest.raises(ThrownError, match=r"fleet\.yaml: Nix reads TOML \(\*\.toml\) and JSON"):
        make(nixpkgs, file=str(yaml), modules={"runners": {}})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "file or fleet has to be given"),
        ({"fleet": FLEET, "modules": {**MODULES, "tv": {}}}, "tv is no group of the fleet"),
        (
            {"fleet": FLEET, "modules": {"runners": {}, "boards": {}}},
            "modules.installed is missing: what this group's machines are",
        ),
        ({"fleet": FLEET, "withNodes": True, "nodeModules": {"tv": {}}}, "tv is no node of the fleet"),
        ({"fleet": FLEET, "nodeModules": {"pc": {}}}, "nodeModules take withNodes"),
        (
            {"fleet": {**FLEET, "nodes": {"boards": {"group": "boards"}}}, "withNodes": True},
            "boards is a group and a node: one of them needs another name",
        ),
        (
            {"fleet": {**FLEET, "nodes": {"n": {"group": "tv"}}}, "withNodes": True},
            "tv is no group of the fleet",
        ),
    ],
)
def test_what_does_not_fit_is_said(nixpkgs: Path, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ThrownError) as caught:
        make(nixpkgs, **arguments)
    assert f"lib.fleet: {message}" in str(caught.value)
