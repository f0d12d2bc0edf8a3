"""Slots: never more holders than there may be, whoever asks, however often, at however many servers."""

from __future__ import annotations

import asyncio
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.fleet_api import MemoryStore

from ectools.netboot.rollout.slots import SLOTS, GroupSlots, SlotsTakenError
from ectools.netboot.state.interface import StateError


def make(store: MemoryStore, now: float = 0.0) -> GroupSlots:
    return GroupSlots(store, clock=lambda: now)


def test_a_slot_is_taken_once_and_given_back() -> None:
    async def scenario() -> None:
        slots = make(MemoryStore())
        assert await slots.take("g", "a", most=2)
        assert not await slots.take("g", "a", most=2)  # its answer was lost: it has it
        assert await slots.take("g", "b", most=2)
        with pytest.raises(SlotsTakenError, match="g: 2 of 2 slots are taken") as caught:
            await slots.take("g", "c", most=2)
        assert caught.value.holders == ("a", "b")
        assert await slots.take("other", "c", most=1)
        assert await slots.free("g", "a")
        assert not await slots.free("g", "a")
        assert await slots.take("g", "c", most=2)
        assert set(await slots.list_holders("g")) == {"b", "c"}

    asyncio.run(scenario())


def test_who_has_one_keeps_it_where_there_are_fewer_now() -> None:
    async def scenario() -> None:
        slots = make(MemoryStore())
        for name in "abc":
            await slots.take("g", name, most=3)
        assert not await slots.take("g", "a", most=1)
        with pytest.raises(SlotsTakenError):
            await slots.take("g", "d", most=1)

    asyncio.run(scenario())


@given(seed=st.integers(0, 1 << 32), most=st.integers(1, 4))
def test_two_servers_never_give_more_than_there_are(seed: int, most: int) -> None:
    async def scenario() -> None:
        random, store = Random(seed), MemoryStore()
        servers = [make(store), make(store)]
        held: set[str] = set()

        async def turn(name: str) -> None:
            slots = random.choice(servers)
            if name in held:
                held.discard(name)
                await slots.free("g", name)
                return
            try:
                await slots.take("g", name, most=most)
            except SlotsTakenError:
                return
            held.add(name)
            assert len(held) <= most

        for _ in range(10):
            await asyncio.gather(*(turn(name) for name in random.sample("abcdefgh", 4)))
            assert set(await servers[0].list_holders("g")) == held

    asyncio.run(scenario())


def test_what_cannot_be_kept_is_not_taken_and_what_nobody_wrote_is_nobodys() -> None:
    async def scenario() -> None:
        store = MemoryStore()
        await store.put(f"{SLOTS}g", {"holders": 5})
        slots = make(store)
        assert await slots.take("g", "a", most=1)
        store.error = StateError("the disk is full")
        with pytest.raises(StateError, match="the disk is full"):
            await slots.free("g", "a")
        store.error = None
        assert set(await slots.list_holders("g")) == {"a"}

    asyncio.run(scenario())
