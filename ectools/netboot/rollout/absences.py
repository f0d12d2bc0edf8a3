"""Who was given a release, was held or gone meanwhile, and is back: it has its time once more.

It is not kept: a server that starts anew sees who is away, and who comes back then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from ectools.netboot.rollout.model import Rollout


class Absences:
    """Of the rollouts of one boot server, each group's."""

    def __init__(self) -> None:
        self._away: dict[str, set[str]] = {}
        self._back: dict[str, dict[str, float]] = {}

    def look(self, rollout: Rollout, nodes: Collection[str], now: float) -> Mapping[str, float]:
        """Who is back → Unix seconds since when. ``nodes``: those of the group that are not held."""
        group = rollout.plan.group
        if rollout.has_ended:
            return {}
        away = {node for node in rollout.taken if node not in nodes}
        back = self._back.setdefault(group, {})
        for node in self._away.get(group, set()) - away:
            back[node] = now
        self._away[group] = away
        # By a clock that was set back.
        return {node: min(at, now) for node, at in back.items()}

    def forget(self, group: str) -> None:
        """Its rollout has ended, or is another one."""
        self._away.pop(group, None)
        self._back.pop(group, None)
