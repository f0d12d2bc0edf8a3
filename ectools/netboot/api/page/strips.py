"""A boot as a strip: one segment a stage, as wide as the time that it took, and the node's report below."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from ectools.netboot.api.page import text
from ectools.netboot.api.page.facts import PlannedValue
from ectools.netboot.api.page.rows import (
    NodeRow,
    build_row,
    describe_progress,
)
from ectools.netboot.boots.model import STAGES, BootState, NodeStage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ectools.netboot.api.page.facts import NodeDetail
    from ectools.netboot.boots.model import NodeBoot, NodeReport

MAX_FAILED = 50
"""Names of failed units that are shown of one report."""
MAX_STRIPS = 100
"""Boots of one page."""

SEGMENT_WORDS = {
    NodeStage.FIRST_STAGE: "first stage",
    NodeStage.SCRIPT: "script",
    NodeStage.KERNEL: "kernel",
    NodeStage.INITRD: "initrd",
    NodeStage.LOADED: "unpacking",
    NodeStage.RUNNING: "kernel starts",
    NodeStage.STORE: "store begins",
    NodeStage.INSTALLING: "installer starts",
    NodeStage.INSTALLED: "installs",
    NodeStage.UP: "system starts",
}
"""What the machine did until it was seen at a stage."""
_OWN_PARTS = ("firmware", "loader", "kernel", "initrd", "userspace")


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """A part of a strip. ``kind`` names its colour: a stage, ``waiting`` or ``lost``; the rest in percent."""

    kind: str
    label: str
    duration: str
    offset: float
    width: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportLines:
    """A report as it is shown. ``runs``: what the node says that it runs; ``parts``: its own figures."""

    runs: str | None
    system: str | None
    parts: Sequence[tuple[str, str]]
    failed: Sequence[str]
    failed_hidden: int
    journal: str


@dataclass(frozen=True, kw_only=True, slots=True)
class BootStrip:
    """One boot. ``spoken``: all of the strip in words."""

    id: str
    state: BootState
    began: text.Moment
    took: str
    release: str
    release_id: str
    system: str
    client: str | None
    is_kexec: bool
    detail: str
    segments: Sequence[Segment]
    spoken: str
    report: ReportLines | None


@dataclass(frozen=True, kw_only=True, slots=True)
class NodePage:
    """A node with its boots. ``span``: how long the longest strip is; ``more``: there may be older boots."""

    row: NodeRow
    known_by: Sequence[str]
    is_known: bool
    may_hold: bool
    may_release: bool
    releases: Sequence[str]
    planned: Sequence[PlannedValue]
    boots: Sequence[BootStrip]
    more: bool


def build_node_page(detail: NodeDetail, *, more: bool = False) -> NodePage:
    """What the page of a node shows. Strips are drawn to one scale, so that boots can be compared."""
    boots = detail.boots[:MAX_STRIPS]
    span = max((_find_span(boot, detail.now) for boot in boots), default=0.0)
    node = detail.node
    return NodePage(
        row=build_row(node, detail.now),
        known_by=[text.show_line(each) for each in node.known_by],
        is_known=node.is_known,
        may_hold=node.is_known and node.hold is None,
        may_release=node.may_release,
        releases=detail.releases,
        planned=[
            PlannedValue(
                name=each.name,
                value=text.show_line(each.value, 1000),
                origin=None if each.origin is None else text.show_line(each.origin),
                is_literal=each.is_literal,
            )
            for each in detail.planned
        ],
        boots=[build_strip(boot, now=detail.now, span=span) for boot in boots],
        more=more,
    )


def build_strip(boot: NodeBoot, *, now: float, span: float) -> BootStrip:
    """One boot's strip; one of ``span`` seconds is as wide as the page, and what is longer ends there."""
    segments = _build_segments(boot, now, max(span, 0.001))
    took = text.write_duration(_end(boot, now) - _beginning(boot))
    listed = ", ".join(f"{each.label} {each.duration}" for each in segments)
    return BootStrip(
        id=text.show_line(boot.id, 64),
        state=boot.state,
        began=text.write_since(boot.started, now),
        took=took,
        release=text.write_release_name(boot.release, boot.tag),
        release_id=text.show_line(boot.release),
        system=text.show_line(boot.system),
        client=None if boot.client is None else text.show_line(boot.client, 64),
        is_kexec=boot.after is not None,
        detail=describe_progress(boot),
        segments=segments,
        spoken=f"{boot.state} after {took}: {listed}" if listed else f"{boot.state} after {took}",
        report=None if boot.report is None else _write_report(boot.report),
    )


def _beginning(boot: NodeBoot) -> float:
    return min(boot.stages.values())


def _end(boot: NodeBoot, now: float) -> float:
    """When the strip ends: at the report, at the deadline that has passed, or now."""
    if boot.state is BootState.BOOTING:
        last = now
    elif NodeStage.UP in boot.stages:
        last = boot.stages[NodeStage.UP]
    else:
        last = max(boot.stages.values()) if boot.ended is None else boot.ended
    return max(last, *boot.stages.values(), _beginning(boot))


def _find_span(boot: NodeBoot, now: float) -> float:
    """How long a strip is to be in full. Ten minutes in which nothing was heard need no room for it."""
    end = _end(boot, now)
    seen = max(boot.stages.values()) - _beginning(boot)
    return seen if end == max(boot.stages.values()) else min(end - _beginning(boot), 1.3 * seen + 1.0)


def _build_segments(boot: NodeBoot, now: float, span: float) -> list[Segment]:
    # Marks may come out of order by a moment (a mirror's file, a late event): a segment never is negative.
    seen = [(stage, boot.stages[stage]) for stage in STAGES if stage in boot.stages]
    start = at = _beginning(boot)
    segments = []
    for (_, _), (stage, until) in pairwise(seen):
        ends = max(until, at)
        segments.append(_build_segment(stage.value, SEGMENT_WORDS[stage], at - start, ends - at, span))
        at = ends
    end = _end(boot, now)
    if NodeStage.UP not in boot.stages and end > at:
        kind, label = (
            ("waiting", "under way") if boot.state is BootState.BOOTING else ("lost", "nothing was heard")
        )
        segments.append(_build_segment(kind, label, at - start, end - at, span))
    return segments


def _build_segment(kind: str, label: str, offset: float, seconds: float, span: float) -> Segment:
    begins = min(100 * offset / span, 100.0)
    return Segment(
        kind=kind,
        label=label,
        duration=text.write_duration(seconds),
        offset=round(begins, 3),
        width=round(min(100 * seconds / span, 100 - begins), 3),
    )


def _write_report(report: NodeReport) -> ReportLines:
    return ReportLines(
        runs=None if report.release is None else text.show_line(report.release),
        system=None if report.system is None else text.show_line(report.system),
        parts=[
            (part, text.write_duration(report.seconds[part])) for part in _OWN_PARTS if part in report.seconds
        ],
        failed=[text.show_line(unit) for unit in report.failed[:MAX_FAILED]],
        failed_hidden=max(len(report.failed) - MAX_FAILED, 0),
        journal=text.show_journal(report.journal),
    )
