"""A link that is ended while its connection ends by itself: no failure of a task is left unseen."""

from __future__ import annotations

import asyncio
import gc
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from ectools.netboot.state.connection_end import ConnectionEnd
from ectools.netboot.state.interface import StateUnreachableError
from ectools.netboot.state.nats_access import NO_CREDENTIALS, NatsAddress
from ectools.netboot.state.shared_link import SharedLink, _end_with_us, _next

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Coroutine


async def fail_at_its_end() -> None:
    """Whatever is done when the end comes is done over a connection that is at its own."""
    try:
        await asyncio.Event().wait()
    finally:
        raise StateUnreachableError("the connection to NATS is at its end")


async def iterate() -> AsyncIterator[None]:
    await fail_at_its_end()
    yield None


def run_and_cancel(work: Coroutine[Any, Any, Any]) -> list[str]:
    """What the loop is told of, where ``work`` is cancelled under way."""
    told: list[str] = []

    async def scenario() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context["message"]))
        task = asyncio.create_task(work)
        await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled() or isinstance(task.exception(), StateUnreachableError)
        del task
        gc.collect()

    asyncio.run(scenario())
    return told


def test_what_is_said_as_the_link_ends() -> None:
    bucket: Any = SimpleNamespace(closed=ConnectionEnd())
    link = SharedLink(
        SimpleNamespace(say=fail_at_its_end),  # type: ignore[arg-type]
        NatsAddress(servers=(), bucket="b"),
        credentials=lambda: NO_CREDENTIALS,
        tls=None,
        name="one",
        clock=lambda: 0.0,
        measure=lambda _: asyncio.sleep(0),
    )
    assert run_and_cancel(link._go_on(bucket, iterate(), iterate())) == []


def test_what_is_waited_for_as_the_link_ends() -> None:
    assert run_and_cancel(_end_with_us(fail_at_its_end())) == []
    bucket: Any = SimpleNamespace(closed=ConnectionEnd())
    assert run_and_cancel(_next(bucket, iterate())) == []
