"""What a boot server remembers, while it runs: the store, the register of boots, and what keeps both up."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from ectools import log
from ectools.netboot.boots.register import BootRegister
from ectools.netboot.state.interface import StateError
from ectools.netboot.state.sqlite import STATE_FILE, SqliteStore
from ectools.supervision import tasks
from ectools.timers import repeat

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Container, Mapping
    from pathlib import Path

_log = log.Log(__name__)

_START_SECONDS = 10.0  # a disk that hangs keeps no machine from booting
_WRITE_SECONDS = 0.5
_EXPIRE_SECONDS = 1.0
_PRUNE_SECONDS = 3600.0


class BootRecords:
    """The records in one state directory.

    ``keep`` gives for how many days boots are remembered, and the names of the fleet's nodes, as they are.
    """

    def __init__(self, directory: Path, *, keep: Callable[[], tuple[int, Container[str]]]) -> None:
        self._keep = keep
        self.store = SqliteStore(directory / STATE_FILE)
        self.boots = BootRegister(self.store)

    def describe(self) -> Mapping[str, Any]:
        """Fields of the health report. What cannot be written keeps no machine from booting."""
        return {"state": self.store.trouble or "ok", "boots_unwritten": self.boots.unwritten}

    async def start(self) -> None:
        """Open the store, and read what boots it has."""
        try:
            async with asyncio.timeout(_START_SECONDS):
                await self.store.start()
                await self.boots.load()
        except TimeoutError:
            _log.error("the disk does not answer: earlier boots are not known", seconds=_START_SECONDS)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """They are kept up for the length of the block; at its end what is in memory is written."""
        work = (
            repeat(self.boots.write, seconds=_WRITE_SECONDS, name="writes boots"),
            repeat(self.boots.expire, seconds=_EXPIRE_SECONDS, name="looks for boots that have failed"),
            repeat(self._prune, seconds=_PRUNE_SECONDS, name="forgets boots"),
        )
        try:
            async with tasks(*work):
                yield
        finally:
            await self._close()

    async def _prune(self) -> None:
        days, nodes = self._keep()
        with contextlib.suppress(StateError):  # the store has said so
            await self.boots.prune(days=days, nodes=nodes)

    async def _close(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_START_SECONDS):
                await self.boots.write()
        await self.store.close()
