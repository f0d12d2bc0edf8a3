"""Boot hosts whose clocks are wrong, over a real NATS server: what they share goes by the server's."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

import pytest
from support.begun_boots import begin_boot
from support.fleets import make_fleet
from support.nats_servers import NatsServer, Wire, start_nats
from support.shared_stores import until

from ectools.netboot.boots import deadlines
from ectools.netboot.boots.model import BootState, NodeReport, NodeStage
from ectools.netboot.rollout.live import LiveRollouts
from ectools.netboot.rollout.model import RolloutPlan, RolloutState
from ectools.netboot.server.boot_hosts import BootHosts
from ectools.netboot.server.boot_records import BootRecords
from ectools.netboot.server.shared_state import SharedPlan
from ectools.netboot.state.nats_access import NatsAddress
from ectools.netboot.state.shared_clock import SharedClock
from ectools.supervision import tasks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Sequence
    from pathlib import Path

    from ectools.netboot.api.releases import StagedRelease

WITHIN = 600.0
NODES = ("n0", "n1")
FLEET = make_fleet(
    groups={"g": {"release": "old"}},
    nodes={name: {"group": "g", "match": {"serial": name}} for name in NODES},
)


class Host:
    """A boot host as far as it remembers; its own clock is ``ahead`` by so many seconds."""

    def __init__(self, directory: Path, url: str, *, bucket: str, ahead: float) -> None:
        self.records = BootRecords(
            directory,
            keep=lambda: (90, ()),
            shared=SharedPlan(address=NatsAddress(servers=(url,), bucket=bucket), name=directory.name),
            clock=SharedClock(own=lambda: time.time() + ahead),
        )
        directory.mkdir(parents=True)
        records = self.records
        self.boots = records.boots
        self.withdrawn: list[str] = []
        clock: Any = {"clock": records.clock, "knows_time": records.knows_time}
        self.rollouts = LiveRollouts(
            records.store,
            fleet=lambda: FLEET,
            held=lambda _: False,
            latest=lambda: self.boots.latest,
            list_boots=self.boots.list_boots,
            withdraw=self._withdraw,
            patience=30.0,
            **clock,
        )
        self.hosts = BootHosts(
            directory.name,
            address=url,
            store=records.store,
            releases=_list_nothing,
            behind=records.count_behind,
            ahead=records.measure_ahead,
            **clock,
        )

    async def _withdraw(self, release_id: str) -> None:
        self.withdrawn.append(release_id)

    async def start(self) -> None:
        await self.records.start()
        await self.rollouts.load()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with self.records.running(), tasks(self.rollouts.follow()):
            yield

    async def begin(self, node: str, *, within: float = WITHIN) -> str:
        """A node asks this host; its token."""
        _, token = await begin_boot(self.boots, node, "new", within=within)
        return token

    async def look(self) -> None:
        """As each second."""
        await self.boots.expire()
        await self.rollouts.look_again()
        await self.rollouts.turn()
        await self.boots.prune(days=1, nodes=())
        await self.hosts.beat()
        await self.hosts.forget()


async def _list_nothing() -> Sequence[StagedRelease]:
    return []


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with start_nats(tmp_path_factory.mktemp("nats")) as started:
        yield started


@pytest.fixture(autouse=True)
def no_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines, "GRACE_SECONDS", 0.0)


@pytest.mark.parametrize("ahead", [900.0, -900.0, 70 * 365 * 86400.0])
def test_a_rollout_goes_on(server: NatsServer, tmp_path: Path, ahead: float) -> None:
    """One host's clock is wrong by ``ahead``, the other's by as much the other way."""
    bucket = f"rollout-{int(ahead)}"

    async def scenario() -> None:
        one = Host(tmp_path / "one", server.url, bucket=bucket, ahead=ahead)
        two = Host(tmp_path / "two", server.url, bucket=bucket, ahead=max(-ahead, -86400.0))
        await one.start()
        await two.start()
        async with one.running(), two.running():
            await until(lambda: not one.records.is_cut_off() and not two.records.is_cut_off())
            plan = RolloutPlan(
                id="p",
                group="g",
                target="new",
                before="old",
                canary=2,
                waves=(100,),
                max_failures=0,
                at=one.records.clock(),
                within=WITHIN,
                base="old",
            )
            await one.rollouts.start(plan)
            await until(lambda: "g" in two.rollouts.rollouts)
            tokens = {}
            for node, host in zip(NODES, (one, two), strict=True):
                await host.rollouts.offer("g", node)
                tokens[node] = await host.begin(node)
            await until(lambda: all(set(each.boots.latest) == set(NODES) for each in (one, two)))
            for _ in range(3):
                for host in (one, two):
                    await host.look()
                    assert all(each.state is BootState.BOOTING for each in host.boots.latest.values())
                    assert host.rollouts.rollouts["g"].state is RolloutState.RUNNING
            # Each reports to the other one.
            for node, host in zip(NODES, (two, one), strict=True):
                await host.boots.report(tokens[node], NodeStage.UP, NodeReport(release="new"))
                assert host.boots.latest[node].why is None  # it was not late
            await until(
                lambda: all(
                    each.boots.latest[node].state is BootState.HEALTHY
                    for each in (one, two)
                    for node in NODES
                )
            )
            for _ in range(4):
                for host in (one, two):
                    await host.look()
            await until(lambda: two.rollouts.rollouts["g"].state is RolloutState.DONE)
            assert (one.withdrawn, two.withdrawn) == ([], [])
            rows = {row["name"]: row for row in await two.hosts.describe()}
            assert {row["up"] for row in rows.values()} == {True}
            assert rows["one"]["clock_ahead"] == pytest.approx(ahead, abs=60.0)
            health = one.records.describe()
            assert health["state_clock_ahead"] == pytest.approx(ahead, abs=60.0)

    asyncio.run(scenario())


def test_a_host_that_has_not_measured_judges_nobody(server: NatsServer, tmp_path: Path) -> None:
    """It was started again, and does not reach NATS; what it began itself it does judge."""
    bucket = "unmeasured"

    async def scenario() -> None:
        wire = Wire(server.port)
        url = await wire.start()
        two = Host(tmp_path / "two", server.url, bucket=bucket, ahead=0.0)
        before = Host(tmp_path / "one", url, bucket=bucket, ahead=0.0)
        await two.start()
        await before.start()
        async with two.running():
            async with before.running():
                await until(lambda: not before.records.is_cut_off())
                token = await two.begin("n0")
                await until(lambda: before.boots.latest)
            wire.cut()
            directory = tmp_path / "one"
            directory.rename(tmp_path / "kept")
            one = Host(directory, url, bucket=bucket, ahead=30 * 86400.0)
            directory.rmdir()
            (tmp_path / "kept").rename(directory)
            await one.start()
            async with one.running():
                await one.begin("n1", within=0.0)
                for node in ("n1", "n2"):
                    await one.records.store.append("node-held", subject=node, by="root")
                await asyncio.sleep(0.01)
                await one.look()
                await one.records._prune()
                assert one.boots.latest["n0"].state is BootState.BOOTING
                assert one.boots.latest["n1"].state is BootState.FAILED
                assert one.boots.knows(token)
                assert await one.records.store.list("hosts/one") == []
                assert one.records.describe()["state_clock_ahead"] is None
                wire.mend()
                await until(lambda: two.boots.latest.keys() == {"n0", "n1"})
                # What it has begun by its own clock is moved before the others hear of it.
                for host in (one, two):
                    boot = host.boots.latest["n1"]
                    assert abs(boot.started - time.time()) < 60.0
                    assert abs((boot.ended or 0.0) - time.time()) < 60.0
                for host in (two, one):
                    for _ in range(400):
                        events = await host.records.store.events()
                        if len(events) == 2:
                            break
                        await asyncio.sleep(0.05)
                    assert [each.subject for each in events] == ["n1", "n2"]
                    assert all(abs(each.at - time.time()) < 60.0 for each in events)
        await wire.close()

    asyncio.run(scenario())
