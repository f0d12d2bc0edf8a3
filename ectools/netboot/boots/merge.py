"""What two boot servers have seen of the same boots: one boot, whichever of them tells the other first.

``merge_boots`` is commutative, associative and idempotent: in whatever order hosts hear of each other, they
come to the same.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ectools.netboot.boots.encode import decode_boot, encode_boot
from ectools.netboot.boots.model import INSTALL_STEPS, STAGES, BootState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ectools.netboot.boots.model import NodeBoot, NodeReport

# How much is known by a state: a report tells more than silence, and one that all is well is the last.
_RANK = {
    state: rank
    for rank, state in enumerate(
        (BootState.BOOTING, BootState.ABANDONED, BootState.FAILED, BootState.UNHEALTHY, BootState.HEALTHY)
    )
}


def merge_boots(one: NodeBoot, other: NodeBoot) -> NodeBoot:
    """One boot, of two views of it: all stages, each at its first time, and the outcome known best."""
    best = max(one, other, key=_weigh)
    stages = {
        stage: min(each.stages[stage] for each in (one, other) if stage in each.stages)
        for stage in STAGES
        if stage in one.stages or stage in other.stages
    }
    reports = [each.report for each in (one, other) if each.report is not None]
    asked = max((each.asked for each in (one, other) if each.asked is not None), default=None)
    report = max(reports, key=_weigh_report, default=None)
    # By an update it may have come to another release, without a boot.
    told = max(one, other, key=_weigh_update)
    return replace(
        best,
        stages=stages,
        report=report,
        asked=asked,
        update=told.update,
        release=told.release,
        tag=told.tag,
    )


def is_later(one: NodeBoot, other: NodeBoot) -> bool:
    """Whether a subject's boot came after another one of its."""
    return (one.started, one.id) > (other.started, other.id)


def choose_kept(key: str, mine: Mapping[str, Any], theirs: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What is to stand of a boot that two hosts have written; None: ``theirs``. ``key`` is the archive's.

    Theirs stands, too, where its state is one that a later version has come to.
    """
    try:
        boot, found = decode_boot(mine), decode_boot({**theirs, **_stand_in(theirs)})
    except ValueError:
        return mine
    if boot.id == found.id:
        if _stand_in(theirs):
            return None
        merged = merge_boots(boot, found)
        return None if merged == found else encode_boot(merged)
    # Of a subject's newest boots the later one; who wrote the other hears of it, and keeps it as an earlier.
    return mine if key.startswith("latest/") and is_later(boot, found) else None


def _stand_in(raw: Mapping[str, Any]) -> dict[str, Any]:
    """A state in place of one that this version does not know, by which the rest of a boot can be read."""
    state = raw.get("state")
    is_unknown = isinstance(state, str) and state not in list(BootState)
    return {"state": BootState.BOOTING.value} if is_unknown else {}


def _weigh(boot: NodeBoot) -> tuple[Any, ...]:
    install = boot.install
    step = -1 if install is None or install.step is None else INSTALL_STEPS.index(install.step)
    percent = -1 if install is None or install.percent is None else install.percent
    ended = math.inf if boot.ended is None else boot.ended
    # The rest is the same for all, but for what is merged by itself.
    rest = replace(boot, stages={}, report=None, asked=None, update=None, release="", tag=None)
    return (step, percent, _RANK[boot.state], -ended, repr(rest))


def _weigh_update(boot: NodeBoot) -> tuple[Any, ...]:
    at = -math.inf if boot.update is None else boot.update.at
    return (at, repr(boot.update), boot.release, boot.tag or "")


def _weigh_report(report: NodeReport) -> tuple[Any, ...]:
    return (report.healthy and not report.failed, report.clock or 0.0, repr(report))
