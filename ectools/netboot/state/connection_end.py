"""The end of a connection to NATS: waited for, and why it came, as the server said it."""

from __future__ import annotations

import asyncio

from ectools.netboot.state.interface import StateUnreachableError

_MAX_SHOWN = 500


class ConnectionEnd:
    """One connection's. What is told first stays: what comes after it follows from it."""

    def __init__(self) -> None:
        self._event = asyncio.Event()
        self._why: str | None = None

    def set(self, why: str | None = None) -> None:
        """Nothing more can be said over it."""
        if self._why is None and not self._event.is_set():
            self._why = why
        self._event.set()

    def is_set(self) -> bool:
        """Whether it has come."""
        return self._event.is_set()

    async def wait(self) -> None:
        """Until it comes."""
        await self._event.wait()

    def explain(self) -> StateUnreachableError:
        """What whoever still uses it is told."""
        text = "the connection to NATS is at its end"
        if self._why is None:
            return StateUnreachableError(text)
        is_right = "permissions violation" in self._why.lower()
        hint = "docs/SCALING.md has the subjects that a user of NATS needs" if is_right else None
        return StateUnreachableError(f"{text}: {self._why[:_MAX_SHOWN]}", hint=hint)
