"""Looks at what is staged: what is served after each, what is told of them, and one that hangs."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest
from support.site_world import World
from support.staged import make_release, put_release

from ectools.errors import EcError
from ectools.netboot.http.webroot import RejectedError
from ectools.netboot.release.store import ReleaseBusyError, ReleaseGoneError
from ectools.netboot.server.site import BootSite

if TYPE_CHECKING:
    from ectools.netboot.release.manifest import Release


def test_a_release_that_cannot_be_served_leaves_the_one_before(world: World) -> None:
    old = world.stage("one")
    world.find("bzImage")
    world.point("sha256-" + "f" * 32)
    for _ in range(3):
        assert world.find("bzImage").target == (b"releases", old.id.encode(), b"bzImage")
    (complaint,) = world.events("cannot be served")
    assert complaint["serving"] == old.id
    new = world.stage("two")
    assert world.run(world.site.report())["release"] == new.id


def test_a_fault_of_a_look_is_counted_told_once_and_leaves_what_is_known(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = world.stage("one")
    world.find("netboot.ipxe")

    def fail(name: str) -> str:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(world.store, "find_link_id", fail)
    for _ in range(3):
        assert release.id.encode() in world.find("netboot.ipxe").target
    assert world.site.guard.failures == 3
    assert len(world.events("a fault of this program")) == 1


def test_a_release_whose_script_cannot_be_made_is_not_served(world: World) -> None:
    release = make_release({"bzImage": b"kernel"}, arguments=("a b",))
    put_release(world.directory, release, {"bzImage": b"kernel"})
    assert world.status("netboot.ipxe") == 503
    (complaint,) = world.events("cannot be served")
    assert "a b" in complaint["reason"]


def test_the_health_report(world: World) -> None:
    site = BootSite(world.store, world.policy(), clock=world.clock, details=lambda: {"dnsmasq": "running"})
    none = {"release": None, "tag": None, "systems": {}, "boots": 0, "dnsmasq": "running"}
    assert world.run(site.report()) == none
    assert site.release is None
    release = world.stage("one")
    site.nodes.boots = 3
    expected = {
        "release": release.id,
        "tag": "boot-v1",
        "systems": {"release": None},
        "boots": 3,
        "dnsmasq": "running",
    }
    assert world.run(site.report()) == expected
    assert site.release == release
    (world.directory / "current").unlink()
    assert world.run(site.report())["release"] is None
    site.close()


def test_what_clients_are_told_while_nothing_can_be_served(world: World) -> None:
    with pytest.raises(RejectedError) as caught:
        world.find("bzImage")
    assert caught.value.message == "no release is staged yet; try again"
    world.point("sha256-" + "f" * 32)
    with pytest.raises(RejectedError) as caught:
        world.find("bzImage")
    assert caught.value.message == "the release cannot be served; try again"
    # Once it can be, what was said before is forgotten.
    world.stage("one")
    world.find("bzImage")
    (world.directory / "current").unlink()
    with pytest.raises(RejectedError) as caught:
        world.find("bzImage")
    assert caught.value.message == "no release is staged yet; try again"


def test_each_switch_is_a_line(world: World) -> None:
    old = world.stage("one")
    world.find("bzImage")
    world.find("bzImage")
    new = world.stage("two")
    world.find("bzImage")
    lines = [(line["release"], line["tag"], line["before"]) for line in world.events("a release is served")]
    assert lines == [(old.id, "boot-v1", None), (new.id, "boot-v1", old.id)]


def test_each_new_complaint_is_a_line(world: World) -> None:
    for digit in "ffeef":
        world.point("sha256-" + digit * 32)
        assert world.status("bzImage") == 503
    lines = world.events("the current release cannot be served")
    assert [line["serving"] for line in lines] == [None, None, None]
    assert [line["level"] for line in lines] == ["error"] * 3
    # One that comes again after it was gone is told again.
    world.stage("one")
    world.find("bzImage")
    world.point("sha256-" + "f" * 32)
    world.find("bzImage")
    assert len(world.events("the current release cannot be served")) == 4


class Hanging:
    """A store's look at what is current, which waits until it is let on."""

    def __init__(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.looks = 0
        self.on = threading.Event()
        look = world.store.find_link_id

        def find_link_id(name: str) -> str | None:
            assert name == "current"
            self.looks += 1
            found = look(name)
            self.on.wait(60)
            return found

        monkeypatch.setattr(world.store, "find_link_id", find_link_id)


def test_a_look_that_hangs_leaves_what_is_known(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    release = world.stage("one")
    world.find("bzImage")
    hanging = Hanging(world, monkeypatch)
    for _ in range(3):
        assert world.run(world.site.refresh(seconds=0.01)) == release
    assert hanging.looks == 1  # one for all
    hanging.on.set()
    assert world.run(world.site.refresh()) == release


def test_who_asks_during_a_look_gets_one_of_its_own(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The look may have seen what was current before the request came."""
    old = world.stage("one")
    world.find("bzImage")
    hanging = Hanging(world, monkeypatch)

    async def run() -> tuple[Release | None, Release | None]:
        first = asyncio.create_task(world.site.refresh())
        while not hanging.looks:  # noqa: ASYNC110 - a thread makes it true
            await asyncio.sleep(0.001)
        world.stage("two")
        second = asyncio.create_task(world.site.refresh())
        await asyncio.sleep(0)
        hanging.on.set()
        return await first, await second

    first, second = world.run(run())
    assert first == old
    assert second is not None
    assert second.id != old.id
    assert hanging.looks == 2


def test_how_long_is_waited_for_a_look(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    waited: list[float] = []
    wait = asyncio.wait

    async def note(tasks: Any, **options: float) -> Any:
        waited.append(options["timeout"])
        return await wait(tasks, **options)

    monkeypatch.setattr("ectools.netboot.server.site.asyncio.wait", note)
    world.run(world.site.refresh())
    world.run(world.site.report())
    assert waited == [5.0, 2.0]


def test_a_release_by_its_id_says_why_it_is_not_served(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    release = world.stage("one")
    other = "sha256-" + "0" * 32
    for error, status, message in (
        (ReleaseGoneError("gone"), 404, "not found"),
        (ReleaseBusyError("busy"), 503, "the release is locked at the moment; try again"),
        (EcError("a bad manifest"), 500, "the release cannot be served"),
    ):

        def fail(_: str, error: EcError = error) -> None:
            raise error

        with monkeypatch.context() as patch:
            patch.setattr(world.store, "hold", fail)
            with pytest.raises(RejectedError) as caught:
                world.find(f"releases/{other}/bzImage")
        assert (caught.value.status, caught.value.message) == (status, message)
    (line,) = world.events("a release cannot be served")
    assert (line["level"], line["release"], line["reason"]) == ("error", other, "a bad manifest")
    assert world.status(f"releases/{release.id}/bzImage") == 200
