"""The roster: which node a machine is. Total, and the same whatever the nodes' order is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ectools.netboot.fleet.machine import list_keys

if TYPE_CHECKING:
    from ectools.netboot.fleet.machine import Machine
    from ectools.netboot.fleet.model import Fleet, Node


@dataclass(frozen=True, kw_only=True)
class Found:
    """``node`` None: the machine is none of the fleet's, or ``claims`` has several.

    ``claims``: what it sent, as ``mac 02:00:00:12:34:56`` → the node that is known by it.
    """

    node: Node | None
    claims: dict[str, str]

    @property
    def is_torn(self) -> bool:
        """Whether it is known as several nodes: a NIC or a mainboard has moved."""
        return len(set(self.claims.values())) > 1


class Roster:
    """The nodes of one fleet, by all that each is known by."""

    def __init__(self, fleet: Fleet) -> None:
        self._nodes = fleet.nodes
        # Of two nodes with one key there is no fleet (build), so that the order is nothing.
        self._names = {key: node.name for node in fleet.nodes.values() for key in list_keys(node.match)}

    def find(self, machine: Machine) -> Found:
        """The node that a machine is. One that two nodes are known by is neither: nobody guesses."""
        claims = {
            f"{kind} {value}": name
            for kind, value in list_keys(machine)
            if (name := self._names.get((kind, value))) is not None
        }
        names = set(claims.values())
        return Found(node=self._nodes[names.pop()] if len(names) == 1 else None, claims=claims)
