"""What each machine of a fleet is given, by what it says of itself."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from multidict import CIMultiDict, MultiDict
from support.fleets import make_fleet
from support.log_lines import LogLines
from support.staged import make_release, make_systems, put_release

from ectools.netboot.boot_files.scripts.checked import ScriptError
from ectools.netboot.boot_files.scripts.second_stage import build_netboot
from ectools.netboot.http.handler import RequestInfo
from ectools.netboot.http.responses import Delivery
from ectools.netboot.http.webroot import RejectedError
from ectools.netboot.kernel import KernelArchitecture
from ectools.netboot.release.store import ReleaseStore
from ectools.netboot.server import machine_scripts
from ectools.netboot.server.machine_scripts import MachineLog, name_subject
from ectools.netboot.server.policy import ServingPolicy
from ectools.netboot.server.site import BootSite
from ectools.netboot.settings.load import load_netboot_settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ectools.netboot.release.manifest import Release

FLEET: dict[str, Any] = {
    "unknown": "hold",
    "groups": {
        "runners": {"kernelArguments": ["a"]},
        "old": {"release": "boot-v0"},
        "others": {"system": "other"},
        "installed": {"boot": "disk"},
    },
    "nodes": {
        "nuc": {"group": "runners", "match": {"mac": ["02:00:00:00:00:01"]}, "kernelArguments": ["b"]},
        "late": {"group": "old", "match": {"mac": ["02:00:00:00:00:02"]}},
        "odd": {"group": "others", "match": {"mac": ["02:00:00:00:00:03"]}},
        "pc": {"group": "installed", "match": {"mac": ["02:00:00:00:00:04"]}},
        "held": {"match": {"serial": "S1"}, "hold": True},
    },
}
WHOLE = Delivery(status=200, sent=10, reached_end=True)


class World:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.now = 0.0
        self.site = BootSite(ReleaseStore(directory), self.policy(FLEET), clock=lambda: self.now)
        self.runner = asyncio.Runner()
        self.log = LogLines()
        self.events = self.log.having

    def policy(self, fleet: dict[str, Any]) -> ServingPolicy:
        flags = {"stateDir": str(self.directory), "hostname": "192.0.2.10"}
        settings = load_netboot_settings(None, flags=flags, environment={})
        return ServingPolicy.build(settings, (), make_fleet(**fleet))

    def put(self, text: str, tag: str, *, current: bool = False) -> Release:
        files = {"bzImage": text.encode(), "initrd": b"initrd"}
        release = replace(make_release(files), tag=tag)
        link = self.directory / "current"
        before = link.readlink() if link.is_symlink() else None
        put_release(self.directory, release, files)
        if not current:
            link.unlink()
            if before is not None:
                link.symlink_to(before)
        return release

    def ask(self, path: str = "netboot.ipxe", **query: str) -> str:
        info = RequestInfo(
            peer="192.0.2.7",
            method="GET",
            segments=(path.encode(),),
            query=MultiDict(query),
            headers=CIMultiDict(),
        )
        found = self.runner.run(self.site.find(info))
        assert isinstance(found.target, bytes)
        if found.on_complete is not None:
            found.on_complete(WHOLE)
        return found.target.decode()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    yield world
    world.site.close()
    world.runner.close()


def test_a_node_boots_the_current_release_with_its_arguments(world: World) -> None:
    release = world.put("one", "boot-v1", current=True)
    script = world.ask(mac="02:00:00:00:00:01", uuid="", arch="x86_64")
    assert f"/releases/{release.id}/bzImage" in script
    assert "${cmdline} a b\n" in script
    (told,) = world.events("has fetched its boot script")
    assert (told["node"], told["release"]) == ("nuc", release.id)


def test_a_node_boots_the_release_that_its_group_names(world: World) -> None:
    world.put("one", "boot-v1", current=True)
    script = world.ask(mac="02:00:00:00:00:02")
    assert "the release boot-v0 is not staged here" in script
    assert "asking again" in script
    old = world.put("zero", "boot-v0")
    assert f"/releases/{old.id}/bzImage" in world.ask(mac="02:00:00:00:00:02")
    (told,) = world.events("a node cannot boot what it should")
    assert told["node"] == "late"


def test_a_system_that_the_release_does_not_have_holds_the_node(world: World) -> None:
    world.put("one", "boot-v1", current=True)
    script = world.ask(mac="02:00:00:00:00:03")
    assert "has no system other" in script
    assert "imgargs" not in script


def test_a_machine_for_which_the_release_has_nothing_is_told_so_and_waits(world: World) -> None:
    systems = {"pc": KernelArchitecture.X86_64, "arm": KernelArchitecture.AARCH64}
    release, files = make_systems(systems)
    put_release(world.directory, release, files)
    nodes = {
        "any": {"match": {"mac": ["02:00:00:00:00:01"]}},
        "fixed": {"group": "pcs", "match": {"mac": ["02:00:00:00:00:02"]}},
    }
    world.site.set_policy(world.policy({"groups": {"pcs": {"system": "pc"}}, "nodes": nodes}))
    first, second = "02:00:00:00:00:01", "02:00:00:00:00:02"
    for build, system in (("x86_64", "pc"), ("i386", "pc"), ("arm64", "arm")):
        assert f"/releases/{release.id}/{system}/bzImage" in world.ask(mac=first, arch=build)
    # What no iPXE has said so far is for the script to find out.
    for build in ("x86_64", "i386", "", "odd"):
        assert f"/releases/{release.id}/pc/bzImage" in world.ask(mac=second, arch=build)
    script = world.ask(mac=second, arch="arm64")
    assert "has nothing for this machine, whose iPXE is for arm64: pc is for x86_64" in script
    assert "asking again" in script
    assert "whose iPXE is for riscv64: arm is for aarch64, pc is for x86_64" in world.ask(
        mac=first, arch="riscv64"
    )
    assert [each["node"] for each in world.events("a node cannot boot what it should")] == ["fixed", "any"]


def test_one_script_is_made_for_all_that_differ_in_their_own_arguments(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.put("one", "boot-v1", current=True)
    nodes = {
        f"n{number}": {"match": {"serial": f"S{number}"}, "kernelArguments": [f"node={number}", "${cmdline}"]}
        for number in range(4)
    }
    world.site.set_policy(world.policy({"nodes": nodes}))
    made: list[Any] = []

    def build(*given: Any, **named: Any) -> str:
        made.append(named)
        return build_netboot(*given, **named)

    monkeypatch.setattr(machine_scripts, "build_netboot", build)
    for number in range(4):
        assert f"${{cmdline}} node={number} ${{cmdline}}\n" in world.ask(serial=f"S{number}", arch="x86_64")
    assert len(made) == 1
    # What a machine calls itself is its own: it makes no more of them than there are kernels for.
    for word in ("odd", "odder", "oddest"):
        world.ask(serial="S1", arch=word)
    assert len(made) == 2


@pytest.mark.parametrize("argument", ["a b", "ends\\", "${ec-x}"])
def test_an_argument_that_no_script_can_hold_makes_none(world: World, argument: str) -> None:
    release = world.put("one", "boot-v1", current=True)
    policy = world.policy({"nodes": {"n": {"match": {"serial": "S1"}}}})
    asked = policy.identify({"serial": "S1"})
    assert asked is not None
    broken = replace(asked, assignment=replace(asked.assignment, kernel_arguments=(argument,)))
    with pytest.raises(ScriptError):
        policy.scripts.find(policy, broken, release, reports=True)


def test_disk_and_hold_need_no_release(world: World) -> None:
    assert "sanboot --no-describe --drive 0x80" in world.ask(mac="02:00:00:00:00:04")
    assert "held (serial S1) is held" in world.ask(mac="", serial="S1")
    with pytest.raises(RejectedError) as caught:
        world.ask(mac="02:00:00:00:00:01")
    assert caught.value.status == 503


def test_who_does_not_say_who_it_is_is_asked(world: World) -> None:
    world.put("one", "boot-v1", current=True)
    script = world.ask()
    assert "?mac=${netX/mac}&uuid=${uuid}" in script
    assert "imgargs" not in script
    assert world.events("has fetched its boot script") == []


def test_a_machine_that_no_node_is(world: World) -> None:
    release = world.put("one", "boot-v1", current=True)
    assert "the fleet has no node that is this machine: mac 02:00:00:00:00:99" in world.ask(
        mac="02:00:00:00:00:99"
    )
    for unknown, shown in (("refuse", "it boots nothing from here"), ("default", release.id)):
        world.site.set_policy(world.policy({**FLEET, "unknown": unknown}))
        assert shown in world.ask(mac="02:00:00:00:00:99")


def test_a_machine_that_two_nodes_are_known_by_is_told_so(world: World) -> None:
    world.put("one", "boot-v1", current=True)
    script = world.ask(mac="02:00:00:00:00:01", serial="S1")
    assert (
        "is known as several nodes of the fleet: mac 02:00:00:00:00:01 is nuc's, serial S1 is held's"
        in script
    )
    (told,) = world.events("a machine is known as several nodes")
    assert told["claims"] == {"mac 02:00:00:00:00:01": "nuc", "serial S1": "held"}


def test_a_machine_that_two_nodes_are_known_by_is_told_of_where_it_boots_as_any_other(world: World) -> None:
    world.put("one", "boot-v1", current=True)
    world.site.set_policy(world.policy({**FLEET, "unknown": "default"}))
    world.ask(mac="02:00:00:00:00:01", serial="S1")
    assert len(world.events("a machine is known as several nodes")) == 1
    asked = world.policy(FLEET).identify({"mac": "02:00:00:00:00:01", "serial": "S1"})
    assert asked is not None
    assert name_subject(asked) == "mac 02:00:00:00:00:01, serial S1"


def test_a_machine_that_waits_is_logged_once_an_hour(world: World) -> None:
    for _ in range(5):
        world.ask(mac="02:00:00:00:00:99")
        world.now += 1000
    assert len(world.events("a machine that no node is")) == 2


def test_what_was_logged_of_many_machines_is_bounded(world: World) -> None:
    """A machine may call itself as it likes, and another way each time."""
    told = MachineLog(clock=lambda: 0.0)
    fleet = world.policy(FLEET)
    for number in range(4096 + 2):
        asked = fleet.identify({"mac": "", "asset": f"a{number}"})
        assert asked is not None
        told.tell("x", asked)
    world.log.stream.truncate(0)
    for number in (1, 2):
        asked = fleet.identify({"mac": "", "asset": f"a{number}"})
        assert asked is not None
        told.tell("x", asked)
    # Two have been forgotten, of which one is told again now, and takes the next one's place.
    assert world.log.text.count("a1") == 1


def test_without_a_fleet_nobody_is_asked(world: World) -> None:
    release = world.put("one", "boot-v1", current=True)
    world.site.set_policy(world.policy({}))
    for query in ({}, {"mac": "02:00:00:00:00:01"}):
        assert f"/releases/{release.id}/bzImage" in world.ask(**query)
