"""The nodes that ask what to boot, and may be given a rollout's release: a crowd of them by one write.

Whoever gets to write takes along all who ask at that moment. A node that is told something else, because the
store has not answered in time, may have been given the release there all the same: it is remembered, and
counts as told only when it has asked again.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import TYPE_CHECKING

from ectools import log
from ectools.errors import EcError
from ectools.netboot.rollout.decide import count_places, is_untold, offer
from ectools.netboot.rollout.model import Known, Rollout, RolloutState
from ectools.netboot.rollout.refusals import need_rollout

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from ectools.netboot.rollout.kept import KeptRollouts
    from ectools.netboot.rollout.members import GroupMembers

_log = log.Log(__name__)

_KEPT_SECONDS = 2.0
_MAX_DOUBTS = 16
"""Times at which a node may have been given the release: the first ones, as who is cut off writes nothing."""


class RolloutOffers:
    """The offers of one boot server. ``clock`` gives Unix seconds."""

    def __init__(self, kept: KeptRollouts, members: GroupMembers, *, clock: Callable[[], float]) -> None:
        self._kept = kept
        self._members = members
        self._clock = clock
        self._asking: dict[str, Counter[str]] = {}  # group → who waits for an answer, and how often
        self._tried: dict[str, dict[str, list[float]]] = {}  # group → of those, when it was to be given it
        self._doubtful: dict[str, dict[str, list[float]]] = {}

    def list_doubtful(self, group: str) -> Mapping[str, Collection[float]]:
        """As ``Known.doubtful``."""
        return self._doubtful.get(group, {})

    def has_place(self, rollout: Rollout, node: str) -> bool:
        """Whether the wave may have one for it, or it has one of which it may not have been told."""
        group = rollout.plan.group
        if node in rollout.taken:
            return is_untold(rollout, node, self.list_doubtful(group))
        if rollout.state is not RolloutState.RUNNING:
            return False
        # Who is held makes places fewer: where there is none without that, nobody is counted. Who has a place
        # and is no node of the group any more counts, as it does for whoever decides.
        quota = rollout.plan.quota(rollout.wave, self._members.count_with(group, rollout.taken))
        return count_places(rollout, lambda each: self._members.is_free(group, each)) < quota

    def preview(self, rollout: Rollout, node: str) -> Rollout:
        """The rollout as ``ask`` would leave it. Nothing is changed."""
        return offer(rollout, [node], self._know(rollout)) if self.has_place(rollout, node) else rollout

    async def ask(self, group: str, node: str) -> None:
        """A node of the group asks what to boot: it may be given the release, kept when this returns.

        Where it cannot be kept, the node is given nothing that it has not got already.
        """
        asking = self._asking.setdefault(group, Counter())
        asking[node] += 1
        is_told = False
        try:
            async with asyncio.timeout(_KEPT_SECONDS):  # nobody's boot waits longer for a disk that hangs
                await self._kept.change(group, lambda now: self._offer_all(need_rollout(now), node))
            is_told = True
        except (EcError, TimeoutError) as error:
            reason = error.message if isinstance(error, EcError) else "the store does not answer"
            _log.warning("a node is not led on: it cannot be kept", node=node, reason=reason)
            is_told = self._is_led(group, node)  # by another one's write, which it was taken along by
        finally:
            self._note(group, node, is_told=is_told)

    def forget(self, group: str) -> None:
        """Its rollout has ended, or is another one."""
        self._doubtful.pop(group, None)

    def _offer_all(self, now: Rollout, node: str) -> Rollout:
        if not self.has_place(now, node):
            return now  # it was taken along by another one, or somebody else was faster
        group = now.plan.group
        changed = offer(now, self._asking[group], self._know(now))
        tried = self._tried.setdefault(group, {})
        for each in self._asking[group]:
            at = changed.taken.get(each)
            if at is not None and at not in (known := tried.setdefault(each, [])):
                known.append(at)
        return changed

    def _is_led(self, group: str, node: str) -> bool:
        rollout = self._kept.by_group.get(group)
        if rollout is None or node not in rollout.taken:
            return False
        return not is_untold(rollout, node, self.list_doubtful(group))

    def _note(self, group: str, node: str, *, is_told: bool) -> None:
        """What is known of a node that asks no more; it was given the release without being told, or not."""
        asking, tried = self._asking[group], self._tried.get(group, {})
        asking[node] -= 1
        if is_told:
            self._doubtful.get(group, {}).pop(node, None)
        elif node in tried:
            known = self._doubtful.setdefault(group, {}).setdefault(node, [])
            known += [at for at in tried[node] if at not in known][: _MAX_DOUBTS - len(known)]
        if not asking[node]:
            del asking[node]
            tried.pop(node, None)

    def _know(self, rollout: Rollout) -> Known:
        group = rollout.plan.group
        return Known(
            nodes=self._members.list_free(group),
            boots={},
            heard={},
            now=self._clock(),
            doubtful=self.list_doubtful(group),
        )
