"""The list of nodes: each a row, those that need somebody first; counted, filtered and sorted."""

from __future__ import annotations

import shlex
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from ectools.netboot.api.page import text
from ectools.netboot.api.page.filters import RowFilter, RowOrder, RowState
from ectools.netboot.api.page.notices import write_notices
from ectools.netboot.api.page.rollouts import build_panels
from ectools.netboot.boots.model import BootState, NodeStage

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

    from ectools.netboot.api.page.facts import FleetFacts, NodeFacts, ServedRelease
    from ectools.netboot.api.page.rollouts import RolloutPanel
    from ectools.netboot.api.unstaged import UnstagedRelease
    from ectools.netboot.boots.model import NodeBoot

MAX_ROWS = 2000
"""Of one page; who has more filters."""
MAX_UNSTAGED = 5
"""Releases that this host lacks, each a sentence."""
MAX_UNKNOWN = 100
"""Machines without a name that are shown; anybody on the network can be one more."""
_TOLD = (  # the order of counts: what is right, what is under way, what is not right
    RowState.HEALTHY,
    RowState.BOOTING,
    RowState.UNHEALTHY,
    RowState.FAILED,
    RowState.ABANDONED,
    RowState.SILENT,
)


STAGE_WORDS = {
    NodeStage.OFFER: "answered by ProxyDHCP",
    NodeStage.FIRST_STAGE: "first stage fetched",
    NodeStage.SCRIPT: "script fetched",
    NodeStage.KERNEL: "kernel fetched",
    NodeStage.INITRD: "initrd fetched",
    NodeStage.LOADED: "kernel about to start",
    NodeStage.RUNNING: "kernel runs",
    NodeStage.STORE: "fetches its store",
    NodeStage.INSTALLING: "installs",
    NodeStage.INSTALLED: "installed; its disk boots",
    NodeStage.UP: "has reported",
}
"""What a boot that is under way has come to."""


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeRow:
    """A row as the template shows it: all text is bounded and visible, and not yet escaped.

    ``progress``: how many stages a boot that is under way has come, and of how many; None where none is.
    ``next``: the release of its next boot, where that is another than the one of its newest, or why it would
    wait.
    """

    key: str
    link: str
    name: str
    machine: str
    state: RowState
    group: str | None
    release: str | None
    release_id: str | None
    detail: str
    progress: tuple[int, int] | None
    since: text.Moment | None
    hold: str | None
    boot_once: str | None
    next: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class UnknownMachine:
    """A machine that no node is. ``command`` makes it one; None where nothing tells it from others, or where
    it is known as several nodes (``claims``, in words).
    """

    row: NodeRow
    command: str | None
    claims: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Tile:
    """A count, and the link that shows what is counted. ``share``: of all, in percent from ``offset``."""

    label: str
    state: RowState | None
    count: int
    link: str
    is_chosen: bool
    offset: float
    share: float


@dataclass(frozen=True, kw_only=True, slots=True)
class ReleaseLine:
    """The current release in words."""

    title: str
    id: str
    staged: text.Moment | None


@dataclass(frozen=True, kw_only=True, slots=True)
class FleetPage:
    """The whole list. ``summary`` is its one sentence, ``hidden`` how many rows more fit the filter;
    ``unstaged`` has a sentence for each release that this host lacks, ``notices`` one for what else is not as
    it was said to be.
    """

    summary: str
    title: str
    total: int
    release: ReleaseLine | None
    tiles: Sequence[Tile]
    groups: Sequence[str]
    filter: RowFilter
    rows: Sequence[NodeRow]
    hidden: int
    unknown: Sequence[UnknownMachine]
    unknown_hidden: int
    has_names: bool
    rollouts: Sequence[RolloutPanel] = ()
    rollouts_hidden: int = 0
    unstaged: Sequence[str] = ()
    unstaged_hidden: int = 0
    notices: Sequence[str] = ()


def build_fleet_page(
    facts: FleetFacts, wanted: RowFilter, *, names: Container[str] | None = None
) -> FleetPage:
    """What the list shows of a fleet. Where no machine has a name, each is a row as a node would be.

    ``names``: of rows, those alone; what is counted is counted all the same.
    """
    has_names = any(node.is_known for node in facts.nodes)
    known = [node for node in facts.nodes if node.is_known or not has_names]
    others = [node for node in facts.nodes if has_names and not node.is_known]
    chosen = [node for node in known if names is None or node.subject in names]
    rows = (build_row(node, facts.now) for node in chosen if _may_fit(node, wanted))
    fitting = sort_rows((row for row in rows if fits(row, wanted)), wanted.order)
    unknown = sort_rows((build_row(node, facts.now) for node in others), RowOrder.SINCE)[:MAX_UNKNOWN]
    by_subject = {node.subject: node for node in others}
    counts = Counter(find_state(node) for node in known)
    panels, panels_hidden = build_panels(facts.rollouts, facts.now)
    return FleetPage(
        summary=summarize(counts, "node" if has_names else "machine"),
        title=_write_title(counts),
        total=len(known),
        release=None if facts.release is None else _write_release(facts.release, facts.now),
        tiles=_build_tiles(counts, wanted),
        groups=sorted({node.group for node in known if node.group}, key=text.order_naturally),
        filter=wanted,
        rows=fitting[:MAX_ROWS],
        hidden=max(len(fitting) - MAX_ROWS, 0),
        unknown=[_build_unknown(row, by_subject[row.key]) for row in unknown],
        unknown_hidden=max(len(others) - MAX_UNKNOWN, 0),
        has_names=has_names,
        rollouts=panels,
        rollouts_hidden=panels_hidden,
        unstaged=[_write_unstaged(each) for each in facts.unstaged[:MAX_UNSTAGED]],
        unstaged_hidden=max(len(facts.unstaged) - MAX_UNSTAGED, 0),
        notices=write_notices(facts),
    )


def _write_unstaged(lacking: UnstagedRelease) -> str:
    release, groups = text.show_line(lacking.release, 80), text.show_line(", ".join(lacking.groups))
    nodes = f"nodes of {groups} that ask here get what they ran before, or wait"
    return f"{release} is not staged on this host: {nodes}"


def find_state(node: NodeFacts) -> RowState:
    """How a node stands."""
    return RowState.SILENT if node.boot is None else RowState(node.boot.state.value)


def _may_fit(node: NodeFacts, wanted: RowFilter) -> bool:
    """Whether its row has to be looked at: most are told by their state."""
    return wanted.state is None or find_state(node) is wanted.state


def build_row(node: NodeFacts, now: float) -> NodeRow:
    """The row of a node."""
    boot = node.boot
    known_by = node.known_by or (() if boot is None else (boot.machine,))
    return NodeRow(
        key=node.subject,
        link=f"/nodes/{quote(node.subject, safe='')}",
        name=text.show_line(node.subject if node.is_known else _name_machine(node)),
        machine=text.show_line(", ".join(known_by)),
        state=find_state(node),
        group=None if node.group is None else text.show_line(node.group),
        release=None if boot is None else text.write_release_name(boot.release, boot.tag),
        release_id=None if boot is None else text.show_line(boot.release),
        detail="has not asked yet" if boot is None else describe_progress(boot),
        progress=None if boot is None else _count_stages(boot),
        since=None
        if boot is None
        else text.write_since(boot.started if boot.ended is None else boot.ended, now),
        hold=None if node.hold is None else text.show_line(node.hold),
        boot_once=None if node.boot_once is None else text.show_line(node.boot_once),
        next=_write_next(node),
    )


def _count_stages(boot: NodeBoot) -> tuple[int, int] | None:
    """What of the way is behind a boot that is under way."""
    if boot.state is not BootState.BOOTING:
        return None
    stages = boot.expected_stages
    return stages.index(boot.last_stage), len(stages) - 1


def _write_next(node: NodeFacts) -> str | None:
    if node.next is None:
        return None
    if node.next.waits is not None:
        return f"it would wait: {text.show_line(node.next.waits)}"
    if node.boot is not None and node.next.release == node.boot.release:
        return None
    if node.next.release is None:
        return f"{text.show_line(node.next.tag or '', 60)}, not staged"
    return text.write_release_name(node.next.release, node.next.tag)


def _name_machine(node: NodeFacts) -> str:
    """What a machine without a name goes by: the first that it is known by, its MAC where it has sent one."""
    value = node.known_by[0].partition(" ")[2] if node.known_by else ""
    return value or node.subject


def describe_progress(boot: NodeBoot) -> str:
    """What there is to say of a boot beside its state."""
    if boot.state is BootState.BOOTING:
        return f"{STAGE_WORDS[boot.last_stage]}{_describe_step(boot)}"
    if boot.why is not None:
        return text.show_line(boot.why)
    up = boot.stages.get(NodeStage.UP)
    if up is not None:
        return f"up in {text.write_duration(up - boot.started)}"
    return f"last seen: {STAGE_WORDS[boot.last_stage]}"


def _describe_step(boot: NodeBoot) -> str:
    """How far a machine is that fetches its store, `: 40 %`, or installs: `: copy 40 %`."""
    if boot.last_stage is NodeStage.STORE and boot.store_percent is not None:
        return f": {boot.store_percent} %"
    install = boot.install
    if install is None or install.step is None or boot.last_stage is not NodeStage.INSTALLING:
        return ""
    return f": {install.step}" + ("" if install.percent is None else f" {install.percent} %")


def fits(row: NodeRow, wanted: RowFilter) -> bool:
    """Whether a row is one of those that are wanted."""
    if wanted.state not in (None, row.state) or wanted.group not in (None, row.group):
        return False
    if not wanted.text:
        return True
    where = "\n".join(
        part or "" for part in (row.name, row.machine, row.group, row.release, row.release_id, row.detail)
    ).lower()
    return all(word in where for word in wanted.text.lower().split())


def sort_rows(rows: Iterable[NodeRow], order: RowOrder) -> list[NodeRow]:
    """Rows in an order; those that are alike in it, by name. Who has nothing to be sorted by comes last."""
    listed = sorted(rows, key=lambda row: text.order_naturally(row.name))
    match order:
        case RowOrder.NAME:
            pass
        case RowOrder.STATE:
            urgency = {state: number for number, state in enumerate(RowState)}
            listed.sort(key=lambda row: urgency[row.state])
        case RowOrder.GROUP:
            listed.sort(key=lambda row: (row.group is None, row.group or ""))
        case RowOrder.RELEASE:
            listed.sort(key=lambda row: (row.release is None, row.release or ""))
        case RowOrder.SINCE:  # what happened last comes first
            listed.sort(key=lambda row: "" if row.since is None else row.since.machine, reverse=True)
    return listed


def summarize(counts: Counter[RowState], noun: str = "node") -> str:
    """``40 nodes: 34 healthy, 3 booting, 2 failed, 1 silent``, in the order of the tiles."""
    total = counts.total()
    nodes = f"1 {noun}" if total == 1 else f"{total} {noun}s"
    parts = [f"{counts[state]} {state}" for state in _TOLD if counts[state]]
    return f"{nodes}: {', '.join(parts)}" if parts else f"No {noun} yet"


def _write_title(counts: Counter[RowState]) -> str:
    bad = counts[RowState.FAILED] + counts[RowState.UNHEALTHY]
    return f"{bad} of {counts.total()} failed" if bad else "Fleet"


def _write_release(release: ServedRelease, now: float) -> ReleaseLine:
    return ReleaseLine(
        title=text.write_release_name(release.id, release.tag),
        id=text.show_line(release.id),
        staged=None if release.staged is None else text.write_since(release.staged, now),
    )


def _build_tiles(counts: Counter[RowState], wanted: RowFilter) -> list[Tile]:
    total = counts.total()
    tiles = [
        Tile(
            label="all",
            state=None,
            count=total,
            link=wanted.link(state=None),
            is_chosen=wanted.state is None,
            offset=0,
            share=0,
        )
    ]
    offset = 0.0
    for state in _TOLD:
        # A machine abandons a boot by beginning the next: its newest one is hardly ever that.
        if state is RowState.ABANDONED and not counts[state] and wanted.state is not state:
            continue
        share = round(100 * counts[state] / total, 3) if total else 0.0
        tiles.append(
            Tile(
                label=state.value,
                state=state,
                count=counts[state],
                link=wanted.link(state=state),
                is_chosen=wanted.state is state,
                offset=round(offset, 3),
                share=share,
            )
        )
        offset += share
    return tiles


def _build_unknown(row: NodeRow, node: NodeFacts) -> UnknownMachine:
    if node.claims:  # what is one node's already makes no other
        claims = ", ".join(f"{key} is {name}'s" for key, name in sorted(node.claims.items()))
        return UnknownMachine(row=row, command=None, claims=text.show_line(claims))
    return UnknownMachine(row=row, command=_write_command(node))


def _write_command(node: NodeFacts) -> str | None:
    """The command that makes a machine a node, ``NAME`` and ``GROUP`` being for who types it."""
    options = []
    for known_by in node.known_by:
        kind, _, value = known_by.partition(" ")
        if kind in ("mac", "uuid", "serial", "asset") and value.isprintable():
            options.append(f"--{kind} {shlex.quote(value)}")
    return f"ectools fleet add NAME --group GROUP {' '.join(options)}" if options else None
