"""What a desk of a boot server stands on: a real store, boots and a fleet, by a clock that the test moves."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from support.fleets import make_fleet

from ectools.netboot.boots.register import BootRegister
from ectools.netboot.fleet.live import LiveFleet
from ectools.netboot.fleet.roster import Roster
from ectools.netboot.state.interface import StateError
from ectools.netboot.state.sqlite import STATE_FILE, SqliteStore

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path


class DeskSite:
    """A boot server's state in ``directory``. ``reopen`` is its next start; ``down``: nothing can be written,
    ``is_readable``: what was kept is read at a start.

    Who tests a desk says in ``open_desk`` how that is made, and in ``document`` which fleet there is.
    """

    document: dict[str, Any]

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.now = 10_000.0
        self.down = False
        self.is_readable = True

    def open_desk(self) -> None:
        raise NotImplementedError

    async def open(self) -> None:
        self.store = SqliteStore(self.directory / STATE_FILE, clock=lambda: self.now)
        await self.store.start()
        put = self.store.put

        async def maybe(key: str, value: Any, *, expected: int | None = None) -> int:
            if self.down:
                raise StateError("the disk is full")
            return await put(key, value, expected=expected)

        self.store.put = maybe  # type: ignore[method-assign]
        self.boots = BootRegister(self.store, clock=lambda: self.now)
        if self.is_readable:
            await self.boots.load()
        self.fleet = LiveFleet(self.store, clock=lambda: self.now)
        self.set_fleet(self.document)
        if self.is_readable:
            await self.fleet.load()
        self.open_desk()

    def set_fleet(self, document: dict[str, Any]) -> None:
        fleet = make_fleet(**document)
        self.fleet.set_base(fleet, Roster(fleet), where="fleet.toml")

    async def reopen(self) -> None:
        await self.store.close()
        await self.open()


_S = TypeVar("_S", bound=DeskSite)


def run_at_desk(site: _S, scenario: Callable[[_S], Coroutine[Any, Any, None]]) -> None:
    """The scenario, with the site open."""

    async def inside() -> None:
        await site.open()
        try:
            async with asyncio.timeout(60):
                await scenario(site)
        finally:
            await site.store.close()

    asyncio.run(inside())
