"""What is decided of rollouts turn by turn, by what is known of their groups then, and told."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from ectools import log
from ectools.netboot.rollout.decide import abort, decide, forsake, leave, may_leave, note_seen
from ectools.netboot.rollout.refusals import UnknownRolloutError, need_rollout
from ectools.netboot.state.interface import StateError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ectools.netboot.rollout.ends import RolloutEnds
    from ectools.netboot.rollout.journal import RolloutJournal
    from ectools.netboot.rollout.kept import KeptRollouts, RolloutChange
    from ectools.netboot.rollout.members import GroupMembers
    from ectools.netboot.rollout.model import Known, Rollout

_log = log.Log(__name__)

GONE_SECONDS = 86400.0
"""That a group is none of the fleet's before its rollout is forsaken: a file that is being edited lacks one
for a while.
"""


class RolloutTurns:
    """The turns of one boot server's rollouts. ``know`` gives what is known of a rollout's group now,
    ``is_heard`` whether that is all there is to know. ``find_release``, ``count_channel`` and ``host`` are as
    in ``LiveRollouts``; ``ticks`` gives seconds that only grow.
    """

    def __init__(
        self,
        kept: KeptRollouts,
        journal: RolloutJournal,
        members: GroupMembers,
        ends: RolloutEnds,
        *,
        know: Callable[[Rollout], Known],
        is_heard: Callable[[], bool],
        find_release: Callable[[str], Awaitable[str | None]],
        count_channel: Callable[[str, str], Awaitable[int | None]],
        host: str | None,
        clock: Callable[[], float],
        ticks: Callable[[], float],
    ) -> None:
        self._kept = kept
        self._journal = journal
        self._members = members
        self._ends = ends
        self._know = know
        self._is_heard = is_heard
        self._find_release = find_release
        self._count_channel = count_channel
        self._host = host
        self._clock = clock
        self._ticks = ticks
        self._gone: dict[str, float] = {}  # group → since which tick the fleet has none of it
        self._contradicted: dict[str, str] = {}  # group → the plan's id of which the log has said so
        self._at_base: dict[str, str] = {}  # group → the plan's id whose channel was seen as at its start

    async def run(self) -> None:
        """Decide anew, for every rollout that has not ended; what cannot be kept is decided again."""
        await self._ends.turn()
        if not self._is_heard():
            return  # nothing can be kept, nor is it known what others see
        with contextlib.suppress(StateError):  # the store has said so
            await self._kept.read_doubtful()
        for group, rollout in list(self._kept.by_group.items()):
            if rollout.has_ended:
                await self._look_at_ended(rollout)
            elif self._members.is_in_force(rollout.plan):
                try:
                    change = await self._kept.change(group, self._decide)
                except (StateError, UnknownRolloutError):  # the store has said so, or it is none any more
                    continue
                await self._act(change)
            elif self._is_newer(rollout):
                await self._supersede(rollout)
            else:
                self._warn_of_contradiction(rollout)

    async def _look_at_ended(self, rollout: Rollout) -> None:
        # The server was killed, or the disk was full, before it was done.
        settled = await self._ends.settle(rollout)
        if self._is_gone(rollout.plan.group):
            if self._is_newer(rollout):
                await self._change(settled, forsake)
            return
        if not rollout.is_left and self._members.is_in_force(rollout.plan):
            await self._change(settled, self._note_seen)
        await self._look_at_channel(settled)

    def _is_newer(self, rollout: Rollout) -> bool:
        """Whether a fleet that says another thing than a plan begins from was written since.

        On a host that was down, or has not been given the new fleet yet, it is an older one.
        """
        return self._host is None or self._host in rollout.seen_by

    def _note_seen(self, rollout: Rollout) -> Rollout:
        return rollout if self._host is None else note_seen(rollout, self._host)

    def _warn_of_contradiction(self, rollout: Rollout) -> None:
        plan = rollout.plan
        if self._contradicted.get(plan.group) != plan.id:  # it is looked at all the time
            self._contradicted[plan.group] = plan.id
            _log.warning(
                "a rollout of another boot host's leads nobody here: this host's fleet has never said what it"
                " begins from",
                group=plan.group,
                reason=self._members.explain_change(plan.group),
                hint="give all boot hosts the same fleet; where this one's is the newer,"
                f" `ectools rollout abort {plan.group}` ends the rollout",
            )

    async def _look_at_channel(self, rollout: Rollout) -> None:
        """Let a group follow its channel again that was moved since its rollout."""
        plan = rollout.plan
        if plan.base_id is None or plan.base is None or rollout.is_left:
            return
        led_to = await self._find_release(plan.base)
        if led_to == plan.base_id:
            self._at_base[plan.group] = plan.id
        if led_to is None or not may_leave(rollout, led_to):
            return
        if plan.base_counter is None and self._host is not None and self._at_base.get(plan.group) != plan.id:
            return  # of a version that kept none: whether it was moved, or was never there, is not known here
        counter = await self._count_channel(plan.base, led_to)
        await self._change(rollout, lambda now: leave(now, led_to, counter=counter))

    def _is_gone(self, group: str) -> bool:
        """Whether the fleet has had no such group for long."""
        if self._members.has_group(group):
            self._gone.pop(group, None)
            return False
        now = self._ticks()
        return now - self._gone.setdefault(group, now) > GONE_SECONDS

    async def _change(self, rollout: Rollout, change: Callable[[Rollout], Rollout]) -> None:
        if change(rollout) is rollout:
            return

        def change_it(now: Rollout | None) -> Rollout:
            found = need_rollout(now)
            return change(found) if found.plan.id == rollout.plan.id else found

        with contextlib.suppress(StateError, UnknownRolloutError):  # as in ``run``
            await self._kept.change(rollout.plan.group, change_it)

    def _decide(self, now: Rollout | None) -> Rollout:
        rollout = need_rollout(now)
        return decide(self._note_seen(rollout), self._know(rollout))

    async def _supersede(self, rollout: Rollout) -> None:
        group = rollout.plan.group
        why = self._members.explain_change(group)
        try:
            change = await self._kept.change(
                group, lambda now: abort(need_rollout(now), why=why, now=self._clock())
            )
        except (StateError, UnknownRolloutError):  # the store has said so, or it is none any more
            return
        await self._act(change)

    async def _act(self, change: RolloutChange) -> None:
        """Tell what was made of a rollout here, and not what others have: they have told it."""
        before, rollout = change.before, change.after
        if before is None or before is rollout:
            return
        for node in rollout.failed.keys() - before.failed.keys():
            await self._journal.tell(rollout, "rollout-node-failed", node=node, why=rollout.failed[node])
        if rollout.wave > before.wave:
            await self._journal.tell(rollout, "rollout-wave", wave=rollout.wave)
        if rollout.has_ended:
            self._ends.note_own(rollout)
        await self._ends.settle(rollout)
