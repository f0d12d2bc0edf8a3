"""Rollouts as a store keeps them: two that change one at once, and what somebody else has written."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from support.fleet_api import MemoryStore

from ectools.netboot.rollout.decide import pause, start_rollout
from ectools.netboot.rollout.encode import encode_rollout
from ectools.netboot.rollout.kept import ROLLOUTS, KeptRollouts
from ectools.netboot.rollout.model import Rollout, RolloutPlan, RolloutState
from ectools.netboot.state.interface import StateError

FRESH = start_rollout(RolloutPlan(id="r", group="g", target="new", before="old"))


def give(rollout: Rollout, node: str) -> Rollout:
    return replace(rollout, taken={**rollout.taken, node: 1.0})


def need(rollout: Rollout | None) -> Rollout:
    assert rollout is not None
    return rollout


def test_two_servers_that_change_one_lose_nothing_of_each_other() -> None:
    async def scenario() -> None:
        store, told = MemoryStore(), list[tuple[Rollout, Rollout | None]]()
        one = KeptRollouts(store, on_change=lambda now, before: told.append((now, before)))
        other = KeptRollouts(store, on_change=lambda *_: None)
        await one.change("g", lambda _: FRESH)
        await other.load()
        await asyncio.gather(
            *(one.change("g", lambda now, name=name: give(need(now), name)) for name in "ab"),
            *(other.change("g", lambda now, name=name: give(need(now), name)) for name in "cd"),
        )
        await one.load()
        await other.load()
        assert one.by_group["g"] == other.by_group["g"]
        assert set(one.by_group["g"].taken) == set("abcd")
        assert told[0] == (FRESH, None)

    asyncio.run(scenario())


def test_a_change_that_changes_nothing_is_not_written() -> None:
    async def scenario() -> None:
        store = MemoryStore()
        kept = KeptRollouts(store, on_change=lambda *_: None)
        await kept.change("g", lambda _: pause(FRESH))
        revision = store.entries[f"{ROLLOUTS}g"].revision
        assert (await kept.change("g", need)).after.state is RolloutState.PAUSED
        assert store.entries[f"{ROLLOUTS}g"].revision == revision

    asyncio.run(scenario())


def test_one_that_others_change_all_the_time_is_given_up() -> None:
    async def scenario() -> None:
        store = MemoryStore()
        kept = KeptRollouts(store, on_change=lambda *_: None)
        await kept.change("g", lambda _: FRESH)
        count = 0

        def change(now: Rollout | None) -> Rollout:
            nonlocal count
            count += 1
            store.entries[f"{ROLLOUTS}g"] = replace(
                store.entries[f"{ROLLOUTS}g"], value=encode_rollout(FRESH), revision=1000 + count
            )
            return give(need(now), f"n{count}")

        with pytest.raises(StateError, match="changed by others all the time"):
            await kept.change("g", change)
        assert 1 < count < 100

    asyncio.run(scenario())


def test_what_cannot_be_read_is_no_proof_that_nothing_is_there() -> None:
    async def scenario() -> None:
        store = MemoryStore()
        await store.put(f"{ROLLOUTS}g", {"of": "a later version"})
        kept = KeptRollouts(store, on_change=lambda *_: None)
        assert not kept.is_whole
        await kept.load()
        assert (dict(kept.by_group), kept.is_whole) == ({}, False)
        await kept.change("g", lambda _: FRESH)
        assert kept.is_whole

    asyncio.run(scenario())
