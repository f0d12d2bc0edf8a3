"""A clock in place of the module ``time``, for what waits and measures."""

from __future__ import annotations


class Clock:
    """Goes on where somebody sleeps, and by ``step`` at each look; ``slept`` are all sleeps, in order."""

    def __init__(self, now: float = 1000.0, *, step: float = 0.0) -> None:
        self.now = now
        self.step = step
        self.slept: list[float] = []

    def monotonic(self) -> float:
        """Seconds, as of time.monotonic."""
        self.now += self.step
        return self.now

    def time(self) -> float:
        """Seconds since 1970."""
        return self.now

    def sleep(self, seconds: float) -> None:
        """Let so much time go by."""
        self.slept.append(seconds)
        self.now += seconds
