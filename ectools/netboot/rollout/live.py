"""The rollouts of one boot server: decided at each change that is seen, kept before anything is done by them.

A group has one rollout; a new one takes the place of one that has ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ectools import log
from ectools.errors import InputError, cut
from ectools.netboot.boots.model import BootState
from ectools.netboot.fleet.assignment import LedRelease
from ectools.netboot.rollout.absences import Absences
from ectools.netboot.rollout.decide import (
    abort,
    find_led_release,
    list_fallbacks,
    list_under_way,
    note_seen,
    pause,
    resume,
    start_rollout,
)
from ectools.netboot.rollout.encode import measure_largest
from ectools.netboot.rollout.ends import RolloutEnds
from ectools.netboot.rollout.journal import RolloutJournal
from ectools.netboot.rollout.kept import KeptRollouts
from ectools.netboot.rollout.listening import Listening
from ectools.netboot.rollout.members import GroupMembers
from ectools.netboot.rollout.model import Known, Rollout, RolloutPlan
from ectools.netboot.rollout.offers import RolloutOffers
from ectools.netboot.rollout.refusals import RolloutConflictError, UnknownRolloutError, need_rollout
from ectools.netboot.rollout.seen import SeenBoots
from ectools.netboot.rollout.turns import RolloutTurns
from ectools.netboot.state.interface import MAX_VALUE_BYTES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from ectools.netboot.boots.model import NodeBoot
    from ectools.netboot.fleet.model import Fleet, Node
    from ectools.netboot.state.interface import StateStore

_log = log.Log(__name__)


async def _find_nothing(*_: str) -> None:
    return None


class LiveRollouts:
    """The rollouts.

    ``fleet`` gives the fleet in force, ``held`` whether a node is held, ``latest`` its newest boots by
    subject, ``list_boots`` more of them, ``find_release`` the id of the staged release that a tag means, or a
    channel, ``count_channel`` the counter of the pointer by which a channel leads to a release. ``host``
    names this boot server among those that lead the same rollouts; None: it is alone. ``withdraw`` and
    ``patience`` are as in ``RolloutEnds``. ``clock`` gives Unix seconds; ``knows_time``: whether they are
    those that other hosts go by, without which none is led. ``is_cut_off`` and ``ticks`` are as in
    ``Listening``.
    """

    def __init__(
        self,
        store: StateStore,
        *,
        fleet: Callable[[], Fleet],
        held: Callable[[str], bool],
        latest: Callable[[], Mapping[str, NodeBoot]],
        list_boots: Callable[[str], Awaitable[Sequence[NodeBoot]]],
        withdraw: Callable[[str], Awaitable[None]],
        clock: Callable[[], float],
        find_release: Callable[[str], Awaitable[str | None]] = _find_nothing,
        count_channel: Callable[[str, str], Awaitable[int | None]] = _find_nothing,
        host: str | None = None,
        patience: float = 0.0,
        knows_time: Callable[[], bool] = lambda: True,
        is_cut_off: Callable[[], bool] = lambda: False,
        ticks: Callable[[], float] | None = None,
    ) -> None:
        self._journal = RolloutJournal(store)
        self._kept = KeptRollouts(store, on_change=self._changed)
        self._members = GroupMembers(fleet=fleet, held=held)
        self._latest = latest
        self._list_boots = list_boots
        self._clock = clock
        self._knows_time = knows_time
        self._seen = SeenBoots()
        self._absences = Absences()
        self._listening = Listening(ticks, is_cut_off=is_cut_off, clock=clock)
        self._host = host
        self.count_channel = count_channel
        """As it was given: for the plans of rollouts."""
        self._offers = RolloutOffers(self._kept, self._members, clock=clock)
        self._ends = RolloutEnds(self._kept, self._journal, withdraw=withdraw, clock=clock, patience=patience)
        self._turns = RolloutTurns(
            self._kept,
            self._journal,
            self._members,
            self._ends,
            know=self.know,
            is_heard=self._listening.look,
            find_release=find_release,
            count_channel=count_channel,
            host=host,
            clock=clock,
            ticks=ticks or clock,
        )
        self._heard: dict[str, float] = {}  # node → when it asked last; no more than the fleet has
        self.on_change: list[Callable[[str], None]] = []
        """Called with the group of each rollout that is another than before."""

    @property
    def rollouts(self) -> Mapping[str, Rollout]:
        """Group → its rollout, ended or not."""
        return self._kept.by_group

    def need(self, group: str) -> Rollout:
        """The rollout of a group. Raises UnknownRolloutError."""
        rollout = self.rollouts.get(group)
        if rollout is None:
            raise UnknownRolloutError(
                f"{cut(group)}: this group has no rollout", hint="`ectools rollout status` shows all"
            )
        return rollout

    def find_standing(self, group: str) -> str | None:
        """The id of the release with which a rollout of the group has left it; None: what the fleet says."""
        rollout = self.rollouts.get(group)
        if rollout is None or not rollout.has_ended or not self._is_in_force(rollout):
            return None
        return find_led_release(rollout, "")  # at an end, all have the same

    def is_run(self, group: str, release_id: str) -> bool:
        """Whether the newest boot of a node of the group is of a release."""
        latest = self._latest()
        return any(
            boot.release == release_id
            for node in self._members.list_all(group)
            if (boot := latest.get(node)) is not None
        )

    def find_led(self, group: str) -> list[str] | None:
        """The ids of what a rollout leads the group's nodes to; None: they boot what the fleet says."""
        rollout = self.rollouts.get(group)
        if rollout is None or not self._is_in_force(rollout):
            return None
        plan = rollout.plan
        return [find_led_release(rollout, "")] if rollout.has_ended else [plan.target, plan.before]

    def list_needed(self) -> frozenset[str] | None:
        """The ids of the releases that rollouts lead groups to, or go back to; None: not all are known.

        Also of a group of which the fleet says something else since: it may say what the rollout led it to;
        and of one that the fleet has no more, until that is forsaken: it may come again.
        """
        if not self._kept.is_whole:
            return None
        needed: set[str] = set()
        for rollout in self.rollouts.values():
            if rollout.is_left:
                continue
            ends = {find_led_release(rollout, "")}
            needed |= ends if rollout.has_ended else {rollout.plan.target, rollout.plan.before}
        return frozenset(needed)

    def _is_in_force(self, rollout: Rollout) -> bool:
        return not rollout.is_left and self._members.is_in_force(rollout.plan)

    def know(self, rollout: Rollout) -> Known:
        """What is known of a rollout's group now."""
        latest, nodes = self._latest(), self._members.list_free(rollout.plan.group)
        boots = {name: self._seen.list_boots(name, newest=latest.get(name)) for name in rollout.taken}
        heard = {name: _find_last_time(boot) for name in nodes if (boot := latest.get(name)) is not None}
        heard |= {name: max(at, heard.get(name, at)) for name, at in self._heard.items() if name in nodes}
        now, listened = self._clock(), self._listening.seconds
        back = self._absences.look(rollout, nodes, now)
        doubtful = self._offers.list_doubtful(rollout.plan.group)
        return Known(
            nodes=nodes,
            boots=boots,
            heard=heard,
            now=now,
            listened=listened,
            back=back,
            doubtful=doubtful,
        )

    def count_under_way(self) -> Mapping[str, int]:
        """Group → how many nodes of its rollout are waited for."""
        return {
            group: len(list_under_way(each, self.know(each))) if not each.has_ended else 0
            for group, each in self.rollouts.items()
        }

    async def load(self) -> None:
        """Take over what the store has. Raises StateError."""
        await self._kept.load()
        await self.look_again()

    async def follow(self) -> None:
        """Take over what other boot servers make of rollouts, until cancelled. Raises StateError."""
        await self._kept.follow()

    async def look_again(self) -> None:
        """Look at all boots of rollouts under way, of which some may have been missed. Raises StateError."""
        for rollout in list(self.rollouts.values()):
            for node in () if rollout.has_ended else rollout.taken:
                for boot in await self._list_boots(node):
                    self.see(boot)

    # What is asked of it

    def check_start(self, plan: RolloutPlan, *, title: Callable[[str], str] = str) -> None:
        """Raises RolloutConflictError, InputError: it cannot be started as things are.

        ``title``: what a release is called, by its id.
        """
        if not self._members.list_all(plan.group):
            raise InputError(f"{plan.group}: no node is in this group")
        if plan.target == plan.before:
            option = f"groups.{plan.group}.release"
            hint = f"name what it boots now in {option}, so that staging another does not change it"
            raise RolloutConflictError(
                f"{plan.group}: boots {title(plan.target)} already", hint=hint if plan.base is None else None
            )

        members = self._members.list_all(plan.group)
        if measure_largest(plan, members) > MAX_VALUE_BYTES:
            raise InputError(
                f"{plan.group}: a rollout to {len(members)} nodes is too large to be kept",
                hint="make smaller groups, or allow fewer failures",
            )
        now = self.rollouts.get(plan.group)
        if now is not None and not now.has_ended:
            raise RolloutConflictError(
                f"{plan.group}: a rollout of {title(now.plan.target)} is {now.state}",
                hint=f"`ectools rollout abort {plan.group}` ends it",
            )

    async def start(self, plan: RolloutPlan) -> Rollout:
        """A rollout that begins. Raises as ``check_start``, and StateError."""

        def begin(_: Rollout | None) -> Rollout:
            self.check_start(plan)  # again: somebody else may have begun one
            rollout = start_rollout(plan)
            return rollout if self._host is None else note_seen(rollout, self._host)

        rollout = (await self._kept.change(plan.group, begin)).after
        await self._journal.tell(rollout, "rollout-started", by=plan.by)
        return rollout

    async def pause(self, group: str, *, by: str | None) -> Rollout:
        """Raises UnknownRolloutError, RolloutConflictError, StateError."""
        return await self._turn(group, pause, "rollout-paused", by=by)

    async def resume(self, group: str, *, by: str | None) -> Rollout:
        """As ``pause``."""
        return await self._turn(group, resume, "rollout-resumed", by=by)

    async def abort(self, group: str, *, by: str | None) -> Rollout:
        """As ``pause``."""
        why = "somebody has ended it" if by is None else f"{by} has ended it"
        rollout = await self._turn_to(group, lambda now: abort(now, why=why, now=self._clock()))
        self._ends.note_own(rollout)
        return await self._ends.settle(rollout, by=by)

    # What happens

    def lead(self, node: Node) -> LedRelease | None:
        """The release that a rollout gives a node, as it stands; None: what the fleet says."""
        rollout = self.rollouts.get(node.group or "")
        return None if rollout is None else self._lead(rollout, node)

    def preview(self, node: Node) -> LedRelease | None:
        """As ``lead`` would be, had the node been offered the release just now. Nothing is changed."""
        rollout = self.rollouts.get(node.group or "")
        if rollout is None:
            return None
        return self._lead(self._offers.preview(rollout, node.name), node)

    def _lead(self, rollout: Rollout, node: Node) -> LedRelease | None:
        if not self._is_in_force(rollout):
            return None
        by = "" if rollout.plan.by is None else f" by {rollout.plan.by}"
        origin = f"rollout {rollout.plan.id}{by}, {rollout.state}"
        return LedRelease(id=find_led_release(rollout, node.name), origin=origin)

    def list_fallbacks(self, node: Node) -> list[str]:
        """As ``decide.list_fallbacks``, of a node that a rollout leads; of others none."""
        rollout = self.rollouts.get(node.group or "")
        if rollout is None or not self._is_in_force(rollout):
            return []
        boot = self._latest().get(node.name)
        ran = None if boot is None or boot.state is not BootState.HEALTHY else boot.release
        return list_fallbacks(rollout, node.name, ran)

    def may_be_offered(self, node: Node) -> bool:
        """Whether ``offer`` may give the node the release."""
        rollout = self.rollouts.get(node.group or "")
        return (
            rollout is not None and self._is_in_force(rollout) and self._offers.has_place(rollout, node.name)
        )

    async def offer(self, group: str, node: str) -> None:
        """A node of the group asks what to boot: as ``RolloutOffers.ask``."""
        rollout = self.rollouts.get(group)
        if (
            rollout is not None
            and self._offers.has_place(rollout, node)
            and self._members.is_in_force(rollout.plan)
        ):
            await self._offers.ask(group, node)

    def hear(self, node: str) -> None:
        """A node of the fleet that runs has asked what is next."""
        if not self._knows_time():
            return  # it asks again soon
        self._heard[node] = self._clock()
        nodes = self._members.nodes
        if len(self._heard) > len(nodes):  # some have left it since
            self._heard = {name: at for name, at in self._heard.items() if name in nodes}

    def see(self, boot: NodeBoot) -> None:
        """A boot has changed."""
        if boot.node is None or boot.group is None:
            return
        rollout = self.rollouts.get(boot.group)
        if rollout is None or rollout.has_ended or boot.node not in rollout.taken:
            return
        self._seen.see(boot.node, boot)

    async def turn(self) -> None:
        """Decide anew, as ``RolloutTurns.run``; where it is not known what time it is, later."""
        if self._knows_time():
            await self._turns.run()

    async def _turn(
        self, group: str, change: Callable[[Rollout], Rollout], kind: str, *, by: str | None
    ) -> Rollout:
        rollout = await self._turn_to(group, change)
        await self._journal.tell(rollout, kind, by=by)
        return rollout

    async def _turn_to(self, group: str, change: Callable[[Rollout], Rollout]) -> Rollout:
        self.need(group)
        made = await self._kept.change(group, lambda now: change(need_rollout(now)))
        if made.after is made.before:
            raise RolloutConflictError(
                f"{group}: the rollout of {made.after.plan.target} is {made.after.state}"
            )
        return made.after

    def _changed(self, rollout: Rollout, before: Rollout | None) -> None:
        for tell in self.on_change:
            tell(rollout.plan.group)
        self._ends.note_change(rollout, before)
        if rollout.has_ended or (before is not None and before.plan.id != rollout.plan.id):
            self._seen.forget(rollout.taken if before is None else before.taken)
            self._absences.forget(rollout.plan.group)
            self._offers.forget(rollout.plan.group)


def _find_last_time(boot: NodeBoot) -> float:
    return max([*boot.stages.values(), boot.ended or 0.0, boot.asked or 0.0])
