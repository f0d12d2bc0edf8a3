"""A store that hosts share over real NATS servers: one law for it and for SQLite, and what becomes of it
when a wire is cut, a server hangs, is started anew, or has lost everything.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.nats_servers import NATS_SERVERS, NatsServer, Wire, start_nats
from support.shared_stores import open_shared, take_mine, until, until_there

from ectools.netboot.state import nats_bucket, shared, shared_view, statements
from ectools.netboot.state.interface import (
    StateConflictError,
    StateDeletion,
    StateEntry,
    StateError,
    StateUnreachableError,
)
from ectools.netboot.state.shared import SHARED_FILE, SharedStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ectools.netboot.state.interface import StateStore

BUCKETS = itertools.count()
KEYS = ("a", "a/1", "a/2.b", "a0", "b/x", "b/x.y")


@pytest.fixture(scope="module", params=NATS_SERVERS)
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with start_nats(tmp_path_factory.mktemp("nats"), request.param) as started:
        yield started


def name_bucket() -> str:
    return f"bucket-{next(BUCKETS)}"


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from(KEYS), st.sampled_from(("any", "right", "wrong", "none"))),
        st.tuples(st.just("delete"), st.sampled_from(KEYS), st.sampled_from(("any", "right", "wrong"))),
        st.tuples(st.just("append"), st.sampled_from(KEYS), st.none()),
        st.tuples(st.just("other"), st.none(), st.none()),
    ),
    max_size=25,
)


async def play(store: StateStore, steps: Any, *, entries: dict[str, int], events: list[str]) -> None:
    """Steps on one store, and what there must be after them: key → number, and the events' subjects."""
    for number, (kind, key, how) in enumerate(steps):
        if kind == "append":
            await store.append("k", subject=key, data={"n": number})
            events.append(key)
            continue
        entry = await store.get(key)
        assert (None if entry is None else entry.value["n"]) == entries.get(key)
        revision = 0 if entry is None else entry.revision
        expected = {"any": None, "right": revision, "wrong": revision + 1, "none": 0}[how]
        if expected not in (None, revision):
            with pytest.raises(StateConflictError, match=f"is at revision {revision}"):
                await (
                    store.put(key, {"n": number}, expected=expected)
                    if kind == "put"
                    else store.delete(key, expected=expected)
                )
        elif kind == "put":
            assert await store.put(key, {"n": number}, expected=expected) > revision
            entries[key] = number
        else:
            await store.delete(key, expected=expected)
            entries.pop(key, None)


async def settled(store: SharedStore) -> None:
    """The others have all that was written there."""
    await until(lambda: store.unsaid == 0)


async def list_marks(store: SharedStore) -> list[str]:
    """Keys that were deleted, and whose marks are known."""
    return [key async for keys in store.copy.list_marks(before=float("inf")) for key in keys]


async def list_numbers(store: StateStore) -> dict[str, int]:
    found = await store.list("")
    assert [each.key for each in found] == sorted(each.key for each in found)
    return {each.key: each.value["n"] for each in found}


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_two_hosts_are_one_dictionary(
    server: NatsServer, tmp_path_factory: pytest.TempPathFactory, steps: Any
) -> None:
    """Whichever of the two does a step: both see the same after it, as of one store."""
    directory, bucket = tmp_path_factory.mktemp("law"), name_bucket()

    async def law() -> None:
        async with (
            open_shared(directory / "one", server.url, bucket=bucket) as one,
            open_shared(directory / "two", server.url, bucket=bucket) as two,
        ):
            entries: dict[str, int] = {}
            events: list[str] = []
            acting, other = one, two
            for step in steps:
                if step[0] == "other":
                    acting, other = other, acting
                    await until_there(partial(list_numbers, acting), lambda found: found == entries)
                    continue
                await play(acting, [step], entries=entries, events=events)
                await settled(acting)
            for store in (one, two):
                assert (
                    await until_there(partial(list_numbers, store), lambda found: found == entries) == entries
                )
                found = await until_there(store.events, lambda found: len(found) == len(events))
                assert sorted(each.subject for each in found) == sorted(events)
                assert [each.sequence for each in found] == list(range(1, len(events) + 1))

    asyncio.run(law())


def test_what_is_compared_is_decided_once(server: NatsServer, tmp_path: Path) -> None:
    async def race() -> None:
        bucket = name_bucket()
        async with (
            open_shared(tmp_path / "one", server.url, bucket=bucket) as one,
            open_shared(tmp_path / "two", server.url, bucket=bucket) as two,
        ):

            async def take(store: StateStore, number: int) -> int:
                won = 0
                for _ in range(40):
                    entry = await store.get("slots/g", fresh=True)
                    holders = [] if entry is None else entry.value["holders"]
                    try:
                        await store.put(
                            "slots/g",
                            {"holders": [*holders, number]},
                            expected=0 if entry is None else entry.revision,
                        )
                        won += 1
                    except StateConflictError:
                        pass
                return won

            won = await asyncio.gather(take(one, 1), take(two, 2))
            entry = await one.get("slots/g", fresh=True)
            assert entry is not None
            assert [entry.value["holders"].count(number) for number in (1, 2)] == won
            assert sum(won) >= 40

    asyncio.run(race())


def test_a_host_that_is_cut_off_goes_on_and_says_it_later(server: NatsServer, tmp_path: Path) -> None:
    async def cut() -> None:
        bucket, wire = name_bucket(), Wire(server.port)
        url = await wire.start()
        async with (
            open_shared(tmp_path / "one", url, bucket=bucket) as one,
            open_shared(tmp_path / "two", server.url, bucket=bucket) as two,
        ):
            await one.put("rollouts/g", {"n": 1}, expected=0)
            wire.cut()
            await until(lambda: not one.is_attached)
            assert one.trouble is not None
            for number in range(20):
                await one.put(f"latest/{number}", {"n": number})
                await one.append("boot", subject=f"{number}")
            # What needs the others is refused at once, what does not is there.
            for refused in (
                one.put("rollouts/g", {"n": 2}, expected=1),
                one.delete("rollouts/g", expected=1),
                one.get("rollouts/g", fresh=True),
            ):
                with pytest.raises(StateUnreachableError, match="together with the other boot hosts"):
                    await refused
            found = await one.get("rollouts/g")
            assert found is not None
            assert found.value == {"n": 1}
            assert len(await one.list("latest/")) == 20
            assert one.unsaid == 40
            assert await two.list("latest/") == []
            await two.append("elsewhere", subject="two")
            wire.mend()
            await until_there(lambda: two.list("latest/"), lambda found: len(found) == 20)
            events = await until_there(two.events, lambda found: len(found) == 21)
            assert [each.subject for each in events] == ["two", *map(str, range(20))]
            assert len(await until_there(one.events, lambda found: len(found) == 21)) == 21
            assert (one.trouble, one.unsaid, one.dropped) == (None, 0, 0)
        await wire.close()

    asyncio.run(cut())


def test_what_was_not_said_before_an_end_is_said_after_it(server: NatsServer, tmp_path: Path) -> None:
    async def restart() -> None:
        bucket = name_bucket()
        async with open_shared(tmp_path / "one", "nats://127.0.0.1:9", bucket=bucket, waits=False) as one:
            await one.put("latest/a", {"n": 1})
            await one.put("latest/b", {"n": 1})
            await one.delete("latest/b")
            await one.append("k", subject="s")
        async with open_shared(tmp_path / "one", server.url, bucket=bucket) as one:
            await until(lambda: one.unsaid == 0)
        async with open_shared(tmp_path / "two", server.url, bucket=bucket) as two:
            assert await list_numbers(two) == {"latest/a": 1}
            found = await until_there(two.events, lambda found: found)
            assert [each.subject for each in found] == ["s"]

    asyncio.run(restart())


def test_an_event_whose_answer_was_lost_is_there_once(server: NatsServer, tmp_path: Path) -> None:
    """Said again within the server's memory and after it: the number that its host gave it tells it."""

    async def again() -> None:
        bucket = name_bucket()
        async with (
            open_shared(tmp_path / "one", server.url, bucket=bucket) as one,
            open_shared(tmp_path / "two", server.url, bucket=bucket) as two,
        ):
            await one.append("k", subject="first")
            fields = {"kind": "k", "subject": "first", "by": None, "data": {}, "at": 1.0}
            fields |= {"writer": one.copy.place.writer, "number": 1}
            await until(lambda: one.unsaid == 0)
            link = one._bucket
            assert link is not None
            await link.append(fields, message_id=f"{one.copy.place.writer}-1")
            await link.append(fields, message_id="the server has forgotten it")
            for odd in ({}, {**fields, "number": "x"}, {**fields, "number": 9, "data": None}):
                await link.append(odd, message_id=f"odd {odd.get('number')}")
            await one.append("k", subject="second")
            for store in (one, two):
                found = await until_there(store.events, lambda found: len(found) > 1)
                assert [each.subject for each in found] == ["first", "second"]

    asyncio.run(again())


@pytest.mark.parametrize("forgets", [False, True])
def test_servers_that_come_again(tmp_path: Path, forgets: bool) -> None:
    """Also where they have lost everything: what the hosts know is written again, the newest of it."""

    async def come(started: NatsServer) -> None:
        async with (
            open_shared(tmp_path / "one", started.url, reconcile=take_newer) as one,
            open_shared(tmp_path / "two", started.url, reconcile=take_newer) as two,
        ):
            await one.put("rollouts/g", {"n": 1}, expected=0)
            await two.put("latest/a", {"n": 1})
            await until_there(partial(list_numbers, two), lambda found: len(found) == 2)
            started.kill()
            await until(lambda: not (one.is_attached or two.is_attached))
            if forgets:
                started.forget()
            await two.put("latest/a", {"n": 2})
            started.start()
            await until(lambda: one.is_attached and two.is_attached)
            wanted = {"rollouts/g": 1, "latest/a": 2}
            for store in (one, two):
                await until_there(partial(list_numbers, store), lambda found: found == wanted)
                await settled(store)
            entry = await until_there(lambda: one.get("rollouts/g", fresh=True), lambda found: found)
            await one.put("rollouts/g", {"n": 3}, expected=entry.revision)
            await until_there(partial(list_numbers, two), lambda found: found["rollouts/g"] == 3)

    with start_nats(tmp_path / "nats", "pypi") as started:
        asyncio.run(come(started))


def take_newer(_key: str, theirs: Any, mine: Any) -> Any:
    return mine.value if mine.changed > theirs.changed else None


def test_a_server_that_hangs_holds_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def hang(started: NatsServer) -> None:
        async with open_shared(tmp_path / "one", started.url) as one:
            started.freeze()
            before = asyncio.get_running_loop().time()
            await asyncio.gather(*(one.put(f"latest/{number}", {"n": number}) for number in range(200)))
            await one.append("k", subject="s")
            assert len(await one.list("latest/")) == 200
            assert len(await one.events()) == 1
            took = asyncio.get_running_loop().time() - before
            with pytest.raises(StateError):
                await one.put("rollouts/g", {}, expected=0)
            await until(lambda: not one.is_attached)
            with pytest.raises(StateUnreachableError):
                await one.put("rollouts/g", {}, expected=0)
            started.thaw()
            await until(lambda: one.is_attached and one.unsaid == 0)
            # All of them together: one that waited its whole time, behind one another, would be 50 s.
            assert took < 200 * shared.SAY_SECONDS

    with start_nats(tmp_path / "nats", "pypi") as started:
        asyncio.run(hang(started))


def test_what_is_too_much_to_be_said_is_counted(
    server: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "MAX_UNSAID", 5)

    async def overflow() -> None:
        bucket = name_bucket()
        async with open_shared(tmp_path / "one", "nats://127.0.0.1:9", bucket=bucket, waits=False) as one:
            for number in range(8):
                await one.put(f"latest/{number}", {"n": number})
                await one.append("k", subject=f"{number}")
            assert (one.unsaid, one.dropped) == (10, 6)
        async with open_shared(tmp_path / "one", server.url, bucket=bucket) as one:
            await until(lambda: one.unsaid == 0)
        async with open_shared(tmp_path / "two", server.url, bucket=bucket) as two:
            assert await list_numbers(two) == {f"latest/{number}": number for number in range(3, 8)}
            found = await until_there(two.events, lambda found: len(found) == 5)
            assert [each.subject for each in found] == list("34567")

    asyncio.run(overflow())


def test_what_was_deleted_while_a_host_was_away_for_long(server: NatsServer, tmp_path: Path) -> None:
    """Its mark is gone by then; the host reads everything anew, and what it has not is gone."""
    now = [1000.0]

    async def away() -> None:
        bucket = name_bucket()

        def open_one() -> Any:
            return open_shared(tmp_path / "one", server.url, bucket=bucket, clock=lambda: now[0])

        async with open_one() as one:
            await one.put("boots/a/1", {"n": 1})
            await one.put("boots/a/2", {"n": 2})
        async with open_shared(tmp_path / "two", server.url, bucket=bucket, clock=lambda: now[0]) as two:
            await until_there(partial(list_numbers, two), lambda found: len(found) == 2)
            now[0] += 10
            await two.put("boots/a/2", {"n": 3})
            assert await two.prune("boots/", before=now[0] - 5) == 1
            await until(lambda: two.unsaid == 0)
            await until_there(partial(list_marks, two), lambda found: found)
            now[0] = time.time() + 2 * shared_view.MARK_SECONDS
            assert await two.prune("", before=0) == 0
            link = two._bucket
            assert link is not None
            assert await link._get_message(f"$KV.{bucket}.boots.a.1") is None
        async with open_one() as one:
            assert await list_numbers(one) == {"boots/a/2": 3}
        assert (tmp_path / "one" / SHARED_FILE).stat().st_mode & 0o777 == 0o600

    asyncio.run(away())


def test_who_watches_is_told_of_all_hosts(server: NatsServer, tmp_path: Path) -> None:
    async def watch() -> None:
        bucket = name_bucket()
        async with (
            open_shared(tmp_path / "one", server.url, bucket=bucket) as one,
            open_shared(tmp_path / "two", server.url, bucket=bucket) as two,
        ):
            changes = one.watch("nodes/")
            await two.put("other/x", {})
            revision = await two.put("nodes/x", {"n": 1}, expected=0)
            entry = await anext(changes)
            assert isinstance(entry, StateEntry)
            assert (entry.key, entry.value, entry.revision) == ("nodes/x", {"n": 1}, revision)
            await two.delete("nodes/x", expected=revision)
            assert await anext(changes) == StateDeletion(key="nodes/x")
            await one.put("nodes/y", {"n": 2})
            entry = await anext(changes)
            assert isinstance(entry, StateEntry)
            assert entry.value == {"n": 2}

    asyncio.run(watch())


def test_of_two_that_were_written_apart_the_host_chooses(server: NatsServer, tmp_path: Path) -> None:
    async def choose() -> None:
        bucket, wire = name_bucket(), Wire(server.port)
        url = await wire.start()

        def largest(_key: str, theirs: Any, mine: Any) -> Any:
            return None if mine.value is None else max(theirs.value, mine.value, key=lambda value: value["n"])

        async with (
            open_shared(tmp_path / "one", url, bucket=bucket, reconcile=largest) as one,
            open_shared(tmp_path / "two", server.url, bucket=bucket, reconcile=take_mine) as two,
        ):
            for key in ("a", "b", "c", "d"):
                await one.put(key, {"n": 1})
            await until_there(partial(list_numbers, two), lambda found: len(found) == 4)
            wire.cut()
            await until(lambda: not one.is_attached)
            await one.put("a", {"n": 5})
            await two.put("a", {"n": 3})
            await one.put("b", {"n": 2})
            await two.put("b", {"n": 4})
            await one.delete("c")
            await two.put("c", {"n": 6})
            await one.put("d", {"n": 7})
            await two.delete("d")
            wire.mend()
            wanted = {"a": 5, "b": 4, "c": 6, "d": 7}
            for store in (one, two):
                await until_there(partial(list_numbers, store), lambda found: found == wanted)
        await wire.close()

    asyncio.run(choose())


def test_a_disk_that_has_failed_is_read_onto_anew(
    server: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was heard and could not be kept is heard again, and what has gone meanwhile is not there."""

    async def scenario() -> None:
        bucket = name_bucket()
        async with (
            open_shared(tmp_path / "one", server.url, bucket=bucket) as one,
            open_shared(tmp_path / "two", server.url, bucket=bucket) as two,
        ):
            await one.put("a", {"n": 1})
            await one.put("b", {"n": 1})
            await until_there(partial(list_numbers, two), lambda found: len(found) == 2)
            learn, failures = two.copy.learn, []

            async def fail(changes: Any, **_: Any) -> None:
                failures.append(changes)
                raise StateError("the disk is full")

            monkeypatch.setattr(two.copy, "learn", fail)
            await one.put("a", {"n": 2})
            await one.delete("b")
            await until(lambda: failures and not two.is_attached)
            monkeypatch.setattr(two.copy, "learn", learn)
            await until_there(partial(list_numbers, two), lambda found: found == {"a": 2})
            await until(lambda: two.is_attached)
            assert two.view.is_whole

    asyncio.run(scenario())


def test_of_events_the_newest_are_kept_here_and_there(
    server: NatsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also for who was away while those that it had not read made room."""
    for module in (statements, nats_bucket):
        monkeypatch.setattr(module, "MAX_EVENTS", 4)

    async def say(one: SharedStore, subjects: str) -> None:
        for subject in subjects:
            await one.append("k", subject=subject)
        await settled(one)

    async def has(store: SharedStore, subjects: str) -> None:
        await until_there(store.events, lambda found: "".join(each.subject for each in found) == subjects)

    async def overflow() -> None:
        bucket = name_bucket()
        async with open_shared(tmp_path / "one", server.url, bucket=bucket) as one:
            await say(one, "ab")
            async with open_shared(tmp_path / "two", server.url, bucket=bucket) as two:
                await has(two, "ab")
                (_, last) = await two.events()
            await say(one, "cdefgh")
            await has(one, "efgh")
            async with open_shared(tmp_path / "two", server.url, bucket=bucket) as two:
                await has(two, "efgh")
                later = await two.events(after=last.sequence)
                assert [each.subject for each in later] == list("efgh")
                await say(one, "i")
                await has(two, "fghi")
            async with open_shared(tmp_path / "new", server.url, bucket=bucket) as new:
                await has(new, "fghi")

    asyncio.run(overflow())
