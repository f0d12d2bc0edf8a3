"""The nodes of groups, as the fleet in force has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from ectools.netboot.fleet.model import Fleet, Node
    from ectools.netboot.rollout.model import RolloutPlan


class GroupMembers:
    """The groups of a fleet that changes. ``fleet`` gives it, ``held`` whether a node is held."""

    def __init__(self, *, fleet: Callable[[], Fleet], held: Callable[[str], bool]) -> None:
        self._fleet = fleet
        self._held = held
        # Group → its nodes, of this very fleet: there may be thousands, and each that boots asks.
        self._members_of: Fleet | None = None
        self._members: dict[str, list[str]] = {}

    @property
    def nodes(self) -> Mapping[str, Node]:
        """All nodes of the fleet, by name."""
        return self._fleet().nodes

    def list_all(self, group: str) -> Collection[str]:
        """The names of its nodes."""
        fleet = self._fleet()
        if self._members_of is not fleet:
            self._members_of, self._members = fleet, {}
            for node in fleet.nodes.values():
                self._members.setdefault(node.group or "", []).append(node.name)
        return self._members.get(group, ())

    def count_with(self, group: str, names: Collection[str]) -> int:
        """How many its nodes and these are together."""
        nodes = self.nodes
        others = sum((found := nodes.get(name)) is None or (found.group or "") != group for name in names)
        return len(self.list_all(group)) + others

    def has_group(self, group: str) -> bool:
        """Whether the fleet has it."""
        return group in self._fleet().groups

    def list_free(self, group: str) -> frozenset[str]:
        """Its nodes, without those that are held."""
        return frozenset(name for name in self.list_all(group) if not self._held(name))

    def is_free(self, group: str, node: str) -> bool:
        """Whether a node is one of ``list_free``."""
        found = self._fleet().nodes.get(node)
        return found is not None and (found.group or "") == group and not self._held(node)

    def is_in_force(self, plan: RolloutPlan) -> bool:
        """Whether the fleet says of the group what it said at the start; else who has changed that wins."""
        group = self._fleet().groups.get(plan.group)
        return group is not None and group.wanted == plan.base

    def explain_change(self, group: str) -> str:
        """Why a rollout of the group is not in force any more."""
        if not self.has_group(group):
            return f"the fleet has no group {group} any more"
        return f"the fleet says another release of the group {group} than at the start"
