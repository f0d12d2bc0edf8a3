"""A shared store beside somebody who writes whatever, and beside a host that is a copy of another."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import time
from typing import TYPE_CHECKING, Any

import pytest
from support.nats_servers import NatsServer, start_nats
from support.nats_strangers import open_stranger
from support.shared_stores import open_shared, until, until_there

from ectools.netboot.state.entries import read_event
from ectools.netboot.state.interface import StateError
from ectools.netboot.state.local_copy import LocalCopy
from ectools.netboot.state.nats_bucket import SharedEvent
from ectools.netboot.state.shared import SHARED_FILE, SharedStore
from ectools.netboot.state.sqlite import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from ectools.netboot.state.interface import StateEvent

BUCKETS = itertools.count()
EVENT: dict[str, Any] = {"kind": "k", "subject": "s", "by": None, "data": {}}
EVENT |= {"at": 1.0, "writer": "z", "number": 1}
VALUES = (
    b'{"t":1' + b"0" * 400 + b',"v":{}}',
    b'{"t":1e999,"v":{}}',
    b'{"t":1.0,"v":{"a":NaN}}',
    b'{"t":1.0,"v":[]}',
    b'{"t":"x","v":{}}',
    b"[" * 100_000,
    b"\xff",
    b"",
)
EVENTS = (
    {**EVENT, "at": 10**400},
    {**EVENT, "at": 1e18},
    {**EVENT, "at": -1e18},
    {**EVENT, "at": "x"},
    {**EVENT, "number": 10**30},
    {**EVENT, "number": "1"},
    {**EVENT, "subject": "\ud800"},
    {**EVENT, "data": None},
    b'{"kind":"k","subject":"s","by":null,"data":{},"at":1e999,"writer":"z","number":3}',
    b"[" * 100_000,
    b"\xff",
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    with start_nats(tmp_path_factory.mktemp("nats")) as started:
        yield started


def name_bucket() -> str:
    return f"foreign-{next(BUCKETS)}"


def subjects(events: Sequence[StateEvent]) -> list[str]:
    return [each.subject for each in events]


async def wait_for_events(store: SharedStore, wanted: set[str]) -> None:
    """Each of them once."""
    found = subjects(await until_there(store.events, lambda found: wanted <= set(subjects(found))))
    assert sorted(found) == sorted(wanted)


def test_what_is_no_value_is_passed_over(
    server: NatsServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    bucket = name_bucket()

    async def scenario() -> None:
        async with (
            open_shared(tmp_path / "one", server.url, bucket=bucket) as one,
            open_stranger(server.url, bucket) as stranger,
        ):
            for number, value in enumerate(VALUES):
                await stranger.put(f"bad.{number}", value)
            for name in ("no key", "a\u00e4", "x" * 600, "hosts.\x1b[31m"):
                with_it = name.replace(" ", "+")
                await stranger.put(with_it, {"t": 1.0, "v": {"n": 1}})
            await stranger.put("good", {"t": 1.0, "v": {"n": 1}})
            await until_there(lambda: one.get("good"), lambda found: found is not None)
            assert one.trouble is None
            values = {each.key: each.value for each in await one.list("")}
            assert values == {"good": {"n": 1}, **{f"bad/{n}": {} for n in range(len(VALUES))}}
            # It is known at which revision it stands, and so can be written over.
            found = await one.get("bad/0", fresh=True)
            assert found is not None
            await one.put("bad/0", {"n": 2}, expected=found.revision)
            # One that comes later reads all of it from the beginning.
            async with open_shared(tmp_path / "two", server.url, bucket=bucket) as two:
                entry = await two.get("bad/0")
                assert entry is not None
                assert entry.value == {"n": 2}
                assert two.trouble is None

    asyncio.run(scenario())
    told = [record.fields["key"] for record in caplog.records if "cannot be read" in record.message]
    assert "bad/0" in told
    assert len(told) <= 20


def test_what_is_no_event_is_passed_over(server: NatsServer, tmp_path: Path) -> None:
    bucket = name_bucket()

    async def scenario() -> None:
        async with (
            open_shared(tmp_path / "one", server.url, bucket=bucket) as one,
            open_stranger(server.url, bucket) as stranger,
        ):
            for event in EVENTS:
                await stranger.append(event)
            await stranger.append(EVENT)
            await wait_for_events(one, {"s"})
            assert one.copy.place.events == len(EVENTS) + 1
            await one.append("k", subject="own")
            await wait_for_events(one, {"s", "own"})

    asyncio.run(scenario())


@pytest.mark.parametrize("how", ["deleted", "written"])
def test_the_bucket_s_own_name_is_anothers(server: NatsServer, tmp_path: Path, how: str) -> None:
    bucket = name_bucket()

    async def scenario() -> None:
        async with open_shared(tmp_path / "one", server.url, bucket=bucket) as one:
            await one.put("a", {"n": 1})
            await until(lambda: one.unsaid == 0)
            async with open_stranger(server.url, bucket) as stranger:
                if how == "deleted":
                    await stranger.delete("meta.id")
                else:
                    await stranger.put("meta.id", b"\xff" * 1000)
        async with open_shared(tmp_path / "one", server.url, bucket=bucket) as one:
            await until(lambda: one.unsaid == 0)
            assert [each.key for each in await one.list("")] == ["a"]

    asyncio.run(scenario())


@pytest.mark.parametrize("unsaid", [False, True])
def test_a_host_that_was_copied_loses_no_events(server: NatsServer, tmp_path: Path, unsaid: bool) -> None:
    """Its whole directory, also with what it had not said yet: both go on, and hear of each other."""
    bucket = name_bucket()

    async def scenario() -> None:
        async with open_shared(tmp_path / "one", server.url, bucket=bucket) as one:
            await one.append("k", subject="before")
            await until(lambda: one.unsaid == 0)
        if unsaid:
            async with open_shared(tmp_path / "one", "nats://127.0.0.1:1", waits=False) as one:
                await one.append("k", subject="not said")
        shutil.copytree(tmp_path / "one", tmp_path / "two")
        async with (
            open_shared(tmp_path / "one", server.url, bucket=bucket) as one,
            open_shared(tmp_path / "two", server.url, bucket=bucket) as two,
            open_shared(tmp_path / "three", server.url, bucket=bucket) as three,
        ):
            await one.append("k", subject="of one")
            await two.append("k", subject="of two")
            wanted = {"before", "of one", "of two", *(["not said"] if unsaid else [])}
            for store in (one, two, three):
                await wait_for_events(store, wanted)

    asyncio.run(scenario())


def test_a_host_that_was_put_back_has_its_own_events_again(server: NatsServer, tmp_path: Path) -> None:
    bucket = name_bucket()

    async def scenario() -> None:
        async with open_shared(tmp_path / "one", server.url, bucket=bucket) as one:
            await one.append("k", subject="before")
            await until(lambda: one.unsaid == 0)
        shutil.copytree(tmp_path / "one", tmp_path / "backup")
        async with open_shared(tmp_path / "one", server.url, bucket=bucket) as one:
            await one.append("k", subject="lost here")
            await until(lambda: one.unsaid == 0)
        async with (
            open_shared(tmp_path / "backup", server.url, bucket=bucket) as one,
            open_shared(tmp_path / "two", server.url, bucket=bucket) as two,
        ):
            await one.append("k", subject="after")
            for store in (one, two):
                await wait_for_events(store, {"before", "lost here", "after"})

    asyncio.run(scenario())


def test_a_machine_that_was_copied_while_it_ran_is_noticed(
    server: NatsServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Both go on with one writer in memory: whoever hears of the other's events is another from then on."""
    bucket = name_bucket()

    async def scenario() -> None:
        async with (
            open_shared(tmp_path / "one", server.url, bucket=bucket) as one,
            open_shared(tmp_path / "two", server.url, bucket=bucket) as two,
            open_shared(tmp_path / "three", server.url, bucket=bucket) as three,
        ):
            two.copy.place.writer = one.copy.place.writer
            await asyncio.gather(
                *(one.append("k", subject=f"of one {number}") for number in range(3)),
                *(two.append("k", subject=f"of two {number}") for number in range(5)),
            )
            wanted = {f"of one {n}" for n in range(3)} | {f"of two {n}" for n in range(5)}
            for store in (one, two, three):
                await wait_for_events(store, wanted)
            await one.append("k", subject="more of one")
            await two.append("k", subject="more of two")
            for store in (one, two, three):
                await wait_for_events(store, wanted | {"more of one", "more of two"})
            assert one.copy.place.writer != two.copy.place.writer

    asyncio.run(scenario())
    assert any("another boot host goes on as this one" in record.message for record in caplog.records)


def test_an_event_of_ones_own_that_comes_back_is_no_doubles(tmp_path: Path) -> None:
    """Also one that was sent twice, and after a start."""

    async def scenario() -> None:
        async with open_shared(tmp_path / "one", "nats://127.0.0.1:1", waits=False) as one:
            await one.append("k", subject="a")
            fields = await one.copy.read_event(1)
            assert fields is not None
            event = SharedEvent(sequence=1, fields=read_event(fields), left=0)
            writer = one.copy.place.writer
            for _ in range(2):
                await one.hear_events([event])
            assert one.copy.place.writer == writer
        async with open_shared(tmp_path / "one", "nats://127.0.0.1:1", waits=False) as one:
            assert one.copy.place.writer != writer
            await one.hear_events([event])
            assert subjects(await one.events()) == ["a"]

    asyncio.run(scenario())


def test_a_copy_that_could_not_be_read_at_the_start_is_read_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else what is still to be said would be forgotten, and events have numbers that were given before."""

    async def scenario() -> None:
        async with open_shared(tmp_path / "one", "nats://127.0.0.1:1", waits=False) as one:
            await one.put("a", {"n": 1})
            await one.append("k", subject="a")

        async def fail(_: Any) -> Any:
            raise StateError("gone")

        with monkeypatch.context() as patch:
            patch.setattr(LocalCopy, "load", fail)
            store = SharedStore(
                SqliteStore(tmp_path / "one" / SHARED_FILE), reconcile=lambda *_: None, clock=time.time
            )
            await store.start()
            for write in (store.put("b", {"n": 2}), store.append("k", subject="b")):
                with pytest.raises(StateError):
                    await write
        await store.append("k", subject="b")
        await store.put("b", {"n": 2})
        assert (store.unsaid, subjects(await store.events())) == (4, ["a", "b"])
        await store.close()

    asyncio.run(scenario())
