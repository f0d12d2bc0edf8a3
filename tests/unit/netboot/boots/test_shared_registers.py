"""Two boot servers that share boots over a real NATS server: a node served by one reports to the other."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import pytest
from support.fleet_api import MemoryStore, make_boot
from support.nats_servers import NatsServer, Wire, start_nats
from support.shared_stores import open_shared, until, until_there

from ectools.netboot.boots import deadlines
from ectools.netboot.boots.model import BootState, NodeReport, NodeStage
from ectools.netboot.boots.register import BootRegister, ReportError
from ectools.netboot.server.shared_state import reconcile
from ectools.supervision import tasks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

BOOT: dict[str, Any] = {
    "machine": "mac 1",
    "node": "nuc",
    "group": "g",
    "release": "r1",
    "tag": None,
    "system": "s",
    "client": "192.0.2.7",
    "within": 600.0,
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with start_nats(tmp_path_factory.mktemp("nats"), "pypi") as started:
        yield started


@contextlib.asynccontextmanager
async def served(directory: Path, url: str, *, bucket: str, clock: Any = None) -> AsyncIterator[BootRegister]:
    async with open_shared(directory, url, bucket=bucket, reconcile=reconcile) as store:
        boots = BootRegister(store) if clock is None else BootRegister(store, clock=clock)
        await boots.load()
        async with tasks(boots.follow()):
            yield boots


def test_who_serves_and_who_is_reported_to(server: NatsServer, tmp_path: Path) -> None:
    async def scenario() -> None:
        async with (
            served(tmp_path / "one", server.url, bucket="reports") as one,
            served(tmp_path / "two", server.url, bucket="reports") as two,
        ):
            boot, token = await one.begin(**BOOT)
            await until(lambda: two.knows(token))
            one.see(boot.id, NodeStage.KERNEL)
            await one.write()
            await two.report(token, NodeStage.UP, NodeReport(release="r1"))
            await until(lambda: one.latest["nuc"].state is BootState.HEALTHY)
            assert NodeStage.KERNEL in one.latest["nuc"].stages
            await until(lambda: two.latest["nuc"] == one.latest["nuc"])
            with pytest.raises(ReportError):  # it is used up, wherever it is brought
                await one.report(token, NodeStage.UP, NodeReport(release="r1", healthy=False))
            # It asks the other one now.
            second, _ = await two.begin(**BOOT)
            await until(lambda: one.latest["nuc"].id == second.id)
            await one.write()
            for boots in (one, two):
                found = await until_there(
                    lambda boots=boots: boots.list_boots("nuc"), lambda found: len(found) == 2
                )
                assert [each.id for each in found] == [second.id, boot.id]
                assert found[1].state is BootState.HEALTHY

    asyncio.run(scenario())


def test_a_boot_of_a_host_that_is_gone_fails_by_another(
    server: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deadlines, "GRACE_SECONDS", 0.0)
    now = [1000.0]

    async def scenario() -> None:
        async with served(tmp_path / "two", server.url, bucket="gone", clock=lambda: now[0]) as two:
            async with served(tmp_path / "one", server.url, bucket="gone", clock=lambda: now[0]) as one:
                await one.begin(**BOOT)
                await until(lambda: two.latest)
            now[0] += 605
            await two.expire()
            assert two.latest["nuc"].state is BootState.BOOTING  # its own host may still say so
            now[0] += deadlines.FOREIGN_SECONDS
            await two.expire()
            assert two.latest["nuc"].state is BootState.FAILED

    asyncio.run(scenario())


def test_who_hears_of_nobody_fails_no_boot_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """They say how they are to the host that they have booted from."""
    monkeypatch.setattr(deadlines, "GRACE_SECONDS", 0.0)
    now, hears = [1000.0], [False]

    async def scenario() -> None:
        boots = BootRegister(MemoryStore(), clock=lambda: now[0], hears=lambda: hears[0])
        own, _ = await boots.begin(**BOOT)
        boots.learn(make_boot("theirs", stages={NodeStage.SCRIPT: now[0]}))
        now[0] += 3600
        await boots.expire()
        assert (boots.latest[own.subject].state, boots.latest["theirs"].state) == (
            BootState.FAILED,
            BootState.BOOTING,
        )
        hears[0] = True
        await boots.expire()
        assert boots.latest["theirs"].state is BootState.FAILED

    asyncio.run(scenario())


def test_a_host_that_was_cut_off_has_boots_of_its_own(server: NatsServer, tmp_path: Path) -> None:
    """The later boot is the node's newest for all, and the earlier one is kept with what became of it."""

    async def scenario() -> None:
        wire = Wire(server.port)
        url = await wire.start()
        async with (
            served(tmp_path / "one", url, bucket="cut") as one,
            served(tmp_path / "two", server.url, bucket="cut") as two,
        ):
            wire.cut()
            first, token = await one.begin(**BOOT)
            await one.report(token, NodeStage.UP, NodeReport(release="r1"))
            await one.begin(**{**BOOT, "node": "other", "machine": "mac 2"})
            second, _ = await two.begin(**{**BOOT, "client": "192.0.2.8"})
            wire.mend()
            await until(lambda: "other" in two.latest)
            await until(lambda: one.latest["nuc"].id == second.id)
            await one.write()
            for boots in (one, two):
                found = await until_there(
                    lambda boots=boots: boots.list_boots("nuc"), lambda found: len(found) == 2
                )
                assert [(each.id, each.state) for each in found] == [
                    (second.id, BootState.BOOTING),
                    (first.id, BootState.HEALTHY),
                ]
        await wire.close()

    asyncio.run(scenario())
