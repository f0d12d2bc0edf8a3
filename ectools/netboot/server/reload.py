"""Reloads of the settings while serving: prepared off the event loop, applied on it, one after another."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Generic, TypeVar

from ectools import log
from ectools.errors import EcError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from ectools.notify import Notifier

_log = log.Log(__name__)

Plan = TypeVar("Plan")


class Reloader(Generic[Plan]):
    """The reloads of one service. ``prepare`` runs on another thread, ``apply`` on the loop.

    Both raise EcError where the settings cannot be used: the old ones stay in force.

    What is asked for during a reload is done after it, once. Once ``stop`` is set, nothing is.
    """

    def __init__(
        self,
        prepare: Callable[[], Plan],
        apply: Callable[[Plan], None],
        *,
        notifier: Notifier,
        stop: asyncio.Event,
    ) -> None:
        self._prepare = prepare
        self._apply = apply
        self._notifier = notifier
        self._stop = stop
        self._asked = asyncio.Event()
        self.error: str | None = None
        """Why the settings that were read last are not in force, on a line; None: they are."""

    def ask(self) -> None:
        """Read the settings again, soon."""
        if not self._stop.is_set():
            self._asked.set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """What is asked for is done for the length of the block, and before it not yet."""
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait({task})

    async def _run(self) -> None:
        while True:
            await self._asked.wait()
            self._asked.clear()
            await self._reload()

    async def _reload(self) -> None:
        self._notifier.reloading()
        try:
            plan = await asyncio.to_thread(self._prepare)
            if self._stop.is_set():
                return  # a manager that was told of the stop must not hear that this is ready
            self._apply(plan)
        except EcError as error:
            self.error = error.message.partition("\n")[0]
            _log.error("the settings cannot be used; the old ones stay in force", reason=error.render())
        except Exception as error:
            # A fault of ours must not end the reloads.
            self.error = f"a fault of this program: {type(error).__name__}"
            _log.exception("a fault of this program; the old settings stay in force", error)
        else:
            self.error = None
            _log.info("the settings have been read again")
        if not self._stop.is_set():
            self._notifier.ready()
