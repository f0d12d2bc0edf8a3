"""What becomes of a shared state where something is lost: NATS's last seconds, all that it has, or the host's
own process while it reads everything anew.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from typing import TYPE_CHECKING, Any

import pytest
from support.nats_servers import NatsServer, start_nats
from support.shared_stores import open_shared, take_mine, until, until_there

from ectools.netboot.state import copy_place, local_copy, shared, shared_view
from ectools.netboot.state.interface import StateDeletion, StateEntry, StateError
from ectools.netboot.state.shared import SHARED_FILE, SharedStore
from ectools.netboot.state.sqlite import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ectools.netboot.state.interface import StateStore


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    with start_nats(tmp_path / "nats", "pypi") as started:
        yield started


def take_newer(_key: str, theirs: Any, mine: Any) -> Any:
    return mine.value if mine.changed > theirs.changed else None


async def list_values(store: StateStore) -> dict[str, Any]:
    return {each.key: each.value["n"] for each in await store.list("")}


async def open_alone(directory: Path) -> SharedStore:
    """A store that reaches nobody."""
    store = SharedStore(SqliteStore(directory / SHARED_FILE), reconcile=take_mine, clock=time.time)
    await store.start()
    return store


def keep(server: NatsServer, tmp_path: Path) -> None:
    """A copy of what the server has by now; it is down then."""
    server.kill()
    shutil.copytree(server.directory / "js", tmp_path / "kept")


def put_back(server: NatsServer, tmp_path: Path) -> None:
    """The server has what it had; it is down then."""
    server.kill()
    server.forget()
    (tmp_path / "kept").rename(server.directory / "js")


async def fill_copy(store: SharedStore, keys: list[str]) -> None:
    for revision, key in enumerate(keys, start=1):
        await store.view.learn_own(key, {"n": revision}, revision, 1.0)


class DeafBucket:
    """Takes what is put, after a while."""

    def __init__(self) -> None:
        self.said: list[str] = []

    async def put(self, key: str, value: Any, *, changed: float, expected: int | None) -> int:
        await asyncio.sleep(0.05)
        self.said.append(key)
        return len(self.said)


def test_servers_that_come_again_without_their_last_seconds(server: NatsServer, tmp_path: Path) -> None:
    """Put back from a copy of their disk: what was acknowledged since is said once more, deletions too."""
    kept = tmp_path / "kept"

    async def stop(*stores: SharedStore) -> None:
        server.kill()
        await until(lambda: not any(each.is_attached for each in stores))

    async def scenario() -> None:
        async with (
            open_shared(tmp_path / "one", server.url, reconcile=take_newer) as one,
            open_shared(tmp_path / "two", server.url, reconcile=take_newer) as two,
        ):
            first = await one.put("rollouts/g", {"n": "running"}, expected=0)
            held = await one.put("overrides/a", {"n": "hold"}, expected=0)
            await one.put("latest/a", {"n": 1})
            await one.append("k", subject="first")
            await until(lambda: one.copy.place.events == two.copy.place.events == 1)
            await stop(one, two)
            shutil.copytree(server.directory / "js", kept)
            server.start()
            await until(lambda: one.is_attached and two.is_attached)
            await one.put("rollouts/g", {"n": "stopped"}, expected=first)
            await one.delete("overrides/a", expected=held)
            await one.put("latest/a", {"n": 2})
            await one.append("k", subject="lost")
            await one.put("latest/b", {"n": 2})
            wanted = {"rollouts/g": "stopped", "latest/a": 2, "latest/b": 2}
            await until_there(lambda: list_values(two), lambda found: found == wanted)
            await until(lambda: one.copy.place.sequence == two.copy.place.sequence)
            await until(lambda: two.copy.place.events == 2)
            await stop(one, two)
            shutil.rmtree(server.directory / "js")
            kept.rename(server.directory / "js")
            changes = two.watch("")
            server.start()
            await until(lambda: one.is_attached and two.is_attached)
            await until(lambda: one.unsaid == two.unsaid == 0)
            await one.put("latest/a", {"n": 3})
            wanted["latest/a"] = 3
            for store in (one, two):
                await until_there(lambda store=store: list_values(store), lambda found: found == wanted)
            assert await one.get("overrides/a", fresh=True) is None
            assert [each.subject for each in await two.events()] == ["first", "lost"]
            entry = await two.get("rollouts/g", fresh=True)
            assert entry is not None
            await two.put("rollouts/g", {"n": "next"}, expected=entry.revision)
            # Nobody is told of what NATS had fallen back to.
            told: list[StateEntry | StateDeletion | None] = []
            while not told or getattr(told[-1], "value", None) != {"n": "next"}:
                told.append(await anext(changes))
            values = [each.value["n"] for each in told if isinstance(each, StateEntry)]
            assert not {"running", "hold", 1} & set(values)
        wanted["rollouts/g"] = "next"
        async with open_shared(tmp_path / "one", server.url, reconcile=take_newer) as one:
            assert await list_values(one) == wanted

    asyncio.run(scenario())


def test_what_was_lost_is_noticed_though_others_have_written_more_since(
    server: NatsServer, tmp_path: Path
) -> None:
    async def scenario() -> None:
        async with open_shared(tmp_path / "one", server.url) as one:
            await one.put("hosts/one", {"n": 1})
            await until(lambda: one.unsaid == 0)
        server.kill()
        shutil.copytree(server.directory / "js", tmp_path / "kept")
        server.start()
        async with open_shared(tmp_path / "one", server.url, reconcile=take_newer) as one:
            await one.put("latest/a", {"n": 2})
            await one.put("hosts/one", {"n": 2})
            await until(lambda: one.unsaid == 0)
        server.kill()
        shutil.rmtree(server.directory / "js")
        (tmp_path / "kept").rename(server.directory / "js")
        server.start()
        async with open_shared(tmp_path / "two", server.url) as two:
            for number in range(10):
                await two.put(f"latest/x{number}", {"n": number})
            await until(lambda: two.unsaid == 0)
            async with open_shared(tmp_path / "one", server.url, reconcile=take_newer) as one:
                await until(lambda: one.unsaid == 0)
                found = await until_there(lambda: list_values(two), lambda found: len(found) == 12)
                assert (found["latest/a"], found["hosts/one"]) == (2, 2)
                assert await list_values(one) == found

    asyncio.run(scenario())


@pytest.mark.parametrize("is_mark_left", [True, False])
def test_what_was_deleted_while_a_host_was_away_is_not_brought_back_by_it(
    server: NatsServer, tmp_path: Path, is_mark_left: bool
) -> None:
    """Though the end that NATS has lost since then was another one."""

    async def scenario() -> None:
        async with open_shared(tmp_path / "one", server.url, reconcile=take_newer) as one:
            async with open_shared(tmp_path / "two", server.url, reconcile=take_newer) as two:
                ordered = await one.put("overrides/n", {"n": "install"}, expected=0)
                await one.put("nodes/n", {"n": 1})
                await until_there(lambda: list_values(two), lambda found: len(found) == 2)
            await one.delete("overrides/n", expected=ordered)
            await one.put("latest/n", {"n": "kept"})
            keep(server, tmp_path)
            await until(lambda: not one.is_attached)
            server.start()
            await until(lambda: one.is_attached)
            await one.put("latest/n", {"n": "lost"})
            await until(lambda: one.unsaid == 0)
            put_back(server, tmp_path)
            await until(lambda: not one.is_attached)
            server.start()
            await until(lambda: one.is_attached and one.unsaid == 0)
            if not is_mark_left:
                await one._need_bucket().forget_deleted(["overrides/n"])
            wanted = {"nodes/n": 1, "latest/n": "lost"}
            async with open_shared(tmp_path / "two", server.url, reconcile=take_newer) as two:
                await until(lambda: two.unsaid == 0)
                for store in (one, two):
                    await until_there(lambda store=store: list_values(store), lambda found: found == wanted)
                assert await two.get("overrides/n", fresh=True) is None

    asyncio.run(scenario())


def test_what_was_written_and_deleted_behind_the_lost_end_is_not_brought_back(
    server: NatsServer, tmp_path: Path
) -> None:
    """By a host that has heard of the one and not of the other; what was written after it stays."""

    async def scenario() -> None:
        async with open_shared(tmp_path / "one", server.url, reconcile=take_newer) as one:
            await one.put("latest/n", {"n": 1})
            await until(lambda: one.unsaid == 0)
            keep(server, tmp_path)
            await until(lambda: not one.is_attached)
            server.start()
            await until(lambda: one.is_attached)
            async with open_shared(tmp_path / "two", server.url, reconcile=take_newer) as two:
                held = await two.put("overrides/n", {"n": "hold"}, expected=0)
                await two.put("overrides/m", {"n": "hold"}, expected=0)
                await until_there(lambda: list_values(one), lambda found: len(found) == 3)
            await one.delete("overrides/n", expected=held)
            put_back(server, tmp_path)
            await until(lambda: not one.is_attached)
            server.start()
            await until(lambda: one.is_attached and one.unsaid == 0)
            async with open_shared(tmp_path / "two", server.url, reconcile=take_newer) as two:
                await until(lambda: two.unsaid == 0)
                wanted = {"latest/n": 1, "overrides/m": "hold"}
                for store in (one, two):
                    await until_there(lambda store=store: list_values(store), lambda found: found == wanted)
                assert await two.get("overrides/n", fresh=True) is None

    asyncio.run(scenario())


@pytest.mark.parametrize("newest", ["entries", "events"])
def test_a_loss_is_noticed_though_nobody_else_knew_what_was_lost(
    server: NatsServer, tmp_path: Path, newest: str
) -> None:
    """New keys, as each boot makes them, or events alone; others have written more, and are heard."""

    async def scenario() -> None:
        async with open_shared(tmp_path / "one", server.url, reconcile=take_newer) as one:
            await one.put("overrides/n", {"n": "before"})
            await one.append("k", subject="common")
            await until(lambda: one.unsaid == 0)
            keep(server, tmp_path)
            await until(lambda: not one.is_attached)
            server.start()
            await until(lambda: one.is_attached)
            if newest == "entries":
                await one.put("boots/a/1", {"n": 1})
                await one.put("latest/a", {"n": 1})
            else:
                for number in range(2):
                    await one.append("k", subject=f"lost {number}")
            await until(
                lambda: one.unsaid == 0 and one.copy.place.events == (1 if newest == "entries" else 3)
            )
        put_back(server, tmp_path)
        server.start()
        async with open_shared(tmp_path / "two", server.url, reconcile=take_newer) as two:
            entry = await two.get("overrides/n")
            assert entry is not None
            await two.put("overrides/n", {"n": "held"}, expected=entry.revision)
            for number in range(12):
                await two.put("hosts/two", {"n": number})
            for number in range(5):
                await two.append("k", subject=f"of two {number}")
            await until(lambda: two.unsaid == 0)
            wanted: dict[str, Any] = {"overrides/n": "held", "hosts/two": 11}
            if newest == "entries":
                wanted |= {"boots/a/1": 1, "latest/a": 1}
            async with open_shared(tmp_path / "one", server.url, reconcile=take_newer) as one:
                for store in (one, two):
                    await until_there(lambda store=store: list_values(store), lambda found: found == wanted)
                events = ["common", *([] if newest == "entries" else ["lost 0", "lost 1"])]
                events += [f"of two {number}" for number in range(5)]
                found = await until_there(one.events, lambda found: len(found) >= len(events))
                assert [each.subject for each in found] == events

    asyncio.run(scenario())


def test_what_was_decided_is_said_first_after_a_start_too(tmp_path: Path) -> None:
    keys = ["boots/a/1", "latest/a", "nodes/n", "overrides/n", "rollouts/g"]

    async def scenario() -> None:
        store = await open_alone(tmp_path)
        await fill_copy(store, keys)
        await store.restore()
        await store.put("hosts/a", {"n": 1})
        await store.close()
        store = await open_alone(tmp_path)
        assert list(store._unsaid) == ["hosts/a", *reversed(keys)]
        await store.close()

    asyncio.run(scenario())


def test_what_cannot_be_written_while_it_is_to_be_said_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is said as it was; and where nothing is to be said, that is waited for."""

    async def scenario() -> None:
        store = await open_alone(tmp_path)
        await fill_copy(store, ["latest/a"])

        async def fail(*_: Any) -> None:
            await store.restore()
            raise StateError("disk is full")

        with monkeypatch.context() as patched:
            patched.setattr(store.copy, "write", fail)
            with pytest.raises(StateError):
                await store.put("latest/a", {"n": 2})
        bucket = DeafBucket()
        store.attach(bucket)  # type: ignore[arg-type]
        saying = asyncio.ensure_future(store.say())
        await until(lambda: store.unsaid == 0)
        assert bucket.said == ["latest/a"]
        store._kept.add("latest/b")
        store._wake.set()
        await asyncio.sleep(0.01)
        assert not saying.done()
        saying.cancel()
        await store.close()

    asyncio.run(scenario())


def test_what_is_said_anew_makes_no_room_for_what_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The copy may be the only one there is; also after another start, and where it is taken over."""
    monkeypatch.setattr(shared, "MAX_UNSAID", 5)
    monkeypatch.setattr(local_copy, "_MOVED", 3)
    old = [f"boots/{number}" for number in range(8)]

    async def scenario() -> None:
        store = await open_alone(tmp_path)
        await fill_copy(store, old)
        await store.restore()
        await store.bring([StateEntry(key="boots/x", value={"n": 0}, revision=1, changed=1.0)])
        await store.put("latest/0", {"n": 0})
        assert (store.dropped, store.unsaid) == (0, 10)
        await store.close()
        store = await open_alone(tmp_path)
        for number in range(7):
            await store.put(f"latest/{number}", {"n": number})
        await store.put("boots/0", {"n": "later"})
        assert store.dropped == 2
        kept = [*old, "boots/x", *(f"latest/{number}" for number in range(2, 7))]
        assert [each.key for each in await store.list("")] == kept
        await store.close()

    asyncio.run(scenario())


def test_what_makes_room_while_it_is_being_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "MAX_UNSAID", 3)
    monkeypatch.setattr(shared, "SAY_SECONDS", 0.0)

    async def scenario() -> None:
        store, bucket = await open_alone(tmp_path), DeafBucket()
        for number in range(3):
            await store.put(f"latest/{number}", {"n": number})
        store.attach(bucket)  # type: ignore[arg-type]
        saying = asyncio.ensure_future(store.say())
        await asyncio.sleep(0.02)
        await store.put("latest/new", {"n": 9})
        await until(lambda: saying.done() or store.unsaid == 0)
        assert not saying.done()
        assert store.dropped == 1
        saying.cancel()
        await store.close()

    asyncio.run(scenario())


def test_who_is_killed_while_it_reads_all_anew_reads_all_anew(
    server: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was deleted while it was away for long is gone all the same."""
    ahead = [0.0]

    def open_one(name: str, *, waits: bool = True) -> Any:
        clock = lambda: time.time() + ahead[0]  # noqa: E731 - of this scenario
        return open_shared(tmp_path / name, server.url, clock=clock, waits=waits)

    async def scenario() -> None:
        async with open_one("one") as one, open_one("two") as two:
            await one.put("overrides/n", {"n": 1})
            await one.put("latest/n", {"n": 1})
            await until_there(lambda: list_values(two), lambda found: len(found) == 2)
        async with open_one("one") as one:
            entry = await one.get("overrides/n")
            assert entry is not None
            await one.delete("overrides/n", expected=entry.revision)
            await until_there(
                lambda: anext(one.copy.list_marks(before=float("inf")), None), lambda found: found
            )
            ahead[0] = 2 * shared_view.MARK_SECONDS
            await one.prune("", before=0)
        learn, done = shared_view.SharedView.learn, asyncio.Event()

        async def learn_and_hang(*arguments: Any, **options: Any) -> None:
            await learn(*arguments, **options)
            done.set()
            await asyncio.Event().wait()

        with monkeypatch.context() as patched:
            patched.setattr(shared_view.SharedView, "learn", learn_and_hang)
            async with open_one("two", waits=False):
                await done.wait()
        async with open_one("two") as two:
            assert await list_values(two) == {"latest/n": 1}
            assert two.view.is_whole

    asyncio.run(scenario())


def test_marks_of_what_was_deleted_before_a_start_are_taken_away(server: NatsServer, tmp_path: Path) -> None:
    """By the job that forgets events, and not by whoever forgets one machine's boots."""
    ahead = [0.0]

    async def count(store: SharedStore) -> int:
        bucket = store._need_bucket()
        keys = [f"$KV.every-channel.boots.a.{number}" for number in range(5)]
        return sum([await bucket._get_message(each) is not None for each in keys])

    async def scenario() -> None:
        def open_one() -> Any:
            return open_shared(tmp_path / "one", server.url, clock=lambda: time.time() + ahead[0])

        async with open_one() as one:
            for number in range(5):
                await one.put(f"boots/a/{number}", {"n": number})
            assert await one.prune("boots/a/", before=float("inf")) == 5
            await until(lambda: one.unsaid == 0)
            assert await count(one) == 5
        async with open_one() as one:
            ahead[0] = 2 * shared_view.MARK_SECONDS
            await one.prune("boots/", before=0)
            assert await count(one) == 5
            await one.prune("", before=0)
            assert await count(one) == 0
            assert [each async for each in one.copy.list_marks(before=float("inf"))] == []

    asyncio.run(scenario())


def test_old_entries_are_found_a_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the others have them or not; what is newer, or deleted already, stays as it is."""
    monkeypatch.setattr(local_copy, "_LOOKED_AT", 2)

    async def scenario() -> None:
        store = await open_alone(tmp_path)
        await fill_copy(store, [f"boots/{number}" for number in range(5)])
        before = time.time() - 10
        await store.put("boots/1", {"n": "newer"})
        await store.delete("boots/2")
        await store.put("boots/never-said", {"n": 9})
        assert await store.prune("boots/", before=before) == 3
        assert [each.key for each in await store.list("")] == ["boots/1", "boots/never-said"]
        assert await store.prune("boots/", before=float("inf")) == 2
        assert await store.list("") == []
        await store.close()

    asyncio.run(scenario())


def test_a_place_that_another_version_has_written(tmp_path: Path) -> None:
    """What it has added is passed over; what it does not say is heard of once more."""
    common = {"writer": "w", "number": 3, "identity": "i", "sequence": 7, "events": 2, "heard": {}, "at": 1.0}

    async def scenario() -> None:
        for number, (more, is_whole) in enumerate(
            [({"epoch": 2, "is_whole": True}, True), ({"is_whole": False}, False), ({}, False)]
        ):
            directory = tmp_path / str(number)
            directory.mkdir()
            local = SqliteStore(directory / SHARED_FILE)
            await local.start()
            await local.put(copy_place.PLACE, common | more)
            await local.close()
            store = await open_alone(directory)
            place = store.copy.place
            assert (place.sequence, place.number, place.is_whole) == (7, 3, is_whole)
            await store.close()

    asyncio.run(scenario())
