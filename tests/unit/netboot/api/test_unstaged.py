"""What groups are to boot that is not staged here: by a rollout, else by the fleet; no more than that."""

from __future__ import annotations

import asyncio
from typing import Any

from support.fleet_api import CURRENT, PREVIOUS, Api
from support.fleets import make_fleet

from ectools.netboot.api.releases import StagedRelease
from ectools.netboot.api.unstaged import UnstagedRelease, find_unstaged, list_group_releases
from ectools.netboot.rollout.model import RolloutPlan

NEW = "sha256-" + "9" * 32


def make_groups(**groups: dict[str, Any]) -> dict[str, Any]:
    """A fleet with a node in each group."""
    nodes = {f"n-{name}": {"group": name, "match": {"serial": name}} for name in groups}
    return {"groups": groups, "nodes": nodes}


def staged(*releases: StagedRelease) -> list[StagedRelease]:
    return list(releases)


def test_what_the_fleet_names_is_wanted_where_there_are_nodes() -> None:
    fleet = make_groups(
        one={"release": "boot-v2"},
        two={"release": "boot-v2"},
        moves={"channel": "stable"},
        current={},
        held={"release": "boot-v0", "boot": "hold"},
        disk={"release": "boot-v1", "boot": "disk"},
    )
    fleet["groups"]["empty"] = {"release": "boot-v0"}
    fleet["nodes"]["alone"] = {"match": {"serial": "alone"}}
    wanted = list_group_releases(make_fleet(**fleet), lambda _: None)
    assert wanted == {"boot-v2": ["one", "two"], "channel:stable": ["moves"], "boot-v1": ["disk"]}
    assert find_unstaged(wanted, staged(CURRENT, PREVIOUS)) == [
        UnstagedRelease(release="channel:stable", groups=("moves",))
    ]
    assert [each.release for each in find_unstaged(wanted, ())] == ["boot-v1", "boot-v2", "channel:stable"]


def test_what_a_rollout_leads_to_takes_its_place_for_as_long_as_it_is_in_force() -> None:
    async def scenario() -> None:
        api = Api(document=make_groups(runners={"release": "boot-v1"}))

        def look() -> dict[str, list[str]]:
            return {name: list(groups) for name, groups in list_group_releases(api.fleet.fleet, led).items()}

        led = api.rollouts.find_led
        assert look() == {"boot-v1": ["runners"]}
        plan = RolloutPlan(
            id="r", group="runners", target=NEW, before=PREVIOUS.id, base="boot-v1", at=api.now
        )
        await api.rollouts.start(plan)
        assert look() == {NEW: ["runners"], PREVIOUS.id: ["runners"]}
        await api.rollouts.abort("runners", by=None)
        assert look() == {PREVIOUS.id: ["runners"]}
        # Whoever changes the fleet afterwards has the last word.
        api.document = make_groups(runners={"release": "boot-v2"})
        api.rebase()
        assert look() == {"boot-v2": ["runners"]}

    asyncio.run(scenario())
