"""Totals of boots: what each counts, and that they are bounded."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ectools.netboot.boots.counts import (
    MAX_GROUPS,
    NO_GROUP,
    OTHER_GROUP,
    SECONDS_BOUNDS,
    BootCounts,
    SecondsHistogram,
)
from ectools.netboot.boots.model import BootState, NodeBoot, NodeStage

BOOT = NodeBoot(
    id="b1",
    token_hash="0" * 64,
    machine="mac 02:00:00:00:00:01",
    node="nuc-07",
    group="runners",
    release="r1",
    system="runner",
    stages={NodeStage.OFFER: 90.0, NodeStage.SCRIPT: 100.0},
)


@pytest.mark.parametrize(
    ("seconds", "bucket"),
    [(-5.0, 0), (0.0, 0), (0.1, 0), (0.11, 1), (600.0, 9), (600.1, 10), (1e9, 10)],
)
def test_a_bucket_has_what_is_at_most_its_bound(seconds: float, bucket: int) -> None:
    histogram = SecondsHistogram()
    histogram.observe(seconds)
    assert [at for at, count in enumerate(histogram.buckets) if count] == [bucket]
    assert (histogram.count, histogram.total) == (1, max(0.0, seconds))
    assert len(histogram.buckets) == len(SECONDS_BOUNDS) + 1


def test_each_stage_has_the_seconds_since_the_one_before_that_was_seen() -> None:
    counts = BootCounts()
    counts.begin(BOOT)
    # The kernel was not seen: a mirror served it.
    stages = {**BOOT.stages, NodeStage.LOADED: 103.5}
    counts.reach(replace(BOOT, stages=stages), NodeStage.LOADED)
    # What is told late has its place all the same.
    stages |= {NodeStage.RUNNING: 109.5, NodeStage.INITRD: 103.0}
    counts.reach(replace(BOOT, stages=stages), NodeStage.INITRD)
    counts.reach(replace(BOOT, stages=stages), NodeStage.RUNNING)
    assert {stage: each.total for (_, stage), each in counts.stages.items()} == {
        NodeStage.SCRIPT: 10.0,
        NodeStage.LOADED: 3.5,
        NodeStage.INITRD: 3.0,
        NodeStage.RUNNING: 6.0,
    }
    assert {group for group, _ in counts.stages} == {"runners"}
    assert counts.begun == {"runners": 1}


def test_the_first_stage_that_was_seen_has_no_seconds() -> None:
    counts = BootCounts()
    counts.begin(replace(BOOT, stages={NodeStage.SCRIPT: 100.0}))
    assert counts.stages == {}


def test_a_boot_counts_by_each_state_that_it_comes_to() -> None:
    counts = BootCounts()
    counts.conclude(replace(BOOT, state=BootState.FAILED, ended=700.0))
    counts.conclude(replace(BOOT, state=BootState.HEALTHY, ended=730.0))
    counts.conclude(replace(BOOT, group=None, state=BootState.ABANDONED, ended=130.0))
    assert counts.ended == {
        ("runners", BootState.FAILED): 1,
        ("runners", BootState.HEALTHY): 1,
        (NO_GROUP, BootState.ABANDONED): 1,
    }
    assert {group: each.total for group, each in counts.whole.items()} == {"runners": 630.0}


def test_groups_are_bounded() -> None:
    counts = BootCounts()
    for number in range(3 * MAX_GROUPS):
        boot = replace(BOOT, group=f"group-{number}")
        counts.begin(boot)
        counts.conclude(replace(boot, state=BootState.HEALTHY, ended=101.0))
    assert len(counts.begun) == len(counts.ended) == len(counts.whole) == len(counts.stages) == MAX_GROUPS + 1
    assert counts.begun[OTHER_GROUP] == counts.whole[OTHER_GROUP].count == 2 * MAX_GROUPS
    # Those that are known stay so.
    counts.begin(replace(BOOT, group="group-0"))
    assert counts.begun["group-0"] == 2
