"""What a report makes of a boot: held against what the machine was given, not believed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ectools.errors import cut, show_list
from ectools.netboot.boots.model import BootState, NodeStage

if TYPE_CHECKING:
    from ectools.netboot.boots.model import NodeBoot, NodeReport


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """``why`` None: there is nothing to say of it."""

    state: BootState
    why: str | None


def judge(boot: NodeBoot, report: NodeReport, *, now: float) -> Judgement:
    """The state that ``report``, which came at ``now`` (Unix seconds), leads ``boot`` to.

    A machine that runs something else is not healthy, whatever it says of itself: it has booted from its
    disk, or what it was given was changed on the way.
    """
    why = _find_fault(boot, report)
    if why is not None:
        return Judgement(state=BootState.UNHEALTHY, why=why)
    late = now - boot.deadline
    return Judgement(state=BootState.HEALTHY, why=f"late by {late:.0f} s" if late > 0 else None)


def _find_fault(boot: NodeBoot, report: NodeReport) -> str | None:
    if report.release != boot.release:
        runs = "does not say what it runs" if report.release is None else f"runs {cut(report.release)}"
        return f"{runs}, was given {boot.release}"
    if None not in (boot.store_path, report.system) and report.system != boot.store_path:
        if boot.from_disk:
            return f"{boot.store_path} did not come up: the disk went back to {cut(report.system or '')}"
        return f"runs {cut(report.system or '')}, was given {boot.store_path}"
    if report.failed:
        return f"failed: {show_list(report.failed)}"
    return None if report.healthy else "says that it is not healthy"


def describe_silence(boot: NodeBoot) -> str:
    """Why a boot has failed that no report has come of."""
    percent = "" if boot.store_percent is None else f" {boot.store_percent} %"
    at = percent if boot.last_stage is NodeStage.STORE else ""
    return f"no report within {boot.within:.0f} s; last seen: {boot.last_stage}{at}"
