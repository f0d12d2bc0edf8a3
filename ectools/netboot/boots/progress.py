"""How boots in memory go on: begun, seen at a stage, reported on, ended, followed by later ones."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from ectools.netboot.boots.counts import BootCounts
from ectools.netboot.boots.judge import judge
from ectools.netboot.boots.model import BootState, NodeBoot, NodeReport, NodeStage
from ectools.netboot.state.broadcast import Broadcast

if TYPE_CHECKING:
    from collections.abc import Callable

    from ectools.netboot.boots.memory import BootMemory, LiveBoot
    from ectools.netboot.boots.model import BootUpdate


def take_update(boot: NodeBoot, update: BootUpdate) -> NodeBoot:
    """A boot with what its node says last of the next one; where it runs that already, of its release."""
    if update.stays and boot.release != update.release:
        boot = replace(boot, release=update.release, tag=None)
    return replace(boot, update=update)


class BootProgress:
    """The changes of the boots in ``memory``: each is counted, is to be kept, and told to who listens to
    ``changes``. ``clock`` gives Unix seconds.
    """

    def __init__(self, memory: BootMemory, *, clock: Callable[[], float]) -> None:
        self._memory = memory
        self._clock = clock
        self.changes: Broadcast[NodeBoot | None] = Broadcast()
        self.counts = BootCounts()

    def begin(self, live: LiveBoot) -> None:
        """A subject's newest boot from now on."""
        subject = live.boot.subject
        self._give_up_unnamed(live.boot)
        self._memory.enter(live)
        self._memory.begun[subject] = self._memory.begun.get(subject, 0) + 1
        self.counts.begin(live.boot)
        self.change(live)

    def _give_up_unnamed(self, boot: NodeBoot) -> None:
        """The boot that the machine of ``boot`` began while it had no name, where that is still under way."""
        live = None if boot.node is None else self._memory.newest.get(boot.machine)
        if live is not None and live.boot.node is None and live.boot.state is BootState.BOOTING:
            self.conclude(live, BootState.ABANDONED, f"it has booted as {boot.node} since", now=boot.started)

    def supersede(self, boot: NodeBoot) -> LiveBoot | None:
        """The subject's newest boot, which is its newest no more, for ``boot``'s sake."""
        live = self._memory.newest.get(boot.subject)
        if live is None:
            return None
        if live.boot.state is BootState.BOOTING:
            again = "asked for another boot before it reported on this one"
            why = again if boot.client == live.boot.client else f"{again}, from {boot.client}"
            self.conclude(live, BootState.ABANDONED, why, now=boot.started)
        self._memory.supersede(live)
        return live

    def reach(self, live: LiveBoot, stage: NodeStage) -> None:
        """A boot is at a stage: the first time counts. Its script is not given again."""
        live.token = None
        if stage not in live.boot.stages:
            live.boot = replace(live.boot, stages={**live.boot.stages, stage: self._clock()})
            self.counts.reach(live.boot, stage)
        self.change(live)

    def take_report(self, live: LiveBoot, report: NodeReport, *, now: float) -> None:
        """What a node says of a boot, held against what it was given: that is the boot's end."""
        was_abandoned = live.boot.state is BootState.ABANDONED
        verdict = judge(live.boot, report, now=now)
        if NodeStage.UP not in live.boot.stages:
            self.reach(live, NodeStage.UP)
        live.boot = replace(live.boot, report=report)
        if was_abandoned:
            self._bring_back(live, now=now)
        self.conclude(live, verdict.state, verdict.why, now=now)
        self._memory.bound_journals(live.boot)

    def _bring_back(self, live: LiveBoot, *, now: float) -> None:
        """A boot that was given up is the one that runs, unless the machine has loaded a later one's kernel.

        Somebody else has asked in its name, then, or to have a look.
        """
        newest = self._memory.newest.get(live.boot.subject)
        if newest is None or newest.boot.last_stage is not NodeStage.SCRIPT:
            return
        self.conclude(newest, BootState.ABANDONED, "the machine runs what it was given before", now=now)
        self._memory.bring_back(live, newest=newest)

    def conclude(self, live: LiveBoot, state: BootState, why: str | None, *, now: float) -> None:
        """The end of a boot, or another one than it had. ``why``: in a line."""
        live.boot = replace(live.boot, state=state, why=why, ended=now)
        live.token = None
        self.counts.conclude(live.boot)
        self.change(live)

    def change(self, live: LiveBoot) -> None:
        """A boot is another than before."""
        self._memory.change(live)
        self.changes.publish(live.boot)
