"""How a boot goes on in memory: what is counted, what is to be kept, and who hears of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import cast

from support.fleet_api import make_boot

from ectools.netboot.boots.memory import BootMemory, LiveBoot, hash_token
from ectools.netboot.boots.model import BootState, NodeBoot, NodeReport, NodeStage
from ectools.netboot.boots.progress import BootProgress


def begin(
    progress: BootProgress,
    number: int,
    *,
    node: str | None = "nuc",
    machine: str = "mac 02:00:00:00:00:07",
    client: str = "192.0.2.1",
) -> LiveBoot:
    """A boot of the same node, after the one before it."""
    boot = make_boot(
        node,
        machine=machine,
        id=f"b-{number}",
        token_hash=hash_token(f"{number}"),
        client=client,
        stages={NodeStage.SCRIPT: 100.0 + number},
    )
    live = LiveBoot(boot=boot, token=f"{number}")
    progress.supersede(boot)
    progress.begin(live)
    return live


def test_each_change_is_told_and_is_to_be_kept() -> None:
    async def scenario() -> None:
        memory = BootMemory()
        progress = BootProgress(memory, clock=lambda: 200.0)
        heard = cast("AsyncGenerator[NodeBoot | None, None]", progress.changes.listen())
        live = begin(progress, 1)
        memory.note_kept(live)
        progress.reach(live, NodeStage.KERNEL)
        assert (live.token, live.is_kept, live.boot.stages[NodeStage.KERNEL]) == (None, False, 200.0)
        progress.conclude(live, BootState.FAILED, "it was not heard of", now=201.0)
        assert memory.unwritten == {"b-1": live}
        assert memory.begun == {"nuc": 1}
        states = [(await anext(heard)) for _ in range(3)]
        assert [None if each is None else each.state for each in states] == [
            BootState.BOOTING,
            BootState.BOOTING,
            BootState.FAILED,
        ]
        await heard.aclose()

    asyncio.run(scenario())


def test_a_later_boot_ends_the_one_before_and_a_report_brings_that_back() -> None:
    memory = BootMemory()
    progress = BootProgress(memory, clock=lambda: 200.0)
    first = begin(progress, 1)
    second = begin(progress, 2, client="192.0.2.9")
    assert (first.boot.state, first.boot.ended) == (BootState.ABANDONED, 102.0)
    assert first.boot.why == "asked for another boot before it reported on this one, from 192.0.2.9"
    progress.take_report(first, NodeReport(release=first.boot.release, healthy=True), now=210.0)
    assert (first.boot.state, second.boot.state) == (BootState.HEALTHY, BootState.ABANDONED)
    assert memory.latest == {"nuc": first.boot}


def test_the_boot_of_before_a_machine_had_a_name_ends_where_it_boots_by_that() -> None:
    memory = BootMemory()
    progress = BootProgress(memory, clock=lambda: 200.0)
    unnamed = begin(progress, 1, node=None)
    other = begin(progress, 2, node=None, machine="mac 02:00:00:00:00:99")
    begin(progress, 3)
    assert (unnamed.boot.state, unnamed.boot.why) == (BootState.ABANDONED, "it has booted as nuc since")
    assert other.boot.state is BootState.BOOTING


def test_one_that_has_loaded_its_kernel_is_not_taken_for_somebody_else_asking() -> None:
    memory = BootMemory()
    progress = BootProgress(memory, clock=lambda: 200.0)
    first, second = begin(progress, 1), begin(progress, 2)
    progress.reach(second, NodeStage.KERNEL)
    progress.take_report(first, NodeReport(release=first.boot.release, healthy=True), now=210.0)
    assert second.boot.state is BootState.BOOTING
    assert memory.latest == {"nuc": second.boot}
