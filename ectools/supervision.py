"""The supervision of one child, which is started again where it ends; and tasks that end with their block.

``run_once``, the owner's, runs the child. Decided here: when it is started again, after how long, when it is
given up, and what is reported of it. A failure of the supervision itself counts as an end of the child.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from ectools import log
from ectools.errors import EcError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence

_log = log.Log(__name__)


class ChildState(StrEnum):
    """The state of a supervised child; the value is the word for people."""

    STARTING = "starting"
    RUNNING = "running"
    RESTARTING = "restarting"
    FAILED = "failed"


class ChildFailedError(EcError):
    """The end of the supervision: the first run did not serve, or the child is given up.

    ``message`` holds how the last run ended.
    """


@dataclass(frozen=True, kw_only=True)
class RestartPolicy:
    """Pauses in seconds: the first, doubled each time up to the longest.

    A child that ran for ``healthy_seconds`` was not dead on arrival: pauses and restarts are counted anew.
    After ``max_restarts`` in a row it is given up; None: never, once it has served.
    """

    first_pause: float = 0.2
    longest_pause: float = 60.0
    healthy_seconds: float = 60.0
    max_restarts: int | None = None


class Restarts:
    """The count of one child's restarts, by its policy. Pure."""

    def __init__(self, policy: RestartPolicy) -> None:
        self._policy = policy
        self.in_a_row = 0

    def reset(self) -> None:
        """Count from nothing: the run that ended was ended on purpose."""
        self.in_a_row = 0

    def count(self, *, ran_seconds: float) -> float | None:
        """The pause in seconds after a run, which is counted; None: the child is given up."""
        if ran_seconds >= self._policy.healthy_seconds:
            self.in_a_row = 0
        self.in_a_row += 1
        if self._policy.max_restarts is not None and self.in_a_row > self._policy.max_restarts:
            return None
        # The exponent is bounded, because a child may fail for years.
        doubled = self._policy.first_pause * 2.0 ** min(self.in_a_row - 1, 32)
        return float(min(doubled, self._policy.longest_pause))


class Supervisor:
    """The supervisor of one child; ``what`` names it in the log: ``dnsmasq``.

    ``run_once`` runs the child to its end. It is given a function to call once the child serves, and returns
    how the run ended, or None where it was ended on purpose and is to begin again at once. What it raises
    is how it ended: an EcError or OSError is the child's or the system's, and anything else a fault of
    this program, logged with its traceback.

    The states: STARTING until the first run serves, RUNNING while one serves, RESTARTING from its end until
    the next serves, FAILED at the end. ``changed`` is called with each new one. ``clock`` and ``sleep`` are
    the loop's; tests give others.
    """

    def __init__(
        self,
        run_once: Callable[[Callable[[], None]], Awaitable[str | None]],
        *,
        what: str,
        policy: RestartPolicy,
        changed: Callable[[ChildState], None] = lambda _: None,
        clock: Callable[[], float] | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._run_once = run_once
        self._what = what
        self._restarts = Restarts(policy)
        self._changed = changed
        self._clock = clock or asyncio.get_running_loop().time
        self._sleep = sleep
        self.state = ChildState.STARTING
        self.restarts = 0
        """How often it was started again because it had ended by itself."""
        self.served = asyncio.Event()
        """Set once the first run serves."""

    async def run(self) -> None:
        """The supervision, until it is cancelled.

        Raises ChildFailedError: the first run did not serve, or the child is given up.
        """
        while True:
            began = self._clock()
            how = await self._run_to_its_end()
            if how is None:
                self._restarts.reset()
                continue
            if not self.served.is_set():
                self._enter(ChildState.FAILED)
                raise ChildFailedError(f"{self._what} did not start: {how}")
            pause = self._restarts.count(ran_seconds=self._clock() - began)
            if pause is None:
                self._enter(ChildState.FAILED)
                raise ChildFailedError(f"{self._what} died {self._restarts.in_a_row} times in a row: {how}")
            self.restarts += 1
            self._enter(ChildState.RESTARTING)
            _log.error(
                f"{self._what} died; it is started again",
                how=how,
                pause_seconds=pause,
                restarts=self.restarts,
            )
            await self._sleep(pause)

    @contextlib.asynccontextmanager
    async def running(self, *, unless: asyncio.Event) -> AsyncIterator[asyncio.Task[None]]:
        """The child for the length of the block, which is entered once it serves, or ``unless`` is set.

        Gives the task that keeps it running, which ends only where the child is given up: by
        ChildFailedError. The same is raised here where the first run does not serve.
        """
        async with tasks(self.run(), self.served.wait(), unless.wait()) as (running, served, stopped):
            await asyncio.wait({running, served, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                running.result()
            yield running

    async def _run_to_its_end(self) -> str | None:
        try:
            return await self._run_once(self._serves)
        except EcError as error:
            return error.render()
        except OSError as error:  # no descriptors, no memory
            return error.strerror or str(error)
        except Exception as error:
            # A fault of ours must not end the supervision unseen.
            _log.exception(f"a fault of this program while it ran {self._what}", error)
            return f"{type(error).__name__}: {error}"

    def _serves(self) -> None:
        if self.served.is_set():
            _log.info(f"{self._what} serves again", restarts=self.restarts)
        self.served.set()
        self._enter(ChildState.RUNNING)

    def _enter(self, state: ChildState) -> None:
        if state is not self.state:
            self.state = state
            self._changed(state)


@contextlib.asynccontextmanager
async def tasks(*work: Coroutine[Any, Any, Any]) -> AsyncIterator[Sequence[asyncio.Task[Any]]]:
    """Tasks for the length of the block, in the order of ``work``: then they are cancelled and waited for.

    The exception of one that has failed is the block's to look at. One that nobody looked at is reported by
    the loop (``timers.report_unseen_failures``): a task is waited for here, and its result not taken.
    """
    running = [asyncio.create_task(each) for each in work]
    try:
        yield running
    finally:
        for task in running:
            # To cancel one that has failed would count as a look at its exception.
            if not task.done():
                task.cancel()
        if running:
            await asyncio.wait(running)
