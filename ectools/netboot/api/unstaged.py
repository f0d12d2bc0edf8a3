"""What groups are to boot that a boot host has not staged: its nodes get what they ran before, or wait.

A rollout that is done leaves its group with a release that a host may lack: it was down, or cannot stage it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ectools.netboot.api.releases import choose_staged
from ectools.netboot.fleet.model import NodeTarget

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ectools.netboot.api.releases import StagedRelease
    from ectools.netboot.fleet.model import Fleet


@dataclass(frozen=True, kw_only=True)
class UnstagedRelease:
    """``release``: an id, a tag or ``channel:NAME``; ``groups``: those that are to boot it, by name."""

    release: str
    groups: tuple[str, ...]

    def describe(self) -> dict[str, Any]:
        """As JSON."""
        return {"release": self.release, "groups": list(self.groups)}


def list_group_releases(
    fleet: Fleet, find_led: Callable[[str], Sequence[str] | None]
) -> Mapping[str, Sequence[str]]:
    """Release → the groups whose nodes are to boot it, by name. The current one is not among them.

    ``find_led`` gives what a rollout leads a group to, as ``LiveRollouts.find_led`` does.
    """
    found: dict[str, list[str]] = {}
    for name in sorted({node.group for node in fleet.nodes.values() if node.group is not None}):
        group, led = fleet.groups[name], find_led(name)
        if led is None:
            led = [] if group.boot is NodeTarget.HOLD or group.wanted is None else [group.wanted]
        for release in led:
            found.setdefault(release, []).append(name)
    return found


def find_unstaged(
    wanted: Mapping[str, Sequence[str]], staged: Sequence[StagedRelease]
) -> list[UnstagedRelease]:
    """Those of ``wanted`` that are none of ``staged``."""
    ids = {each.id for each in staged}
    return [
        UnstagedRelease(release=release, groups=tuple(groups))
        for release, groups in sorted(wanted.items())
        if release not in ids and choose_staged(staged, release) is None
    ]
