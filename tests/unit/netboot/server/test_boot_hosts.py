"""Boot hosts that know of each other: rows, and one name that two have taken."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from support.fleet_api import CURRENT, MemoryStore

from ectools.netboot.server import boot_hosts
from ectools.netboot.server.boot_hosts import LOST_SECONDS, BootHosts
from ectools.netboot.state.entries import encode_value
from ectools.netboot.state.interface import StateEntry, StateUnreachableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from ectools.netboot.api.releases import StagedRelease


async def list_staged() -> Sequence[StagedRelease]:
    return [CURRENT]


def make_hosts(
    name: str,
    store: MemoryStore | None,
    now: list[float],
    behind: Any = (0, 0),
    *,
    releases: Callable[[], Awaitable[Sequence[StagedRelease]]] = list_staged,
    wanted: Callable[[], Mapping[str, Sequence[str]]] = dict,
) -> BootHosts:
    return BootHosts(
        name,
        address=f"http://{name}",
        store=store,
        releases=releases,
        wanted=wanted,
        behind=lambda: behind,
        clock=lambda: now[0],
    )


def set_time(store: MemoryStore, now: float) -> None:
    """The store in memory has one time for all."""
    store.entries = {
        key: StateEntry(key=key, value=entry.value, revision=entry.revision, changed=now)
        for key, entry in store.entries.items()
    }


def test_a_host_that_says_nothing_is_down() -> None:
    async def scenario() -> None:
        store, now = MemoryStore(), [100.0]
        one, two = make_hosts("boot-1", store, now), make_hosts("boot-2", store, now, (7, 1))
        await one.beat()
        await two.beat()
        set_time(store, 100.0)
        now[0] += LOST_SECONDS
        rows = await one.describe()
        assert [(row["name"], row["up"], row["here"], row["behind"]) for row in rows] == [
            ("boot-1", True, True, 0),
            ("boot-2", True, False, 7),
        ]
        assert rows[1]["releases"] == [{"id": CURRENT.id, "tag": "boot-v2", "marks": ["current"]}]
        await one.beat()
        assert not one.is_someone_missing
        now[0] += 1
        assert [row["up"] for row in await one.describe()] == [True, False]
        set_time(store, 100.0)
        await one.beat()
        assert one.is_someone_missing
        now[0] += boot_hosts.MISSED_SECONDS
        set_time(store, 100.0)
        await one.beat()  # it will not come again
        assert not one.is_someone_missing

    asyncio.run(scenario())


def test_a_host_alone_shows_itself() -> None:
    async def scenario() -> None:
        (row,) = await make_hosts("boot-1", None, [5.0]).describe()
        assert (row["name"], row["here"], row["up"], row["seen"]) == ("boot-1", True, True, 5.0)

    asyncio.run(scenario())


def test_two_of_one_name_are_told() -> None:
    async def scenario() -> list[bool]:
        store, now = MemoryStore(), [100.0]
        one = make_hosts("boot-1", store, now)
        now[0] = 101.0
        other = make_hosts("boot-1", store, now)
        await other.beat()
        set_time(store, now[0])
        found = []
        for _ in range(2):
            await one.beat()
            found.append(one._is_double)
        return found

    assert asyncio.run(scenario()) == [True, False]  # its own row stands there now


def test_what_somebody_else_wrote_there_is_no_host() -> None:
    async def scenario() -> None:
        store = MemoryStore()
        await store.put("hosts/odd", {"address": 1})
        await store.put("hosts/boot-1", {})
        hosts = make_hosts("boot-1", store, [1.0])
        await hosts.beat()
        assert [row["name"] for row in await hosts.describe()] == ["boot-1"]
        await hosts.forget()
        store.error = StateUnreachableError("away")
        await hosts.beat()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("count", "tag", "told"),
    [(60, "v", 60), (1003, "v", 1000), (1000, "v" * 128, 641)],
    ids=["more than before", "too many", "too long"],
)
def test_a_host_tells_of_all_that_it_has_or_how_many_more(count: int, tag: str, told: int) -> None:
    staged = [
        replace(
            CURRENT, id=f"sha256-{number:032x}", tag=tag, marks=("pinned",) if number == count - 1 else ()
        )
        for number in range(count)
    ]

    async def list_many() -> Sequence[StagedRelease]:
        return staged

    async def scenario() -> None:
        store, now = MemoryStore(), [100.0]
        await make_hosts("boot-2", store, now, releases=list_many).beat()
        _, row = await make_hosts("boot-1", store, now).describe()
        assert len(row["releases"]) == pytest.approx(told, rel=0.02)
        assert row["left_out"] == count - len(row["releases"])
        # The newest first, and the oldest, which is marked, is not what is left out.
        ids = [each["id"] for each in row["releases"]]
        assert ids == [*(each.id for each in staged[: len(ids) - 1]), staged[-1].id]
        entry = store.entries["hosts/boot-2"]
        encode_value("the row", entry.value)

    asyncio.run(scenario())


@pytest.mark.parametrize(("count", "left_out"), [(49, 0), (50, 1)])
def test_a_host_of_before_may_have_more_than_it_tells_of(count: int, left_out: int) -> None:
    async def scenario() -> None:
        store, now = MemoryStore(), [100.0]
        await make_hosts("boot-2", store, now).beat()
        row = dict(store.entries["hosts/boot-2"].value)
        del row["left_out"]
        row["releases"] = [{"id": CURRENT.id, "tag": None, "marks": []}] * count
        await store.put("hosts/boot-2", row)
        _, row = await make_hosts("boot-1", store, now).describe()
        assert row["left_out"] == left_out

    asyncio.run(scenario())


def test_what_a_host_lacks_is_told_where_it_tells_of_all_that_it_has() -> None:
    async def list_none() -> Sequence[StagedRelease]:
        return []

    async def scenario() -> None:
        store, now = MemoryStore(), [100.0]
        wanted = {"boot-v2": ["lab", "runners"]}
        await make_hosts("boot-2", store, now, releases=list_none).beat()
        await make_hosts("boot-3", store, now, releases=list_none).beat()
        row = store.entries["hosts/boot-3"].value
        await store.put("hosts/boot-3", {**row, "left_out": 1})
        rows = await make_hosts("boot-1", store, now, wanted=lambda: wanted).describe()
        assert [row["lacks"] for row in rows] == [
            [],
            [{"release": "boot-v2", "groups": ["lab", "runners"]}],
            [],
        ]

    asyncio.run(scenario())
