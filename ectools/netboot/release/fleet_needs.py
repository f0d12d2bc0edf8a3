"""What a fleet needs of the releases that are staged, and does not find: its machines would wait."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from ectools.names import show_path
from ectools.netboot.fleet.assignment import IMPLICIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ectools.netboot.fleet.model import Fleet, NodeGroup
    from ectools.netboot.release.manifest import Release


def list_missing(fleet: Fleet, find: Callable[[str | None], Release | None]) -> Iterator[str]:
    """A sentence for each group of nodes that boot from the network, and for which there is nothing to boot.

    ``find``: the staged release of a tag or an id, or the current one (None); None where there is none.
    """
    nodes = Counter(
        node.group or "" for node in fleet.nodes.values() if node.boot is None or node.boot.is_over_network
    )
    for name, count in sorted(nodes.items()):
        group = fleet.groups.get(name, IMPLICIT)
        is_asked = any(
            node.boot is not None and node.boot.is_over_network
            for node in fleet.nodes.values()
            if (node.group or "") == name
        )
        if not group.boot.is_over_network and not is_asked:
            continue
        missing = _find_missing(group, find(group.wanted))
        if missing is not None:
            yield f"{missing}; {count} node{'' if count == 1 else 's'} would wait"


def _find_missing(group: NodeGroup, release: Release | None) -> str | None:
    option = show_path(("fleet", "groups", group.name))
    if release is None and group.wanted is None:
        return "no release is staged"
    if release is None and group.channel is not None:
        return f"{option}.channel: nothing is staged of the channel {group.channel}"
    if release is None:
        return f"{option}.release: {group.release} is not staged"
    systems = {each.name for each in release.systems}
    if group.system is not None and group.system not in systems:
        return f"{option}.system: {release.title} has no {group.system}: it has {', '.join(sorted(systems))}"
    return None
