"""The roster: which node a machine is. Total, and the same whatever the nodes' order is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ectools.netboot.fleet.machine import list_keys

if TYPE_CHECKING:
    from collections.abc import Iterable

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
        self._others: Roster | None = None
        self._nodes = _index(fleet.nodes.values())

    def extend(self, nodes: Iterable[Node]) -> Roster:
        """A roster of further nodes too, which share no key with these; these are not indexed anew."""
        longer = Roster.__new__(Roster)
        longer._others, longer._nodes = self, _index(nodes)
        return longer

    def find(self, machine: Machine) -> Found:
        """The node that a machine is. One that two nodes are known by is neither: nobody guesses."""
        return self.find_by_keys(list_keys(machine))

    def find_by_keys(self, keys: Iterable[tuple[str, str]]) -> Found:
        """As ``find``, of a machine that is known by these (kind, value)."""
        known = {key: node for key in keys if (node := self.find_known(key)) is not None}
        nodes = {node.name: node for node in known.values()}
        return Found(
            node=next(iter(nodes.values())) if len(nodes) == 1 else None,
            claims={f"{kind} {value}": node.name for (kind, value), node in known.items()},
        )

    def find_known(self, key: tuple[str, str]) -> Node | None:
        """The node that is known by (kind, value), if any."""
        node = self._nodes.get(key)
        return self._others.find_known(key) if node is None and self._others is not None else node


def find_claimed(roster: Roster, keys: Iterable[tuple[str, str]]) -> set[str]:
    """The names of all nodes that are known by any of ``keys``."""
    return {node.name for key in keys if (node := roster.find_known(key)) is not None}


def _index(nodes: Iterable[Node]) -> dict[tuple[str, str], Node]:
    # Of two nodes with one key there is no fleet (build), so that the order is nothing.
    return {key: node for node in nodes for key in list_keys(node.match)}
