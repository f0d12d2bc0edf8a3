"""Two boot servers that lead the same rollouts, by one store: what is decided, and told, once."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from support.begun_boots import begin_boot
from support.fleet_api import MemoryStore, make_boot
from support.fleets import make_fleet
from support.shared_stores import until

from ectools.errors import EcError
from ectools.netboot.boots.model import BootState, NodeReport, NodeStage
from ectools.netboot.boots.register import BootRegister
from ectools.netboot.rollout.ends import RolloutEnds
from ectools.netboot.rollout.journal import RolloutJournal
from ectools.netboot.rollout.kept import KeptRollouts
from ectools.netboot.rollout.live import LiveRollouts
from ectools.netboot.rollout.members import GroupMembers
from ectools.netboot.rollout.model import Rollout, RolloutPlan, RolloutState
from ectools.netboot.rollout.refusals import UnknownRolloutError, need_rollout
from ectools.netboot.rollout.slots import GroupSlots, SlotsTakenError
from ectools.supervision import tasks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from ectools.netboot.boots.model import NodeBoot

NODES = [f"n{number}" for number in range(8)]
FLEET = make_fleet(
    groups={"g": {"release": "old"}},
    nodes={name: {"group": "g", "match": {"serial": name}} for name in NODES},
)
PLAN = RolloutPlan(
    id="p",
    group="g",
    target="new",
    before="old",
    canary=2,
    waves=(50, 100),
    max_failures=0,
    at=100.0,
    base="old",
)
PATIENCE = 30.0


class Host:
    """One boot server's rollouts; it sees the boots that all see."""

    def __init__(self, store: MemoryStore, boots: Mapping[str, NodeBoot], now: list[float]) -> None:
        self.knows_time = True
        self.withdrawn: list[str] = []
        self.fails = False
        self.takes = 0.0
        self.boots = boots
        self.rollouts = LiveRollouts(
            store,
            fleet=lambda: FLEET,
            held=lambda _: False,
            latest=lambda: boots,
            list_boots=self._list_boots,
            withdraw=self._withdraw,
            clock=lambda: now[0],
            patience=PATIENCE,
            knows_time=lambda: self.knows_time,
        )

    async def _list_boots(self, node: str) -> Sequence[NodeBoot]:
        return [self.boots[node]] if node in self.boots else []

    async def _withdraw(self, release_id: str) -> None:
        await asyncio.sleep(self.takes)
        if self.fails:
            raise EcError("the lock is taken")
        self.withdrawn.append(release_id)


@contextlib.asynccontextmanager
async def two_hosts() -> AsyncIterator[tuple[MemoryStore, dict[str, NodeBoot], list[float], Host, Host]]:
    store, boots, now = MemoryStore(), {}, [100.0]
    one, two = Host(store, boots, now), Host(store, boots, now)
    async with tasks(one.rollouts.follow(), two.rollouts.follow()):
        await asyncio.sleep(0)
        yield store, boots, now, one, two


def boot(node: str, state: BootState, *, at: float) -> NodeBoot:
    return make_boot(
        node, id=f"{node}-{at}", group="g", release="new", state=state, stages={"script": at}, ended=at + 1
    )


async def make_killed() -> tuple[MemoryStore, list[float], list[Host]]:
    """A rollout whose host has ended it, and was killed before it told that; two others, and their time."""
    store, now = MemoryStore(), [100.0 + PATIENCE]
    ended = Rollout(plan=PLAN, state=RolloutState.STOPPED, ended=100.0, is_unsettled=True)
    await KeptRollouts(store, on_change=lambda *_: None).change("g", lambda _: ended)
    hosts = [Host(store, {}, now) for _ in range(2)]
    for host in hosts:
        await host.rollouts.load()
    return store, now, hosts


def list_kinds(store: MemoryStore) -> list[str]:
    return [event.kind for event in store.log]


def test_a_wave_is_opened_once_and_told_once() -> None:
    async def scenario() -> None:
        async with two_hosts() as (store, boots, now, one, two):
            for node in NODES:  # none of them is off: the next wave waits for them
                boots[node] = replace(boot(node, BootState.HEALTHY, at=99.0), release="old")
            await one.rollouts.start(PLAN)
            await until(lambda: "g" in two.rollouts.rollouts)
            # All ask both, at once: the canaries are two.
            await asyncio.gather(*(each.rollouts.offer("g", node) for node in NODES for each in (one, two)))
            taken = list(one.rollouts.rollouts["g"].taken)
            assert len(taken) == 2
            for node in taken:
                boots[node] = boot(node, BootState.HEALTHY, at=101.0)
            now[0] = 110.0
            await asyncio.gather(one.rollouts.turn(), two.rollouts.turn())
            await until(lambda: two.rollouts.rollouts == one.rollouts.rollouts)
            assert one.rollouts.rollouts["g"].wave == 1
            assert list_kinds(store) == ["rollout-started", "rollout-wave"]

    asyncio.run(scenario())


def test_who_asks_one_host_alone_is_not_off_for_another_one_or_after_a_start() -> None:
    """A node that runs for days is heard of by what it asks: that has to be known to whoever decides."""

    async def scenario() -> None:
        store, now = MemoryStore(), [100.0]
        boots = BootRegister(MemoryStore(), clock=lambda: now[0])
        for node in NODES:
            _, token = await begin_boot(boots, node, "old")
            await boots.report(token, NodeStage.UP, NodeReport(release="old"))
        now[0] += 10 * PLAN.off_after
        one = Host(store, boots.latest, now)
        await one.rollouts.start(replace(PLAN, at=now[0], canary=1))
        for node in NODES:
            one.rollouts.hear(node)
            boots.note_asking(boots.latest[node], period=60.0)
        await one.rollouts.offer("g", "n1")
        now[0] += 100
        _, token = await begin_boot(boots, "n1", "new")
        await boots.report(token, NodeStage.UP, NodeReport(release="new"))
        two = Host(store, boots.latest, now)  # or the same one, started anew
        await two.rollouts.load()
        for _ in range(5):
            await two.rollouts.turn()
        rollout = two.rollouts.rollouts["g"]
        assert (rollout.wave, rollout.state) == (1, RolloutState.RUNNING)
        # Those that were off for that long hold it up no more.
        now[0] += PLAN.off_after + 60.0
        for _ in range(5):
            await two.rollouts.turn()
        assert two.rollouts.rollouts["g"].state is RolloutState.DONE

    asyncio.run(scenario())


def test_an_end_is_told_once_and_each_host_withdraws() -> None:
    async def scenario() -> None:
        async with two_hosts() as (store, boots, now, one, two):
            await one.rollouts.start(PLAN)
            await until(lambda: "g" in two.rollouts.rollouts)
            await two.rollouts.offer("g", "n1")
            boots["n1"] = boot("n1", BootState.FAILED, at=101.0)
            now[0] = 110.0
            two.fails = True
            await asyncio.gather(one.rollouts.turn(), two.rollouts.turn())
            await until(lambda: two.rollouts.rollouts["g"].state is RolloutState.STOPPED)
            two.fails = False
            for _ in range(3):
                await asyncio.gather(one.rollouts.turn(), two.rollouts.turn())
                await asyncio.sleep(0)
            assert list_kinds(store).count("rollout-stopped") == 1
            assert list_kinds(store).count("rollout-node-failed") == 1
            assert not one.rollouts.rollouts["g"].is_unsettled
            for host in (one, two):
                assert set(host.withdrawn) == {"new"}
                assert host.rollouts._ends._unsettled == {}  # nothing of what was refused before

    asyncio.run(scenario())


def test_another_host_settles_what_one_that_was_killed_has_ended() -> None:
    async def scenario() -> None:
        store, now = MemoryStore(), [100.0]
        ended = Rollout(plan=PLAN, state=RolloutState.STOPPED, ended=100.0, is_unsettled=True)
        await KeptRollouts(store, on_change=lambda *_: None).change("g", lambda _: ended)
        two = Host(store, {}, now)
        await two.rollouts.load()
        await two.rollouts.turn()
        assert (list_kinds(store), two.withdrawn) == ([], ["new"])
        now[0] += PATIENCE
        await two.rollouts.turn()
        await two.rollouts.turn()
        assert list_kinds(store) == ["rollout-stopped"]
        assert not two.rollouts.rollouts["g"].is_unsettled

    asyncio.run(scenario())


def test_of_two_that_settle_for_a_killed_one_the_first_tells() -> None:
    async def scenario() -> None:
        store, now, hosts = await make_killed()
        hosts[0].fails = hosts[1].fails = True  # both claim it, and neither gets on
        await asyncio.gather(*(host.rollouts.turn() for host in hosts))
        assert list_kinds(store) == []
        # That one is killed, too: the other one waits as long again.
        claimer, other = sorted(hosts, key=lambda host: PLAN.id not in host.rollouts._ends._own)
        other.fails = False
        await other.rollouts.load()
        await other.rollouts.turn()
        assert list_kinds(store) == []
        now[0] += PATIENCE
        await other.rollouts.turn()
        claimer.fails = False
        await claimer.rollouts.load()
        await claimer.rollouts.turn()
        assert list_kinds(store) == ["rollout-stopped"]

    asyncio.run(scenario())


def test_of_two_that_settle_at_once_one_tells() -> None:
    async def scenario() -> None:
        store, _, hosts = await make_killed()
        for host in hosts:
            host.takes = 0.01
        await asyncio.gather(*(host.rollouts.turn() for host in hosts))
        assert list_kinds(store) == ["rollout-stopped"]
        assert [host.withdrawn for host in hosts] != [[], []]

    asyncio.run(scenario())


@pytest.mark.parametrize(("away", "withdrawn"), [(3600.0, ["new"]), (2 * 86400.0, [])])
def test_a_host_that_does_not_know_the_time_waits_for_it(away: float, withdrawn: list[str]) -> None:
    """Whether an end is news is found out by the right time, and not by what it was at the start."""

    async def scenario() -> None:
        store, now = MemoryStore(), [100.0 + 30 * 86400.0]
        ended = Rollout(plan=PLAN, state=RolloutState.STOPPED, ended=100.0, is_unsettled=True)
        await KeptRollouts(store, on_change=lambda *_: None).change("g", lambda _: ended)
        host = Host(store, {}, now)
        host.knows_time = False
        await host.rollouts.load()
        await host.rollouts.turn()
        assert (list_kinds(store), host.withdrawn) == ([], [])
        assert host.rollouts.rollouts["g"].is_unsettled
        host.rollouts.hear("n1")
        assert host.rollouts._heard == {}
        now[0], host.knows_time = 100.0 + away, True
        await host.rollouts._ends.turn()
        assert host.withdrawn == withdrawn
        await host.rollouts.turn()
        assert not host.rollouts.rollouts["g"].is_unsettled

    asyncio.run(scenario())


def test_a_host_without_others_settles_at_once() -> None:
    async def scenario() -> None:
        store = MemoryStore()
        kept = KeptRollouts(store, on_change=lambda *_: None)
        ended = Rollout(plan=PLAN, state=RolloutState.ABORTED, ended=100.0, is_unsettled=True)
        await kept.change("g", lambda _: ended)
        ends = RolloutEnds(
            kept, RolloutJournal(store), withdraw=Host(store, {}, [0.0])._withdraw, clock=lambda: 100.0
        )
        assert not (await ends.settle(ended, by="ann")).is_unsettled
        assert [(event.kind, event.by) for event in store.log] == [("rollout-aborted", "ann")]

    asyncio.run(scenario())


def test_slots_across_hosts() -> None:
    async def scenario() -> None:
        store = MemoryStore()
        one, two = (GroupSlots(store, clock=lambda: 1.0) for _ in range(2))

        async def take(slots: GroupSlots, holder: str) -> bool:
            try:
                return await slots.take("g", holder, most=3)
            except SlotsTakenError:
                return False

        found = await asyncio.gather(
            *(take(slots, f"{holder}") for holder in range(6) for slots in (one, two))
        )
        assert sum(found) == 3
        assert len(await one.list_holders("g")) == 3
        holder = next(iter(await two.list_holders("g")))
        assert await two.free("g", holder)
        assert not await one.free("g", holder)

    asyncio.run(scenario())


def test_who_is_held_is_not_counted_as_under_way() -> None:
    async def scenario() -> None:
        store, held = MemoryStore(), set[str]()
        host = Host(store, {}, [100.0])
        host.rollouts._members = GroupMembers(fleet=lambda: FLEET, held=held.__contains__)
        await host.rollouts.start(PLAN)
        for node in NODES[:2]:
            await host.rollouts.offer("g", node)
        assert host.rollouts.count_under_way() == {"g": 2}
        held.add(NODES[0])
        assert host.rollouts.count_under_way() == {"g": 1}
        await host.rollouts.abort("g", by=None)
        assert host.rollouts.count_under_way() == {"g": 0}

    asyncio.run(scenario())


def test_who_is_in_a_group() -> None:
    members = GroupMembers(fleet=lambda: FLEET, held=lambda name: name == "n0")
    assert sorted(members.list_all("g")) == NODES
    assert members.list_free("g") == frozenset(NODES[1:])
    assert members.list_all("elsewhere") == ()
    assert members.is_in_force(PLAN)
    assert members.explain_change("x") == "the fleet has no group x any more"
    assert "another release" in members.explain_change("g")
    with contextlib.suppress(UnknownRolloutError):
        need_rollout(None)
        raise AssertionError
