"""What a node starts next by itself: one boot a token, with the arguments that iPXE would have given."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from multidict import CIMultiDict, MultiDict
from support.begun_boots import begin_boot
from support.fleet_api import Api
from support.staged import make_release, make_systems, put_release

from ectools.netboot.boots.model import BootState, NodeBoot, NodeStage
from ectools.netboot.boots.register import BootRegister
from ectools.netboot.http.handler import RequestInfo
from ectools.netboot.http.webroot import RejectedError
from ectools.netboot.kernel import KernelArchitecture
from ectools.netboot.release.installed_systems import NoInstalledSystemError
from ectools.netboot.release.store import ReleaseStore
from ectools.netboot.server.leases import ReleaseLeases
from ectools.netboot.server.next_boots import NextBoots
from ectools.netboot.server.node_assignments import NodeAssignments
from ectools.netboot.server.policy import ServingPolicy
from ectools.netboot.settings.load import load_netboot_settings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ectools.netboot.fleet.assignment import Assignment
    from ectools.netboot.release.manifest import Release

FILES = {"bzImage": b"a kernel", "initrd": b"an initrd"}


async def _find_none(_: Assignment, release: str, system: str) -> tuple[str, str]:
    raise NoInstalledSystemError(f"{release} has no system to install from {system}")


async def _say_yes(*_: object) -> bool:
    return True


class World:
    """A release in a store, a node that runs another, and who asks for it. ``options`` are the settings'."""

    def __init__(self, directory: Path, *, arguments: tuple[str, ...] | None = None, **options: Any) -> None:
        group = {"kernelArguments": ["console=ttyS0"], "healthUnits": ["a.service"], "healthyWithin": 90}
        nodes: dict[str, Any] = {
            name: {"group": "runners", "match": {"serial": name}, "hold": name == "held"}
            for name in ("a", "b", "held")
        }
        self.api = Api(document={"groups": {"runners": group}, "nodes": nodes})
        self.boots = BootRegister(self.api.store, clock=lambda: self.api.now)
        self.release = make_release(FILES) if arguments is None else make_release(FILES, arguments=arguments)
        put_release(directory, self.release, FILES)
        self.assignments = NodeAssignments(
            self.boots,
            live=self.api.fleet,
            rollouts=self.api.rollouts,
            find_release=self._find_release,
            find_installed=_find_none,
            has_successor=_say_yes,
            base_url=lambda: "http://192.0.2.10:8080",
            name_client=lambda info: info.peer,
            clock=lambda: self.api.now,
        )
        self.next = NextBoots(
            self.boots,
            assignments=self.assignments,
            leases=ReleaseLeases(ReleaseStore(directory), clock=lambda: self.api.now),
            find_release=self._find_release,
            name_client=lambda info: info.peer,
        )
        config = directory / "netboot.json"
        config.write_text(json.dumps({"hostname": "192.0.2.10", "stateDir": str(directory), **options}))
        self.policy = ServingPolicy.build(load_netboot_settings(config, environment={}), ())

    async def _find_release(self, _: Assignment) -> str | None:
        return self.release.id

    async def begin(self, node: str = "a", *, system: str = "release") -> tuple[NodeBoot, str]:
        return await begin_boot(self.boots, node, "sha256-" + "0" * 32, group="runners", system=system)

    async def ask(self, token: str, *, method: str = "GET", **query: str) -> list[str]:
        """The answer's lines."""
        info = RequestInfo(
            peer="192.0.2.1",
            method=method,
            segments=(b"next",),
            query=MultiDict({"boot": token, **query}),
            headers=CIMultiDict(),
        )
        assert self.next.is_asked(info)
        return (await self.next.answer(info, self.policy)).decode().splitlines()


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        await scenario()

    asyncio.run(main())


async def expect(status: int, asking: Awaitable[Any]) -> str:
    with pytest.raises(RejectedError) as raised:
        await asking
    assert raised.value.status == status
    return str(raised.value)


def list_files(release: Release) -> list[str]:
    return [
        f"{kind} {release.files[name].sha256} {release.files[name].size} /releases/{release.id}/{name}"
        for kind, name in (("kernel", "bzImage"), ("initrd", "initrd"))
    ]


def test_who_looks_begins_nothing_and_who_takes_gets_a_token_once(tmp_path: Path) -> None:
    async def scenario() -> None:
        world = World(tmp_path)
        boot, token = await world.begin()
        world.boots.see(boot.id, NodeStage.RUNNING)
        own = ["argument init=/nix/store/e-nixos/init", "argument loglevel=4", "argument console=ttyS0"]
        head = [f"release {world.release.id}", "system release", *list_files(world.release)]
        assert await world.ask(token) == [*head, *own, "end"]
        assert await world.ask(token, method="HEAD", take="yes") == [*head, *own, "end"]
        assert world.boots.latest["a"].id == boot.id

        taken = await world.ask(token, take="yes")
        begun = world.boots.latest["a"]
        assert (begun.after, begun.release, begun.within) == (boot.id, world.release.id, 90)
        assert begun.stages.keys() == {NodeStage.SCRIPT}
        assert taken[:4] == head
        assert taken[4] == f"boot {begun.id}"
        assert taken[5:8] == own
        new = taken[8].partition("?boot=")[2]
        assert new != token
        assert world.boots.find_by_token(new) == begun
        assert taken[8] == f"argument every_channel.report=http://192.0.2.10:8080/report?boot={new}"
        assert taken[9:] == [
            f"argument every_channel.release={world.release.id}",
            "argument every_channel.healthy_within=90",
            "argument every_channel.health_units=a.service",
            "end",
        ]
        # Its answer may have been lost: the same once more, until something has come of it.
        assert await world.ask(token, take="yes") == taken
        world.boots.see_by_token(new, NodeStage.LOADED)
        await expect(409, world.ask(token, take="yes"))
        await expect(409, world.ask(token))
        assert world.boots.latest["a"].id == begun.id
        assert world.boots.latest["a"].state is BootState.BOOTING

    run(scenario)


def test_a_token_of_a_machine_that_has_booted_otherwise_leads_nowhere(tmp_path: Path) -> None:
    async def scenario() -> None:
        world = World(tmp_path)
        await world.boots.load()
        old, token = await world.begin()
        world.boots.see(old.id, NodeStage.RUNNING)
        world.api.now += 1
        await world.begin()
        await expect(409, world.ask(token, take="yes"))
        await expect(403, world.ask("guessed", take="yes"))

    run(scenario)


def test_who_is_held_starts_nothing(tmp_path: Path) -> None:
    async def scenario() -> None:
        world = World(tmp_path)
        _, token = await world.begin("held")
        await expect(409, world.ask(token, take="yes"))

    run(scenario)


def test_a_release_of_several_systems_has_to_have_the_one_that_runs(tmp_path: Path) -> None:
    async def scenario() -> None:
        world = World(tmp_path)
        world.release, files = make_systems(dict.fromkeys("xy", KernelArchitecture.X86_64))
        put_release(tmp_path, world.release, files)
        _, token = await world.begin(system="y")
        assert (await world.ask(token))[1] == "system y"
        _, other = await world.begin("b", system="z")
        assert "no system z" in await expect(409, world.ask(other))

    run(scenario)


@pytest.mark.parametrize(
    ("options", "arguments", "why"),
    [
        ({"protectedFiles": ["initrd"], "chainTokenFile": "/x"}, None, "protectedFiles"),
        ({}, ("init=/nix/store/e-nixos/init", "ip=${net0/ip}"), "ip=${net0/ip}"),
    ],
)
def test_what_takes_ipxe_is_refused(
    tmp_path: Path, options: dict[str, Any], arguments: tuple[str, ...] | None, why: str
) -> None:
    async def scenario() -> None:
        world = World(tmp_path, arguments=arguments, **options)
        _, token = await world.begin()
        assert why in await expect(409, world.ask(token))

    run(scenario)


def test_it_is_another_question_where_nobody_asks_for_a_boot() -> None:
    info = RequestInfo(peer="", method="GET", segments=(b"next",), query=MultiDict(), headers=CIMultiDict())
    assert not NextBoots.is_asked(info)
