"""The boots of rollouts that are under way, by node: the newest alone would hide one that failed before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ectools.netboot.boots.model import BootState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ectools.netboot.boots.model import NodeBoot

MAX_SEEN_BOOTS = 64
"""Of one node."""


class SeenBoots:
    """Node → its boots, by id."""

    def __init__(self) -> None:
        self._boots: dict[str, dict[str, NodeBoot]] = {}

    def see(self, node: str, boot: NodeBoot) -> None:
        """A boot has changed."""
        seen = self._boots.setdefault(node, {})
        seen[boot.id] = boot
        while len(seen) > MAX_SEEN_BOOTS:
            # What was given up says nothing; what has failed is never forgotten.
            given_up = [key for key, each in seen.items() if each.state is BootState.ABANDONED]
            del seen[given_up[0] if given_up else next(iter(seen))]

    def list_boots(self, node: str, *, newest: NodeBoot | None) -> list[NodeBoot]:
        """Those of a node and ``newest``, the oldest first."""
        seen = dict(self._boots.get(node, {}))
        if newest is not None:
            seen[newest.id] = newest
        return sorted(seen.values(), key=lambda boot: boot.started)

    def forget(self, nodes: Iterable[str]) -> None:
        """Nodes of a rollout that has ended."""
        for node in nodes:
            self._boots.pop(node, None)
