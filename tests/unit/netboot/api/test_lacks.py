"""What a staged release has not that a node is to boot of it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from ectools.netboot.api.lacks import LackingReleaseError, check_release, find_lack
from ectools.netboot.api.releases import StagedRelease
from ectools.netboot.fleet.assignment import Assignment, assign_unknown
from ectools.netboot.fleet.install import InstallPlan
from ectools.netboot.fleet.model import Fleet, NodeTarget

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

STAGED = StagedRelease(
    id="sha256-1", tag="boot-v1", systems=("runner", "rescue"), staged_at=0, size=1, marks=()
)
NETWORK = assign_unknown(Fleet())
INSTALL = replace(NETWORK, boot=NodeTarget.INSTALL, install=InstallPlan(order="first"))
RUNNER, OTHER = "/nix/store/a-nixos-system-runner-26.05", "/nix/store/b-nixos-system-other-26.05"


@pytest.mark.parametrize(
    ("assignment", "installable", "lack"),
    [
        (NETWORK, {}, None),
        (replace(NETWORK, system="rescue"), {}, None),
        (replace(NETWORK, system="other"), {}, "boot-v1 has no system other"),
        # It boots what it has on its disk.
        (replace(NETWORK, boot=NodeTarget.DISK, system="other"), {}, None),
        (INSTALL, {}, "boot-v1 has no system to install"),
        # By its architecture it may be either of the two.
        (INSTALL, {"rescue": [RUNNER]}, None),
        (replace(INSTALL, system="runner"), {"rescue": [RUNNER]}, "boot-v1 has no system to install"),
        (INSTALL, {"runner": [RUNNER, OTHER]}, "boot-v1 has 2 systems to install"),
        (
            replace(INSTALL, install=InstallPlan(order="first", system=OTHER)),
            {"runner": [RUNNER, OTHER]},
            None,
        ),
    ],
)
def test_who_would_wait(
    assignment: Assignment, installable: Mapping[str, Sequence[str]], lack: str | None
) -> None:
    staged = replace(STAGED, installable=installable)
    assert find_lack(assignment, staged) == lack


def test_it_is_told_what_there_is() -> None:
    with pytest.raises(LackingReleaseError) as caught:
        check_release(replace(NETWORK, system="other"), STAGED)
    assert "runner" in str(caught.value.hint)
    # Of what is not staged nothing is known.
    assert find_lack(INSTALL, None) is None
