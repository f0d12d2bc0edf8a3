"""Machines that boot again and again from whichever of several boot hosts answers them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from support.storm_nodes import StormNode

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass
class MovingNode(StormNode):
    """A node that goes on to the next of ``servers`` where one does not answer, and rests between boots."""

    servers: Sequence[tuple[str, int]] = ()
    rest: float = 0.2
    boots: int = 0

    async def _boot(self) -> None:
        await super()._boot()
        self.boots += 1
        await asyncio.sleep(self.rest)

    async def _ask(self, method: str, target: str, *, body: str = "") -> tuple[int, bytes]:
        try:
            status, content = await super()._ask(method, target, body=body)
        except (OSError, asyncio.IncompleteReadError):
            self._move()
            raise
        if status == 503:
            self._move()
        return status, content

    def _move(self) -> None:
        self.server = self.servers[(self.servers.index(self.server) + 1) % len(self.servers)]
