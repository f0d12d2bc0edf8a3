"""What is written of the boots in memory, and when it counts as written."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, cast

import pytest
from support.fleet_api import make_boot

from ectools.netboot.boots import keeping as module
from ectools.netboot.boots.archive import BootArchive
from ectools.netboot.boots.keeping import BootKeeper
from ectools.netboot.boots.memory import BootMemory, LiveBoot
from ectools.netboot.state.interface import StateConflictError, StateError, StateUnreachableError

if TYPE_CHECKING:
    from ectools.netboot.boots.model import NodeBoot
    from ectools.netboot.state.interface import StateStore


class Archive:
    """An archive whose disk is as slow, or as broken, as a test says."""

    def __init__(self) -> None:
        self.done: list[tuple[str, ...]] = []
        self.asked, self.go = asyncio.Event(), asyncio.Event()
        self.go.set()
        self.broken: set[str] = set()

    async def put(self, boot: NodeBoot, *, is_newest: bool) -> None:
        self.asked.set()
        await self.go.wait()
        if boot.id in self.broken:
            raise StateError("gone")
        self.done.append(("put", boot.id, "newest" if is_newest else "earlier"))

    async def forget(self, subject: str) -> None:
        if subject in self.broken:
            raise StateError("gone")
        self.done.append(("forget", subject))

    async def trim(self, subject: str) -> None:
        self.done.append(("trim", subject))


def start() -> tuple[Archive, BootMemory, BootKeeper]:
    archive, memory = Archive(), BootMemory()
    return archive, memory, BootKeeper(cast("BootArchive", archive), memory)


def begin(memory: BootMemory, number: int, subject: str = "nuc") -> LiveBoot:
    live = LiveBoot(boot=make_boot(subject, id=f"boot-{number}", token_hash=str(number)))
    memory.enter(live)
    memory.change(live)
    return live


def test_what_changes_while_it_is_written_is_not_kept_yet() -> None:
    async def run() -> None:
        archive, memory, keeper = start()
        live = begin(memory, 1)
        archive.go.clear()
        writing = asyncio.create_task(keeper.write([live]))
        await archive.asked.wait()
        live.boot = replace(live.boot, why="another")
        archive.go.set()
        await writing
        assert (live.is_kept, list(memory.unwritten)) == (False, ["boot-1"])
        await keeper.write([live])
        assert (live.is_kept, list(memory.unwritten)) == (True, [])

    asyncio.run(run())


def test_one_that_cannot_be_written_holds_up_no_other() -> None:
    async def run() -> None:
        archive, memory, keeper = start()
        first, second = begin(memory, 1), begin(memory, 2, "other")
        archive.broken = {"boot-1"}
        with pytest.raises(StateError):
            await keeper.write([first, second])
        assert (first.is_kept, second.is_kept) == (False, True)
        await keeper.write_in_time([first])
        archive.broken = set()
        await keeper.write_all()
        assert first.is_kept

    asyncio.run(run())


def test_what_cannot_be_done_keeps_nothing_else_from_being_done() -> None:
    async def run() -> None:
        archive, memory, keeper = start()
        begin(memory, 1)
        memory.forgotten = {"first": None, "second": None}
        memory.begun = {"nuc": module._TRIM_EVERY}
        archive.broken = {"boot-1", "first"}
        with pytest.raises(StateError):
            await keeper.write_all()
        assert archive.done == [("forget", "second"), ("trim", "nuc")]
        archive.broken = set()
        await keeper.write_all()
        assert archive.done[2:] == [("put", "boot-1", "newest"), ("forget", "first")]
        assert memory.forgotten == {}

    asyncio.run(run())


def test_a_disk_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        archive, memory, keeper = start()
        monkeypatch.setattr(module, "_DURABLE_SECONDS", 0.0)
        archive.go.clear()
        live = begin(memory, 1)
        await keeper.write_in_time([live])
        assert not live.is_kept

    asyncio.run(run())


def test_who_makes_up_names_all_the_time_holds_up_no_turn() -> None:
    async def run() -> None:
        archive, memory, keeper = start()
        forget = archive.forget
        memory.forgotten = {"first": None, "second": None}

        async def forget_and_hear(subject: str) -> None:
            await forget(subject)
            memory.forgotten[f"another than {subject}"] = None

        archive.forget = forget_and_hear  # type: ignore[method-assign]
        async with asyncio.timeout(60):
            await keeper.write_all()
        assert archive.done == [("forget", "first"), ("forget", "second")]
        assert len(memory.forgotten) == 2

    asyncio.run(run())


def test_who_comes_while_it_is_forgotten_is_written_anew() -> None:
    async def run() -> None:
        archive, memory, keeper = start()
        memory.forgotten = {"nuc": None}

        async def forget_late(subject: str) -> None:
            live = begin(memory, 1, subject)
            await keeper.write([live])
            assert live.is_kept
            archive.done.append(("forget", subject))

        archive.forget = forget_late  # type: ignore[method-assign]
        await keeper.write_all()
        assert list(memory.unwritten) == ["boot-1"]
        await keeper.write_all()
        assert archive.done == [("put", "boot-1", "newest"), ("forget", "nuc"), ("put", "boot-1", "newest")]

    asyncio.run(run())


@pytest.mark.parametrize("error", [StateConflictError("changed"), StateUnreachableError("away")])
def test_what_is_not_known_to_be_a_stray_stays_whole(error: StateError) -> None:
    class Store:
        async def delete(self, key: str, *, expected: int | None = None) -> None:
            assert (key, expected) == ("latest/0123", 7)
            raise error

    asyncio.run(BootArchive(cast("StateStore", Store())).drop("0123", 7))


def test_who_has_come_again_is_not_forgotten_and_many_boots_are_trimmed() -> None:
    async def run() -> None:
        archive, memory, keeper = start()
        begin(memory, 1)
        memory.forgotten = {"gone": None, "nuc": None}
        memory.begun = {"nuc": module._TRIM_EVERY, "rare": 1}
        await keeper.write_all()
        assert archive.done == [("put", "boot-1", "newest"), ("forget", "gone"), ("trim", "nuc")]
        assert memory.begun == {"nuc": 0, "rare": 1}

    asyncio.run(run())
