"""Two fleets → the nodes that boot something else by the second."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ectools.netboot.fleet.assignment import assign, assign_unknown
from ectools.netboot.fleet.install import describe_plan
from ectools.netboot.fleet.machine import list_keys

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ectools.netboot.fleet.assignment import Assignment
    from ectools.netboot.fleet.model import Fleet, Node

UNKNOWN_MACHINES = "(unknown machines)"
"""Stands for all machines that no node is."""
_VALUES = (
    *("boot", "system", "release", "boot_binary", "kernel_arguments"),
    *("healthy_within", "health_units", "refused"),
)


@dataclass(frozen=True, kw_only=True)
class NodeChange:
    """What becomes of one node. ``before`` None: it is new; ``after`` None: it is gone.

    ``values``: what it boots by, ``boot`` and others, → (before, after), those alone that differ. ``keys``:
    what it is known by no more, and newly.
    """

    name: str
    before: Assignment | None
    after: Assignment | None
    values: dict[str, tuple[Any, Any]]
    keys: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())


def find_differences(old: Fleet, new: Fleet) -> Iterator[NodeChange]:
    """The nodes that boot something else, or are another machine, in the order of their names."""
    unknown = _compare(assign_unknown(old), assign_unknown(new))
    if unknown:
        before, after = assign_unknown(old), assign_unknown(new)
        yield NodeChange(name=UNKNOWN_MACHINES, before=before, after=after, values=unknown)
    for name in sorted({*old.nodes, *new.nodes}):
        change = _find_change(name, old, new)
        if change.values or any(change.keys):
            yield change


def _find_change(name: str, old: Fleet, new: Fleet) -> NodeChange:
    nodes = old.nodes.get(name), new.nodes.get(name)
    # Who is no node, or none yet, is an unknown machine.
    before, after = (
        assign_unknown(fleet) if node is None else assign(fleet, node)
        for fleet, node in zip((old, new), nodes, strict=True)
    )
    lost, won = _show_keys(nodes[0]) - _show_keys(nodes[1]), _show_keys(nodes[1]) - _show_keys(nodes[0])
    return NodeChange(
        name=name,
        before=None if nodes[0] is None else before,
        after=None if nodes[1] is None else after,
        values=_compare(before, after),
        keys=(tuple(sorted(lost)), tuple(sorted(won))),
    )


def _show_keys(node: Node | None) -> set[str]:
    return set() if node is None else {f"{kind} {value}" for kind, value in list_keys(node.match)}


def _compare(before: Assignment, after: Assignment) -> dict[str, tuple[Any, Any]]:
    pairs: dict[str, tuple[Any, Any]] = {
        name: (getattr(before, name), getattr(after, name)) for name in _VALUES
    }
    pairs["installs"] = (_find_installed(before), _find_installed(after))
    pairs["install"] = (_describe_install(before), _describe_install(after))
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}


def _find_installed(assignment: Assignment) -> str | None:
    return assignment.installs if assignment.goes_on_from_disk else None


def _describe_install(assignment: Assignment) -> dict[str, Any] | None:
    return None if assignment.install is None else describe_plan(assignment.install)
