"""Timers of an event loop that no exception ends.

A callback that schedules its next turn on its last line ends with its first exception, without a report: the
process looks healthy, and what the timer enforced is enforced no more. Here the next turn is scheduled before
the work is done. What the work raises is logged, with its traceback, and counted.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from ectools import log

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_log = log.Log(__name__)

_REPORT_SECONDS = 60.0
_FAILED_TURNS = 3
# Of a turn that lasts, because it follows something.
_GOES_WELL_SECONDS = 60.0


class CountsFailures(Protocol):
    """What has caught exceptions where none may get through."""

    @property
    def failures(self) -> int:
        """How many."""


class Guard:
    """A guard around callbacks of an event loop: their exceptions are logged, and go no further.

    One that repeats itself is logged once a minute, with the number that was not logged meanwhile.
    ``failures`` is the number of all. ``clock`` is monotonic, in seconds.
    """

    def __init__(self, name: str, *, clock: Callable[[], float]) -> None:
        self.name = name
        self.failures = 0
        self._clock = clock
        self._reported: float | None = None
        self._unreported = 0

    def call(self, work: Callable[..., object], *arguments: Any) -> bool:
        """Whether ``work``, which is called, returned. BaseExceptions pass."""
        try:
            work(*arguments)
        except Exception as error:
            self.report(error)
            return False
        return True

    def report(self, error: Exception) -> None:
        """Log an exception, unless one was logged within the last minute."""
        self.failures += 1
        now = self._clock()
        if self._reported is not None and now - self._reported < _REPORT_SECONDS:
            self._unreported += 1
            return
        _log.exception(
            "a fault of this program; it goes on",
            error,
            where=self.name,
            reason=f"{type(error).__name__}: {error}",
            unreported=self._unreported,
        )
        self._reported, self._unreported = now, 0


class Periodic:
    """A timer: ``work`` every ``seconds``, from ``start`` to ``stop``. A late turn is not made up for.

    ``last_success`` is the loop's time at which a turn last returned, None before the first.
    """

    def __init__(self, work: Callable[[], object], *, seconds: float, name: str) -> None:
        self._loop = asyncio.get_running_loop()
        self._work = work
        self._seconds = seconds
        self._handle: asyncio.TimerHandle | None = None
        self.guard = Guard(name, clock=self._loop.time)
        self.last_success: float | None = None

    def start(self) -> None:
        """Do the work now, and from now on."""
        self.stop()
        self._turn()

    def stop(self) -> None:
        """No further turn."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def is_late(self, *, periods: float = 3.0, grace: float = 5.0) -> bool:
        """Whether no turn has returned for more than so many periods and ``grace`` seconds."""
        if self._handle is None or self.last_success is None:
            return True
        return self._loop.time() - self.last_success > periods * self._seconds + grace

    def _turn(self) -> None:
        # First of all: nothing that the work does can lose the next turn.
        self._handle = self._loop.call_later(self._seconds, self._turn)
        if self.guard.call(self._work):
            self.last_success = self._loop.time()


class Jobs:
    """What ``repeat`` does for one program, and which of it fails again and again. ``clock`` is monotonic."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._jobs: list[_Job] = []
        self._failures = 0

    @property
    def failures(self) -> int:
        """How many turns have raised an exception, also of what is repeated no more."""
        return self._failures

    async def repeat(self, work: Callable[[], Awaitable[object]], *, seconds: float, name: str) -> None:
        """``Periodic`` for what has to be waited for: until cancelled, ``seconds`` between two turns."""
        job = _Job(guard=Guard(name, clock=self._clock))
        self._jobs.append(job)
        try:
            while True:
                job.began = self._clock()
                try:
                    await work()
                except Exception as error:
                    is_long = self._clock() - job.began > _GOES_WELL_SECONDS
                    job.failed = 1 if is_long else job.failed + 1
                    job.guard.report(error)
                    self._failures += 1
                else:
                    job.failed = 0
                job.began = None
                await asyncio.sleep(seconds)
        finally:
            self._jobs.remove(job)

    def list_failing(self) -> list[str]:
        """The names of those whose last turns have all failed, and which have not gone well since."""
        now = self._clock()
        return sorted(
            job.guard.name
            for job in self._jobs
            if job.failed >= _FAILED_TURNS and (job.began is None or now - job.began <= _GOES_WELL_SECONDS)
        )


@dataclass(kw_only=True, eq=False)
class _Job:
    guard: Guard
    began: float | None = None
    failed: int = 0


def report_unseen_failures(loop: asyncio.AbstractEventLoop) -> None:
    """The loop's exception handler from here on: unretrieved exceptions are in this program's own log.

    By default they are in asyncio's, which nobody reads here. This is a last resort: what runs for long has a
    ``Guard`` of its own.
    """

    def report(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        event = str(context.get("message") or "a fault of this program")
        if isinstance(error, BaseException):
            _log.exception(event, error, reason=f"{type(error).__name__}: {error}")
        else:
            _log.error(event)

    loop.set_exception_handler(report)
