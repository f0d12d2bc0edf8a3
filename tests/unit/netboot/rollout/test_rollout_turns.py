"""What a turn makes of rollouts: of what is known, of a fleet that says something else, of a channel."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from support.fleet_api import MemoryStore
from support.fleets import make_fleet
from support.page_samples import make_boot
from support.scenarios import run

from ectools.netboot.boots.model import BootState, NodeBoot
from ectools.netboot.rollout.decide import start_rollout
from ectools.netboot.rollout.ends import RolloutEnds
from ectools.netboot.rollout.journal import RolloutJournal
from ectools.netboot.rollout.kept import KeptRollouts
from ectools.netboot.rollout.members import GroupMembers
from ectools.netboot.rollout.model import Known, Rollout, RolloutPlan, RolloutState
from ectools.netboot.rollout.turns import GONE_SECONDS, RolloutTurns

FLEET: dict[str, Any] = {
    "groups": {"g": {"release": "boot-v1"}},
    "nodes": {name: {"group": "g", "match": {"serial": name}} for name in "ab"},
}
PLAN = RolloutPlan(id="r", group="g", target="new", before="old", base="boot-v1")
DONE = replace(start_rollout(PLAN), state=RolloutState.DONE, ended=5.0)


class World:
    """Rollouts in a store, of which others may write too; the clock stands at 1000."""

    def __init__(self, *, host: str | None = None) -> None:
        self.store = MemoryStore()
        self.counter: int | None = None
        self.fleet = make_fleet(**FLEET)
        self.boots: dict[str, list[NodeBoot]] = {}
        self.withdrawn: list[str] = []
        self.channels: dict[str, str] = {}
        self.now = 1000.0
        self.kept = KeptRollouts(self.store, on_change=lambda *_: None)
        journal = RolloutJournal(self.store)
        self.turns = RolloutTurns(
            self.kept,
            journal,
            GroupMembers(fleet=lambda: self.fleet, held=lambda _: False),
            RolloutEnds(self.kept, journal, withdraw=self._withdraw, clock=lambda: 1000.0),
            know=self._know,
            is_heard=lambda: True,
            find_release=self._find,
            count_channel=self._count,
            host=host,
            clock=lambda: self.now,
            ticks=lambda: self.now,
        )

    async def _withdraw(self, release: str) -> None:
        self.withdrawn.append(release)

    async def _find(self, tag: str) -> str | None:
        return self.channels.get(tag)

    async def _count(self, channel: str, release: str) -> int | None:
        assert self.channels[channel] == release
        return self.counter

    def _know(self, _: Rollout) -> Known:
        return Known(nodes=frozenset("ab"), boots=self.boots, heard={}, now=1000.0)

    def turn(self, rollout: Rollout) -> tuple[Rollout, list[str]]:
        """What a turn makes of it, and the events that were told."""

        async def scenario() -> None:
            await self.kept.change("g", lambda _: rollout)
            await self.turns.run()

        run(scenario)
        return self.kept.by_group["g"], [event.kind for event in self.store.log]


@pytest.fixture
def world() -> World:
    return World()


def test_a_node_that_has_failed_too_often_ends_it_and_the_release_is_withdrawn(world: World) -> None:
    given = replace(start_rollout(replace(PLAN, max_failures=0)), taken={"a": 10.0})
    world.boots = {"a": [replace(make_boot("a", BootState.FAILED, ago=980.0, now=1000.0), release="new")]}
    rollout, told = world.turn(given)
    assert (rollout.state, set(rollout.failed), rollout.is_unsettled) == (RolloutState.STOPPED, {"a"}, False)
    assert told == ["rollout-node-failed", "rollout-stopped"]
    assert world.withdrawn == ["new"]


def test_a_turn_that_changes_nothing_tells_nothing(world: World) -> None:
    assert world.turn(replace(start_rollout(PLAN), taken={"a": 999.0}))[1] == []


def test_a_fleet_that_says_another_release_wins(world: World) -> None:
    world.fleet = make_fleet(**{**FLEET, "groups": {"g": {"release": "boot-v2"}}})
    rollout, told = world.turn(start_rollout(PLAN))
    assert (rollout.state, rollout.ended) == (RolloutState.ABORTED, 1000.0)
    assert rollout.why == "the fleet says another release of the group g than at the start"
    assert told == ["rollout-aborted"]


@pytest.mark.parametrize(
    ("plan", "leads_to", "is_left"),
    [
        ({"base": "channel:stable", "base_id": "old"}, "newer", True),
        ({"base": "channel:stable", "base_id": "old"}, "old", False),
        ({"base": "boot-v1"}, "newer", False),
    ],
)
def test_a_group_follows_its_channel_again_once_that_was_moved(
    world: World, plan: dict[str, Any], leads_to: str, is_left: bool
) -> None:
    world.channels = {"channel:stable": leads_to, "boot-v1": leads_to}
    rollout, told = world.turn(replace(DONE, plan=replace(PLAN, **plan)))
    assert (rollout.state, rollout.is_left, told) == (RolloutState.DONE, is_left, [])


def test_what_the_server_was_killed_before_is_done_now(world: World) -> None:
    rollout, told = world.turn(replace(DONE, is_unsettled=True))
    assert (rollout.is_unsettled, told) == (False, ["rollout-done"])


def test_a_group_that_is_gone_for_long_is_forsaken_and_not_at_once(world: World) -> None:
    def turn_at(now: float) -> bool:
        world.now = now
        run(world.turns.run)
        return world.kept.by_group["g"].is_left

    has_none = make_fleet(groups={}, nodes={})
    has_it, world.fleet = world.fleet, has_none
    assert not world.turn(DONE)[0].is_left
    assert not turn_at(1000.0 + GONE_SECONDS)
    # A file that was being edited.
    world.fleet = has_it
    assert not turn_at(1001.0 + GONE_SECONDS)
    world.fleet = has_none
    assert not turn_at(1002.0 + GONE_SECONDS)
    assert turn_at(1003.0 + 2 * GONE_SECONDS)
    world.fleet = has_it
    assert turn_at(1004.0 + 2 * GONE_SECONDS)


@pytest.mark.parametrize(("counter", "is_left"), [(6, True), (5, False), (4, False), (None, False)], ids=str)
def test_a_channel_that_was_moved_has_a_higher_counter(
    world: World, counter: int | None, is_left: bool
) -> None:
    """On a host that was down for a day the channel leads to what it led to before the rollout's start."""
    plan = replace(PLAN, base="channel:stable", base_id="old", base_counter=5)
    world.fleet = make_fleet(**{**FLEET, "groups": {"g": {"channel": "stable"}}})
    world.channels, world.counter = {"channel:stable": "another"}, counter
    assert world.turn(replace(DONE, plan=plan))[0].is_left == is_left


def test_of_a_plan_without_a_counter_a_host_goes_by_what_it_has_seen() -> None:
    world = World(host="b")
    world.fleet = make_fleet(**{**FLEET, "groups": {"g": {"channel": "stable"}}})
    world.channels = {"channel:stable": "older"}
    plan = replace(PLAN, base="channel:stable", base_id="old")
    assert not world.turn(replace(DONE, plan=plan))[0].is_left
    for leads_to, is_left in (("old", False), ("newer", True)):
        world.channels = {"channel:stable": leads_to}
        run(world.turns.run)
        assert world.kept.by_group["g"].is_left == is_left


def test_a_host_whose_fleet_was_never_that_of_the_start_ends_nothing_for_the_others() -> None:
    world = World(host="b")
    current, yesterday = world.fleet, make_fleet(**{**FLEET, "groups": {"g": {"release": "boot-v0"}}})
    world.fleet = yesterday
    begun = replace(start_rollout(PLAN), seen_by=frozenset({"a"}))
    rollout, told = world.turn(begun)
    run(world.turns.run)
    assert (rollout.state, told) == (RolloutState.RUNNING, [])
    # It is given the fleet that the others have; then somebody writes another one.
    world.fleet = current
    run(world.turns.run)
    assert world.kept.by_group["g"].seen_by == {"a", "b"}
    # It knows that also after its next start.
    again = World(host="b")
    again.fleet = make_fleet(**{**FLEET, "groups": {"g": {"release": "boot-v2"}}})
    assert again.turn(world.kept.by_group["g"])[0].state is RolloutState.ABORTED


def test_a_host_whose_fleet_never_had_a_group_does_not_forsake_it() -> None:
    world = World(host="b")
    world.fleet = make_fleet(groups={}, nodes={})
    world.turn(replace(DONE, seen_by=frozenset({"a"})))
    world.now += 2 * GONE_SECONDS
    run(world.turns.run)
    assert not world.kept.by_group["g"].is_left
