"""Who a rollout that is over does not tell of: nodes that came since, and those that have failed since."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.fleet_api import CURRENT, NOW, PREVIOUS, make_boot

from ectools.netboot.api.latecomers import Latecomers, find_latecomers
from ectools.netboot.boots.model import BootState, NodeBoot, NodeStage
from ectools.netboot.rollout.model import Rollout, RolloutPlan, RolloutState

DONE = Rollout(
    plan=RolloutPlan(id="r", group="runners", target=CURRENT.id, before=PREVIOUS.id),
    state=RolloutState.DONE,
    taken={"had": NOW - 90},
    ended=NOW - 50,
)


def boot(name: str, state: BootState, *, at: float, release: str = CURRENT.id) -> dict[str, NodeBoot]:
    return {name: make_boot(name, stages={NodeStage.SCRIPT: at}, state=state, release=release)}


def test_by_the_newest_boots_of_the_group() -> None:
    latest = {
        **boot("had", BootState.FAILED, at=NOW - 80),  # which the rollout has told of
        **boot("late", BootState.HEALTHY, at=NOW - 10),
        **boot("bad", BootState.UNHEALTHY, at=NOW - 10),
        **boot("elsewhere", BootState.FAILED, at=NOW - 10, release=PREVIOUS.id),
        **boot("stranger", BootState.FAILED, at=NOW - 10),
    }
    nodes = ["had", "late", "bad", "elsewhere", "unseen"]
    found = find_latecomers(DONE, nodes, latest)
    assert found == Latecomers(came=("bad", "late"), failed=(("bad", "unhealthy"),))
    assert found.describe()["failed"] == [{"node": "bad", "why": "unhealthy"}]
    latest |= boot("had", BootState.FAILED, at=NOW - 10)
    assert find_latecomers(DONE, nodes, latest).failed == (("bad", "unhealthy"), ("had", "failed"))


@pytest.mark.parametrize(
    "rollout",
    [
        replace(DONE, is_left=True),
        replace(DONE, state=RolloutState.STOPPED),
        replace(DONE, state=RolloutState.RUNNING, ended=None),
    ],
)
def test_nobody_where_it_does_not_lead_the_group(rollout: Rollout) -> None:
    latest = boot("late", BootState.FAILED, at=NOW - 10)
    assert find_latecomers(rollout, ["late"], latest) == Latecomers()
