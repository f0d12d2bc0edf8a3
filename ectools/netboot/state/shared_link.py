"""The link of a shared store to NATS: made, listened to, and made anew after growing pauses."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math
import random
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, TypeVar

from ectools import log
from ectools.netboot.state.interface import StateError
from ectools.netboot.state.nats_connection import open_bucket
from ectools.netboot.state.shared_clock import MEASURE_SECONDS
from ectools.netboot.state.shared_view import MARK_SECONDS
from ectools.netboot.state.stream_end import find_lasting
from ectools.netboot.state.unreadable import UnreadableLog
from ectools.supervision import tasks

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence

    from ectools.netboot.state.nats_access import NatsAddress, NatsCredentials
    from ectools.netboot.state.nats_bucket import NatsBucket, SharedChange, SharedEvent
    from ectools.netboot.state.shared import SharedStore
    from ectools.netboot.state.stream_end import CommonEnd, LostEnd

_log = log.Log(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.25, 10.0
"""Seconds between two tries; each pause is twice the one before."""
_HEARD_AT_ONCE = 256
_CANCEL_AGAIN_SECONDS = 0.1

_T = TypeVar("_T")


class SharedLink:
    """The link of one store. ``credentials`` gives those in force; ``name`` is what the server calls it.

    ``clock`` gives Unix seconds; ``measure`` sets it by the server's, or raises StateError.
    """

    def __init__(
        self,
        store: SharedStore,
        address: NatsAddress,
        *,
        credentials: Callable[[], NatsCredentials],
        tls: ssl.SSLContext | None,
        name: str,
        clock: Callable[[], float],
        measure: Callable[[NatsBucket], Awaitable[None]],
    ) -> None:
        self._store = store
        self._address = address
        self._credentials = credentials
        self._tls = tls
        self._name = name
        self._clock = clock
        self._measure = measure
        self._told: str | None = None
        self._unreadable = UnreadableLog()

    async def keep(self) -> None:
        """Until cancelled. Of what goes wrong the log has one line, until it goes well."""
        pause = FIRST_PAUSE
        servers = list(self._address.servers)
        random.shuffle(servers)
        for server in itertools.cycle(servers):
            if await _end_with_us(self._try(server)):
                pause = FIRST_PAUSE
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - not all hosts at once
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _try(self, server: str) -> bool:
        """Use one server for as long as that goes. Whether it went at all."""
        went = False
        try:
            bucket = await open_bucket(
                self._address,
                server,
                self._credentials(),
                self._tls,
                name=self._name,
                unreadable=self._unreadable,
            )
            try:
                await self._use(bucket, server)
            finally:
                went = self._store.is_attached
                self._store.attach(None, bucket.closed.explain().message)
                await bucket.close()
        except StateError as error:
            self._tell(error, server)
        return went

    def _tell(self, error: StateError, server: str) -> None:
        if self._told is None:
            _log.warning(
                "what the boot hosts share cannot be reached: nodes boot by what was known last",
                reason=error.message,
                server=server,
                hint=error.hint,
            )
        self._told = error.message
        self._store.attach(None, error.message)

    async def _use(self, bucket: NatsBucket, server: str) -> None:
        """Read what was missed, and then go on with both streams. Raises StateError."""
        store, view, place = self._store, self._store.view, self._store.copy.place
        is_long = self._clock() - place.at > MARK_SECONDS / 2
        ends = await bucket.find_ends()  # before anything is written that makes them longer
        common = await view.find_common(bucket)
        await self._measure(bucket)
        identity = await bucket.identify()
        lasting = None if place.identity is None else find_lasting(place.identity, identity)
        # The mark of what was deleted is taken away in time; of a key from behind a loss there was none.
        gone_after = lasting or 0 if view.is_whole and not is_long else math.inf
        lost = await view.find_loss(bucket, ends, common, gone_after=gone_after)
        # Put back from a copy, or its power was cut: what it has acknowledged is not on its disk at once.
        if place.identity == identity and lost is not None:
            identity = await bucket.renew_identity(identity, end=lost.end)
        if place.identity is not None and place.identity != identity:
            _log.warning("what the boot hosts share was lost by NATS: it is written again", server=server)
            await self._restore(find_lasting(place.identity, identity), lost, common)
        is_full = is_long or not view.is_whole or place.identity != identity
        place.identity = identity
        if is_full:
            view.begin_anew()
        entries = bucket.follow(after=place.sequence)
        events = bucket.follow_events(after=place.events)
        async with aclosing(entries), aclosing(events):
            present = await self._catch_up(bucket, entries)
            if is_full:
                await view.end_anew(present)
            store.attach(bucket)
            if self._told is not None:
                _log.info("what the boot hosts share can be reached again", server=server)
                self._told = None
            await self._go_on(bucket, entries, events)

    async def _restore(
        self, lasting: int | None, lost: LostEnd | None, common: tuple[CommonEnd | None, CommonEnd | None]
    ) -> None:
        """``lasting``: what others have seen to be left, None: nothing is; ``lost``: what this host has."""
        entries, events = (0 if each is None else each.sequence for each in common)
        # A host that has seen nothing of it was away: what it does not find was deleted meanwhile.
        after = max(lasting or 0, entries) if lost is None else lost.after
        await self._store.restore(after=0 if lasting is None else after, events=events)

    async def _catch_up(self, bucket: NatsBucket, entries: AsyncIterator[SharedChange | None]) -> set[str]:
        """The keys that there are, once all that was missed has been read."""
        present: set[str] = set()
        batch: list[SharedChange] = []
        while (change := await _next(bucket, entries)) is not None:
            batch.append(change)
            (present.discard if change.value is None else present.add)(change.key)
            if len(batch) >= _HEARD_AT_ONCE:
                await self._store.view.learn(batch)
                batch = []
        await self._store.view.learn(batch)
        return present

    async def _go_on(
        self,
        bucket: NatsBucket,
        entries: AsyncIterator[SharedChange | None],
        events: AsyncIterator[SharedEvent | None],
    ) -> None:
        failures: list[BaseException] = []
        running: Sequence[asyncio.Task[Any]] = ()
        try:
            async with tasks(
                self._hear(entries),
                self._hear_events(events),
                self._store.say(),
                self._go_on_measuring(bucket),
                bucket.closed.wait(),
            ) as running:
                await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        finally:
            # Each is looked at, also where this is ended while the connection comes to its own end.
            failures = [found for task in running if (found := _look_at(task)) is not None]
        for failure in failures:
            raise failure
        raise bucket.closed.explain()

    async def _go_on_measuring(self, bucket: NatsBucket) -> None:
        while True:
            await asyncio.sleep(MEASURE_SECONDS)
            await self._measure(bucket)

    async def _hear(self, entries: AsyncIterator[SharedChange | None]) -> None:
        async for change in entries:
            if change is not None:
                await self._store.view.learn([change])

    async def _hear_events(self, events: AsyncIterator[SharedEvent | None]) -> None:
        async for event in events:
            if event is not None:
                await self._store.hear_events([event])


async def _end_with_us(work: Coroutine[Any, Any, _T]) -> _T:
    """What ``work`` returns. It is cancelled as often as it takes: ``asyncio.wait_for`` of Python 3.11, which
    nats-py is full of, loses a cancellation where what is waited for ends in the same moment
    (https://github.com/python/cpython/issues/86296).
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task})
        return task.result()
    finally:
        while not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=_CANCEL_AGAIN_SECONDS)
        _look_at(task)


async def _next(bucket: NatsBucket, entries: AsyncIterator[SharedChange | None]) -> SharedChange | None:
    """The next change, or that there is none for now. Raises StateUnreachableError: no more will come."""
    coming = asyncio.ensure_future(anext(entries))
    closing = asyncio.ensure_future(bucket.closed.wait())
    try:
        await asyncio.wait({coming, closing}, return_when=asyncio.FIRST_COMPLETED)
        if not coming.done():
            raise bucket.closed.explain()
        return coming.result()
    except StopAsyncIteration:
        raise bucket.closed.explain() from None
    finally:
        closing.cancel()
        if not coming.done():
            coming.cancel()
            with contextlib.suppress(asyncio.CancelledError, StopAsyncIteration):
                await coming
        _look_at(coming)


def _look_at(task: asyncio.Future[Any]) -> BaseException | None:
    """How a task has failed, if it is done and has: one that nobody looks at is reported as a fault."""
    return task.exception() if task.done() and not task.cancelled() else None
