"""What a fleet needs of the staged releases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support.fleets import make_fleet
from support.staged import make_systems

from ectools.netboot.kernel import KernelArchitecture
from ectools.netboot.release.fleet_needs import list_missing
from ectools.netboot.release.installed_systems import NoInstalledSystemError

if TYPE_CHECKING:
    from ectools.netboot.release.manifest import Release, System

RELEASE, _ = make_systems({"pc": KernelArchitecture.X86_64, "arm": KernelArchitecture.AARCH64})


def find_missing(group: dict[str, Any], *nodes: dict[str, Any], staged: bool = True) -> list[str]:
    members = {
        f"n{number}": {"group": "g", "match": {"asset": f"n{number}"}, **node}
        for number, node in enumerate(nodes)
    }
    fleet = make_fleet(groups={"g": group, "unused": {"release": "gone"}}, nodes=members)

    def find(wanted: str | None) -> Release | None:
        return RELEASE if staged and wanted in (None, "boot-v1") else None

    def find_installed(_: Release, system: System, wanted: str | None) -> str:
        if (system.name, wanted) != ("pc", "node-system"):
            raise NoInstalledSystemError(f"the release has no system {wanted or 'to install'}")
        return "/nix/store/0"

    return list(list_missing(fleet, find, find_installed=find_installed))


@pytest.mark.parametrize(
    ("group", "missing"),
    [
        ({}, []),
        ({"release": "boot-v1", "system": "arm"}, []),
        ({"release": "boot-v2"}, ["fleet.groups.g.release: boot-v2 is not staged; 2 nodes would wait"]),
        (
            {"system": "tv"},
            [f"fleet.groups.g.system: {RELEASE.title} has no tv: it has arm, pc; 2 nodes would wait"],
        ),
        ({"system": "tv", "boot": "disk"}, []),
        ({"boot": "install", "install": {"system": "node-system"}}, []),
        ({"boot": "install"}, ["the release has no system to install; 2 nodes would wait"]),
        (
            {"boot": "install", "system": "arm", "install": {"system": "node-system"}},
            ["the release has no system node-system; 2 nodes would wait"],
        ),
    ],
)
def test_what_is_missing(group: dict[str, Any], missing: list[str]) -> None:
    assert find_missing(group, {}, {}) == missing


def test_a_node_that_boots_something_else_needs_no_release() -> None:
    assert find_missing({}, {"boot": "disk"}, {"boot": "hold"}, staged=False) == []
    assert find_missing({"boot": "disk"}, {"boot": "network"}, staged=False) == [
        "no release is staged; 1 node would wait"
    ]
    assert find_missing({}, {"group": None}, staged=False) == ["no release is staged; 1 node would wait"]
