"""A rollout, as it is remembered between two decisions: its plan, how far it is, and who has the release."""

from __future__ import annotations

import math
import secrets
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from ectools.netboot.boots.model import NodeBoot


class RolloutState(StrEnum):
    """How a rollout stands. The last three are its ends: it never leaves them."""

    RUNNING = "running"
    PAUSED = "paused"  # nobody further gets the release; who has it keeps it
    DONE = "done"  # the group's release is the new one, for whoever comes
    STOPPED = "stopped"  # too many have failed: all go back, and the release is withdrawn
    ABORTED = "aborted"  # somebody said so: all go back


ENDS = frozenset({RolloutState.DONE, RolloutState.STOPPED, RolloutState.ABORTED})


@dataclass(frozen=True, kw_only=True, slots=True)
class RolloutPlan:
    """What was asked for. ``target`` and ``before`` are releases' ids: to where, and where it goes back to.

    ``waves``: how much of the group may have the release, in percent, growing, the last one 100; before them
    come ``canary`` nodes. More than ``max_failures`` failed nodes stop it. ``within``: seconds from being
    given the release to a healthy report. ``off_after``: seconds after which a node that was not heard of is
    off, and holds no wave up. ``at``: Unix seconds of its start, ``by`` who started it. ``base``: what the
    fleet itself says of the group's release at the start, a tag, an id, a channel, or None; ``base_id`` where
    that channel led to by then, and ``base_counter`` the signed counter of the pointer that led there.
    """

    id: str
    group: str
    target: str
    before: str
    canary: int = 1
    waves: tuple[float, ...] = (5, 25, 100)
    max_failures: int = 1
    within: float = 600.0
    off_after: float = 86400.0
    at: float = 0.0
    by: str | None = None
    base: str | None = None
    base_id: str | None = None
    base_counter: int | None = None

    def quota(self, wave: int, size: int) -> int:
        """How many of a group of ``size`` nodes may have the release in a wave; wave 0 is the canaries'."""
        if wave == 0:
            return min(self.canary, size)
        # Of a small group a percentage may be less than the canaries were: each wave adds a node, if it can.
        least = min(self.canary + wave, size)
        return max(least, math.ceil(size * self.waves[wave - 1] / 100))

    @property
    def last_wave(self) -> int:
        return len(self.waves)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rollout:
    """A plan, and how far it is. ``wave``: 0 is the canaries'; ``opened``: Unix seconds at which it began.

    ``taken``: node → Unix seconds at which it was given the release, in that order. ``failed``: node → why.
    ``healthy``: who has reported so. ``untold``: who of those that were given it may not have been told so,
    because the store has answered too late. ``why``: one line on why it stands as it does. ``ended``: Unix
    seconds. ``is_unsettled``: it has ended, and what follows from that is not done yet; ``claimed``: Unix
    seconds at which a boot host has begun to do that for another one. ``is_left``: since its end the group's
    channel has been moved, so that the group follows that again. ``seen_by``: the names of the boot hosts
    whose fleet has said what the plan begins from.
    """

    plan: RolloutPlan
    state: RolloutState = RolloutState.RUNNING
    wave: int = 0
    opened: float = 0.0
    taken: Mapping[str, float] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)
    healthy: frozenset[str] = frozenset()
    untold: frozenset[str] = frozenset()
    why: str | None = None
    ended: float | None = None
    is_unsettled: bool = False
    claimed: float | None = None
    is_left: bool = False
    seen_by: frozenset[str] = frozenset()

    @property
    def has_ended(self) -> bool:
        return self.state in ENDS

    @property
    def under_way(self) -> tuple[str, ...]:
        """Who has been given the release and has not said how it is, in the order in which they were.

        At an end nobody: nothing is waited for any more.
        """
        if self.has_ended:
            return ()
        return tuple(node for node in self.taken if node not in self.healthy and node not in self.failed)


def make_rollout_id() -> str:
    """Random, and public."""
    return secrets.token_hex(8)


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """What is known of a group at a moment. ``nodes``: those of the fleet, without those that are held.

    ``boots``: node → its boots, oldest first, as far back as the rollout's start. ``heard``: node → Unix
    seconds at which it was last heard of, over whatever. ``now``: Unix seconds. ``listened``: for how many
    seconds all was heard, until now. ``back``: node → Unix seconds at which it became one of ``nodes`` again.
    ``doubtful``: node → the Unix seconds at which it was to be given the release, and was not told so.
    """

    nodes: frozenset[str]
    boots: Mapping[str, Sequence[NodeBoot]]
    heard: Mapping[str, float]
    now: float
    listened: float = math.inf
    back: Mapping[str, float] = field(default_factory=dict)
    doubtful: Mapping[str, Collection[float]] = field(default_factory=dict)
