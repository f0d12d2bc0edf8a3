"""The figures of rollouts, by group: bounded as those of nodes are, and nothing that names a node."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from ectools.netboot.boots.counts import OTHER_GROUP
from ectools.netboot.rollout.model import RolloutState
from ectools.netboot.server.metrics_table import (
    ROLLOUT_ENDED_TIME,
    ROLLOUT_NODES,
    ROLLOUT_WAVE,
    ROLLOUT_WAVE_OPENED_TIME,
    ROLLOUT_WAVES,
    ROLLOUTS_BY_STATE,
)
from ectools.netboot.server.metrics_text import render_metric

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from ectools.netboot.rollout.model import Rollout


def render_rollouts(
    rollouts: Mapping[str, Rollout], under_way: Mapping[str, int], *, groups: Collection[str]
) -> Iterator[str]:
    """``rollouts``: group → its rollout, ``under_way``: how many of its nodes are waited for. ``groups``:
    those that are told apart; the others are one.
    """
    states: Counter[tuple[str, RolloutState]] = Counter()
    nodes: Counter[tuple[str, str]] = Counter()
    names = {group: group if group in groups else OTHER_GROUP for group in sorted(rollouts)}
    for group, name in names.items():
        rollout = rollouts[group]
        states[name, rollout.state] += 1
        nodes[name, "healthy"] += len(rollout.healthy)
        nodes[name, "failed"] += len(rollout.failed)
        nodes[name, "under_way"] += under_way.get(group, 0)
    known = sorted(set(names.values()))
    yield render_metric(
        ROLLOUTS_BY_STATE,
        [
            # All states, so that an alert ends when a rollout goes on.
            ({"group": name, "state": state}, states[name, state])
            for name in known
            for state in RolloutState
        ],
    )
    yield render_metric(
        ROLLOUT_NODES,
        [({"group": name, "standing": each}, count) for (name, each), count in sorted(nodes.items())],
    )
    # Of several groups together there is no wave.
    alone = [rollouts[group] for group, name in names.items() if name == group]
    yield render_metric(ROLLOUT_WAVE, [({"group": each.plan.group}, each.wave) for each in alone])
    yield render_metric(ROLLOUT_WAVES, [({"group": each.plan.group}, each.plan.last_wave) for each in alone])
    yield render_metric(
        ROLLOUT_WAVE_OPENED_TIME, [({"group": each.plan.group}, int(each.opened)) for each in alone]
    )
    yield render_metric(
        ROLLOUT_ENDED_TIME,
        [({"group": each.plan.group}, int(each.ended)) for each in alone if each.ended is not None],
    )
