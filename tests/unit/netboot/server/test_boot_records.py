"""What is remembered while a boot server runs: written, expired, pruned by itself; read at the next start."""

from __future__ import annotations

import asyncio
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from support.shared_stores import until_there

from ectools.netboot.boots.model import NodeStage
from ectools.netboot.rollout.listening import Listening
from ectools.netboot.server import boot_records
from ectools.netboot.server.boot_records import BootRecords
from ectools.netboot.state import database, sqlite, statements
from ectools.netboot.state.interface import StateError
from ectools.netboot.state.sqlite import SqliteStore

if TYPE_CHECKING:
    from pathlib import Path

BOOT: dict[str, Any] = {
    "machine": "serial 1",
    "node": "nuc",
    "group": None,
    "release": "r1",
    "tag": None,
    "system": "release",
    "client": None,
    "within": 600.0,
}


def make_records(directory: Path) -> BootRecords:
    return BootRecords(directory, keep=lambda: (90, {"nuc"}))


def test_what_was_seen_last_is_written_at_the_end(tmp_path: Path) -> None:
    async def first() -> None:
        records = make_records(tmp_path)
        await records.start()
        async with records.running():
            boot, _ = await records.boots.begin(**BOOT)
            records.boots.see(boot.id, NodeStage.KERNEL)
            assert records.describe() == {"state": "ok", "boots_unwritten": 1}

    async def second() -> None:
        records = make_records(tmp_path)
        await records.start()
        async with records.running():
            assert records.boots.latest["nuc"].last_stage is NodeStage.KERNEL

    asyncio.run(first())
    asyncio.run(second())


def test_it_is_kept_up_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("_WRITE_SECONDS", "_EXPIRE_SECONDS", "_PRUNE_SECONDS"):
        monkeypatch.setattr(boot_records, name, 0.0)
    done: set[str] = set()
    everything = asyncio.Event()

    def note(name: str) -> Any:
        async def work(**given: Any) -> None:
            done.add(name)
            if name == "prune":
                assert given == {"days": 90, "nodes": {"nuc"}}
                raise StateError("the store says so itself")
            if len(done) == 3:
                everything.set()

        return work

    async def run() -> None:
        records = make_records(tmp_path)
        await records.start()
        with monkeypatch.context() as patch:
            for name in ("write", "expire", "prune"):
                patch.setattr(records.boots, name, note(name))
            async with records.running(), asyncio.timeout(60):
                await everything.wait()

    asyncio.run(run())


def test_a_disk_that_hangs_holds_up_neither_start_nor_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boot_records, "_START_SECONDS", 0.0)

    async def run() -> None:
        records = make_records(tmp_path)

        async def hang() -> None:
            await asyncio.Event().wait()

        async def nothing() -> None:
            pass

        monkeypatch.setattr(records.store, "start", hang)
        monkeypatch.setattr(records.boots, "write", hang)
        monkeypatch.setattr(records.store, "close", nothing)
        await records.start()
        async with records.running():
            pass

    asyncio.run(run())


def test_a_file_that_could_not_be_read_at_the_start_is_read_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(boot_records, "_READ_SECONDS", 0.0)

    async def first() -> str:
        records = make_records(tmp_path)
        await records.start()
        async with records.running():
            _, token = await records.boots.begin(**BOOT)
        return token

    async def second(token: str) -> None:
        records = make_records(tmp_path)
        monkeypatch.setattr(sqlite, "open_database", fail)
        await records.start()
        assert not records.boots.knows(token)
        async with records.running(), asyncio.timeout(60):
            monkeypatch.setattr(sqlite, "_RETRY_SECONDS", 0.0)
            monkeypatch.setattr(sqlite, "open_database", database.open_database)
            while not records.boots.knows(token):  # noqa: ASYNC110
                await asyncio.sleep(0)
        assert records.boots.is_loaded

    def fail(_: Path) -> Any:
        raise OSError(28, "No space left on device")

    asyncio.run(second(asyncio.run(first())))


def test_what_was_done_is_forgotten_as_boots_are(tmp_path: Path) -> None:
    ages = {"old": 90.1, "young": 89.9}

    async def run() -> None:
        records = make_records(tmp_path)
        await records.start()
        assert isinstance(records.store, SqliteStore)
        for subject, days in ages.items():
            row = (time.time() - days * 86400, "node-held", subject, None, "{}")
            await records.store.transact(partial(statements.append, event=row))
        async with records.running(), asyncio.timeout(60):
            found = await until_there(records.store.events, lambda found: len(found) < 2)
        assert [each.subject for each in found] == ["young"]

    asyncio.run(run())


def test_who_was_cut_off_hears_of_others_once_it_has_read_what_it_has_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_off, now = [False], [100.0]
    monkeypatch.setattr(BootRecords, "is_cut_off", lambda _: cut_off[0])

    async def scenario() -> None:
        records = make_records(tmp_path)
        records._listening = Listening(lambda: now[0], is_cut_off=records.is_cut_off)
        for cut, at, hears in (
            (False, 111.0, True),
            (True, 112.0, False),
            (False, 122.0, False),
            (False, 122.5, True),
        ):
            cut_off[0], now[0] = cut, at
            assert records._hears_others() == hears

    asyncio.run(scenario())
