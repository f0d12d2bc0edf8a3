"""A child that a test ends when it wants to."""

from __future__ import annotations

import asyncio
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection


class FakeProcess:
    """``asyncio.subprocess.Process`` as far as its owner looks at it.

    It ends by ``end``, or by a signal of ``deadly``; ``received`` are the signals that were sent to it.
    """

    def __init__(
        self, *, pid: int = 1 << 30, deadly: Collection[int] = (signal.SIGTERM, signal.SIGKILL)
    ) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self.received: list[int] = []
        self._deadly = deadly
        self._ended = asyncio.Event()

    def end(self, returncode: int = 0) -> None:
        self.returncode = returncode
        self._ended.set()

    async def wait(self) -> int:
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode

    def terminate(self) -> None:
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        self._send(signal.SIGKILL)

    def _send(self, number: int) -> None:
        if self.returncode is not None:
            raise ProcessLookupError
        self.received.append(number)
        if number in self._deadly:
            self.end(-number)
