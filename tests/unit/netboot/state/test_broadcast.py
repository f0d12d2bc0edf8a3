"""What changes, for each who listens."""

from __future__ import annotations

import asyncio
import gc

from ectools.netboot.state.broadcast import Broadcast


def test_each_listener_gets_what_is_published_from_then_on() -> None:
    async def run() -> None:
        broadcast: Broadcast[int] = Broadcast()
        first = broadcast.listen()
        broadcast.publish(1)
        second = broadcast.listen()
        broadcast.publish(2)
        assert [await anext(first), await anext(first)] == [1, 2]
        assert await anext(second) == 2

    asyncio.run(run())


def test_who_waits_is_woken() -> None:
    async def run() -> None:
        broadcast: Broadcast[int] = Broadcast()
        listener = broadcast.listen()
        waiting = asyncio.ensure_future(anext(listener))
        await asyncio.sleep(0)
        assert not waiting.done()
        broadcast.publish(7)
        assert await waiting == 7

    asyncio.run(run())


def test_who_is_too_slow_misses_all_and_is_told_so() -> None:
    async def run() -> None:
        broadcast: Broadcast[int] = Broadcast(max_unread=3)
        listener = broadcast.listen()
        for number in range(5):
            broadcast.publish(number)
        assert [await anext(listener), await anext(listener)] == [None, 4]

    asyncio.run(run())


def test_that_some_were_missed_is_told_once_until_it_is_read() -> None:
    async def run() -> None:
        broadcast: Broadcast[int] = Broadcast(max_unread=3)
        listener = broadcast.listen()
        for item in (None, None, 1, None, None):
            broadcast.publish(item)
        assert [await anext(listener) for _ in range(3)] == [None, 1, None]
        broadcast.publish(None)
        broadcast.publish(2)
        assert [await anext(listener), await anext(listener)] == [None, 2]

    asyncio.run(run())


def test_who_has_gone_is_forgotten() -> None:
    async def run() -> None:
        broadcast: Broadcast[int] = Broadcast()
        kept, given_up = broadcast.listen(), broadcast.listen()
        broadcast.publish(1)
        assert len(broadcast) == 2
        del given_up
        gc.collect()
        assert len(broadcast) == 1
        assert await anext(kept) == 1

    asyncio.run(run())
