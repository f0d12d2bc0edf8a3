"""What a node that runs is told of its next boot: by its boot's token, and as a rollout has it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from multidict import CIMultiDict, MultiDict
from support.begun_boots import begin_boot
from support.fleet_api import CURRENT, NOW, PREVIOUS, Api
from support.fleets import make_fleet

from ectools.netboot.boots.model import NodeReport, NodeStage
from ectools.netboot.boots.register import BootRegister
from ectools.netboot.fleet.roster import Roster
from ectools.netboot.http.handler import RequestInfo
from ectools.netboot.http.webroot import RejectedError
from ectools.netboot.release.installed_systems import NoInstalledSystemError
from ectools.netboot.rollout.decide import list_awaited
from ectools.netboot.rollout.model import RolloutPlan
from ectools.netboot.server.node_assignments import ASKED_SECONDS, NodeAssignments

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ectools.netboot.boots.model import NodeBoot
    from ectools.netboot.fleet.assignment import Assignment

FLEET: dict[str, Any] = {
    "groups": {"runners": {"release": PREVIOUS.id, "slots": 2}},
    "nodes": {
        name: {"group": "runners", "match": {"serial": name}, "hold": name == "held"}
        for name in ("a", "b", "c", "held")
    },
}


class World:
    """Assignments over a fleet and a register in memory."""

    def __init__(self) -> None:
        self.api = Api(document=FLEET)
        self.boots = BootRegister(self.api.store, clock=lambda: self.api.now)
        self.staged = {PREVIOUS.id, CURRENT.id}
        self.is_without_system = False
        self.assignments = NodeAssignments(
            self.boots,
            live=self.api.fleet,
            rollouts=self.api.rollouts,
            find_release=self.find_release,
            find_installed=self.find_installed,
            has_successor=self.has_successor,
            base_url=lambda: "http://192.0.2.10:8080",
            name_client=lambda info: info.peer,
            clock=lambda: self.api.now,
        )

    async def find_release(self, assignment: Assignment) -> str | None:
        return assignment.release if assignment.release in self.staged else None

    async def has_successor(self, assignment: Assignment, release_id: str, boot: NodeBoot) -> bool:
        assert boot.release != release_id == assignment.release
        return not self.is_without_system

    async def find_installed(self, assignment: Assignment, release_id: str, system: str) -> tuple[str, str]:
        if release_id == PREVIOUS.id:
            raise NoInstalledSystemError("boot-v1 has no system to install")
        return f"/nix/store/of-{assignment.installs}-and-{system}", f"releases/{release_id}/cache"

    async def boot(self, node: str | None, release: str = PREVIOUS.id) -> str:
        """The token of a boot that has begun."""
        _, token = await begin_boot(self.boots, node, release, group="runners")
        return token

    async def ask(self, token: str, *, method: str = "GET", **query: str) -> dict[str, str]:
        """The answer's lines."""
        info = RequestInfo(
            peer="192.0.2.1",
            method=method,
            segments=(b"assignment",),
            query=MultiDict({"boot": token, **query}),
            headers=CIMultiDict(),
        )
        assert self.assignments.is_asked(info)
        text = (await self.assignments.answer(info)).decode()
        return dict(line.split("=", 1) for line in text.splitlines())

    async def start(self, **fields: float) -> None:
        plan = RolloutPlan(
            id="r",
            group="runners",
            target=CURRENT.id,
            before=PREVIOUS.id,
            base=PREVIOUS.id,
            at=NOW,
            **fields,  # type: ignore[arg-type] # of the plan
        )
        await self.api.rollouts.start(plan)


def run(scenario: Callable[[World], Awaitable[None]]) -> World:
    world = World()

    async def main() -> None:
        await scenario(world)

    asyncio.run(main())
    return world


async def expect(status: int, asking: Awaitable[Any]) -> None:
    with pytest.raises(RejectedError) as raised:
        await asking
    assert raised.value.status == status


def test_who_runs_what_it_should_is_told_so_for_as_long_as_it_runs() -> None:
    async def scenario(world: World) -> None:
        token = await world.boot("a")
        wanted = {"node": "a", "group": "runners", "slots": "2", "state": "booting"}
        wanted |= {"boot": "network", "system": "s", "runs": PREVIOUS.id, "release": PREVIOUS.id}
        assert await world.ask(token) == wanted
        world.api.now += 90 * 86400  # a report's time is over long since
        assert await world.ask(token) == wanted

    run(scenario)


def test_to_ask_takes_no_place_and_to_take_does_once() -> None:
    async def scenario(world: World) -> None:
        tokens = {name: await world.boot(name) for name in "abc"}
        await world.start()
        for name in "aabbcc":
            assert (await world.ask(tokens[name]))["release"] == CURRENT.id
        assert world.api.rollouts.need("runners").taken == {}
        assert (await world.ask(tokens["b"], take="yes"))["release"] == CURRENT.id
        assert (await world.ask(tokens["a"], take="yes"))["release"] == PREVIOUS.id
        assert (await world.ask(tokens["b"]))["release"] == CURRENT.id
        assert (await world.ask(tokens["c"]))["release"] == PREVIOUS.id
        assert list(world.api.rollouts.need("runners").taken) == ["b"]

    run(scenario)


def test_who_looks_alone_takes_nothing() -> None:
    async def scenario(world: World) -> None:
        token = await world.boot("a")
        await world.start()
        assert (await world.ask(token, method="HEAD", take="yes"))["release"] == PREVIOUS.id
        assert world.api.rollouts.need("runners").taken == {}

    run(scenario)


def test_who_is_held_boots_nothing_and_takes_no_place() -> None:
    async def scenario(world: World) -> None:
        token = await world.boot("held")
        await world.start()
        assert (await world.ask(token, take="yes"))["boot"] == "hold"
        assert world.api.rollouts.need("runners").taken == {}

    run(scenario)


def test_a_release_that_is_not_staged_is_none() -> None:
    async def scenario(world: World) -> None:
        world.staged.clear()
        assert (await world.ask(await world.boot("a")))["release"] == ""

    run(scenario)


def test_who_may_not_ask_is_told_so_and_not_often() -> None:
    async def scenario(world: World) -> None:
        await expect(503, world.ask("of a boot that is not read as yet"))
        await world.boots.load()
        world.api.now += 1
        token = await world.boot("a")
        await expect(400, world.ask(token, take="no"))
        await expect(404, world.ask(await world.boot(None)))
        for _ in range(16):
            await expect(403, world.ask("guessed"))
        await expect(429, world.ask("guessed"))
        for _ in range(15):
            await world.ask(token)
        await expect(429, world.ask(token))
        world.api.now += 1
        await world.ask(token)

    run(scenario)


def test_who_boots_from_its_disk_is_told_which_system_and_from_where_and_takes_its_place() -> None:
    async def scenario(world: World) -> None:
        document = {**FLEET, "groups": {"runners": {**FLEET["groups"]["runners"], "boot": "disk"}}}
        document["groups"]["runners"]["install"] = {"system": "ec-runner"}
        fleet = make_fleet(**document)
        world.api.fleet.set_base(fleet, Roster(fleet), where="fleet.toml")
        token = await world.boot("a")
        told = await world.ask(token)
        assert (told["boot"], told["installed"], told["cache"]) == ("disk", "", "")
        assert told["why"] == "boot-v1 has no system to install"
        await world.start()
        told = await world.ask(token, take="yes")
        assert told["release"] == CURRENT.id
        assert told["installed"] == "/nix/store/of-ec-runner-and-s"
        assert told["cache"] == f"http://192.0.2.10:8080/releases/{CURRENT.id}/cache"
        assert list(world.api.rollouts.need("runners").taken) == ["a"]
        # Whether it runs that already is what its report has said, and of what it is led to alone.
        for system, runs in (("/nix/store/other", False), (told["installed"], True)):
            token = await world.boot("a")
            boot = world.boots.find_by_token(token)
            assert boot is not None
            assert not await world.assignments.runs_next(boot, CURRENT.id)
            boot = await world.boots.report(
                token, NodeStage.UP, NodeReport(release=PREVIOUS.id, system=system)
            )
            assert await world.assignments.runs_next(boot, CURRENT.id) is runs
            assert not await world.assignments.runs_next(boot, PREVIOUS.id)

    run(scenario)


def test_who_asks_is_not_off_however_long_it_runs() -> None:
    async def scenario(world: World) -> None:
        token = await world.boot("a")
        await world.start()
        world.api.now += 30 * 86400
        rollout = world.api.rollouts.need("runners")
        assert list_awaited(rollout, world.api.rollouts.know(rollout)) == []
        await world.ask(token)
        assert list_awaited(rollout, world.api.rollouts.know(rollout)) == ["a"]

    run(scenario)


def test_nobody_is_led_to_a_release_that_has_nothing_for_it() -> None:
    async def scenario(world: World) -> None:
        world.is_without_system = True
        token = await world.boot("a", CURRENT.id)  # the fleet says the one before
        told = await world.ask(token)
        assert (told["runs"], told["release"]) == (CURRENT.id, "")
        assert told["why"] == "what is next has no system for this node"
        assert (await world.ask(await world.boot("b")))["release"] == PREVIOUS.id  # what runs is no question

    run(scenario)


@pytest.mark.parametrize("lacks", ["release", "system"])
def test_who_cannot_be_served_here_takes_no_place(lacks: str) -> None:
    async def scenario(world: World) -> None:
        if lacks == "release":
            world.staged = {PREVIOUS.id}
        world.is_without_system = lacks == "system"
        token = await world.boot("a")
        await world.start()
        told = await world.ask(token, take="yes")
        assert (told["runs"], told["release"]) == (PREVIOUS.id, PREVIOUS.id)
        assert world.api.rollouts.need("runners").taken == {}
        world.staged, world.is_without_system = {PREVIOUS.id, CURRENT.id}, False
        assert (await world.ask(token, take="yes"))["release"] == CURRENT.id
        assert list(world.api.rollouts.need("runners").taken) == ["a"]

    run(scenario)


@pytest.mark.parametrize(("off_after", "period"), [(86400.0, ASKED_SECONDS), (60.0, 15.0)])
def test_that_a_node_asks_is_kept_often_enough_for_who_waits_for_it(off_after: float, period: float) -> None:
    """Other hosts decide too, and this one after its next start."""

    async def scenario(world: World) -> None:
        token = await world.boot("a")
        await world.start(off_after=off_after)
        await world.boots.write()
        kept = []
        for _ in range(2):
            await world.ask(token)
            await world.boots.write()
            again = BootRegister(world.api.store, clock=lambda: world.api.now)
            await again.load()
            kept.append(again.latest["a"].asked)
            world.api.now += period - 1
        assert kept == [NOW, NOW]
        world.api.now += 1
        await world.ask(token)
        assert world.boots.latest["a"].asked == world.api.now
        # What runs no more has nothing to ask.
        await world.boot("a", CURRENT.id)
        world.api.now += period
        await world.ask(token)
        assert world.boots.latest["a"].asked is None

    run(scenario)
