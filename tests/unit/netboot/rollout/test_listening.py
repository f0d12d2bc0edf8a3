"""Who is late is told only by a server that has heard all for that long."""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace

import pytest
from support.fleet_api import MemoryStore
from support.fleets import make_fleet
from support.quiet_rollouts import make_rollouts

from ectools.errors import EcError
from ectools.netboot.rollout.decide import decide, list_awaited
from ectools.netboot.rollout.listening import Listening
from ectools.netboot.rollout.model import Known, Rollout, RolloutPlan, RolloutState
from ectools.netboot.state.interface import StateUnreachableError

FLEET = make_fleet(groups={"g": {"release": "old"}}, nodes={"n1": {"group": "g", "match": {"serial": "n1"}}})
PLAN = RolloutPlan(
    id="p", group="g", target="new", before="old", max_failures=0, within=600.0, at=1000.0, base="old"
)


class Server:
    """The rollouts of one boot server, which nobody reports to."""

    def __init__(self, store: MemoryStore, *, now: float) -> None:
        self.now, self.ticks, self.is_cut_off = now, 7.0, False
        self.rollouts = make_rollouts(
            store,
            FLEET,
            clock=lambda: self.now,
            is_cut_off=lambda: self.is_cut_off,
            ticks=lambda: self.ticks,
        )

    def go_on(self, seconds: float) -> None:
        self.now, self.ticks = self.now + seconds, self.ticks + seconds

    async def turn(self) -> RolloutState:
        await self.rollouts.turn()
        return self.rollouts.rollouts["g"].state

    async def assert_begins_anew(self) -> None:
        """Who was given the release has all of its time from now on, and no more."""
        assert await self.turn() is RolloutState.RUNNING
        self.go_on(PLAN.within)
        assert await self.turn() is RolloutState.RUNNING
        self.go_on(1)
        assert await self.turn() is RolloutState.STOPPED


async def begin(store: MemoryStore) -> Server:
    """A server that has given ``n1`` the release just now."""
    server = Server(store, now=1000.0)
    await server.rollouts.load()
    await server.rollouts.start(PLAN)
    await server.rollouts.offer("g", "n1")
    return server


@pytest.mark.parametrize(
    ("listened", "is_late"), [(math.inf, True), (600.5, True), (600.0, False), (0.0, False)]
)
def test_late_is_who_was_listened_for_that_long(listened: float, is_late: bool) -> None:
    rollout = Rollout(plan=PLAN, taken={"n1": 1000.0})
    known = Known(nodes=frozenset({"n1"}), boots={}, heard={}, now=1601.0, listened=listened)
    assert bool(decide(rollout, known).failed) == is_late


@pytest.mark.parametrize(
    ("listened", "is_off"), [(math.inf, True), (86401.0, True), (86400.0, False), (0, False)]
)
def test_off_is_who_was_listened_for_that_long(listened: float, is_off: bool) -> None:
    """Else a server that was down for a day would open one wave after the other as it comes up."""
    known = Known(
        nodes=frozenset({"n1", "n2"}), boots={}, heard={"n2": 1000.0}, now=1000.0 + 90000, listened=listened
    )
    assert list_awaited(Rollout(plan=PLAN), known) == ([] if is_off else ["n2"])


def test_a_server_that_was_down_for_longer_than_a_boot_may_take_fails_nobody_for_that() -> None:
    async def scenario() -> None:
        store = MemoryStore()
        await begin(store)
        server = Server(store, now=1000.0 + 3 * 3600)
        await server.rollouts.load()
        await server.assert_begins_anew()

    asyncio.run(scenario())


def test_a_clock_that_is_set_forward_after_a_start_fails_nobody() -> None:
    async def scenario() -> None:
        server = await begin(MemoryStore())
        server.go_on(30)
        server.now += 86400.0
        assert await server.turn() is RolloutState.RUNNING

    asyncio.run(scenario())


def test_a_clock_that_is_set_forward_long_after_a_start_fails_nobody() -> None:
    """Nor does a guest that was paused: for it, too, the clock alone has gone on."""

    async def scenario() -> None:
        store = MemoryStore()
        server = Server(store, now=1000.0)
        for _ in range(60):
            server.go_on(60)
            await server.rollouts.turn()
        await server.rollouts.start(replace(PLAN, at=server.now))
        await server.rollouts.offer("g", "n1")
        server.go_on(5)
        server.now += 900.0
        await server.assert_begins_anew()

    asyncio.run(scenario())


def test_a_clock_that_is_put_right_by_little_or_back_changes_nothing() -> None:
    now, ticks = [1000.0], [0.0]
    listening = Listening(lambda: ticks[0], is_cut_off=lambda: False, clock=lambda: now[0])
    for moved in (0.5, -900.0, 3.0):
        ticks[0] += 60
        now[0] += 60 + moved
        assert listening.look()
    assert listening.seconds == 180
    now[0] += 10
    assert listening.seconds == 0


def test_who_was_cut_off_judges_nobody_by_what_it_has_missed() -> None:
    async def scenario() -> None:
        server = await begin(MemoryStore())
        server.is_cut_off = True
        for _ in range(20):
            server.go_on(60)
            assert await server.turn() is RolloutState.RUNNING
        server.is_cut_off = False
        server.go_on(PLAN.within)
        assert await server.turn() is RolloutState.RUNNING
        server.go_on(1)
        assert await server.turn() is RolloutState.STOPPED

    asyncio.run(scenario())


def test_an_end_is_not_told_again_and_again_by_who_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        store = MemoryStore()
        server = await begin(store)

        async def refuse(*_: object, **__: object) -> int:
            raise StateUnreachableError("away")

        ended = replace(
            server.rollouts.need("g"), state=RolloutState.STOPPED, ended=1000.0, is_unsettled=True
        )
        await server.rollouts._kept.change("g", lambda _: ended)
        with monkeypatch.context() as patch:
            patch.setattr(store, "put", refuse)
            server.is_cut_off = True
            for _ in range(5):
                server.go_on(1)
                await server.turn()
            with pytest.raises(EcError):
                await store.put("x", {})
        assert [event.kind for event in store.log] == ["rollout-started"]
        server.is_cut_off = False
        for _ in range(2):
            await server.turn()
        assert [event.kind for event in store.log] == ["rollout-started", "rollout-stopped"]

    asyncio.run(scenario())


def test_without_ticks_all_was_heard_always() -> None:
    listening = Listening(None, is_cut_off=lambda: True)
    assert not listening.look()
    assert listening.seconds == math.inf
