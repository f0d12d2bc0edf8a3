"""Rollouts while the boot server runs: decided at each boot that changes, and every second."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

from ectools import log
from ectools.errors import EcError
from ectools.netboot.fleet.model import CHANNEL_PREFIX
from ectools.netboot.release.channels import read_known
from ectools.netboot.release.pins import keep_led, set_led, withdraw
from ectools.netboot.release.tags import ReleaseTags
from ectools.netboot.rollout.live import LiveRollouts
from ectools.netboot.state.interface import StateError
from ectools.supervision import tasks
from ectools.timers import Jobs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from ectools.netboot.boots.register import BootRegister
    from ectools.netboot.fleet.live import LiveFleet
    from ectools.netboot.release.store import ReleaseStore
    from ectools.netboot.state.interface import StateStore

_log = log.Log(__name__)

_TURN_SECONDS = 1.0
_LOAD_SECONDS = 10.0  # a disk that hangs keeps no machine from booting
# That the host which has ended a rollout has to do what follows from it, before another one does.
_PATIENCE_SECONDS = 30.0
_MAX_BOOTS = 64
# That a rollout has to begin once its releases are kept for it.
_BEGIN_SECONDS = 60.0


class RolloutService:
    """The rollouts of one boot server, and what leads them on. ``host``: its name among others that lead them
    too; None: it is alone.

    ``clock``, ``knows_time``, ``is_cut_off`` and ``ticks`` are as in ``LiveRollouts``.
    """

    def __init__(
        self,
        store: StateStore,
        *,
        fleet: LiveFleet,
        boots: BootRegister,
        releases: ReleaseStore,
        host: str | None = None,
        clock: Callable[[], float] = time.time,
        knows_time: Callable[[], bool] = lambda: True,
        is_cut_off: Callable[[], bool] = lambda: False,
        ticks: Callable[[], float] | None = None,
        jobs: Jobs | None = None,
    ) -> None:
        self._jobs = jobs or Jobs()
        self._host = host
        self._boots = boots
        self._releases = releases
        self._fleet = fleet
        self._tags = ReleaseTags(releases)
        self._keeping = asyncio.Lock()
        self._beginning: dict[str, float] = {}  # a release's id → until when it is kept for that
        self._needed: frozenset[str] | None = None  # as it was written last
        self._trouble: str | None = None
        self._is_loaded = False
        self.rollouts = LiveRollouts(
            store,
            fleet=lambda: fleet.fleet,
            held=lambda node: _is_held(fleet, node),
            latest=lambda: boots.latest,
            list_boots=lambda node: boots.list_boots(node, limit=_MAX_BOOTS),
            withdraw=self._withdraw,
            clock=clock,
            knows_time=knows_time,
            is_cut_off=is_cut_off,
            ticks=ticks,
            find_release=self._find_release,
            count_channel=self._count_channel,
            host=host,
            patience=0.0 if host is None else _PATIENCE_SECONDS,
        )
        fleet.lead = self.rollouts.lead

    async def load(self) -> None:
        """What was under way before this start; where it cannot be read, it is tried again while it runs."""
        try:
            async with asyncio.timeout(_LOAD_SECONDS):
                await self._load()
        except (StateError, TimeoutError) as error:
            reason = error.message if isinstance(error, StateError) else "the disk does not answer"
            _log.error("rollouts cannot be read: nodes boot what the fleet says", reason=reason)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """They are led for the length of the block."""
        follow = self._jobs.repeat(self._follow, seconds=_TURN_SECONDS, name="follows boots for rollouts")
        turns = self._jobs.repeat(self.rollouts.turn, seconds=_TURN_SECONDS, name="leads rollouts")
        keeps = self._jobs.repeat(self._keep_needed, seconds=_TURN_SECONDS, name="keeps what rollouts need")
        loads = self._jobs.repeat(self._load_again, seconds=_TURN_SECONDS, name="reads rollouts")
        work = [loads, follow, turns, keeps]
        if self._host is not None:
            work.append(
                self._jobs.repeat(
                    self._follow_others, seconds=_TURN_SECONDS, name="follows other hosts' rollouts"
                )
            )
        async with tasks(*work):
            yield

    async def keep(self, release_id: str) -> None:
        """Keep a release from being collected, for a rollout that is about to begin. Raises EcError."""
        async with self._keeping:
            self._beginning[release_id] = time.monotonic() + _BEGIN_SECONDS
            await asyncio.to_thread(keep_led, self._releases, release_id)

    async def _keep_needed(self) -> None:
        """What rollouts need stays, and what a node was told to boot once; what none needs any more may be
        collected.
        """
        async with self._keeping:
            led, named = self.rollouts.list_needed(), self._fleet.list_ordered_releases()
            if led is None or named is None:  # whatever is kept stays so
                return
            now = time.monotonic()
            self._beginning = {name: until for name, until in self._beginning.items() if until > now}
            ordered = [await self._find_release(name) for name in sorted(named)]
            needed = led | self._beginning.keys() | {each for each in ordered if each is not None}
            if needed == self._needed:
                return
            try:
                await asyncio.to_thread(set_led, self._releases, needed)
            except EcError as error:
                if self._trouble != error.message:  # it is tried again, all the time
                    _log.warning("what rollouts need cannot be marked", reason=error.message)
                self._trouble = error.message
            else:
                self._needed, self._trouble = needed, None

    async def _load(self) -> None:
        await self.rollouts.load()
        self._is_loaded = True

    async def _load_again(self) -> None:
        # However long it takes: a disk that hangs is not asked twice.
        if not self._is_loaded:
            with contextlib.suppress(StateError):  # the store has said so
                await self._load()
                _log.info("rollouts are known now, and are led on", rollouts=len(self.rollouts.rollouts))

    async def _follow_others(self) -> None:
        with contextlib.suppress(StateError):  # the store has said so
            await self.rollouts.follow()

    async def _follow(self) -> None:
        changes = self._boots.changes()
        with contextlib.suppress(StateError):  # the store has said so; then all is looked at anew
            await self.rollouts.look_again()
            async for boot in changes:
                if boot is None:
                    await self.rollouts.look_again()
                else:
                    self.rollouts.see(boot)

    async def _find_release(self, name: str) -> str | None:
        try:
            return await asyncio.to_thread(self._tags.find_id, name)
        except EcError:  # staging says so
            return None

    async def _count_channel(self, channel: str, release_id: str) -> int | None:
        return await asyncio.to_thread(self._read_counter, channel, release_id)

    def _read_counter(self, channel: str, release_id: str) -> int | None:
        """The counter of the pointer by which a channel leads to a release; None: it is not known."""
        try:
            known = read_known(self._releases, channel.removeprefix(CHANNEL_PREFIX))
        except EcError:  # staging says so
            return None
        # Not the counter that was seen last: what that leads to may be on its way still.
        return None if known is None or known.release != release_id else known.release_counter

    async def _withdraw(self, release_id: str) -> None:
        await asyncio.to_thread(withdraw, self._releases, release_id)


def _is_held(fleet: LiveFleet, name: str) -> bool:
    node, override = fleet.fleet.nodes.get(name), fleet.get_override(name)
    return (node is not None and node.hold) or (override is not None and override.standing_hold is not None)
