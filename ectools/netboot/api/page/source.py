"""What the boot server gives, as the page is told of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ectools.netboot.api.lacks import find_lack
from ectools.netboot.api.latecomers import find_latecomers
from ectools.netboot.api.page.facts import (
    FleetFacts,
    NextBoot,
    NodeDetail,
    NodeFacts,
    PlannedValue,
    RolloutFacts,
    ServedRelease,
)
from ectools.netboot.api.page.text import write_moment
from ectools.netboot.api.releases import choose_staged
from ectools.netboot.api.unnamed import find_claims, list_unnamed
from ectools.netboot.fleet.machine import list_keys, parse_keys
from ectools.netboot.fleet.model import NodeTarget
from ectools.netboot.rollout.decide import count_nodes, list_awaited, list_under_way

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from ectools.netboot.api.releases import StagedRelease
    from ectools.netboot.api.unstaged import UnstagedRelease
    from ectools.netboot.api.view import FleetView
    from ectools.netboot.boots.model import NodeBoot
    from ectools.netboot.fleet.assignment import Assignment
    from ectools.netboot.fleet.live import LiveFleet
    from ectools.netboot.fleet.model import Node
    from ectools.netboot.fleet.override import BootOnce, NodeHold
    from ectools.netboot.rollout.live import LiveRollouts

_TARGETS = {
    NodeTarget.NETWORK: "the network",
    NodeTarget.DISK: "its disk",
    NodeTarget.HOLD: "nothing: it waits",
    NodeTarget.INSTALL: "the network, to install it",
}


def list_facts(
    fleet: LiveFleet,
    latest: Mapping[str, NodeBoot],
    releases: Sequence[StagedRelease],
    *,
    now: float,
    rollouts: Sequence[RolloutFacts] = (),
    unstaged: Sequence[UnstagedRelease] = (),
    reload_error: str | None = None,
) -> FleetFacts:
    """All nodes of the fleet, and the machines that have booted and are none."""
    nodes = fleet.fleet.nodes
    current = choose_staged(releases, None)
    return FleetFacts(
        nodes=[
            *(_tell_node(fleet, node, latest.get(name), releases) for name, node in nodes.items()),
            *(_tell_machine(fleet, each, latest[each]) for each in list_unnamed(fleet, latest)),
        ],
        now=now,
        release=None
        if current is None
        else ServedRelease(id=current.id, tag=current.tag, staged=current.staged_at),
        rollouts=rollouts,
        unstaged=unstaged,
        left_out=sorted(fleet.left_out.items()),
        reload_error=reload_error,
    )


def list_rollouts(
    rollouts: LiveRollouts, latest: Mapping[str, NodeBoot], releases: Sequence[StagedRelease]
) -> list[RolloutFacts]:
    """Each group's rollout."""
    tags = {each.id: each.tag for each in releases}
    found = []
    for rollout in rollouts.rollouts.values():
        plan, known = rollout.plan, rollouts.know(rollout)
        size = count_nodes(rollout, known)
        found.append(
            RolloutFacts(
                group=plan.group,
                state=rollout.state,
                release=(plan.target, tags.get(plan.target)),
                before=(plan.before, tags.get(plan.before)),
                started=plan.at,
                wave=rollout.wave,
                waves=[plan.quota(wave, size) for wave in range(plan.last_wave + 1)],
                size=size,
                healthy=sorted(rollout.healthy),
                under_way=list_under_way(rollout, known),
                awaited=[] if rollout.has_ended else list_awaited(rollout, known),
                failed=list(rollout.failed.items()),
                failed_since=find_latecomers(rollout, known.nodes, latest).failed,
                by=plan.by,
                why=rollout.why,
                ended=rollout.ended,
            )
        )
    return found


async def find_detail(view: FleetView, subject: str, *, limit: int) -> NodeDetail:
    """One of them, with its boots. Raises UnknownNodeError, StateError, EcError."""
    boot = view.boots.latest.get(subject)
    node = view.fleet.fleet.nodes.get(subject)
    if node is None and boot is None:
        view.fleet.need(subject)
    boots = await view.boots.list_boots(subject, limit=limit)
    releases = await view.releases.list()
    if node is None:
        facts = (
            NodeFacts(subject=subject, is_known=False)
            if boot is None
            else _tell_machine(view.fleet, subject, boot)
        )
        return NodeDetail(node=facts, boots=boots, now=view.clock())
    return NodeDetail(
        node=_tell_node(view.fleet, node, boot, releases),
        boots=boots,
        now=view.clock(),
        planned=list(_plan(view.fleet.assign(node), releases)),
        releases=list(dict.fromkeys(each.tag or each.id for each in releases)),
    )


def _tell_machine(fleet: LiveFleet, subject: str, boot: NodeBoot) -> NodeFacts:
    known_by = tuple(f"{kind} {value}" for kind, value in parse_keys(boot.machine))
    claims = find_claims(fleet, boot).claims
    return NodeFacts(subject=subject, is_known=False, known_by=known_by, claims=claims, boot=boot)


def _tell_node(
    fleet: LiveFleet, node: Node, boot: NodeBoot | None, releases: Sequence[StagedRelease]
) -> NodeFacts:
    override = fleet.get_override(node.name)
    hold = None if override is None else override.standing_hold
    once = None if override is None else override.once
    assignment = fleet.assign(node)
    return NodeFacts(
        subject=node.name,
        group=node.group,
        known_by=tuple(f"{kind} {value}" for kind, value in list_keys(node.match)),
        boot=boot,
        hold=_write_hold(hold) if hold is not None else "by the fleet itself" if node.hold else None,
        boot_once=None if once is None else _write_once(once),
        may_release=override is not None and override.leads,
        next=_choose_next(assignment, releases),
    )


def _choose_next(assignment: Assignment, releases: Sequence[StagedRelease]) -> NextBoot | None:
    """The release of its next boot; None where that boots none."""
    if not assignment.boot.is_over_network:
        return None
    staged = choose_staged(releases, assignment.release)
    if staged is not None:
        return NextBoot(release=staged.id, tag=staged.tag, waits=find_lack(assignment, staged))
    return None if assignment.release is None else NextBoot(release=None, tag=assignment.release)


def _write_hold(hold: NodeHold) -> str:
    reason = "" if hold.why is None else f": {hold.why}"
    return f"{_write_by(hold.by)}since {write_moment(hold.at)}{reason}"


def _write_once(once: BootOnce) -> str:
    release = "" if once.release is None else f", {once.release}"
    given = "" if once.given is None else "; it has its script"
    return f"from {_TARGETS[once.boot]}{release}, {_write_by(once.by)}since {write_moment(once.at)}{given}"


def _write_by(by: str | None) -> str:
    return "" if by is None else f"by {by} "


def _plan(assignment: Assignment, releases: Sequence[StagedRelease]) -> Iterator[PlannedValue]:
    origins = assignment.origins
    boots_from = _TARGETS[assignment.boot] + (", once" if assignment.once else "")
    yield PlannedValue(name="Boots from", value=boots_from, origin=origins.get("boot"), is_literal=False)
    if not assignment.boot.is_over_network:
        return
    yield _plan_release(assignment, choose_staged(releases, assignment.release))
    system = assignment.system or "the one for its architecture"
    yield PlannedValue(
        name="System", value=system, origin=origins.get("system"), is_literal=assignment.system is not None
    )
    if assignment.kernel_arguments:
        arguments = " ".join(assignment.kernel_arguments)
        yield PlannedValue(name="Kernel arguments", value=arguments, origin=origins.get("kernelArguments"))


def _plan_release(assignment: Assignment, staged: StagedRelease | None) -> PlannedValue:
    wanted = assignment.release
    if staged is not None:
        value = staged.tag or staged.id
        return PlannedValue(
            name="Release",
            value=value if wanted is not None else f"the current one, {value}",
            origin=assignment.origins.get("release"),
            is_literal=wanted is not None,
        )
    value = "none is staged" if wanted is None else f"{wanted}, which is not staged"
    return PlannedValue(
        name="Release", value=value, origin=assignment.origins.get("release"), is_literal=False
    )
