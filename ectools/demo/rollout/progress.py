"""What has happened since the last look at a fleet and its rollout, in lines; and how it stands, in one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_SIGNS = {"healthy": "●", "booting": "◐", "unhealthy": "✗", "failed": "✗", "abandoned": "○"}


@dataclass(frozen=True, kw_only=True)
class ProgressLine:
    """``good``: whether it is as it should be; None: it is neither."""

    text: str
    good: bool | None


@dataclass
class RolloutProgress:
    """What was told so far."""

    _told: dict[str, tuple[str | None, str | None, str | None]] = field(default_factory=dict)
    _wave: tuple[str, int] | None = None
    _state: tuple[str, str] | None = None

    def look(self, nodes: list[Mapping[str, Any]], rollout: Mapping[str, Any] | None) -> list[ProgressLine]:
        """The lines that are new. ``nodes`` and ``rollout``: as the API has them."""
        lines = list(self._look_at_nodes(nodes))
        if rollout is not None:
            lines += self._look_at_rollout(rollout)
        return lines

    def _look_at_nodes(self, nodes: list[Mapping[str, Any]]) -> Iterator[ProgressLine]:
        for node in nodes:
            seen = (node["boot"], node["state"], node["why"])
            if self._told.get(node["name"]) == seen:
                continue
            before, self._told[node["name"]] = self._told.get(node["name"]), seen
            where = f"{node['name']}: {name_release(node['release'])}" if node["release"] else ""
            match node["state"]:
                case "booting" if before is None or before[0] != node["boot"]:
                    yield ProgressLine(text=f"{where}: boots", good=None)
                case "healthy":
                    yield ProgressLine(text=f"{where}: up, healthy", good=True)
                case "unhealthy" | "failed":
                    yield ProgressLine(text=f"{where}: {node['state']}: {node['why']}", good=False)

    def _look_at_rollout(self, rollout: Mapping[str, Any]) -> Iterator[ProgressLine]:
        wave, state = (rollout["id"], rollout["wave"]), (rollout["id"], rollout["state"])
        release = name_release(rollout["release"])
        if wave != self._wave and rollout["state"] == "running":
            self._wave = wave
            quota, size = rollout["waves"][rollout["wave"]], rollout["nodes"]
            name = "the canary's wave" if rollout["wave"] == 0 else f"wave {rollout['wave']}"
            yield ProgressLine(text=f"{name} is open: {quota} of {size} nodes may have {release}", good=None)
        if state != self._state:
            self._state = state
            match rollout["state"]:
                case "done":
                    yield ProgressLine(text=f"the rollout of {release} is done", good=True)
                case "stopped" | "aborted":
                    why = rollout["why"]
                    text = f"the rollout of {release} has {rollout['state']} by itself: {why}"
                    yield ProgressLine(text=text, good=False)


def describe_standing(nodes: list[Mapping[str, Any]]) -> str:
    """Each node, its state, and its release: ``node-1 ● boot-v2026.03.09  node-2 ◐ …``."""
    return "  ".join(
        f"{node['name']} {_SIGNS.get(node['state'], '·')} {name_release(node['release'])}" for node in nodes
    )


def is_settled(nodes: list[Mapping[str, Any]], tag: str) -> bool:
    """Whether all of them run that release and are healthy."""
    return all(node["state"] == "healthy" and name_release(node["release"]) == tag for node in nodes)


def name_release(release: Mapping[str, Any] | None) -> str:
    """The tag of a release, or its id; ``-`` for none."""
    return "-" if release is None else str(release["tag"] or release["id"])
