"""What a boot server remembers, while it runs: the store, the register of boots, and what keeps both up."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Any

from ectools import log
from ectools.netboot.boots.deadlines import FOREIGN_SECONDS
from ectools.netboot.boots.register import BootRegister
from ectools.netboot.rollout.listening import Listening
from ectools.netboot.server.shared_state import open_shared_store, take_over
from ectools.netboot.state.interface import StateError, StateUnreachableError
from ectools.netboot.state.shared_clock import SharedClock
from ectools.netboot.state.sqlite import STATE_FILE, SqliteStore
from ectools.supervision import tasks
from ectools.timers import Jobs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Container, Mapping
    from pathlib import Path

    from ectools.netboot.server.shared_state import SharedPlan
    from ectools.netboot.state.nats_bucket import NatsBucket
    from ectools.netboot.state.shared import SharedStore
    from ectools.netboot.state.shared_link import SharedLink

_log = log.Log(__name__)

_START_SECONDS = 10.0  # a disk that hangs keeps no machine from booting
_READ_SECONDS = 1.0
_WRITE_SECONDS = 0.5
_EXPIRE_SECONDS = 1.0
_PRUNE_SECONDS = 3600.0
_FOLLOW_SECONDS = 1.0


class BootRecords:
    """The records in one state directory.

    ``keep`` gives for how many days boots and events are remembered, and the names of the fleet's nodes, as
    they are then.
    ``shared``: with which other boot hosts they are shared; None: with none. ``clock`` is theirs then.
    """

    def __init__(
        self,
        directory: Path,
        *,
        keep: Callable[[], tuple[int, Container[str]]],
        shared: SharedPlan | None = None,
        clock: SharedClock | None = None,
        jobs: Jobs | None = None,
    ) -> None:
        self._jobs = jobs or Jobs()
        self._keep = keep
        self._directory = directory
        self.shared: SharedStore | None = None
        self._link: SharedLink | None = None
        self.store: SqliteStore | SharedStore
        if shared is None:
            self._shared_clock = None
            self.clock: Callable[[], float] = time.time
            self.store = SqliteStore(directory / STATE_FILE)
        else:
            self.clock = self._shared_clock = clock or SharedClock()
            self.shared, self._link = open_shared_store(
                directory, shared, clock=self.clock, measure=self._measure
            )
            self.store = self.shared
        self._listening = Listening(time.monotonic, is_cut_off=self.is_cut_off, clock=self.clock)
        self.boots = BootRegister(
            self.store,
            clock=self.clock,
            knows_time=self.knows_time,
            hears=self._hears_others,
            ticks=time.monotonic,
        )

    def describe(self) -> Mapping[str, Any]:
        """Fields of the health report. What cannot be written keeps no machine from booting."""
        behind, dropped = self.count_behind()
        shared: Mapping[str, Any] = {}
        if self.shared is not None:
            ahead = self.measure_ahead()
            told = None if ahead is None else round(ahead, 1)
            shared = {"state_unsaid": behind, "state_dropped": dropped, "state_clock_ahead": told}
        return {"state": self.store.trouble or "ok", "boots_unwritten": self.boots.unwritten, **shared}

    def is_cut_off(self) -> bool:
        """Whether other hosts' boots are not heard of at the moment."""
        return self.shared is not None and not self.shared.is_attached

    def _hears_others(self) -> bool:
        # Some seconds after it was cut off it has read what it has missed.
        return self._listening.look() and self._listening.seconds > FOREIGN_SECONDS

    def count_behind(self) -> tuple[int, int]:
        """How much of what was written here other hosts do not have, and how much they never will."""
        return (0, 0) if self.shared is None else (self.shared.unsaid, self.shared.dropped)

    def knows_time(self) -> bool:
        """Whether ``clock`` is what all go by who have the store: before, nothing of theirs is judged."""
        return self._shared_clock is None or self._shared_clock.is_known

    def measure_ahead(self) -> float | None:
        """Seconds by which this host's own clock is ahead; None: it has no other, or does not know it yet."""
        return None if self._shared_clock is None else self._shared_clock.ahead

    async def start(self) -> None:
        """Open the store, and read what boots it has; where that fails, it is tried again while it runs."""
        try:
            async with asyncio.timeout(_START_SECONDS):
                await self.store.start()
                await self._read()
        except (StateError, TimeoutError) as error:
            reason = error.message if isinstance(error, StateError) else "the disk does not answer"
            hint = "nodes of earlier boots are asked to come again; it is read as soon as that goes"
            _log.error("earlier boots are not known as yet", reason=reason, hint=hint)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """They are kept up for the length of the block; at its end what is in memory is written."""
        work = [
            self._jobs.repeat(self._read_again, seconds=_READ_SECONDS, name="reads what was remembered"),
            self._jobs.repeat(self.boots.write, seconds=_WRITE_SECONDS, name="writes boots"),
            self._jobs.repeat(
                self.boots.expire, seconds=_EXPIRE_SECONDS, name="looks for boots that have failed"
            ),
            self._jobs.repeat(self._prune, seconds=_PRUNE_SECONDS, name="forgets boots and events"),
        ]
        if self._link is not None:
            work += [
                self._jobs.repeat(
                    self._keep_link, seconds=_FOLLOW_SECONDS, name="is linked to the other hosts"
                ),
                self._jobs.repeat(self._follow, seconds=_FOLLOW_SECONDS, name="follows other hosts' boots"),
            ]
        try:
            async with tasks(*work):
                yield
        finally:
            await self._close()

    async def _read(self) -> None:
        """Raises StateError."""
        if self.shared is not None:
            await self.shared.load()
            await self._take_over(self.shared)
        await self.boots.load()

    async def _read_again(self) -> None:
        # However long it takes: a disk that hangs is not asked twice.
        if not self.boots.is_loaded:
            with contextlib.suppress(StateError):  # the store has said so
                await self._read()
                _log.info("earlier boots are known now", boots=len(self.boots.latest))

    async def _keep_link(self) -> None:
        # What the others have would be put over what is still to be said to them, and is not known as yet.
        if self._link is not None and self.boots.is_loaded:
            await self._link.keep()

    async def _follow(self) -> None:
        with contextlib.suppress(StateError):  # the store has said so
            await self.boots.follow()

    async def _take_over(self, shared: SharedStore) -> None:
        try:
            count = await take_over(self._directory, shared)
        except StateError as error:
            _log.error("what this host remembered for itself is not taken over", reason=error.message)
        else:
            if count:
                _log.info("what this host remembered for itself is shared from now on", entries=count)

    async def _measure(self, bucket: NatsBucket) -> None:
        assert self._shared_clock is not None  # noqa: S101 - else there is no link
        was_known = self.knows_time()
        moved = await self._shared_clock.measure(bucket.ask_time)
        if not self.knows_time():
            raise StateUnreachableError("NATS does not say what time it is", hint="it is asked again")
        if not was_known:
            # Before anything of it is said: others would have them late, or not begun.
            self.boots.move_own(moved)
            await self.boots.write()
            if self.shared is not None:
                await self.shared.copy.move_events(moved)

    async def _prune(self) -> None:
        if not self.knows_time():  # events have the others' times, too
            return
        days, nodes = self._keep()
        with contextlib.suppress(StateError):  # the store has said so
            await self.boots.prune(days=days, nodes=nodes)
            await self.store.prune("", before=self.clock() - days * 86400)

    async def _close(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_START_SECONDS):
                await self.boots.write()
        await self.store.close()
