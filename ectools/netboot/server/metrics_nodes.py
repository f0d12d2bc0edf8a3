"""The figures of nodes and of their boots, by group, release and state: bounded, whatever the fleet is.

Nothing is labelled by node but ``node_info``, which is rendered once for a fleet: of ten thousand nodes it is
a megabyte.
"""

from __future__ import annotations

import functools
from collections import Counter
from typing import TYPE_CHECKING

from ectools.netboot.boots.counts import MAX_GROUPS, NO_GROUP, OTHER_GROUP
from ectools.netboot.boots.model import BootState
from ectools.netboot.fleet.assignment import assign
from ectools.netboot.fleet.machine import parse_keys
from ectools.netboot.fleet.model import NodeTarget
from ectools.netboot.fleet.roster import Roster
from ectools.netboot.server.metrics_table import (
    BOOT_SECONDS,
    BOOT_STAGE_SECONDS,
    BOOTS_BEGUN,
    BOOTS_ENDED,
    MAX_NODE_SERIES,
    MAX_RELEASES,
    NODE_INFO,
    NODE_INFO_LEFT_OUT,
    NODES,
    OTHER_RELEASE,
    RELEASE_INFO,
    REPORT_RESULTS,
    REPORTS,
)
from ectools.netboot.server.metrics_text import render_histogram, render_metric

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from ectools.netboot.boots.counts import BootCounts
    from ectools.netboot.boots.model import NodeBoot
    from ectools.netboot.fleet.model import Fleet
    from ectools.netboot.fleet.override import NodeOverride
    from ectools.netboot.release.manifest import Release

# What a node without a boot is waiting for.
_HELD = "held"
_UNBOOTED = {
    NodeTarget.NETWORK: "unseen",
    NodeTarget.INSTALL: "unseen",
    NodeTarget.HOLD: _HELD,
    NodeTarget.DISK: "disk",
}


class NodeFigures:
    """What is counted of the nodes of one fleet, by their newest boots."""

    def __init__(self, fleet: Fleet) -> None:
        self.groups = frozenset([*sorted(fleet.groups)[:MAX_GROUPS], NO_GROUP])
        """Those that are told apart."""
        # What each would be counted as that has no boot.
        self._unbooted = {
            name: (self._name_group(node.group), "", _UNBOOTED[assign(fleet, node).boot])
            for name, node in fleet.nodes.items()
        }
        self._held = frozenset(name for name, (*_, state) in self._unbooted.items() if state == _HELD)
        self._totals = Counter(self._unbooted.values())
        self.fleet = fleet
        shown = sorted(fleet.nodes)[:MAX_NODE_SERIES]
        self._info = render_metric(
            NODE_INFO, [({"node": name, "group": self._unbooted[name][0]}, 1) for name in shown]
        ) + render_metric(NODE_INFO_LEFT_OUT, [({}, len(fleet.nodes) - len(shown))])

    @functools.cached_property
    def _roster(self) -> Roster:
        """What the fleet's nodes are known by; for machines without a name alone."""
        return Roster(self.fleet)

    def render(
        self,
        latest: Mapping[str, NodeBoot],
        *,
        served: Release | None,
        overrides: Mapping[str, NodeOverride] | None = None,
    ) -> str:
        """``latest``: subject → its newest boot; ``served`` is the release that is current; ``overrides``:
        node → what is said of it for a while.
        """
        counts = self._count(latest, overrides or {})
        tags = {boot.release: boot.tag for boot in latest.values() if boot.tag}
        per_release: Counter[str] = Counter()
        for (_, release, _), number in counts.items():
            per_release[release] += number
        per_release.pop("", None)
        # Of as many, the same ones each time.
        shown = sorted(per_release, key=lambda release: (-per_release[release], release))[:MAX_RELEASES]
        bounded: Counter[tuple[str, str, str]] = Counter()
        for (group, release, state), number in counts.items():
            bounded[group, release if release in {"", *shown} else OTHER_RELEASE, state] += number
        info = {release: tags.get(release, "") for release in shown}
        if served is not None:
            info[served.id] = served.tag or ""
        return "".join(
            [
                render_metric(
                    NODES,
                    [
                        ({"group": group, "release": release, "state": state}, number)
                        for (group, release, state), number in sorted(bounded.items())
                    ],
                ),
                self._info,
                render_metric(
                    RELEASE_INFO,
                    [({"release": release, "tag": tag}, 1) for release, tag in sorted(info.items())],
                ),
            ]
        )

    def _count(
        self, latest: Mapping[str, NodeBoot], overrides: Mapping[str, NodeOverride]
    ) -> Counter[tuple[str, str, str]]:
        counts = self._totals.copy()
        for name in overrides.keys() - latest.keys():
            if (node := self.fleet.nodes.get(name)) is not None:
                group, release, state = self._unbooted[name]
                counts[group, release, state] -= 1
                counts[group, release, _UNBOOTED[assign(self.fleet, node, overrides[name]).boot]] += 1
        for subject, boot in latest.items():
            unbooted = self._unbooted.get(subject)
            if unbooted is not None:
                counts[unbooted] -= 1
                # Of a node that is held nothing is expected: what has become of its boot is past.
                is_past = boot.state not in (BootState.BOOTING, BootState.HEALTHY)
                is_held = is_past and self._is_held(subject, overrides.get(subject))
                counts[unbooted[0], boot.release, _HELD if is_held else boot.state] += 1
            elif boot.node is None and self._roster.find_by_keys(parse_keys(boot.machine)).node is None:
                # What has a name by now is counted by it; what is known as several nodes is none.
                counts[NO_GROUP, boot.release, boot.state] += 1
        return +counts

    def _is_held(self, name: str, override: NodeOverride | None) -> bool:
        """Whether it boots nothing next; what it boots once comes before."""
        if override is None or (override.once is None and override.standing_hold is None):
            return name in self._held
        return override.once is None

    def _name_group(self, name: str | None) -> str:
        name = name or NO_GROUP
        return name if name in self.groups else OTHER_GROUP


class FiguresInForce:
    """The figures of a fleet that is changed while it is used, made once for each change."""

    def __init__(self) -> None:
        self._made: NodeFigures | None = None

    def find(self, fleet: Fleet, *, base: NodeFigures) -> NodeFigures:
        """Those of ``fleet``. ``base`` were made beforehand: of the settings' and the file's fleet alone."""
        if base.fleet is fleet:
            self._made = None
            return base
        if self._made is None or self._made.fleet is not fleet:
            self._made = NodeFigures(fleet)
        return self._made


def render_boots(counts: BootCounts, *, groups: Collection[str]) -> Iterator[str]:
    """The totals since the start. ``groups``: whose boots are counted also where there was none as yet.

    Else the first of a kind would be no increase: Prometheus knows a counter from its first sample on.
    """
    known = sorted({*groups, *counts.begun, *(group for group, _ in counts.ended)})
    yield render_metric(BOOTS_BEGUN, [({"group": group}, counts.begun[group]) for group in known])
    yield render_metric(
        BOOTS_ENDED,
        [
            ({"group": group, "result": state}, counts.ended[group, state])
            for group in known
            for state in BootState
            if state is not BootState.BOOTING
        ],
    )
    yield render_histogram(
        BOOT_SECONDS, [({"group": group}, each) for group, each in sorted(counts.whole.items())]
    )
    yield render_histogram(
        BOOT_STAGE_SECONDS,
        [({"group": group, "stage": stage}, each) for (group, stage), each in sorted(counts.stages.items())],
    )
    results = sorted({*REPORT_RESULTS, *counts.reports})
    yield render_metric(REPORTS, [({"result": result}, counts.reports[result]) for result in results])
