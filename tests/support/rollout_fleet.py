"""A group of nodes that behave in all the ways that nodes do, led by a rollout, in a time of its own.

The server is killed at any step: what it had decided and not kept is lost; what it has kept is all it knows.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from ectools.netboot.boots.model import BootState, NodeBoot, NodeStage
from ectools.netboot.rollout.decide import decide, find_led_release, offer, start_rollout
from ectools.netboot.rollout.model import Known, Rollout, RolloutPlan

if TYPE_CHECKING:
    from collections.abc import Mapping
    from random import Random

TARGET, BEFORE = "sha256-new", "sha256-old"
_ENDED = {BootState.HEALTHY, BootState.UNHEALTHY, BootState.FAILED, BootState.ABANDONED}


class Behaviour(StrEnum):
    """What a node does with the new release."""

    GOOD = "good"
    PANICS = "panics"  # and boots again, again and again
    HANGS = "hangs"  # no report
    UNHEALTHY = "unhealthy"
    WRONG = "wrong"  # reports another release
    LATE = "late"  # healthy, after its time
    SILENT = "silent"  # it asks for the script and is not heard of again


BAD = frozenset(Behaviour) - {Behaviour.GOOD}


@dataclass(kw_only=True)
class SimulatedNode:
    """A node. ``comes``: from when on it is on; ``runs``: the release."""

    name: str
    behaviour: Behaviour
    comes: float
    runs: str = BEFORE
    boots: list[NodeBoot] = field(default_factory=list)
    heard: float | None = None


class SimulatedFleet:
    """A rollout over nodes; ``run`` to its end. ``pulls``: how likely it is at each step that one is held, or
    let go again. ``away_then``: who was held at each of ``states``.
    """

    def __init__(
        self,
        plan: RolloutPlan,
        behaviours: Mapping[str, Behaviour],
        random: Random,
        *,
        kills: float,
        pauses: tuple[float, ...] = (1.0, 200.0, 900.0, 3600.0),
        pulls: float = 0.0,
    ) -> None:
        self.plan = plan
        self.random = random
        self.kept = start_rollout(plan)
        self.now = plan.at
        self.kills = kills
        self.pauses = pauses
        self.pulls = pulls
        self.away: frozenset[str] = frozenset()
        self.ever_away: frozenset[str] = frozenset()
        self.back: dict[str, float] = {}
        self.states: list[Rollout] = [self.kept]
        self.away_then: list[frozenset[str]] = [self.away]
        self.names = frozenset(behaviours)
        self.nodes = {
            name: SimulatedNode(name=name, behaviour=each, comes=self._draw_coming())
            for name, each in behaviours.items()
        }

    def run(self, *, steps: int = 5000) -> Rollout:
        """The rollout at its end; AssertionError where it has none within so many steps."""
        for _ in range(steps):
            if self.kept.has_ended:
                return self.kept
            self._step()
        message = f"no end: {self.kept}"
        raise AssertionError(message)

    def settle(self) -> None:
        """Every node that is on asks once more."""
        for node in self.nodes.values():
            node.runs = find_led_release(self.kept, node.name)

    def known(self) -> Known:
        heard = {node.name: node.heard for node in self.nodes.values() if node.heard is not None}
        boots = {node.name: node.boots for node in self.nodes.values()}
        return Known(
            nodes=self.names - self.away, boots=boots, heard=heard, now=self.now, back=dict(self.back)
        )

    def _draw_coming(self) -> float:
        return self.plan.at + self.random.choice((0.0, 0.0, 0.0, self.random.uniform(0, 2 * 86400)))

    def _step(self) -> None:
        self.now += self.random.choice(self.pauses)
        if self.pulls and self.random.random() < self.pulls:
            self._pull()
        for node in self.random.sample(list(self.nodes.values()), len(self.nodes)):
            if node.comes <= self.now:
                self._turn(node)
        self._keep(decide(self.kept, self.known()))

    def _pull(self) -> None:
        """Mostly of those that have the release: that is who is pulled."""
        name = self.random.choice(
            sorted(self.kept.taken if self.random.random() < 0.8 else ()) or sorted(self.names)
        )
        if name in self.away:
            self.back[name] = self.now
        self.away ^= {name}
        self.ever_away |= {name}

    def _keep(self, rollout: Rollout) -> bool:
        """Whether it was kept: not if the server was killed just then."""
        if self.random.random() < self.kills:
            return False
        if rollout is not self.kept:
            self.kept = rollout
            self.states.append(rollout)
            self.away_then.append(self.away)
        return True

    def _turn(self, node: SimulatedNode) -> None:
        booting = node.boots[-1] if node.boots and node.boots[-1].state is BootState.BOOTING else None
        if booting is not None:
            self._go_on(node, booting)
            return
        if node.name in self.away or self.random.random() < 0.3:
            return
        node.heard = self.now
        moment = Known(nodes=self.names - self.away, boots={}, heard={}, now=self.now)
        if not self._keep(offer(self.kept, [node.name], moment)):
            return  # no answer: it asks again
        wanted = find_led_release(self.kept, node.name)
        if wanted != node.runs:
            self._boot(node, wanted)

    def _boot(self, node: SimulatedNode, release: str) -> None:
        boot = NodeBoot(
            id=f"{node.name}-{len(node.boots)}",
            token_hash="",
            machine=node.name,
            node=node.name,
            release=release,
            system="s",
            within=self.plan.within,
            stages={NodeStage.SCRIPT: self.now},
        )
        node.boots.append(boot)
        node.runs = release

    def _go_on(self, node: SimulatedNode, boot: NodeBoot) -> None:
        behaviour = node.behaviour if boot.release == TARGET else Behaviour.GOOD
        late = self.now > boot.deadline
        state, runs = BootState.BOOTING, node.runs
        match behaviour:
            case Behaviour.GOOD:
                state = BootState.FAILED if late else BootState.HEALTHY
            case Behaviour.UNHEALTHY | Behaviour.WRONG:
                state = BootState.UNHEALTHY
            case Behaviour.PANICS:
                # Its next boot begins at once, of what it is given then.
                state, runs = BootState.ABANDONED, ""
            case _ if late:
                state = BootState.FAILED
        if state in _ENDED:
            node.boots[-1] = replace(boot, state=state, ended=self.now)
            node.heard, node.runs = self.now, runs
