"""Nodes and boots as JSON, in the shapes of ``schemas/api``. Times are Unix seconds, as the view has them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ectools.netboot.api.lacks import find_lack
from ectools.netboot.api.releases import choose_staged
from ectools.netboot.api.unnamed import list_unnamed
from ectools.netboot.boots.model import BootState, NodeStage
from ectools.netboot.fleet.assignment import describe_assignment
from ectools.netboot.fleet.machine import list_keys
from ectools.netboot.fleet.model import NodeTarget

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ectools.netboot.api.releases import StagedRelease
    from ectools.netboot.api.view import FleetView
    from ectools.netboot.boots.model import NodeBoot
    from ectools.netboot.fleet.assignment import Assignment
    from ectools.netboot.fleet.install import NodeInstall
    from ectools.netboot.fleet.live import LiveFleet
    from ectools.netboot.fleet.override import NodeOverride
    from ectools.netboot.state.interface import StateEvent


def list_subjects(view: FleetView) -> list[str]:
    """The nodes of the fleet, by name, and then the machines that have booted and have no name."""
    return [*sorted(view.fleet.fleet.nodes), *sorted(list_unnamed(view.fleet, view.boots.latest))]


def describe_row(view: FleetView, subject: str, releases: Sequence[StagedRelease]) -> dict[str, Any]:
    """What is known of one node, or of a machine without a name, on one line.

    ``next`` is what it boots when it asks, and why it would wait (``waits``), None for a machine without a
    name; ``on_release`` whether it runs
    what it should and is healthy: no, while it is to be installed. None where nothing is expected of it: it
    is held, or boots a disk that does not tell of its boots.
    """
    node = view.fleet.fleet.nodes.get(subject)
    boot = view.boots.latest.get(subject)
    override = None if node is None else view.fleet.get_override(subject)
    assignment = None if node is None else view.fleet.assign(node)
    wanted = None if assignment is None else choose_staged(releases, assignment.release)
    return {
        "name": subject,
        "known": node is not None,
        "group": (None if boot is None else boot.group) if node is None else node.group,
        "next": None if assignment is None else _describe_next(assignment, wanted, boot),
        **_describe_latest(boot),
        "on_release": _is_on_release(assignment, wanted, boot),
        **describe_override(override),
    }


def _describe_next(
    assignment: Assignment, wanted: StagedRelease | None, boot: NodeBoot | None
) -> dict[str, Any]:
    is_network = assignment.boot.is_over_network
    has_release = is_network or _updates_disk(assignment, boot)
    return {
        "boot": assignment.boot.value,
        "system": assignment.system if is_network else None,
        "wanted": assignment.release if has_release else None,
        "release": None if wanted is None or not has_release else {"id": wanted.id, "tag": wanted.tag},
        "waits": find_lack(assignment, wanted),
    }


def _updates_disk(assignment: Assignment, boot: NodeBoot | None) -> bool:
    """Whether the node is led from release to release on its disk, as it says."""
    return assignment.boot is NodeTarget.DISK and boot is not None and boot.from_disk


def _describe_latest(boot: NodeBoot | None) -> dict[str, Any]:
    if boot is None:
        names = ("machine", "boot", "release", "system", "state", "stage", "since", "why")
        return dict.fromkeys(names)
    stage = boot.last_stage
    return {
        "machine": boot.machine,
        "boot": boot.id,
        "release": {"id": boot.release, "tag": boot.tag},
        "system": boot.system,
        "state": boot.state.value,
        "stage": stage.value,
        "since": boot.stages[stage] if boot.ended is None else boot.ended,
        "why": boot.why,
    }


def _is_on_release(
    assignment: Assignment | None, wanted: StagedRelease | None, boot: NodeBoot | None
) -> bool | None:
    if assignment is not None and assignment.boot is NodeTarget.INSTALL:
        return False
    if assignment is None:
        return None
    if assignment.boot is not NodeTarget.NETWORK and not _updates_disk(assignment, boot):
        return None
    if boot is None or wanted is None:
        return False
    return boot.state is BootState.HEALTHY and boot.release == wanted.id


def describe_left_out(fleet: LiveFleet) -> list[dict[str, Any]]:
    """Nodes that were added and are not in force: they contradict the settings or the fleet file. By name."""
    added = fleet.added
    return [
        {"name": name, "group": added[name].node.group if name in added else None, "why": why}
        for name, why in sorted(fleet.left_out.items())
    ]


def describe_override(override: NodeOverride | None) -> dict[str, Any]:
    """``hold`` and ``boot_once``: what is said of a node for a while, each None where nothing is; and
    ``installed``: what is on its disk from here.
    """
    hold = None if override is None else override.standing_hold
    once = None if override is None else override.once
    return {
        "hold": None if hold is None else {"at": hold.at, "by": hold.by, "why": hold.why},
        "boot_once": None
        if once is None
        else {
            "boot": once.boot.value,
            "release": once.release,
            "at": once.at,
            "by": once.by,
            "given": once.given,
        },
        "installed": _describe_install(None if override is None else override.install),
    }


def _describe_install(install: NodeInstall | None) -> dict[str, Any] | None:
    if install is None or not install.done:
        return None
    names = ("at", "release", "system", "disk")
    return {name: getattr(install, name) for name in names}


def describe_node(view: FleetView, name: str, releases: Sequence[StagedRelease]) -> dict[str, Any]:
    """A row, and what the fleet says of the node: what it is known by, and why it boots what it boots."""
    row = describe_row(view, name, releases)
    node = view.fleet.fleet.nodes.get(name)
    if node is None:
        return {**row, "match": [], "assignment": None, "added": None}
    added = view.fleet.added.get(name)
    return {
        **row,
        "match": [f"{kind} {value}" for kind, value in list_keys(node.match)],
        "assignment": describe_assignment(view.fleet.assign(node)),
        "added": None if added is None or added.node is not node else {"at": added.at, "by": added.by},
    }


def describe_boot(boot: NodeBoot) -> dict[str, Any]:
    """A boot, whole. Nothing of its token is in it."""
    report = boot.report
    return {
        "id": boot.id,
        "subject": boot.subject,
        "node": boot.node,
        "group": boot.group,
        "machine": boot.machine,
        "client": boot.client,
        "after": boot.after,
        "release": {"id": boot.release, "tag": boot.tag},
        "system": boot.system,
        "store_path": boot.store_path,
        "state": boot.state.value,
        "stage": boot.last_stage.value,
        "why": boot.why,
        "started": boot.started,
        "deadline": boot.deadline,
        "ended": boot.ended,
        "install": None
        if (install := boot.install) is None
        else {
            "step": None if install.step is None else install.step.value,
            "percent": install.percent,
            "disk": install.disk,
            "error": install.error,
        },
        "from_disk": boot.from_disk,
        "update": None
        if (update := boot.update) is None
        else {"release": update.release, "step": update.step.value, "at": update.at, "error": update.error},
        "store_percent": boot.store_percent,
        "stages": {stage.value: boot.stages[stage] for stage in NodeStage if stage in boot.stages},
        "report": None
        if report is None
        else {
            "release": report.release,
            "system": report.system,
            "healthy": report.healthy,
            "seconds": dict(report.seconds),
            "failed": list(report.failed),
            "journal": report.journal,
            "clock": report.clock,
        },
    }


def describe_event(event: StateEvent) -> dict[str, Any]:
    """Something that happened."""
    return {
        "sequence": event.sequence,
        "at": event.at,
        "kind": event.kind,
        "subject": event.subject,
        "by": event.by,
        "data": dict(event.data),
    }


def describe_staged(release: StagedRelease) -> Mapping[str, Any]:
    """A staged release."""
    return {
        "id": release.id,
        "tag": release.tag,
        "systems": list(release.systems),
        "staged_at": release.staged_at,
        "size": release.size,
        "marks": list(release.marks),
    }
