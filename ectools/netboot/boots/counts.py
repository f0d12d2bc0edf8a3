"""Totals of boots since the program's start, by group: what began and ended, and the seconds of each stage.

Bounded whatever comes: there are so many groups, stages and states, and each histogram has fixed buckets.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from typing import TYPE_CHECKING

from ectools.netboot.boots.model import STAGES, BootState, NodeStage

if TYPE_CHECKING:
    from ectools.netboot.boots.model import NodeBoot

SECONDS_BOUNDS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
"""Upper bounds of a histogram's buckets, in seconds; above the last there is one more."""
MAX_GROUPS = 100
"""Groups that are told apart; the boots of further ones count as ``OTHER_GROUP``'s."""
NO_GROUP = ""
"""What the boots of machines without a group count as."""
OTHER_GROUP = "_other"
"""No group's name begins so (``ectools.netboot.fleet.build``)."""


class SecondsHistogram:
    """Observed seconds: how many fell into each bucket, and their sum."""

    __slots__ = ("buckets", "total")

    def __init__(self) -> None:
        self.buckets = [0] * (len(SECONDS_BOUNDS) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        """One more. A clock that was set back gives no time below zero."""
        seconds = max(0.0, seconds)
        self.buckets[bisect_left(SECONDS_BOUNDS, seconds)] += 1
        self.total += seconds

    @property
    def count(self) -> int:
        return sum(self.buckets)


class BootCounts:
    """The totals. Keys have the group's name first (``NO_GROUP``, ``OTHER_GROUP``)."""

    def __init__(self) -> None:
        self.begun: Counter[str] = Counter()
        """group → boots."""
        self.ended: Counter[tuple[str, BootState]] = Counter()
        """(group, state) → boots; one that recovers is counted by each state that it came to."""
        self.stages: dict[tuple[str, NodeStage], SecondsHistogram] = {}
        """(group, stage) → seconds since the stage before it that the boot was seen at."""
        self.whole: dict[str, SecondsHistogram] = {}
        """group → seconds from the script to a healthy report."""
        self.reports: Counter[str] = Counter()
        """How a report was answered, a word → reports."""
        self._groups: set[str] = set()

    def begin(self, boot: NodeBoot) -> None:
        """A boot has begun, with its script; whatever stage it was seen at before counts too."""
        self.begun[self._name_group(boot)] += 1
        for stage in STAGES:
            if stage in boot.stages:
                self.reach(boot, stage)

    def reach(self, boot: NodeBoot, stage: NodeStage) -> None:
        """A boot was seen at a stage for the first time, which is among its stages."""
        before = [boot.stages[each] for each in STAGES[: STAGES.index(stage)] if each in boot.stages]
        if before:
            key = self._name_group(boot), stage
            self.stages.setdefault(key, SecondsHistogram()).observe(boot.stages[stage] - before[-1])

    def conclude(self, boot: NodeBoot) -> None:
        """A boot has come to a state other than booting."""
        group = self._name_group(boot)
        self.ended[group, boot.state] += 1
        if boot.state is BootState.HEALTHY and boot.ended is not None:
            self.whole.setdefault(group, SecondsHistogram()).observe(boot.ended - boot.started)

    def _name_group(self, boot: NodeBoot) -> str:
        name = boot.group or NO_GROUP
        if name not in self._groups:
            if len(self._groups) >= MAX_GROUPS:
                return OTHER_GROUP
            self._groups.add(name)
        return name
