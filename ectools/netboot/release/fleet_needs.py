"""What a fleet needs of the releases that are staged, and does not find: its machines would wait."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from ectools.names import show_path
from ectools.netboot.fleet.assignment import IMPLICIT
from ectools.netboot.fleet.model import NodeTarget
from ectools.netboot.release.installed_systems import NoInstalledSystemError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ectools.netboot.fleet.model import Fleet, Node, NodeGroup
    from ectools.netboot.release.manifest import Release, System

    FindInstalled = Callable[[Release, System, str | None], str]


def list_missing(
    fleet: Fleet, find: Callable[[str | None], Release | None], *, find_installed: FindInstalled
) -> Iterator[str]:
    """A sentence for each group of nodes that boot from the network, and for which there is nothing to boot.

    ``find``: the staged release of a tag or an id, or the current one (None); None where there is none.
    ``find_installed`` is ``installed_systems.find_root``, which knows where releases are.
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
        release = find(group.wanted)
        missing = _find_missing(group, release)
        if missing is not None:
            yield _count(missing, count)
        elif release is not None:
            yield from _list_not_installed(fleet, group, release, find_installed)


def _list_not_installed(
    fleet: Fleet, group: NodeGroup, release: Release, find_installed: FindInstalled
) -> Iterator[str]:
    """A sentence for each system that nodes of a group are to install, and that the release has not."""
    wanted = Counter(
        node.install.over(group.install).system
        for node in fleet.nodes.values()
        if (node.group or "") == group.name and _is_installed(node, group)
    )
    # Which of several systems a machine boots to install is told by its architecture: one has to do.
    systems = [each for each in release.systems if group.system in (None, each.name)]
    for system, count in wanted.items():
        reasons = []
        for each in systems:
            try:
                find_installed(release, each, system)
            except NoInstalledSystemError as error:
                reasons.append(error.message)
        if len(reasons) == len(systems):
            yield _count(reasons[0], count)


def _is_installed(node: Node, group: NodeGroup) -> bool:
    return (node.boot or group.boot) is NodeTarget.INSTALL


def _count(missing: str, nodes: int) -> str:
    return f"{missing}; {nodes} node{'' if nodes == 1 else 's'} would wait"


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
