"""What a rollout's release has come to after its end: it is given to nodes that were off until then, too, and
nothing of the rollout tells of these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ectools.netboot.boots.model import BootState
from ectools.netboot.rollout.model import RolloutState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ectools.netboot.boots.model import NodeBoot
    from ectools.netboot.rollout.model import Rollout

_BAD = (BootState.FAILED, BootState.UNHEALTHY)


@dataclass(frozen=True, kw_only=True)
class Latecomers:
    """Nodes of the group, by name. ``came``: the release is what they booted last, and was not given to them
    by the rollout. ``failed``: node → why; also of those that had it before.
    """

    came: tuple[str, ...] = ()
    failed: tuple[tuple[str, str], ...] = ()

    def describe(self) -> dict[str, Any]:
        """As JSON."""
        return {"came": list(self.came), "failed": [{"node": node, "why": why} for node, why in self.failed]}


def find_latecomers(rollout: Rollout, nodes: Iterable[str], latest: Mapping[str, NodeBoot]) -> Latecomers:
    """Of ``nodes``, the group's that are not held, by their newest boots (``latest``).

    Nobody where the release is not the group's by the rollout.
    """
    if rollout.state is not RolloutState.DONE or rollout.is_left:
        return Latecomers()
    plan, ended = rollout.plan, rollout.ended or 0.0
    boots = {
        name: latest[name] for name in sorted(nodes) if name in latest and latest[name].release == plan.target
    }
    return Latecomers(
        came=tuple(name for name in boots if name not in rollout.taken),
        failed=tuple(
            (name, boot.why or boot.state.value)
            for name, boot in boots.items()
            if boot.state in _BAD and (boot.started >= ended or name not in rollout.taken)
        ),
    )
