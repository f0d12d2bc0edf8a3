"""What can be seen and done of the fleet while the boot server runs: its listeners, and who follows it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from functools import partial
from typing import TYPE_CHECKING

from ectools import log
from ectools.errors import EcError
from ectools.netboot.api.app import build_app, make_faults
from ectools.netboot.api.events import EventHub
from ectools.netboot.api.hosts import KnownHosts, find_own_names
from ectools.netboot.api.listeners import AppListener, bind_address, bind_control, show_address
from ectools.netboot.api.releases import StagedReleases
from ectools.netboot.api.rights import SocketRights, TokenRights
from ectools.netboot.api.unstaged import find_unstaged, list_group_releases
from ectools.netboot.api.view import FleetView
from ectools.netboot.fleet.kept import ADDED_NODES, OVERRIDES
from ectools.netboot.server.boot_hosts import BEAT_SECONDS, BootHosts
from ectools.netboot.server.shared_state import name_host
from ectools.netboot.state.interface import StateError
from ectools.supervision import tasks
from ectools.timers import Jobs

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
    from pathlib import Path
    from typing import Any

    from ectools.netboot.api.app import Mount
    from ectools.netboot.api.unstaged import UnstagedRelease
    from ectools.netboot.api.view import Boots
    from ectools.netboot.fleet.live import LiveFleet
    from ectools.netboot.release.store import ReleaseStore
    from ectools.netboot.rollout.live import LiveRollouts
    from ectools.netboot.settings.model import NetbootSettings
    from ectools.netboot.state.interface import StateStore

_log = log.Log(__name__)

_FOLLOW_AGAIN_SECONDS = 5.0
_FORGET_SECONDS = 3600.0
_LOOK_SECONDS = 30.0
_LOAD_SECONDS = 10.0  # a disk that hangs keeps no machine from booting


class FleetService:
    """The listeners of one boot server. ``control`` is the path of the control socket, None for none.

    ``health``, ``metrics`` and ``reload_error`` are as in ``FleetView``; ``tokens`` are ``fleet.listen``'s.
    ``is_shared``: other boot hosts have the same store; ``behind``, ``clock``, ``knows_time`` and ``ahead``
    are as in ``BootHosts``.
    """

    def __init__(
        self,
        settings: NetbootSettings,
        *,
        fleet: LiveFleet,
        rollouts: LiveRollouts,
        boots: Boots,
        store: StateStore,
        releases: ReleaseStore,
        pin: Callable[[str], Awaitable[None]],
        health: Callable[[], Awaitable[Mapping[str, Any]]],
        metrics: Callable[[], str],
        tokens: Sequence[str],
        control: Path | None,
        is_shared: bool = False,
        clock: Callable[[], float] = time.time,
        knows_time: Callable[[], bool] = lambda: True,
        ahead: Callable[[], float | None] = lambda: None,
        behind: Callable[[], tuple[int, int]] = lambda: (0, 0),
        reload_error: Callable[[], str | None] = lambda: None,
        mount: Sequence[Mount] = (),
        jobs: Jobs | None = None,
    ) -> None:
        self._jobs = jobs or Jobs()
        self.guard = make_faults()
        """Of all that is answered here."""
        staged = StagedReleases(releases, clock=time.monotonic)
        self.unstaged: Sequence[UnstagedRelease] = ()
        """What groups are to boot and this host has not staged, as of the last look."""
        self._hosts = BootHosts(
            name_host(settings),
            address=settings.base_url,
            store=store if is_shared else None,
            releases=staged.list,
            wanted=self._list_wanted,
            behind=behind,
            clock=clock,
            knows_time=knows_time,
            ahead=ahead,
        )
        self._is_shared = is_shared
        self._view = FleetView(
            fleet=fleet,
            rollouts=rollouts,
            boots=boots,
            store=store,
            pin=pin,
            releases=staged,
            hosts=self._hosts.describe,
            health=health,
            metrics=metrics,
            title=settings.hostname,
            clock=clock,
            reload_error=reload_error,
        )
        self._hub = EventHub(self._view)
        self._rights = TokenRights(tokens, clock=time.time)
        self._names = KnownHosts(_list_hosts(settings))
        self._mount = mount
        self._listeners: list[AppListener] = []
        address = settings.fleet.listen
        if address is not None:
            self._listeners.append(
                AppListener(
                    lambda: build_app(
                        self._view,
                        self._rights,
                        self._hub,
                        hosts=self._names,
                        mount=self._mount,
                        faults=self.guard,
                    ),
                    bind=lambda: bind_address(address),
                    what="the status listener",
                    where=show_address(address),
                    guard=self.guard,
                )
            )
        if control is not None:
            self._listeners.append(
                AppListener(
                    lambda: build_app(self._view, SocketRights(), self._hub, faults=self.guard),
                    bind=lambda: bind_control(control),
                    what="the control socket",
                    where=f"unix:{control}",
                    guard=self.guard,
                )
            )

    @property
    def is_someone_missing(self) -> bool:
        """As of ``BootHosts``."""
        return self._hosts.is_someone_missing

    def _list_wanted(self) -> Mapping[str, Sequence[str]]:
        return list_group_releases(self._view.fleet.fleet, self._view.rollouts.find_led)

    async def _look_for_unstaged(self) -> None:
        try:
            found = find_unstaged(self._list_wanted(), await self._view.releases.list())
        except EcError:  # the store cannot be read, which is told where it is used
            return
        for each in found:
            if each not in self.unstaged:
                _log.warning(
                    "what groups are to boot is not staged here: nodes get what they ran before, or wait",
                    release=each.release,
                    groups=each.groups,
                    hint="`ectools netboot stage` fetches it, and says why it cannot",
                )
        self.unstaged = found

    def set_tokens(self, tokens: Sequence[str]) -> None:
        """Other access tokens, from now on."""
        self._rights.set_tokens(tokens)

    def set_hosts(self, settings: NetbootSettings) -> None:
        """The names that other settings have, from now on."""
        self._names.set_names(_list_hosts(settings))

    async def load(self) -> None:
        """What was said of nodes before this start. A store that cannot be read is no reason not to boot."""
        try:
            async with asyncio.timeout(_LOAD_SECONDS):
                await self._view.fleet.load()
        except (StateError, TimeoutError) as error:
            reason = error.message if isinstance(error, StateError) else "the disk does not answer"
            hint = "who is held is not known: it is looked for again, all the time"
            _log.error("what was said of nodes cannot be read", reason=reason, hint=hint)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Changes are taken over and told for the length of the block."""
        fleet = self._view.fleet

        async def follow(prefix: str) -> None:
            with contextlib.suppress(StateError):  # the store has said so
                await fleet.follow(prefix)

        work = [
            self._jobs.repeat(
                partial(follow, prefix), seconds=_FOLLOW_AGAIN_SECONDS, name=f"follows {prefix}"
            )
            for prefix in (ADDED_NODES, OVERRIDES)
        ]
        work.append(
            self._jobs.repeat(
                self._look_for_unstaged, seconds=_LOOK_SECONDS, name="looks for what is not staged"
            )
        )
        telling = self._jobs.repeat(self._hub.run, seconds=_FOLLOW_AGAIN_SECONDS, name="tells of boots")
        if self._is_shared:
            work += [
                self._jobs.repeat(self._hosts.beat, seconds=BEAT_SECONDS, name="says that it is there"),
                self._jobs.repeat(self._hosts.forget, seconds=_FORGET_SECONDS, name="forgets hosts"),
            ]
        async with tasks(*work, telling):
            yield

    async def keep_open(self) -> None:
        """Open what is to be open and is not; to be called now and then."""
        for listener in self._listeners:
            await listener.keep_open()

    async def close(self) -> None:
        """Close the listeners, and what is open there."""
        self._hub.close()
        for listener in self._listeners:
            await listener.close()


def _list_hosts(settings: NetbootSettings) -> list[str]:
    return [settings.hostname, *find_own_names(), *settings.fleet.allowed_hosts]
