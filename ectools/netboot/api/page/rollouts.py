"""A rollout as a panel of the page: its waves, who is where, what stopped it, and what can be done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from ectools.netboot.api.page import text
from ectools.netboot.rollout.model import RolloutState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ectools.netboot.api.page.facts import RolloutFacts

MAX_PANELS = 20
"""Rollouts of one page: those that go on, and then those that ended last."""
MAX_NAMES_SHOWN = 12
"""Nodes that are named of a list; the others are counted."""

# What a state looks like: the shape and the colour of a boot's.
_LOOKS = {
    RolloutState.RUNNING: "booting",
    RolloutState.PAUSED: "abandoned",
    RolloutState.DONE: "healthy",
    RolloutState.STOPPED: "failed",
    RolloutState.ABORTED: "unhealthy",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class WaveStep:
    """A wave: ``standing`` is ``done``, ``open`` or ``later``."""

    label: str
    quota: int
    standing: str


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedNode:
    """A node of a list, and why it is there."""

    name: str
    link: str
    why: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeList:
    """Those of one standing. ``hidden``: how many more there are. ``share``: of the group, in percent."""

    label: str
    kind: str
    count: int
    nodes: Sequence[NamedNode]
    hidden: int
    offset: float
    share: float


@dataclass(frozen=True, kw_only=True, slots=True)
class RolloutPanel:
    """All text is bounded and visible, and not yet escaped. ``turns``: what may be done, each a route's name
    and words.
    """

    key: str
    link: str
    group: str
    state: str
    look: str
    release: str
    release_id: str
    before: str
    by: str | None
    started: text.Moment
    ended: text.Moment | None
    waves: Sequence[WaveStep]
    lists: Sequence[NodeList]
    spoken: str
    why: str | None
    turns: Sequence[tuple[str, str]]


def build_panels(rollouts: Sequence[RolloutFacts], now: float) -> tuple[list[RolloutPanel], int]:
    """The panels of a page, and how many more there would be."""
    goes_on = [each for each in rollouts if each.ended is None]
    over = [each for each in rollouts if each.ended is not None]
    goes_on.sort(key=lambda each: text.order_naturally(each.group))
    over.sort(key=lambda each: each.ended or 0.0, reverse=True)
    listed = [*goes_on, *over]
    return [build_panel(each, now) for each in listed[:MAX_PANELS]], max(len(listed) - MAX_PANELS, 0)


def build_panel(rollout: RolloutFacts, now: float) -> RolloutPanel:
    """The panel of a rollout."""
    lists = _list_nodes(rollout)
    counts = ", ".join(f"{each.count} {each.label}" for each in lists) or "nobody has it yet"
    return RolloutPanel(
        key=rollout.group,
        link=f"/rollouts/{quote(rollout.group, safe='')}",
        group=text.show_line(rollout.group),
        state=rollout.state.value,
        look=_LOOKS[rollout.state],
        release=text.write_release_name(*rollout.release),
        release_id=text.show_line(rollout.release[0]),
        before=text.write_release_name(*rollout.before),
        by=None if rollout.by is None else text.show_line(rollout.by, 60),
        started=text.write_since(rollout.started, now),
        ended=None if rollout.ended is None else text.write_since(rollout.ended, now),
        waves=_list_waves(rollout),
        lists=lists,
        spoken=f"{counts}, of {rollout.size} nodes",
        why=None if rollout.why is None else text.show_line(rollout.why),
        turns=_list_turns(rollout.state),
    )


def _list_waves(rollout: RolloutFacts) -> list[WaveStep]:
    steps = []
    for number, quota in enumerate(rollout.waves):
        over = number < rollout.wave or rollout.state is RolloutState.DONE
        is_open = number == rollout.wave and rollout.ended is None
        label = "canary" if number == 0 else f"wave {number}"
        standing = "done" if over else "open" if is_open else "later"
        steps.append(WaveStep(label=label, quota=quota, standing=standing))
    return steps


def _list_nodes(rollout: RolloutFacts) -> list[NodeList]:
    """By standing, those alone that there are; what is wrong comes first, and all that is named is a link."""
    parts = (
        ("failed", "failed", list(rollout.failed)),
        ("failed since its end", "failed", list(rollout.failed_since)),
        ("under way", "booting", [(name, None) for name in rollout.under_way]),
        ("awaited", "silent", [(name, None) for name in rollout.awaited]),
        ("healthy", "healthy", [(name, None) for name in rollout.healthy]),
    )
    lists, offset = [], 0.0
    for label, kind, nodes in parts:
        if not nodes:
            continue
        share = round(min(100 * len(nodes) / max(rollout.size, 1), 100 - offset), 3)
        named = [
            NamedNode(
                name=text.show_line(name, 80),
                link=f"/nodes/{quote(name, safe='')}",
                why=None if why is None else text.show_line(why),
            )
            for name, why in nodes[:MAX_NAMES_SHOWN]
        ]
        hidden = len(nodes) - len(named)
        lists.append(
            NodeList(
                label=label,
                kind=kind,
                count=len(nodes),
                nodes=named,
                hidden=hidden,
                offset=round(offset, 3),
                share=share,
            )
        )
        offset += share
    return lists


def _list_turns(state: RolloutState) -> list[tuple[str, str]]:
    match state:
        case RolloutState.RUNNING:
            return [("pause", "Pause"), ("abort", "End it, all go back")]
        case RolloutState.PAUSED:
            return [("resume", "Go on"), ("abort", "End it, all go back")]
        case _:
            return []
