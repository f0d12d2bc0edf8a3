"""What the page is told of a fleet at one moment. Its texts come from nodes, and are not shown as such."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ectools.netboot.api.unstaged import UnstagedRelease
    from ectools.netboot.boots.model import NodeBoot
    from ectools.netboot.rollout.model import RolloutState


@dataclass(frozen=True, kw_only=True, slots=True)
class ServedRelease:
    """The current release. ``staged``: Unix seconds, None where that is not known."""

    id: str
    tag: str | None = None
    staged: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class NextBoot:
    """The release of a node's next boot. ``release``: its id, None where what ``tag`` names is not staged.

    ``waits``: why the node would wait, because the release has nothing for it; None: it has.
    """

    release: str | None
    tag: str | None = None
    waits: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeFacts:
    """A node of the fleet, or a machine that asked and is none (``is_known`` False).

    ``subject``: the node's name, or the machine. ``boot``: its newest one. ``known_by``: ``mac 02:…``, of
    which there may be many; ``claims``: those of a machine that is no node by which nodes are known, → their
    names. ``hold`` and ``boot_once``: who asked for it and since when, in words;
    ``may_release``: one of them at least was asked for, and does not stand in the fleet itself. ``next``
    None: it boots no release next.
    """

    subject: str
    is_known: bool = True
    group: str | None = None
    known_by: tuple[str, ...] = ()
    claims: Mapping[str, str] = field(default_factory=dict)
    boot: NodeBoot | None = None
    hold: str | None = None
    boot_once: str | None = None
    may_release: bool = False
    next: NextBoot | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PlannedValue:
    """A part of what a node would boot now. ``origin``: which option, or who, says so; None: nothing does.

    ``is_literal``: the value is a name or an argument, and not words.
    """

    name: str
    value: str
    origin: str | None = None
    is_literal: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class RolloutFacts:
    """A group's rollout. ``release`` and ``before``: ids, each with its tag or None; times are Unix seconds.

    ``waves``: how many nodes may have the release in each; ``wave`` counts from 0, the canaries'. ``size``:
    nodes of the group that are not held. ``failed``: names, and why; ``failed_since``: likewise, since its
    end.
    """

    group: str
    state: RolloutState
    release: tuple[str, str | None]
    before: tuple[str, str | None]
    started: float
    wave: int
    waves: Sequence[int]
    size: int
    healthy: Sequence[str] = ()
    under_way: Sequence[str] = ()
    awaited: Sequence[str] = ()
    failed: Sequence[tuple[str, str]] = ()
    failed_since: Sequence[tuple[str, str]] = ()
    by: str | None = None
    why: str | None = None
    ended: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class FleetFacts:
    """All nodes and rollouts at the time ``now`` (Unix seconds), in any order. ``release`` None: nothing is
    staged. ``unstaged``: what groups are to boot and this host has not. ``left_out``: nodes that were added
    and are not in force, and why; ``reload_error`` as in ``FleetView``.
    """

    nodes: Sequence[NodeFacts]
    now: float
    release: ServedRelease | None = None
    rollouts: Sequence[RolloutFacts] = ()
    unstaged: Sequence[UnstagedRelease] = ()
    left_out: Sequence[tuple[str, str]] = ()
    reload_error: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeDetail:
    """One node, with its newest boots first. ``planned``: what it would boot at the time ``now``.

    ``releases``: what can be booted once, tags or ids.
    """

    node: NodeFacts
    boots: Sequence[NodeBoot]
    now: float
    planned: Sequence[PlannedValue] = ()
    releases: Sequence[str] = ()
