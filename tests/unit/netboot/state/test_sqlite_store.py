"""The store of one host, on a real file: a law against a dictionary, and what a disk may do to it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ectools.netboot.state import database, sqlite
from ectools.netboot.state.interface import (
    MAX_VALUE_BYTES,
    StateConflictError,
    StateDeletion,
    StateEntry,
    StateError,
)
from ectools.netboot.state.sqlite import STATE_FILE, SqliteStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@contextlib.asynccontextmanager
async def opened(directory: Path, *, clock: Any = lambda: 7.0) -> AsyncIterator[SqliteStore]:
    store = SqliteStore(directory / STATE_FILE, clock=clock)
    await store.start()
    try:
        yield store
    finally:
        await store.close()


KEYS = ("a", "a/1", "a/2", "a0", "b/x", "b/x.y")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from(KEYS), st.sampled_from(("any", "right", "wrong", "none"))),
        st.tuples(st.just("delete"), st.sampled_from(KEYS), st.sampled_from(("any", "right", "wrong"))),
        st.tuples(st.just("prune"), st.sampled_from(("a/", "b", "x")), st.integers(0, 20)),
        st.tuples(st.just("reopen"), st.none(), st.none()),
        st.tuples(st.just("tick"), st.none(), st.none()),
        st.tuples(st.just("append"), st.sampled_from(KEYS), st.none()),
    ),
    max_size=30,
)


class Model:
    """What there must be: key → (value, revision, changed)."""

    def __init__(self) -> None:
        self.now = 0.0
        self.entries: dict[str, tuple[dict[str, int], int, float]] = {}
        self.events: list[str] = []
        self.last = 0
        self.number = 0

    def expected(self, key: str, kind: str) -> int | None:
        revision = self.entries[key][1] if key in self.entries else 0
        return {"any": None, "right": revision, "wrong": revision + 1, "none": 0}[kind]


async def play(store: SqliteStore, model: Model, step: tuple[str, Any, Any]) -> None:
    kind, key, how = step
    if kind == "tick":
        model.now += 1
    elif kind == "append":
        event = await store.append("k", subject=key, by=None, data={"n": len(model.events)})
        model.events.append(key)
        assert event.at == model.now
    elif kind == "prune":
        gone = [
            each
            for each, (_, _, at) in model.entries.items()
            if each.startswith(key) and at < model.now - how
        ]
        assert await store.prune(key, before=model.now - how) == len(gone)
        for each in gone:
            del model.entries[each]
    else:
        expected = model.expected(key, how)
        found = model.entries.get(key, (None, 0, 0.0))[1]
        if expected not in (None, found):
            with pytest.raises(StateConflictError, match=f"is at revision {found}"):
                await (
                    store.put(key, {}, expected=expected)
                    if kind == "put"
                    else store.delete(key, expected=expected)
                )
        elif kind == "put":
            model.number += 1
            revision = await store.put(key, {"n": model.number}, expected=expected)
            assert revision > model.last
            model.last = revision
            model.entries[key] = ({"n": model.number}, revision, model.now)
        else:
            await store.delete(key, expected=expected)
            model.entries.pop(key, None)


async def compare(store: SqliteStore, model: Model) -> None:
    for prefix in ("", "a", "a/", "b/x", "zz"):
        found = {
            each.key: (dict(each.value), each.revision, each.changed) for each in await store.list(prefix)
        }
        wanted = {key: entry for key, entry in model.entries.items() if key.startswith(prefix)}
        assert found == wanted
        assert list(found) == sorted(found)
    for key in KEYS:
        entry = await store.get(key)
        assert (entry is None) == (key not in model.entries)
    assert [each.subject for each in await store.events()] == model.events


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_it_is_what_a_dictionary_would_be(tmp_path_factory: pytest.TempPathFactory, steps: Any) -> None:
    directory = tmp_path_factory.mktemp("law")

    async def run() -> None:
        model, left = Model(), list(steps)
        while True:
            async with opened(directory, clock=lambda: model.now) as store:
                await compare(store, model)
                while left and (step := left.pop(0))[0] != "reopen":
                    await play(store, model, step)
                await compare(store, model)
            if not left:
                return

    asyncio.run(run())


def test_a_crowd_is_one_transaction(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    statements: list[str] = []

    def traced(path: Path) -> sqlite3.Connection:
        connection = database.open_database(path)
        connection.set_trace_callback(statements.append)
        return connection

    monkeypatch.setattr(sqlite, "open_database", traced)

    async def run() -> None:
        async with opened(tmp_path) as store:
            await asyncio.gather(*(store.put(f"k/{number}", {}) for number in range(900)))
            assert len(await store.list("k/")) == 900

    asyncio.run(run())
    assert statements.count("COMMIT") < 20


def test_the_file_is_its_owners_alone(tmp_path: Path) -> None:
    (tmp_path / STATE_FILE).touch(0o644)

    async def run() -> None:
        async with opened(tmp_path) as store:
            await store.put("a", {})
            modes = {name: (tmp_path / name).stat().st_mode & 0o777 for name in os.listdir(tmp_path)}
            assert set(modes.values()) == {0o600}, modes

    asyncio.run(run())


def test_events_are_asked_for_from_one_on_and_pruned_by_age(tmp_path: Path) -> None:
    now = [100.0]

    async def run() -> None:
        async with opened(tmp_path, clock=lambda: now[0]) as store:
            first = await store.append("held", subject="nuc-07", by="alice", data={"why": "ä"})
            now[0] = 200.0
            second = await store.append("released", subject="nuc-07")
            assert (first.kind, first.by, first.data, first.at) == ("held", "alice", {"why": "ä"}, 100.0)
            assert await store.events() == [first, second]
            assert await store.events(after=first.sequence) == [second]
            assert await store.events(limit=1) == [first]
            await store.put("kept", {})
            assert await store.prune("", before=200.0) == 1
            assert await store.events() == [second]
            assert await store.get("kept") is not None

    asyncio.run(run())


def test_watchers_are_told_of_their_prefix(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as store:
            watch = store.watch("nodes/")
            await store.put("other", {})
            revision = await store.put("nodes/a", {"hold": True})
            await store.delete("nodes/none")
            await store.delete("nodes/a")
            await store.put("nodes/b", {})
            await store.prune("nodes/", before=8.0)
            seen = [await anext(watch) for _ in range(4)]
            assert [(type(each), each and each.key) for each in seen] == [
                (StateEntry, "nodes/a"),
                (StateDeletion, "nodes/a"),
                (StateEntry, "nodes/b"),
                (StateDeletion, "nodes/b"),
            ]
            assert isinstance(seen[0], StateEntry)
            assert (seen[0].revision, seen[0].value) == (revision, {"hold": True})
            del watch
            await store.put("nodes/c", {})

    asyncio.run(run())


def test_who_asked_may_go_away(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as store:
            call = asyncio.ensure_future(store.put("a", {"n": 1}))
            await asyncio.sleep(0)
            call.cancel()
            entry = await store.get("a")
            assert entry is not None
            assert store.guard.failures == 0

    asyncio.run(run())


@pytest.mark.parametrize("key", ["", "/a", "a/", "a//b", "a b", "ä", "a" * 513])
def test_a_key_is_the_programs_own(tmp_path: Path, key: str) -> None:
    async def run() -> None:
        async with opened(tmp_path) as store:
            for work in (store.get(key), store.put(key, {}), store.delete(key)):
                with pytest.raises(ValueError, match="no key"):
                    await work

    asyncio.run(run())


def test_a_value_has_a_bound(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as store:
            await store.put("fits", {"x": "y" * (MAX_VALUE_BYTES - 8)})
            with pytest.raises(StateError, match="at most"):
                await store.put("more", {"x": "y" * (MAX_VALUE_BYTES - 7)})

    asyncio.run(run())


def test_what_cannot_be_written_fails_alone(tmp_path: Path) -> None:
    async def run() -> None:
        async with opened(tmp_path) as store:
            bad, good = await asyncio.gather(
                store.append("k", subject="\ud800"), store.put("a", {}), return_exceptions=True
            )
            assert isinstance(bad, UnicodeEncodeError)
            assert isinstance(good, int)
            assert store.trouble is None
            assert store.failed == 0

    asyncio.run(run())


def test_too_much_at_once_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "MAX_QUEUED", 2)

    async def run() -> None:
        async with opened(tmp_path) as store:
            results = await asyncio.gather(*(store.get("a") for _ in range(3)), return_exceptions=True)
            assert [type(each) for each in results] == [type(None), type(None), StateError]
            assert await store.get("a") is None
            # The first is that of the start.
            assert (store.done, store.failed, store.waiting) == (4, 1, 0)

    asyncio.run(run())


def test_a_corrupt_file_is_moved_aside(tmp_path: Path) -> None:
    path = tmp_path / STATE_FILE
    path.write_bytes(b"no database" * 1000)
    (tmp_path / f"{STATE_FILE}-wal").write_bytes(b"its log")

    async def run() -> None:
        async with opened(tmp_path) as store:
            assert store.trouble is None
            await store.put("a", {})
        assert (tmp_path / f"{STATE_FILE}.corrupt").read_bytes().startswith(b"no database")

    asyncio.run(run())


def test_a_file_that_breaks_while_it_is_used_is_moved_aside(tmp_path: Path) -> None:
    path = tmp_path / STATE_FILE

    async def run() -> None:
        async with opened(tmp_path) as store:
            for number in range(50):
                await store.put(f"a/{number}", {"x": "y" * 4000})
            await asyncio.to_thread(database.write_back, path)
        with path.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xff" * 65536)
        async with opened(tmp_path) as store:
            assert store.trouble is None
            assert await store.list("") == []
            assert path.with_name(f"{path.name}.corrupt").exists()

    asyncio.run(run())


def test_a_file_of_a_later_version_is_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / STATE_FILE
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")
    before = path.read_bytes()

    async def run() -> None:
        async with opened(tmp_path) as store:
            assert store.trouble is not None
            assert "schema is version 99" in store.trouble
            with pytest.raises(StateError, match="version 99"):
                await store.get("a")
        assert path.read_bytes()[100:] == before[100:]

    asyncio.run(run())


def test_what_cannot_be_opened_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "_RETRY_SECONDS", 0.0)
    path = tmp_path / STATE_FILE
    path.symlink_to(tmp_path / "elsewhere")  # nobody's link is followed

    async def run() -> None:
        async with opened(tmp_path) as store:
            with pytest.raises(StateError, match="cannot be kept"):
                await store.put("a", {})
            assert store.trouble is not None
            path.unlink()
            await store.put("a", {})
            assert store.trouble is None

    asyncio.run(run())


def test_after_a_failure_a_crowd_does_not_try_each_for_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "_RETRY_SECONDS", 3600.0)
    opens: list[Path] = []

    def fail(path: Path) -> sqlite3.Connection:
        opens.append(path)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(sqlite, "open_database", fail)

    async def run() -> None:
        async with opened(tmp_path) as store:
            for _ in range(3):
                with pytest.raises(StateError, match="No space left"):
                    await store.get("a")
            before = store.failed
            crowd = await asyncio.gather(*(store.get("a") for _ in range(5)), return_exceptions=True)
            assert [type(each) for each in crowd] == [StateError] * 5
            assert (store.failed, store.done) == (before + 5, 0)
        assert len(opens) == 1

    asyncio.run(run())


def test_a_full_disk_loses_nothing_that_was_acknowledged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "_RETRY_SECONDS", 0.0)
    limit = ["PRAGMA max_page_count = 30"]

    def small(path: Path) -> sqlite3.Connection:
        connection = database.open_database(path)
        connection.execute(limit[0]).fetchone()  # SQLITE_FULL, as a full disk gives
        return connection

    monkeypatch.setattr(sqlite, "open_database", small)

    async def run() -> None:
        async with opened(tmp_path) as store:
            puts = [store.put(f"a/{number:03}", {"x": "y" * 4000}) for number in range(100)]
            results = [await asyncio.wait_for(each, 60) for each in puts[:5]]
            for each in puts[5:]:
                with contextlib.suppress(StateError):
                    results.append(await each)
            assert len(await store.list("a/")) == len(results) < 100
            assert store.failed == 100 - len(results)
            assert store.trouble is None
            limit[0] = "PRAGMA max_page_count = 3000"
            await store.prune("a/", before=8.0)
            await store.put("a/again", {})

    asyncio.run(run())


def test_a_fault_of_ours_fails_what_was_asked_for_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "_RETRY_SECONDS", 0.0)

    async def run() -> None:
        async with opened(tmp_path) as store:
            with monkeypatch.context() as patch:
                patch.setattr(SqliteStore, "_open", lambda _: 1 // 0)
                with pytest.raises(StateError, match="a fault of this program"):
                    await store.get("a")
            await asyncio.sleep(0)
            assert store.guard.failures == 1
            assert await store.get("a") is None

    asyncio.run(run())


def test_the_log_is_written_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "_WRITE_BACK_AFTER", 10)
    done = asyncio.Event()

    def write_back(path: Path) -> None:
        database.write_back(path)
        loop.call_soon_threadsafe(done.set)

    monkeypatch.setattr(sqlite, "write_back", write_back)

    async def run() -> None:
        nonlocal loop
        loop = asyncio.get_running_loop()
        async with opened(tmp_path) as store:
            for number in range(12):
                await store.put(f"a/{number}", {"x": "y" * 40000})
            async with asyncio.timeout(60):
                await done.wait()
            assert (tmp_path / STATE_FILE).stat().st_size > 300_000

    loop: Any = None
    asyncio.run(run())


def test_a_log_that_never_begins_anew_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where something is committed whenever it is written back."""
    monkeypatch.setattr(sqlite, "_WRITE_BACK_AFTER", 10)
    monkeypatch.setattr(sqlite, "write_back", lambda _: None)
    monkeypatch.setattr(database, "LONG_LOG_BYTES", 400_000)
    monkeypatch.setattr(database, "_LOG_BYTES", 0)
    log = tmp_path / f"{STATE_FILE}-wal"

    async def run() -> None:
        async with opened(tmp_path) as store, asyncio.timeout(60):
            longest = number = 0
            while not longest or log.stat().st_size >= longest:
                longest = max(longest, log.stat().st_size)
                number += 1
                await store.put(f"a/{number}", {"x": "y" * 40000})
            assert longest > 400_000
            assert len(await store.list("a/")) == number
            assert store.trouble is None

    asyncio.run(run())


def test_a_log_that_cannot_be_cut_is_written_on(tmp_path: Path) -> None:
    path = tmp_path / STATE_FILE
    with contextlib.closing(database.open_database(path)) as connection:
        assert not database.is_log_long(path)
        with contextlib.closing(database.open_database(path)) as other:
            other.execute("BEGIN")
            other.execute("SELECT * FROM entries").fetchall()
            connection.execute("INSERT INTO entries (key, changed, value) VALUES ('a', 0, '{}')")
            began = time.monotonic()
            database.cut_log(connection)
            # Who commits is not held up by who reads, and yet waits for who writes.
            assert time.monotonic() - began < database._BUSY_SECONDS / 2
            assert path.with_name(f"{path.name}-wal").stat().st_size > 0
            (waits,) = connection.execute("PRAGMA busy_timeout").fetchone()
            assert waits == database._BUSY_SECONDS * 1000
        database.cut_log(connection)
        assert path.with_name(f"{path.name}-wal").stat().st_size == 0
    assert not database.is_log_long(tmp_path / "nothing")


@pytest.mark.parametrize("error", [sqlite3.OperationalError("locked"), RuntimeError("a fault")])
def test_a_log_that_cannot_be_written_back_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(sqlite, "_WRITE_BACK_AFTER", 1)
    tried: list[Path] = []

    def write_back(path: Path) -> None:
        tried.append(path)
        raise error

    monkeypatch.setattr(sqlite, "write_back", write_back)

    async def run() -> None:
        async with opened(tmp_path) as store:
            while len(tried) < 2:
                await store.put("a", {})
            assert store.trouble is None
            assert (store.guard.failures > 0) == isinstance(error, RuntimeError)

    asyncio.run(run())
