"""What follows from a rollout's end: its release is withdrawn where it was stopped, and the end is told.

Of several boot hosts each withdraws the release from what it has staged itself; the end is told, and settled,
by the one that has made it. Where that one was killed before it could, another one does it a while later: the
one that is the first to claim it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ectools import log
from ectools.errors import EcError
from ectools.netboot.rollout.decide import claim, settle
from ectools.netboot.rollout.model import RolloutState
from ectools.netboot.rollout.refusals import need_rollout

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ectools.netboot.rollout.journal import RolloutJournal
    from ectools.netboot.rollout.kept import KeptRollouts
    from ectools.netboot.rollout.model import Rollout

_log = log.Log(__name__)

_MAX_OWN = 1000
_AWAY_SECONDS = 86400.0


class RolloutEnds:
    """The ends of one boot server's rollouts. ``withdraw`` is told the id of a release that was stopped, and
    is told again where it raises EcError. ``patience``: seconds that another host has to settle what it has
    ended; 0: there is none.
    """

    def __init__(
        self,
        kept: KeptRollouts,
        journal: RolloutJournal,
        *,
        withdraw: Callable[[str], Awaitable[None]],
        clock: Callable[[], float],
        patience: float = 0.0,
    ) -> None:
        self._kept = kept
        self._journal = journal
        self._withdraw = withdraw
        self._clock = clock
        self._patience = patience
        self._settling: set[str] = set()
        self._unsettled: dict[str, str] = {}  # group, or a plan's id → why nothing follows as yet
        self._own: dict[str, None] = {}
        # A plan's id → the release that another host has stopped, and until when that is news; None: it is.
        self._foreign: dict[str, tuple[str, float | None]] = {}

    def note_own(self, rollout: Rollout) -> None:
        """It was ended here."""
        self._own[rollout.plan.id] = None
        while len(self._own) > _MAX_OWN:
            del self._own[next(iter(self._own))]

    def note_change(self, rollout: Rollout, before: Rollout | None) -> None:
        """A rollout is another than ``before``. One that others have stopped concerns what is staged here."""
        until: float | None = None
        if before is None:  # this host was away, but not so long that somebody has had it staged again since
            until = (rollout.ended or 0.0) + _AWAY_SECONDS
        elif before.plan.id == rollout.plan.id and before.has_ended:
            return
        if self._patience and rollout.state is RolloutState.STOPPED:
            self._foreign[rollout.plan.id] = rollout.plan.target, until

    async def turn(self) -> None:
        """Withdraw what others have stopped. What cannot be done is tried again."""
        for plan_id, (release, until) in list(self._foreign.items()):
            try:
                # Looked at only now: as a host starts, it does not know what time it is for all.
                if until is None or self._clock() < until:
                    await self._withdraw(release)
            except EcError as error:
                self._report(plan_id, error)
                return
            self._foreign.pop(plan_id, None)
            self._unsettled.pop(plan_id, None)

    async def settle(self, rollout: Rollout, *, by: str | None = None) -> Rollout:
        """Do what follows from an end; once, but where the server is killed within it, once more."""
        plan = rollout.plan
        group = plan.group
        if not rollout.is_unsettled or group in self._settling:
            return rollout
        self._settling.add(group)
        try:
            if not await self._may_settle(rollout):
                return rollout
            if rollout.state is RolloutState.STOPPED:
                await self._withdraw(plan.target)
            await self._journal.tell(rollout, f"rollout-{rollout.state}", by=by)

            def end(now: Rollout | None) -> Rollout:
                found = need_rollout(now)
                return settle(found) if found.plan.id == plan.id else found

            rollout = (await self._kept.change(group, end)).after
        except EcError as error:
            self._report(group, error)
        else:
            self._unsettled.pop(group, None)
        finally:
            self._settling.discard(group)
        return rollout

    async def _may_settle(self, rollout: Rollout) -> bool:
        """Whether it is this host that does what follows. Raises EcError."""
        plan, since = rollout.plan, max(rollout.ended or 0.0, rollout.claimed or 0.0)
        if plan.id in self._own or not self._patience:
            return True
        if self._clock() < since + self._patience:
            return False

        def begin(now: Rollout | None) -> Rollout:
            found = need_rollout(now)
            is_same = found.plan.id == plan.id
            return claim(found, claimed=rollout.claimed, now=self._clock()) if is_same else found

        made = await self._kept.change(plan.group, begin)
        if made.after is made.before:
            return False
        self.note_own(rollout)
        return True

    def _report(self, group: str, error: EcError) -> None:
        if self._unsettled.get(group) != error.message:  # it is tried again, all the time
            self._unsettled[group] = error.message
            _log.error("what follows from a rollout's end cannot be done", group=group, reason=error.message)
