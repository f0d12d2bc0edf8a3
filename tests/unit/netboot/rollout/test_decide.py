"""A rollout's laws, over random schedules of nodes that fail in every way; and its turns, one by one."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.rollout_fleet import BAD, BEFORE, TARGET, Behaviour, SimulatedFleet

from ectools.netboot.boots.model import (
    BootInstall,
    BootState,
    BootUpdate,
    NodeBoot,
    NodeStage,
    UpdateStep,
)
from ectools.netboot.rollout.decide import (
    abort,
    count_nodes,
    decide,
    find_led_release,
    list_awaited,
    list_under_way,
    offer,
    pause,
    resume,
    start_rollout,
)
from ectools.netboot.rollout.model import ENDS, Known, Rollout, RolloutPlan, RolloutState

PLANS = st.builds(
    RolloutPlan,
    id=st.just("r1"),
    group=st.just("runners"),
    target=st.just(TARGET),
    before=st.just(BEFORE),
    canary=st.integers(1, 4),
    waves=st.sampled_from([(100.0,), (5.0, 25.0, 100.0), (50.0, 100.0), (10.0, 20.0, 30.0, 100.0)]),
    max_failures=st.integers(0, 3),
    within=st.just(600.0),
    at=st.just(1000.0),
)


def check_laws(fleet: SimulatedFleet) -> None:
    """Of each state that was kept, and of each step from one to the next."""
    size = len(fleet.nodes)
    for state in fleet.states:
        # Who was held while it had a place may have given that to another.
        assert len(state.taken.keys() - fleet.ever_away) <= fleet.plan.quota(state.wave, size)
        assert not state.healthy & state.failed.keys()
        assert state.healthy | state.failed.keys() <= state.taken.keys()
    for before, after, away in zip(fleet.states, fleet.states[1:], fleet.away_then[1:], strict=False):
        assert before.taken.items() <= after.taken.items()
        assert before.failed.items() <= after.failed.items()
        assert after.wave - before.wave in (0, 1)
        if after.wave > before.wave:
            # Two waves at once there are never: all of the one before have said how they are.
            assert away.issuperset(after.under_way)
            assert after.healthy
        # Nobody fails by silence who is held.
        silent = {
            node for node, why in after.failed.items() if why.startswith(("no healthy", "it was given"))
        }
        assert not (silent - before.failed.keys()) & away
        assert not before.has_ended


def run(
    plan: RolloutPlan, behaviours: list[Behaviour], seed: int, *, kills: float, pulls: float = 0.0
) -> SimulatedFleet:
    named = {f"n{index:04}": each for index, each in enumerate(behaviours)}
    fleet = SimulatedFleet(plan, named, Random(seed), kills=kills, pulls=pulls)
    fleet.run()
    return fleet


@settings(max_examples=40)
@given(
    plan=PLANS,
    behaviours=st.lists(st.sampled_from(Behaviour), min_size=1, max_size=20),
    seed=st.integers(0, 1 << 32),
    kills=st.sampled_from([0.0, 0.1, 0.5]),
    pulls=st.sampled_from([0.0, 0.1, 0.6]),
)
def test_it_always_ends_and_never_reaches_more_than_a_wave(
    plan: RolloutPlan, behaviours: list[Behaviour], seed: int, kills: float, pulls: float
) -> None:
    fleet = run(plan, behaviours, seed, kills=kills, pulls=pulls)
    check_laws(fleet)
    end = fleet.kept
    taken = end.taken.keys() - fleet.ever_away
    bad = sum(1 for node in taken if fleet.nodes[node].behaviour in BAD)
    if bad > plan.max_failures:
        assert end.state is RolloutState.STOPPED
    fleet.settle()
    runs = {node.runs for node in fleet.nodes.values()}
    assert runs == ({TARGET} if end.state is RolloutState.DONE else {BEFORE})


@settings(max_examples=25)
@given(plan=PLANS, size=st.integers(1, 20), seed=st.integers(0, 1 << 32), bad=st.sampled_from(sorted(BAD)))
def test_a_release_that_fails_everywhere_reaches_the_canaries_alone(
    plan: RolloutPlan, size: int, seed: int, bad: Behaviour
) -> None:
    end = run(plan, [bad] * size, seed, kills=0.2).kept
    assert end.state is RolloutState.STOPPED
    assert len(end.taken) <= plan.canary
    assert end.why is not None
    assert next(iter(end.failed)) in end.why


@settings(max_examples=25)
@given(
    plan=PLANS,
    size=st.integers(1, 20),
    seed=st.integers(0, 1 << 32),
    pulls=st.sampled_from([0.0, 0.1, 0.6]),
)
def test_a_good_release_ends_everywhere(plan: RolloutPlan, size: int, seed: int, pulls: float) -> None:
    good = {f"n{number}": Behaviour.GOOD for number in range(size)}
    # Nobody is late: between two looks less time goes by than a boot has.
    fleet = SimulatedFleet(replace(plan, within=86400.0), good, Random(seed), kills=0.0, pulls=pulls)
    assert fleet.run().state is RolloutState.DONE
    check_laws(fleet)


@pytest.mark.full
@pytest.mark.timeout(7200)
@settings(max_examples=10_000)
@given(
    plan=PLANS,
    seed=st.integers(0, 1 << 32),
    share=st.floats(0, 0.2),
    pulls=st.sampled_from([0.0, 0.5]),
)
def test_ten_thousand_schedules_of_a_thousand_nodes(
    plan: RolloutPlan, seed: int, share: float, pulls: float
) -> None:
    random = Random(seed)
    draw = [random.choice(sorted(BAD)) if random.random() < share else Behaviour.GOOD for _ in range(1000)]
    check_laws(run(plan, draw, seed, kills=0.1, pulls=pulls))


PLAN = RolloutPlan(id="r", group="g", target=TARGET, before=BEFORE, waves=(50.0, 100.0), at=0.0)


def known(
    *, nodes: str = "abcd", heard: str = "abcd", now: float = 0.0, **boots: list[tuple[float, BootState]]
) -> Known:
    return Known(
        nodes=frozenset(nodes),
        boots={
            node: tuple(make_boot(node, at, state) for at, state in of_node)
            for node, of_node in boots.items()
        },
        heard=dict.fromkeys(heard, now),
        now=now,
    )


def make_boot(node: str, at: float, state: BootState, *, release: str = TARGET) -> NodeBoot:
    stages = {NodeStage.SCRIPT: at, NodeStage.KERNEL: at + 1}
    return NodeBoot(
        id=node,
        token_hash="",
        machine=node,
        node=node,
        release=release,
        system="s",
        stages=stages,
        state=state,
    )


def take(rollout: Rollout, nodes: str, at: float) -> Rollout:
    for node in nodes:
        rollout = offer(rollout, [node], known(now=at))
    return rollout


def test_the_first_to_ask_is_the_canary_and_the_next_stays() -> None:
    rollout = take(start_rollout(PLAN), "ba", 5.0)
    assert rollout.taken == {"b": 5.0}
    assert {node: find_led_release(rollout, node) for node in "ab"} == {"a": BEFORE, "b": TARGET}
    assert offer(rollout, ["b"], known(now=9.0)) is rollout


def test_a_stranger_takes_no_place() -> None:
    rollout = start_rollout(PLAN)
    assert offer(rollout, ["z"], known()) is rollout


def test_a_wave_waits_for_who_is_on_and_not_for_who_is_off() -> None:
    rollout = take(start_rollout(PLAN), "a", 0.0)
    healthy = [(1.0, BootState.HEALTHY)]
    rollout = decide(rollout, known(now=10.0, a=healthy))
    assert (rollout.wave, rollout.opened, rollout.healthy) == (1, 10.0, frozenset("a"))
    waits = known(now=20.0, heard="ab", a=healthy)
    assert list_awaited(rollout, waits) == ["b"]
    assert decide(rollout, waits) is rollout
    day = 20.0 + PLAN.off_after
    off = Known(nodes=waits.nodes, boots=waits.boots, heard={"b": 20.0 - 1}, now=day)
    rollout = decide(rollout, off)
    assert rollout.wave == 2
    rollout = decide(rollout, off)
    assert (rollout.state, rollout.ended) == (RolloutState.DONE, day)
    assert rollout.why == "off at its end, and given it when they come: b, c, d"
    assert find_led_release(rollout, "d") == TARGET


def test_more_failures_than_are_allowed_stop_it_in_one_step() -> None:
    rollout = replace(take(start_rollout(PLAN), "a", 0.0), wave=2)
    rollout = take(rollout, "bcd", 1.0)
    bad = {"b": [(2.0, BootState.FAILED)], "c": [(2.0, BootState.UNHEALTHY)]}
    rollout = decide(rollout, known(now=10.0, a=[(1.0, BootState.HEALTHY)], **bad))
    assert rollout.state is RolloutState.STOPPED
    assert rollout.why == "2 nodes have failed (b: failed after kernel; c: unhealthy after kernel)"
    assert {find_led_release(rollout, node) for node in "abcd"} == {BEFORE}
    assert decide(rollout, known(now=99.0)) is rollout


def test_one_that_boots_again_and_again_fails_by_the_time_of_its_first() -> None:
    rollout = take(start_rollout(PLAN), "a", 0.0)
    boots = [(float(at), BootState.ABANDONED) for at in range(0, 600, 100)] + [(600.0, BootState.BOOTING)]
    assert decide(rollout, known(now=600.0, a=boots)) is rollout
    rollout = decide(rollout, known(now=601.0, a=boots))
    assert rollout.failed == {"a": "no healthy report; last seen at kernel, at its boot number 7"}


def test_who_never_comes_for_what_it_was_given_has_failed() -> None:
    rollout = decide(take(start_rollout(PLAN), "a", 0.0), known(now=601.0))
    assert rollout.failed == {"a": "it was given the release, and did not come for it"}
    assert rollout.state is RolloutState.STOPPED


def test_who_is_held_is_not_late_and_another_gets_its_place() -> None:
    rollout = take(start_rollout(PLAN), "a", 0.0)
    late = known(nodes="bcd", now=700.0)
    assert decide(rollout, late) is rollout
    assert list_under_way(rollout, late) == []
    assert list_under_way(rollout, known()) == ["a"]
    both = offer(rollout, ["b"], late)
    assert both.taken == {"a": 0.0, "b": 700.0}
    assert offer(both, ["c"], late) is both
    assert offer(both, ["c"], known(now=700.0)) is both
    gone_on = decide(both, known(nodes="bcd", now=710.0, b=[(701.0, BootState.HEALTHY)]))
    assert (gone_on.wave, gone_on.healthy, gone_on.failed) == (1, frozenset("b"), {})
    # It comes back: it has its time from then on, and is waited for.
    again = replace(known(now=800.0, b=[(701.0, BootState.HEALTHY)]), back={"a": 800.0})
    assert decide(both, again).wave == 0
    assert decide(both, again).failed == {}
    assert set(decide(both, replace(again, now=1401.0)).failed) == {"a"}


def test_who_boots_the_release_while_it_is_held_is_waited_for() -> None:
    """An operator holds one that hangs, to look at it: that opens no wave, and its boot ends by itself."""
    rollout = replace(start_rollout(PLAN), wave=1, taken={"a": 0.0, "b": 1.0}, healthy=frozenset("a"))
    boots = {"a": [(1.0, BootState.HEALTHY)], "b": [(2.0, BootState.BOOTING)]}
    held = known(nodes="acdefgh", now=60.0, **boots)
    assert list_under_way(rollout, held) == ["b"]
    assert decide(rollout, held) is rollout
    # Long after its time: it is its boot that has failed, and not its silence.
    assert decide(rollout, replace(held, now=5000.0)) is rollout
    ended = decide(rollout, known(nodes="acdefgh", now=700.0, **{**boots, "b": [(2.0, BootState.FAILED)]}))
    assert set(ended.failed) == {"b"}


def test_where_nobody_is_left_it_ends_after_as_long_as_anybody_is_waited_for() -> None:
    rollout = take(start_rollout(PLAN), "a", 0.0)
    assert decide(rollout, known(nodes="", now=PLAN.off_after)) is rollout
    ended = decide(rollout, known(nodes="", now=PLAN.off_after + 1))
    assert (ended.state, ended.why) == (
        RolloutState.STOPPED,
        "all who were given the release are held, or gone, and nobody is left to ask",
    )


def test_what_who_is_held_has_said_counts() -> None:
    rollout = take(start_rollout(PLAN), "a", 0.0)
    bad = decide(rollout, known(nodes="bcd", now=5.0, a=[(1.0, BootState.FAILED)]))
    assert (bad.state, set(bad.failed)) == (RolloutState.STOPPED, {"a"})
    good = decide(rollout, known(nodes="bcd", now=5.0, a=[(1.0, BootState.HEALTHY)]))
    assert (good.wave, good.healthy) == (1, frozenset("a"))


def test_boots_of_before_and_of_other_releases_say_nothing() -> None:
    rollout = take(start_rollout(PLAN), "a", 10.0)
    old = (make_boot("a", 9.0, BootState.FAILED), make_boot("a", 11.0, BootState.FAILED, release=BEFORE))
    seen = Known(nodes=frozenset("a"), boots={"a": old}, heard={}, now=12.0)
    assert decide(rollout, seen) is rollout


def test_who_was_healthy_and_fails_later_counts() -> None:
    rollout = decide(take(start_rollout(PLAN), "a", 0.0), known(now=5.0, a=[(1.0, BootState.HEALTHY)]))
    boots = [(1.0, BootState.HEALTHY), (7.0, BootState.UNHEALTHY)]
    rollout = decide(rollout, known(now=9.0, a=boots))
    assert (rollout.healthy, set(rollout.failed)) == (frozenset(), {"a"})


def test_a_pause_gives_nobody_the_release_and_still_stops() -> None:
    rollout = pause(take(start_rollout(replace(PLAN, max_failures=0)), "a", 0.0))
    assert offer(rollout, ["b"], known()) is rollout
    assert find_led_release(rollout, "a") == TARGET
    assert decide(rollout, known(now=5.0, a=[(1.0, BootState.HEALTHY)])).wave == 0
    assert resume(rollout).state is RolloutState.RUNNING
    stopped = decide(rollout, known(now=5.0, a=[(1.0, BootState.FAILED)]))
    assert stopped.state is RolloutState.STOPPED
    assert pause(stopped) is stopped
    assert resume(stopped) is stopped


@pytest.mark.parametrize("end", sorted(ENDS))
def test_an_end_is_not_left(end: RolloutState) -> None:
    rollout = replace(start_rollout(PLAN), state=end)
    assert abort(rollout, why="no", now=1.0) is rollout
    assert offer(rollout, ["a"], known()) is rollout
    assert decide(rollout, known()) is rollout


def test_an_abort_leads_back() -> None:
    rollout = take(start_rollout(PLAN), "a", 0.0)
    assert rollout.under_way == ("a",)
    rollout = abort(rollout, why="by alice", now=3.0)
    assert rollout.under_way == ()  # nothing is waited for any more
    assert (find_led_release(rollout, "a"), rollout.why, rollout.ended) == (BEFORE, "by alice", 3.0)


def test_quotas_grow_also_where_a_percentage_is_less_than_the_canaries() -> None:
    plan = replace(PLAN, canary=2, waves=(5.0, 25.0, 100.0))
    assert [plan.quota(wave, 10) for wave in range(4)] == [2, 3, 4, 10]
    assert [plan.quota(wave, 1000) for wave in range(4)] == [2, 50, 250, 1000]
    assert [plan.quota(wave, 1) for wave in range(4)] == [1, 1, 1, 1]
    assert [plan.quota(wave, 0) for wave in range(4)] == [0, 0, 0, 0]


def test_a_node_on_a_disk_that_cannot_take_it_has_failed_at_once() -> None:
    rollout = take(start_rollout(PLAN), "a", 5.0)
    running = make_boot("a", 1.0, BootState.HEALTHY, release=BEFORE)

    def says(release: str, at: float, error: str | None) -> Rollout:
        update = BootUpdate(release=release, step=UpdateStep.COPY, at=at, error=error)
        boots = {"a": (replace(running, update=update),)}
        return decide(rollout, replace(known(now=10.0), boots=boots))

    assert says(TARGET, 6.0, "the disk is full").failed == {"a": "cannot take it: the disk is full"}
    # By a boot of its that came after one that was on its way.
    boots = tuple(
        replace(
            make_boot("a", at, BootState.HEALTHY),
            update=BootUpdate(release=TARGET, step=step, at=at, error=error),
        )
        for at, step, error in ((6.0, UpdateStep.COPY, None), (7.0, UpdateStep.ENTRY, "another is booted"))
    )
    decided = decide(rollout, replace(known(now=8.0), boots={"a": boots}))
    assert decided.failed == {"a": "cannot take it: another is booted"}
    # On its way; of another release; or of a rollout before.
    for said in (says(TARGET, 6.0, None), says(BEFORE, 6.0, "full"), says(TARGET, 4.0, "full")):
        assert said.failed == {}


def test_a_boot_of_before_counts_where_its_node_says_that_the_release_brings_what_runs() -> None:
    rollout = take(start_rollout(PLAN), "a", 5.0)
    boot = replace(make_boot("a", 1.0, BootState.HEALTHY), release=TARGET)

    def says(**fields: Any) -> Rollout:
        update = BootUpdate(**{"release": TARGET, "step": UpdateStep.SAME, "at": 6.0, **fields})
        return decide(rollout, replace(known(now=7.0), boots={"a": (replace(boot, update=update),)}))

    assert says().healthy == {"a"}
    # Of another release; of a rollout before; on its way from there.
    for fields in ({"release": BEFORE}, {"at": 4.0}, {"step": UpdateStep.COPY}):
        assert says(**fields) is rollout
    assert says(error="unhealthy").failed == {"a": "cannot take it: unhealthy"}


def test_one_that_installs_itself_has_the_time_that_this_may_take() -> None:
    rollout = take(start_rollout(PLAN), "a", 5.0)
    boot = replace(make_boot("a", 5.0, BootState.BOOTING), within=3600.0)
    for install, fails in ((None, True), (BootInstall(order="first"), False)):
        boots = {"a": (replace(boot, install=install),)}
        decided = decide(rollout, replace(known(now=5.0 + PLAN.within + 1), boots=boots))
        assert bool(decided.failed) is fails
    late = replace(known(now=5.0 + 3601.0), boots={"a": (replace(boot, install=BootInstall(order="first")),)})
    assert decide(rollout, late).failed


def test_a_clock_that_is_set_back_loses_no_report() -> None:
    """A boot that has begun after the node was given the release is older than that, by such a clock."""
    rollout = take(start_rollout(PLAN), "a", 10_000.0)
    rollout = decide(rollout, known(now=2_800.0))
    assert rollout.taken == {"a": 2_800.0}
    assert decide(rollout, known(now=2_801.0)) is rollout
    rollout = decide(rollout, known(now=2_900.0, a=[(2_850.0, BootState.HEALTHY)]))
    assert rollout.healthy == frozenset("a")
    # One that was given it by the right clock keeps its time.
    rollout = replace(rollout, wave=0, healthy=frozenset())
    assert decide(rollout, known(now=2_800.0 + PLAN.within)).taken == {"a": 2_800.0}


def test_who_may_not_have_been_told_is_not_late_and_counts_by_what_it_boots() -> None:
    rollout = take(start_rollout(PLAN), "a", 100.0)
    doubtful = replace(known(now=200.0), doubtful={"a": [90.0, 100.0], "b": [100.0]})
    rollout = decide(rollout, doubtful)
    assert rollout.untold == {"a"}
    late = decide(rollout, known(now=100.0 + 10 * PLAN.within))
    assert late is rollout
    healthy = decide(rollout, known(now=300.0, a=[(250.0, BootState.HEALTHY)]))
    assert (healthy.healthy, healthy.untold) == ({"a"}, set())
    # A doubt of what was given at another time says nothing.
    other = take(start_rollout(PLAN), "a", 100.0)
    assert decide(other, replace(known(now=200.0), doubtful={"a": [90.0]})) is other


def test_who_may_not_have_been_told_and_is_off_has_no_place() -> None:
    rollout = replace(take(start_rollout(PLAN), "a", 100.0), untold=frozenset("a"))
    away = known(heard="bcd", now=100.0 + PLAN.off_after)
    assert decide(rollout, away).taken == {"a": 100.0}
    away = replace(away, now=away.now + 1)
    assert decide(rollout, replace(away, listened=60.0)) is rollout
    free = decide(rollout, away)
    assert (free.taken, free.untold, free.state) == ({}, set(), RolloutState.RUNNING)
    assert set(offer(free, ["b"], away).taken) == {"b"}


def test_waves_are_reckoned_by_all_who_have_a_place() -> None:
    rollout = take(start_rollout(PLAN), "a", 100.0)
    assert count_nodes(rollout, known(nodes="bcd", now=200.0)) == 4
