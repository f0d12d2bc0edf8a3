"""Rollouts with a boot server's register and store: led by boots as they change, and after a start anew."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

import pytest
from support.begun_boots import begin_boot
from support.fleets import make_fleet
from support.staged import make_release, put_release

from ectools.netboot.boots.model import NodeReport, NodeStage
from ectools.netboot.boots.register import BootRegister
from ectools.netboot.fleet.live import LiveFleet
from ectools.netboot.fleet.model import NodeTarget
from ectools.netboot.fleet.roster import Roster
from ectools.netboot.release.pins import mark
from ectools.netboot.release.store import ReleaseStore
from ectools.netboot.rollout import turns
from ectools.netboot.rollout.model import RolloutPlan, RolloutState
from ectools.netboot.server import rollout_service
from ectools.netboot.server.rollout_service import RolloutService
from ectools.netboot.state.interface import StateError
from ectools.netboot.state.sqlite import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

FLEET = make_fleet(
    groups={"g": {"release": "boot-v1"}},
    nodes={name: {"group": "g", "match": {"serial": f"S-{name}"}} for name in ("a", "b", "held")},
)


async def report(boots: BootRegister, node: str, release: str, *, healthy: bool) -> None:
    """A boot of a node, from its script to its report."""
    _, token = await begin_boot(boots, node, release, machine=f"serial S-{node}")
    await boots.report(token, NodeStage.UP, NodeReport(release=release, healthy=healthy))


async def until(is_so: Callable[[], bool]) -> None:
    while not is_so():  # noqa: ASYNC110 - of what other tasks and threads do
        await asyncio.sleep(0.01)


def test_a_bad_release_goes_back_at_the_first_report_and_is_withdrawn(tmp_path: Path) -> None:
    files = {"kernel": b"k", "initrd": b"i"}
    target = make_release(files)
    put_release(tmp_path, target, files)
    releases = ReleaseStore(tmp_path)

    async def scenario() -> None:
        store = SqliteStore(tmp_path / "state.sqlite3")
        await store.start()
        boots, live = BootRegister(store), LiveFleet(store, clock=time.time)
        live.set_base(FLEET, Roster(FLEET), where="fleet.toml")
        await live.hold("held", by=None)
        service = RolloutService(store, fleet=live, boots=boots, releases=releases)
        await service.load()
        plan = RolloutPlan(
            id="r", group="g", target=target.id, before="x", base="boot-v1", max_failures=0, at=time.time()
        )
        await service.rollouts.start(plan)
        known = service.rollouts.know(service.rollouts.need("g"))
        assert known.nodes == {"a", "b"}  # who is held is not led
        await service.rollouts.offer("g", "a")
        assert live.assign(FLEET.nodes["a"]).release == target.id
        await report(boots, "a", target.id, healthy=False)
        # Another server, started after that one was killed: what it does not see it reads.
        again = RolloutService(store, fleet=live, boots=boots, releases=releases)
        await again.load()
        async with again.running(), asyncio.timeout(60):
            await until(lambda: again.rollouts.need("g").state is RolloutState.STOPPED)
            await until(lambda: target.id in releases.list_withdrawn())
        assert live.assign(FLEET.nodes["a"]).release == "x"
        await store.close()

    asyncio.run(scenario())


def test_the_counter_by_which_a_channel_leads_to_a_release(tmp_path: Path) -> None:
    """A pointer is seen before its release is there: until then the channel leads to an earlier one's."""
    releases = ReleaseStore(tmp_path)
    here, gone = f"sha256-{'1' * 32}", f"sha256-{'2' * 32}"
    seen = {"counter": 7, "tag": "boot-v2", "sums": "0" * 64, "release": here, "release_counter": 6}
    releases.channels_dir.mkdir()
    (releases.channels_dir / "stable").write_text(json.dumps(seen))

    async def scenario() -> None:
        store = SqliteStore(tmp_path / "state.sqlite3")
        live = LiveFleet(store, clock=time.time)
        service = RolloutService(store, fleet=live, boots=BootRegister(store), releases=releases)
        count = service.rollouts.count_channel
        assert await count("channel:stable", here) == 6
        assert await count("channel:stable", gone) is None
        assert await count("channel:other", here) is None

    asyncio.run(scenario())


@pytest.mark.parametrize("hangs", [False, True])
def test_what_could_not_be_read_at_the_start_is_led_on_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hangs: bool
) -> None:
    monkeypatch.setattr(rollout_service, "_TURN_SECONDS", 0.0)
    monkeypatch.setattr(rollout_service, "_LOAD_SECONDS", 0.01)

    async def scenario() -> None:
        store = SqliteStore(tmp_path / "state.sqlite3")
        await store.start()
        live, releases = LiveFleet(store, clock=time.time), ReleaseStore(tmp_path)
        live.set_base(FLEET, Roster(FLEET), where="fleet.toml")
        before = RolloutService(store, fleet=live, boots=BootRegister(store), releases=releases)
        await before.load()
        plan = RolloutPlan(
            id="r", group="g", target="t", before="x", base="boot-v1", max_failures=0, at=time.time()
        )
        await before.rollouts.start(plan)

        async def fail(_: str) -> Any:
            await asyncio.sleep(60.0 if hangs else 0.0)
            raise StateError("gone")

        read, store.list = store.list, fail  # type: ignore[method-assign]
        service = RolloutService(store, fleet=live, boots=BootRegister(store), releases=releases)
        await service.load()
        assert not service.rollouts.rollouts
        store.list = read  # type: ignore[method-assign]
        async with service.running(), asyncio.timeout(60):
            await until(lambda: "g" in service.rollouts.rollouts)
        await store.close()

    asyncio.run(scenario())


def test_its_releases_are_kept_while_it_needs_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both, also before it has begun; then the one that it ends with; none once its group is gone
    for long."""
    names = ("one", "two")
    files = {name: {"kernel": name.encode(), "initrd": b"i"} for name in names}
    one, two = (make_release(files[name]).id for name in names)
    for name in names:
        put_release(tmp_path, make_release(files[name]), files[name])
    releases = ReleaseStore(tmp_path)

    async def scenario() -> None:
        store = SqliteStore(tmp_path / "state.sqlite3")
        await store.start()
        live = LiveFleet(store, clock=time.time)
        live.set_base(FLEET, Roster(FLEET), where="fleet.toml")
        service = RolloutService(store, fleet=live, boots=BootRegister(store), releases=releases)
        mark(releases.led_dir, one)
        await service._keep_needed()
        await service.load()
        await service._keep_needed()
        assert releases.list_led() == {one}  # not all of the store was read yet: nothing is taken away
        await live.load()
        for release in (one, two):
            await service.keep(release)
        async with service.running(), asyncio.timeout(60):
            await until(lambda: service._needed == {one, two})
            plan = RolloutPlan(id="r", group="g", target=two, before=one, base="boot-v1", at=time.time())
            await service.rollouts.start(plan)
            monkeypatch.setattr(rollout_service, "_BEGIN_SECONDS", 0.0)
            for release in (one, two):
                await service.keep(release)
            await until(lambda: service._needed == {one, two})
            assert releases.list_led() == {one, two}
            await service.rollouts.abort("g", by=None)
            await until(lambda: releases.list_led() == {one})
        again = RolloutService(store, fleet=live, boots=BootRegister(store), releases=releases)
        await again.load()
        mark(releases.led_dir, two)
        live.set_base(make_fleet(groups={}, nodes={}), Roster(make_fleet()), where="fleet.toml")
        async with again.running(), asyncio.timeout(60):
            await until(lambda: releases.list_led() == {one})
            monkeypatch.setattr(turns, "GONE_SECONDS", -1.0)
            await until(lambda: not releases.list_led())
        await store.close()

    asyncio.run(scenario())


def test_what_a_node_is_to_boot_once_is_kept_until_it_has(tmp_path: Path) -> None:
    """By its tag or its id, of a node that is off for as long as it likes."""
    files = {"kernel": b"k", "initrd": b"i"}
    release = make_release(files)
    put_release(tmp_path, release, files)
    releases = ReleaseStore(tmp_path)

    async def scenario() -> None:
        store = SqliteStore(tmp_path / "state.sqlite3")
        await store.start()
        live = LiveFleet(store, clock=time.time)
        live.set_base(FLEET, Roster(FLEET), where="fleet.toml")
        service = RolloutService(store, fleet=live, boots=BootRegister(store), releases=releases)
        await service.load()
        await live.load()
        node = next(iter(FLEET.nodes))
        for name in (release.id, release.tag):
            await live.boot_once(node, NodeTarget.NETWORK, by=None, release=name)
            await service._keep_needed()
            assert releases.list_led() == {release.id}
            await live.release(node, by=None)
            await service._keep_needed()
            assert not releases.list_led()
        await store.close()

    asyncio.run(scenario())


def test_who_has_left_the_fleet_is_not_remembered_as_heard_of(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = SqliteStore(tmp_path / "state.sqlite3")
        live = LiveFleet(store, clock=time.time)
        boots, releases = BootRegister(store), ReleaseStore(tmp_path)
        rollouts = RolloutService(store, fleet=live, boots=boots, releases=releases).rollouts
        live.set_base(FLEET, Roster(FLEET), where="fleet.toml")
        for number in range(50):
            rollouts.hear(f"added-and-removed-{number}")
        for node in FLEET.nodes:
            rollouts.hear(node)
        assert rollouts._heard.keys() == set(FLEET.nodes)

    asyncio.run(scenario())
