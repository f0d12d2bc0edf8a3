"""Stores that are shared over a NATS server, each with a directory of its own, for the length of a block."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from ectools.netboot.state import shared_link
from ectools.netboot.state.nats_access import NO_CREDENTIALS, NatsAddress
from ectools.netboot.state.nats_connection import open_bucket
from ectools.netboot.state.shared import SHARED_FILE, SharedStore
from ectools.netboot.state.shared_clock import SharedClock
from ectools.netboot.state.shared_link import SharedLink
from ectools.netboot.state.sqlite import SqliteStore
from ectools.supervision import tasks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
    from pathlib import Path

    import pytest

    from ectools.netboot.state.copy_place import UnsaidEntry
    from ectools.netboot.state.interface import StateEntry
    from ectools.netboot.state.nats_access import NatsCredentials
    from ectools.netboot.state.nats_bucket import NatsBucket


def take_mine(_key: str, _theirs: StateEntry, mine: UnsaidEntry) -> Mapping[str, Any] | None:
    """What was written here stands."""
    return mine.value


def count_tries(monkeypatch: pytest.MonkeyPatch) -> Sequence[object]:
    """Each try of a link to reach a server is one more of these."""
    tries: list[object] = []

    async def open_counted(*arguments: Any, **options: Any) -> Any:
        tries.append(arguments)
        return await open_bucket(*arguments, **options)

    monkeypatch.setattr(shared_link, "open_bucket", open_counted)
    return tries


@contextlib.asynccontextmanager
async def open_shared(
    directory: Path,
    url: str,
    *,
    bucket: str = "every-channel",
    clock: Callable[[], float] | None = None,
    reconcile: Any = take_mine,
    waits: bool = True,
    credentials: NatsCredentials = NO_CREDENTIALS,
) -> AsyncIterator[SharedStore]:
    """One host's; ``waits``: until it is attached. ``clock`` None: it is the server's."""
    clock = clock or SharedClock()
    directory.mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 - of a test
    store = SharedStore(SqliteStore(directory / SHARED_FILE, clock=clock), reconcile=reconcile, clock=clock)
    await store.start()
    link = SharedLink(
        store,
        NatsAddress(servers=(url,), bucket=bucket),
        credentials=lambda: credentials,
        tls=None,
        name=directory.name,
        clock=clock,
        measure=_measure(clock if isinstance(clock, SharedClock) else SharedClock()),
    )
    try:
        async with tasks(link.keep()) as (running,):
            if waits:
                await until(lambda: store.is_attached or running.done())
            if running.done():
                running.result()
            yield store
    finally:
        await store.close()


def _measure(clock: SharedClock) -> Callable[[NatsBucket], Awaitable[Any]]:
    return lambda bucket: clock.measure(bucket.ask_time)


async def until(condition: Callable[[], object], *, seconds: float = 60.0) -> None:
    """Wait for what comes by itself."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - whatever it is, nobody tells of it
            await asyncio.sleep(0.005)


async def until_there(
    ask: Callable[[], Any], wanted: Callable[[Any], object], *, seconds: float = 60.0
) -> Any:
    """As ``until``, of what has to be waited for itself; what ``ask`` gave at last."""
    async with asyncio.timeout(seconds):
        while not wanted(found := await ask()):  # noqa: ASYNC110 - likewise
            await asyncio.sleep(0.005)
    return found
