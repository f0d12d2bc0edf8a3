"""The figures of rollouts: each state has its sample, and groups are bounded."""

from __future__ import annotations

from dataclasses import replace

from ectools.netboot.rollout.decide import start_rollout
from ectools.netboot.rollout.model import Rollout, RolloutPlan, RolloutState
from ectools.netboot.server.metrics_rollouts import render_rollouts

PREFIX = "every_channel_netboot_"


def make(group: str, **fields: object) -> Rollout:
    plan = RolloutPlan(id="r", group=group, target="new", before="old", at=100.0)
    return replace(start_rollout(plan), **fields)  # type: ignore[arg-type] # fields of a rollout


def list_samples(*rollouts: Rollout, groups: frozenset[str]) -> list[str]:
    by_group = {each.plan.group: each for each in rollouts}
    text = "".join(render_rollouts(by_group, {"a": 1}, groups=groups))
    return [line.removeprefix(PREFIX) for line in text.splitlines() if not line.startswith("#")]


def test_one_under_way_and_one_that_has_stopped() -> None:
    runs = make("a", wave=1, opened=150.0, taken=dict.fromkeys("xyz", 1.0), healthy=frozenset("x"))
    stopped = make(
        "b", state=RolloutState.STOPPED, ended=170.0, taken={"x": 1.0, "y": 1.0}, failed={"x": "why"}
    )
    samples = list_samples(runs, stopped, groups=frozenset("ab"))
    # One of the two that have said nothing is held: decisions do not wait for it.
    assert samples == [
        *(f'rollouts{{group="a",state="{each}"}} {int(each == "running")}' for each in RolloutState),
        *(f'rollouts{{group="b",state="{each}"}} {int(each == "stopped")}' for each in RolloutState),
        'rollout_nodes{group="a",standing="failed"} 0',
        'rollout_nodes{group="a",standing="healthy"} 1',
        'rollout_nodes{group="a",standing="under_way"} 1',
        'rollout_nodes{group="b",standing="failed"} 1',
        'rollout_nodes{group="b",standing="healthy"} 0',
        'rollout_nodes{group="b",standing="under_way"} 0',
        'rollout_wave{group="a"} 1',
        'rollout_wave{group="b"} 0',
        'rollout_waves{group="a"} 3',
        'rollout_waves{group="b"} 3',
        'rollout_wave_opened_timestamp_seconds{group="a"} 150',
        'rollout_wave_opened_timestamp_seconds{group="b"} 100',
        'rollout_ended_timestamp_seconds{group="b"} 170',
    ]


def test_groups_above_the_bound_are_one_and_have_no_wave() -> None:
    many = [make(f"g{number}") for number in range(5)]
    samples = list_samples(*many, groups=frozenset({"g0"}))
    assert 'rollouts{group="_other",state="running"} 4' in samples
    assert [each for each in samples if each.startswith("rollout_wave{")] == ['rollout_wave{group="g0"} 0']


def test_without_a_rollout_there_is_no_sample() -> None:
    assert list_samples(groups=frozenset("a")) == []
