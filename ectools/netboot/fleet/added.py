"""Nodes that were added beside the settings and the fleet file, and are kept in the state store.

Below ``nodes/``, each as JSON, ``node`` in the form that a fleet file has::

    {"node": {"group": "runners", "match": {"mac": ["02:00:00:12:34:56"]}}, "at": 1.5, "by": "alice"}

The settings and the file go first. What was added and contradicts them later, because a file was written
meanwhile, is left out, and told: a boot server does not stay away for that.
"""

from __future__ import annotations

from collections import ChainMap
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from ectools.errors import ProblemsError
from ectools.netboot.fleet.build import build_part
from ectools.netboot.fleet.load import FLEET, accepts, load_fleet_schema
from ectools.netboot.fleet.machine import list_keys
from ectools.netboot.state.decode import need_mapping, read_text_if_any, read_time
from ectools.parsing import Problems
from ectools.schemas import validate_document
from ectools.suggest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, MutableMapping

    from ectools.netboot.fleet.model import Fleet, Node
    from ectools.netboot.fleet.roster import Roster


@dataclass(frozen=True, kw_only=True, slots=True)
class AddedNode:
    """``raw`` is what was said of it, ``at`` Unix seconds, ``by`` who: None where nobody knows."""

    node: Node
    raw: Mapping[str, Any]
    at: float
    by: str | None

    def encode(self) -> dict[str, Any]:
        """The node as the store keeps it."""
        return {"node": self.raw, "at": self.at, "by": self.by}


def build_added(name: str, raw: Mapping[str, Any], *, at: float, by: str | None) -> AddedNode:
    """A node by itself, by the fleet file's schema and rules. Raises ProblemsError with every fault."""
    document = {"nodes": {name: dict(raw)}}
    problems = Problems(FLEET)
    if not accepts(document):
        problems.found += validate_document(document, load_fleet_schema())
    if not problems.found:
        part = build_part(document, problems, where="what was added")
        if not problems.found:
            return AddedNode(node=part.nodes[name], raw=raw, at=at, by=by)
    raise problems.error(f"the node {name}")


def parse_added(name: str, value: Mapping[str, Any]) -> AddedNode:
    """The node of an entry. Raises ValueError for what this program would not write."""
    try:
        raw = need_mapping(value.get("node"), "node")
        return build_added(name, raw, at=read_time(value, "at"), by=read_text_if_any(value, "by"))
    except (ValueError, ProblemsError) as error:
        raise ValueError(f"no node: {error}") from error


def find_contradiction(node: Node, fleet: Fleet, roster: Roster, *, where: str) -> str | None:
    """Why a node cannot be added to a fleet, which stands in ``where``; None where it can."""
    if node.name in fleet.nodes:
        return f"{FLEET}.nodes.{node.name} is in {where} too"
    for kind, value in list_keys(node.match):
        other = roster.find_known((kind, value))
        if other is not None:
            return f"{kind} {value} is what {other.name} is known by too, in {where}"
    if node.group is not None and node.group not in fleet.groups:
        known = did_you_mean(node.group, fleet.groups)
        known = known or f"the groups are: {', '.join(fleet.groups) or 'none'}"
        return f"{node.group} is no group of the fleet in {where}; {known}"
    return None


def join_added(
    base: Fleet, base_roster: Roster, added: Mapping[str, AddedNode], *, where: str
) -> tuple[Fleet, Roster, dict[str, str]]:
    """The fleet and its roster with the nodes that were added, and those that are left out → why.

    Of two that contradict each other the elder stays. ``where`` names the base in messages.
    """
    nodes: dict[str, Node] = {}
    keys: dict[tuple[str, str], str] = {}
    left_out: dict[str, str] = {}
    for name, each in sorted(added.items(), key=lambda item: (item[1].at, item[0])):
        why = find_contradiction(each.node, base, base_roster, where=where)
        for key in list_keys(each.node.match):
            if why is None and key in keys:
                why = f"{' '.join(key)} is what {keys[key]} is known by too, which was added before"
        if why is None:
            nodes[name] = each.node
            keys.update(dict.fromkeys(list_keys(each.node.match), name))
        else:
            left_out[name] = why
    if not nodes:
        return base, base_roster, left_out
    known = cast("MutableMapping[str, Node]", base.nodes)
    joined = replace(base, nodes=ChainMap(nodes, known))
    return joined, base_roster.extend(nodes.values()), left_out
