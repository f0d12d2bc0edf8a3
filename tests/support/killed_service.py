"""The real register, fleet and rollouts of a boot server over a store, killed at any write, in its own time.

What nodes were given is kept by the nodes themselves: laws are held against that, and not against what the
server believes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from support.begun_boots import begin_boot
from support.fleet_api import MemoryStore
from support.fleets import make_fleet
from support.rollout_fleet import BEFORE, TARGET, Behaviour

from ectools.netboot.boots.model import NodeReport, NodeStage
from ectools.netboot.boots.register import BootRegister, ReportError
from ectools.netboot.fleet.live import LiveFleet
from ectools.netboot.fleet.roster import Roster
from ectools.netboot.rollout.encode import decode_rollout
from ectools.netboot.rollout.kept import ROLLOUTS
from ectools.netboot.rollout.live import LiveRollouts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from random import Random

    from ectools.netboot.rollout.model import Rollout, RolloutPlan
    from ectools.netboot.state.interface import StateEvent

_GROUP = "g"


class KilledError(BaseException):
    """The server was killed: nobody in it catches that."""


class KillableStore(MemoryStore):
    """A store whose process is killed at a write: before it is done, or after, when nobody is told."""

    def __init__(self, random: Random, kills: float) -> None:
        super().__init__()
        self._random = random
        self.kills = kills

    async def put(self, key: str, value: Mapping[str, Any], *, expected: int | None = None) -> int:
        self.may_die()
        revision = await super().put(key, value, expected=expected)
        self.may_die()
        return revision

    async def append(self, kind: str, **fields: Any) -> StateEvent:
        self.may_die()
        event = await super().append(kind, **fields)
        self.may_die()
        return event

    def may_die(self) -> None:
        if self._random.random() < self.kills:
            raise KilledError


@dataclass(kw_only=True)
class LedNode:
    """A node. ``runs``: the release that it was given last; ``token`` while it may report; ``wakes``: Unix
    seconds before which it does nothing.
    """

    name: str
    behaviour: Behaviour
    runs: str = BEFORE
    token: str | None = None
    wakes: float = 0.0
    had_target: bool = False
    said_healthy: bool = False


class KilledService:
    """A rollout over nodes that follow their group, led by a server that is killed and started again."""

    def __init__(
        self, plan: RolloutPlan, behaviours: Mapping[str, Behaviour], random: Random, *, kills: float
    ) -> None:
        self.plan = plan
        self.random = random
        self.now = plan.at
        self.store = KillableStore(random, 0.0)
        self.kills = kills
        self.withdrawn: set[str] = set()
        self.starts = 0
        self.waves: list[Rollout] = []
        self.fleet = make_fleet(
            groups={_GROUP: {"release": BEFORE}},
            nodes={name: {"group": _GROUP, "match": {"serial": name}} for name in behaviours},
        )
        self.nodes = {name: LedNode(name=name, behaviour=each) for name, each in behaviours.items()}

    async def begin(self) -> None:
        """The server starts, and so does the rollout."""
        await self.restart()
        await self.rollouts.start(self.plan)
        self.store.kills = self.kills

    async def restart(self) -> None:
        """A process that knows what the store has."""
        self.starts += 1
        kills, self.store.kills = self.store.kills, 0.0
        self.boots = BootRegister(self.store, clock=lambda: self.now)
        await self.boots.load()
        self.live = LiveFleet(self.store, clock=lambda: self.now)
        self.live.set_base(self.fleet, Roster(self.fleet), where="fleet.toml")
        self.rollouts = LiveRollouts(
            self.store,
            fleet=lambda: self.live.fleet,
            held=lambda _: False,
            latest=lambda: self.boots.latest,
            list_boots=lambda node: self.boots.list_boots(node, limit=64),
            withdraw=self._withdraw,
            clock=lambda: self.now,
        )
        self.live.lead = self.rollouts.lead
        await self.rollouts.load()
        self.store.kills = kills

    @property
    def kept(self) -> Rollout:
        return decode_rollout(self.store.entries[f"{ROLLOUTS}{_GROUP}"].value)

    async def step(self) -> None:
        """Some time goes by; each node does what it does, and the server has its turn."""
        self.now += self.random.choice((1.0, 30.0, 200.0))
        for node in self.random.sample(list(self.nodes.values()), len(self.nodes)):
            if node.wakes <= self.now:
                await self._survive(self._turn(node))
                self._check(node)
        await self._survive(self._lead())

    async def go_back(self) -> None:
        """Each node asks once more what to boot, and boots it."""
        for node in self.nodes.values():
            node.wakes = self.now
            await self._boot(node)

    async def _survive(self, work: Any) -> None:
        try:
            await work
        except KilledError:
            await self.restart()

    async def _lead(self) -> None:
        await self.rollouts.look_again()
        await self.boots.expire()
        await self.boots.write()
        before = self.kept
        try:
            await self.rollouts.turn()
        finally:
            after = self.kept
            if after.wave != before.wave:
                self.waves.append(after)

    async def _withdraw(self, release: str) -> None:
        self.store.may_die()
        self.withdrawn.add(release)
        self.store.may_die()

    async def _turn(self, node: LedNode) -> None:
        if node.token is not None:
            await self._report(node)
        elif self.random.random() < 0.7:
            await self.rollouts.offer(_GROUP, node.name)
            if self.live.assign(self.fleet.nodes[node.name]).release != node.runs:
                await self._boot(node)

    async def _boot(self, node: LedNode) -> None:
        """It asks for its script, and has it if it is answered."""
        had_ended = self.kept.has_ended
        await self.rollouts.offer(_GROUP, node.name)
        release = self.live.assign(self.fleet.nodes[node.name]).release
        assert release is not None
        _, token = await begin_boot(self.boots, node.name, release, group=_GROUP, within=self.plan.within)
        node.runs, node.token = release, token
        if release == TARGET:
            assert not had_ended or self.kept.state == "done", "it was given out after the stop"
            node.had_target = True

    async def _report(self, node: LedNode) -> None:
        behaviour = node.behaviour if node.runs == TARGET else Behaviour.GOOD
        report = NodeReport(release=node.runs, healthy=True)
        match behaviour:
            case Behaviour.UNHEALTHY:
                report = NodeReport(release=node.runs, healthy=False, failed=("a.service",))
            case Behaviour.WRONG:
                report = NodeReport(release="sha256-other", healthy=True)
            case Behaviour.PANICS:
                await self._boot(node)
                return
            case Behaviour.HANGS | Behaviour.SILENT:
                # Somebody finds it, and switches it off and on.
                node.token, node.wakes = None, self.now + 5 * self.plan.within
                return
            case Behaviour.LATE:
                if node.wakes < self.now - self.plan.within:
                    node.wakes = self.now + 2 * self.plan.within
                    return
        assert node.token is not None
        try:
            await self.boots.report(node.token, NodeStage.UP, report)
        except ReportError:
            pass  # its time is over
        else:
            node.said_healthy |= node.runs == TARGET and behaviour is Behaviour.GOOD
        node.token = None

    def _check(self, node: LedNode) -> None:
        if node.had_target:
            had = sum(each.had_target for each in self.nodes.values())
            assert had <= self.plan.quota(self.kept.wave, len(self.nodes)), (
                "more have it than the wave allows"
            )
