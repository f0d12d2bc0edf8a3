"""The laws of rollouts, held by the real service, which is killed at any of its writes."""

from __future__ import annotations

import asyncio
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.killed_service import KilledService
from support.rollout_fleet import BAD, BEFORE, TARGET, Behaviour

from ectools.netboot.rollout.model import RolloutPlan, RolloutState

MAX_STEPS = 1000
SCHEDULES = {
    "canary": st.integers(1, 3),
    "waves": st.sampled_from([(100.0,), (50.0, 100.0), (10.0, 25.0, 100.0)]),
    "max_failures": st.integers(0, 3),
    "size": st.integers(1, 12),
    "share": st.sampled_from([0.0, 0.1, 0.3, 1.0]),
    "seed": st.integers(0, 1 << 32),
    "kills": st.sampled_from([0.0, 0.02, 0.1]),
}


async def lead(
    *,
    canary: int,
    waves: tuple[float, ...],
    max_failures: int,
    size: int,
    share: float,
    seed: int,
    kills: float,
) -> None:
    """A schedule, from its start to where all nodes are when it is over."""
    random = Random(seed)
    plan = RolloutPlan(
        id="r",
        group="g",
        target=TARGET,
        before=BEFORE,
        base=BEFORE,
        canary=canary,
        waves=waves,
        max_failures=max_failures,
        within=600.0,
        at=1000.0,
    )
    behaviours = {
        f"n{number}": random.choice(sorted(BAD)) if random.random() < share else Behaviour.GOOD
        for number in range(size)
    }
    service = KilledService(plan, behaviours, random, kills=kills)
    await service.begin()
    for _ in range(MAX_STEPS):
        if service.kept.has_ended and not service.kept.is_unsettled:
            break
        await service.step()
    end = service.kept
    assert end.has_ended, f"no end: {end}"
    # Two waves at once there are never: each began when all of the one before had said how they were.
    for opened in service.waves:
        assert opened.taken.keys() == opened.healthy | opened.failed.keys()
        assert all(service.nodes[name].said_healthy for name in opened.healthy)
    assert (TARGET in service.withdrawn) == (end.state is RolloutState.STOPPED)
    told = [each.kind for each in service.store.log]
    assert f"rollout-{end.state}" in told
    if share == 1.0:
        assert end.state is RolloutState.STOPPED
        assert sum(node.had_target for node in service.nodes.values()) <= canary
    # All are back, or there, with one boot each.
    service.store.kills = 0.0
    await service.go_back()
    wanted = TARGET if end.state is RolloutState.DONE else BEFORE
    assert {node.runs for node in service.nodes.values()} == {wanted}


@settings(max_examples=25, deadline=None)
@given(**SCHEDULES)
def test_whichever_write_it_is_killed_at(**schedule: object) -> None:
    asyncio.run(lead(**schedule))  # type: ignore[arg-type] # as SCHEDULES has them


@pytest.mark.full
@pytest.mark.timeout(3600)
@settings(max_examples=2000, deadline=None)
@given(**SCHEDULES)
def test_whichever_write_it_is_killed_at_in_thousands_of_schedules(**schedule: object) -> None:
    asyncio.run(lead(**schedule))  # type: ignore[arg-type] # as SCHEDULES has them
