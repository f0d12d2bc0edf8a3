"""Who asks what to boot: a crowd at once, and one that is answered too late to be told of the release."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from support.fleet_api import MemoryStore
from support.fleets import make_fleet
from support.quiet_rollouts import make_rollouts

from ectools.netboot.rollout import offers
from ectools.netboot.rollout.kept import KeptRollouts
from ectools.netboot.rollout.model import Rollout, RolloutPlan, RolloutState
from ectools.netboot.rollout.offers import RolloutOffers
from ectools.netboot.state.interface import StateUnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

NODES = [f"n{number}" for number in range(50)]
FLEET = make_fleet(
    groups={"g": {"release": "old"}},
    nodes={name: {"group": "g", "match": {"serial": name}} for name in NODES},
)
PLAN = RolloutPlan(
    id="p", group="g", target="new", before="old", max_failures=0, within=600.0, at=100.0, base="old"
)


class SlowStore(MemoryStore):
    """A store that counts what it has written, keeps it, and then may not answer."""

    def __init__(self) -> None:
        super().__init__()
        self.writes = 0
        self.is_answered = True
        self.hangs = False

    async def put(self, key: str, value: Mapping[str, Any], *, expected: int | None = None) -> int:
        await asyncio.sleep(0.001)
        revision = await super().put(key, value, expected=expected)
        self.writes += 1
        if self.hangs:
            await asyncio.Event().wait()
        if not self.is_answered:
            raise StateUnreachableError("it does not answer")
        return revision


class Host:
    """The rollouts of one boot server."""

    def __init__(self, store: MemoryStore, clock: Callable[[], float]) -> None:
        self.rollouts = make_rollouts(store, FLEET, clock=clock)

    async def ask(self, node: str) -> str:
        """What a node is told that asks."""
        await self.rollouts.offer("g", node)
        led = self.rollouts.lead(FLEET.nodes[node])
        assert led is not None
        return led.id


def test_a_crowd_is_led_on_by_few_writes() -> None:
    async def scenario() -> None:
        store = SlowStore()
        host = Host(store, lambda: 100.0)
        await host.rollouts.start(replace(PLAN, canary=40))
        told = await asyncio.gather(*(host.ask(node) for node in NODES))
        assert (told.count("new"), told.count("old")) == (40, 10)
        assert len(host.rollouts.need("g").taken) == 40
        assert store.writes <= 3

    asyncio.run(scenario())


@pytest.mark.parametrize("hangs", [False, True], ids=["the answer is lost", "the store hangs"])
def test_who_was_not_told_of_what_was_kept_is_not_late_for_it(
    monkeypatch: pytest.MonkeyPatch, hangs: bool
) -> None:
    monkeypatch.setattr(offers, "_KEPT_SECONDS", 0.05)
    now = [100.0]

    async def scenario() -> None:
        store = SlowStore()
        one, other = Host(store, lambda: now[0]), Host(store, lambda: now[0])
        await one.rollouts.start(PLAN)
        store.is_answered, store.hangs = False, hangs
        assert await one.ask("n0") == "old"
        store.is_answered, store.hangs = True, False
        now[0] += 1
        await one.rollouts.turn()
        assert one.rollouts.need("g").untold == {"n0"}
        # Neither here nor elsewhere, however long it takes; and its place stays its own.
        now[0] += 3600
        await other.rollouts.load()
        for host in (one, other):
            await host.rollouts.turn()
            assert host.rollouts.need("g").state is RolloutState.RUNNING
        assert await other.ask("n1") == "old"
        # It comes again, to whomever: from now on its time goes by.
        assert await other.ask("n0") == "new"
        assert other.rollouts.need("g").taken == {"n0": now[0]}
        await one.rollouts.load()
        now[0] += PLAN.within
        await one.rollouts.turn()
        assert one.rollouts.need("g").state is RolloutState.RUNNING
        now[0] += 1
        await one.rollouts.turn()
        assert one.rollouts.need("g").state is RolloutState.STOPPED

    asyncio.run(scenario())


def test_who_asks_again_before_it_is_known_that_it_has_a_place_is_told_and_has_its_time() -> None:
    now = [100.0]

    async def scenario() -> None:
        store = SlowStore()
        host = Host(store, lambda: now[0])
        await host.rollouts.start(PLAN)
        store.is_answered = False
        assert await host.ask("n0") == "old"
        store.is_answered = True
        now[0] += 3600
        assert await host.ask("n0") == "new"
        await host.rollouts.turn()
        rollout = host.rollouts.need("g")
        assert (rollout.state, rollout.untold, rollout.taken) == (RolloutState.RUNNING, set(), {"n0": now[0]})

    asyncio.run(scenario())


def test_who_is_taken_along_by_another_one_s_write_is_told_so() -> None:
    async def scenario() -> None:
        store, kept_at = SlowStore(), 100.0
        host = Host(store, lambda: kept_at)
        await host.rollouts.start(replace(PLAN, canary=50))
        await asyncio.gather(*(host.ask(node) for node in NODES))
        found: RolloutOffers = host.rollouts._offers
        assert not any(found.list_doubtful("g").values())
        assert not any(each for each in (*found._asking.values(), *found._tried.values()))

    asyncio.run(scenario())


def test_places_are_reckoned_by_all_who_have_one_also_where_they_are_no_nodes_any_more() -> None:
    """Else a wave would wait for nodes to which nothing is offered."""
    gone = dict.fromkeys((f"gone-{number}" for number in range(4)), 100.0)

    async def scenario() -> None:
        host = Host(SlowStore(), lambda: 200.0)
        begun = Rollout(plan=replace(PLAN, waves=(10, 100)), wave=1, taken={**gone, "n0": 100.0})
        begun = replace(begun, healthy=frozenset(begun.taken))
        await host.rollouts._kept.change("g", lambda _: begun)
        # 10 % of 54: one place more than of 50.
        assert await host.ask("n1") == "new"
        assert await host.ask("n2") == "old"

    asyncio.run(scenario())


def test_who_is_cut_off_for_long_keeps_few_doubts() -> None:
    now = [100.0]

    async def scenario() -> None:
        store = SlowStore()
        kept: KeptRollouts = (host := Host(store, lambda: now[0])).rollouts._kept
        await host.rollouts.start(PLAN)
        store.error = StateUnreachableError("away")
        for _ in range(100):
            now[0] += 60
            assert await host.ask("n0") == "old"
        assert len(host.rollouts._offers.list_doubtful("g")["n0"]) <= 16
        assert not kept.by_group["g"].taken

    asyncio.run(scenario())
