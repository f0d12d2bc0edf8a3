"""Rollouts as a store keeps them: two that change one at once, and what somebody else has written."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from support.fleet_api import MemoryStore
from support.shared_stores import until

from ectools.netboot.rollout import kept as kept_rollouts
from ectools.netboot.rollout.decide import abort, pause, start_rollout
from ectools.netboot.rollout.encode import encode_rollout
from ectools.netboot.rollout.kept import ROLLOUTS, KeptRollouts
from ectools.netboot.rollout.model import Rollout, RolloutPlan, RolloutState
from ectools.netboot.state.interface import (
    StateConflictError,
    StateEntry,
    StateError,
    StateUnreachableError,
)
from ectools.supervision import tasks

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

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


def test_one_that_others_change_all_the_time_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_rollouts, "CHANGE_SECONDS", 0.2)

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


def test_who_asks_for_another_group_does_not_wait_for_one_that_others_change_all_the_time() -> None:
    class Contended(MemoryStore):
        async def put(self, key: str, value: Mapping[str, Any], *, expected: int | None = None) -> int:
            if key == f"{ROLLOUTS}g":
                raise StateConflictError("it was changed meanwhile")
            return await super().put(key, value, expected=expected)

    async def scenario() -> None:
        kept = KeptRollouts(Contended(), on_change=lambda *_: None)
        trying = asyncio.ensure_future(kept.change("g", lambda _: FRESH))
        await asyncio.sleep(0.05)
        async with asyncio.timeout(0.5):
            await kept.change("h", lambda _: replace(FRESH, plan=replace(FRESH.plan, group="h")))
            await kept.load()
        assert not trying.done()
        trying.cancel()
        await asyncio.wait({trying})
        assert len(kept._changing) == 0  # a group's lock is there for as long as somebody uses it

    asyncio.run(scenario())


def test_a_change_of_others_is_read_by_itself_and_told_once() -> None:
    class Counting(MemoryStore):
        def __init__(self) -> None:
            super().__init__()
            self.read: list[str] = []

        async def get(self, key: str, *, fresh: bool = False) -> StateEntry | None:
            self.read.append(key)
            return await super().get(key, fresh=fresh)

        async def list(self, prefix: str) -> Sequence[StateEntry]:
            self.read.append(prefix)
            return await super().list(prefix)

    async def scenario() -> None:
        store, told = Counting(), list[Rollout]()
        kept = KeptRollouts(store, on_change=lambda now, _: told.append(now))
        async with tasks(kept.follow()):
            await until(lambda: store.read, seconds=5)
            assert store.read == [ROLLOUTS]
            store.read.clear()
            await kept.change("h", lambda _: replace(FRESH, plan=replace(FRESH.plan, group="h")))
            for name in "abcd":
                await store.put(f"{ROLLOUTS}g", encode_rollout(give(FRESH, name)))
            await until(lambda: "g" in kept.by_group, seconds=5)
            await store.delete(f"{ROLLOUTS}g")
            await until(lambda: "g" not in kept.by_group, seconds=5)
            # Of four that came at once the last one alone is news; what was written here is none.
            assert [set(each.taken) for each in told] == [set(), {"d"}]
            assert set(store.read) == {f"{ROLLOUTS}g"}

    asyncio.run(scenario())


def test_what_was_to_be_said_and_gave_way_to_the_others_is_taken_over_though_the_revision_is_the_same() -> (
    None
):
    async def scenario() -> None:
        store = MemoryStore()
        await store.put(f"{ROLLOUTS}g", encode_rollout(FRESH))
        entry = store.entries[f"{ROLLOUTS}g"] = replace(store.entries[f"{ROLLOUTS}g"], revision=0)
        kept = KeptRollouts(store, on_change=lambda *_: None)
        await kept.load()
        assert kept.by_group["g"] == FRESH
        store.entries[entry.key] = replace(
            entry, value=encode_rollout(pause(FRESH)), changed=entry.changed + 1
        )
        await kept.load()
        assert kept.by_group["g"].state is RolloutState.PAUSED

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


def test_a_store_that_has_lost_all_and_counts_anew_is_heard() -> None:
    """NATS without its disk: what the hosts write again has lower revisions than what they know."""

    async def scenario() -> None:
        store = MemoryStore()
        store._revision = 300
        one, other = (KeptRollouts(store, on_change=lambda *_: None) for _ in range(2))
        async with tasks(one.follow()):
            await asyncio.sleep(0)
            await one.change("g", lambda _: FRESH)
            await other.load()
            store._revision = 0
            revision = await store.put(f"{ROLLOUTS}g", encode_rollout(FRESH))
            assert revision < 300
            await other.change("g", lambda now: abort(need(now), why="so", now=1.0))
            await until(lambda: one.by_group["g"].state is RolloutState.ABORTED, seconds=5)

    asyncio.run(scenario())


def test_what_was_missed_is_read_and_what_is_gone_is_forgotten() -> None:
    async def scenario() -> None:
        store = MemoryStore()
        kept = KeptRollouts(store, on_change=lambda *_: None)
        async with tasks(kept.follow()):
            await kept.change("g", lambda _: FRESH)
            entry = store.entries[f"{ROLLOUTS}g"]
            store.entries[entry.key] = replace(
                entry, value=encode_rollout(pause(FRESH)), revision=entry.revision + 1
            )
            store.miss()
            await until(lambda: kept.by_group["g"].state is RolloutState.PAUSED, seconds=5)
            await store.delete(entry.key)
            await until(lambda: not kept.by_group, seconds=5)

    asyncio.run(scenario())


def test_what_a_copy_has_lost_is_not_forgotten_while_the_others_cannot_be_asked() -> None:
    class CutOff(MemoryStore):
        async def get(self, key: str, *, fresh: bool = False) -> StateEntry | None:
            if fresh:
                raise StateUnreachableError("away")
            return await super().get(key)

    async def scenario() -> None:
        store = CutOff()
        kept = KeptRollouts(store, on_change=lambda *_: None)
        await kept.change("g", lambda _: FRESH)
        store.entries.clear()
        await kept.load()
        assert kept.by_group["g"] == FRESH

    asyncio.run(scenario())


def test_a_write_that_was_not_answered_is_looked_for() -> None:
    class Unanswered(MemoryStore):
        async def put(self, *arguments: object, **fields: object) -> int:
            await super().put(*arguments, **fields)  # type: ignore[arg-type] # handed on
            raise StateUnreachableError("it does not answer")

    async def scenario() -> None:
        store = Unanswered()
        kept = KeptRollouts(store, on_change=lambda *_: None)
        with pytest.raises(StateError):
            await kept.change("g", lambda _: FRESH)
        assert not kept.by_group
        await kept.read_doubtful()
        assert kept.by_group["g"] == FRESH

    asyncio.run(scenario())
