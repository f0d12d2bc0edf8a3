"""The health of a guest while it runs: QEMU is asked for it, pauses are reported, the watchdog is fed.

QEMU answers QMP on its main loop, so an answer says that it is alive. The guest's run state says more
(``RunState`` of QEMU's qapi/run-state.json):

``running``, ``suspended``
    The guest is as it wants to be: at work, or asleep in ACPI S3.
``internal-error``
    KVM or QEMU cannot go on with this guest, and no command makes it.
``io-error``
    A disk failed or its file system is full; QEMU holds the guest and the request. Each turn sends ``cont``,
    which makes it try the request again.
all others
    Held by somebody: ``stop`` on a monitor, a debugger, a migration or a snapshot; or as ``extraArgs`` say:
    ``-no-shutdown``, ``-action panic=pause``. That is for a person to end.

The link of its LAN goes with the host's interface, and QEMU says nothing of it. Such a guest runs on, and is
reported: it has a LAN again once it is started anew.

A guest that is held is not alive, and no reason to kill it at once either: the watchdog is fed for
``HEALTH_PAUSE_SECONDS`` more.

All times are CLOCK_MONOTONIC's, which stands still while the host is suspended, as
the service manager's own watchdog does: a host that slept for a week costs no guest its life.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from typing import TYPE_CHECKING

from ectools import log
from ectools.supervision import tasks
from ectools.timers import Guard
from ectools.vm.qmp import QmpError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ectools.notify import Notifier
    from ectools.vm.guest import Guest
    from ectools.vm.status_line import StatusLine

_log = log.Log(__name__)

HEALTH_PAUSE_SECONDS = 24 * 3600.0
"""For so long the watchdog is fed for a guest that is held."""

ALIVE = frozenset({"running", "suspended"})
_BROKEN = "internal-error"
_DISK_FAILED = "io-error"
_POWERED_OFF = "shutdown"

_TURN_SECONDS = 15.0
# STOP and RESUME are looked at when they come, and many in a row no oftener than this.
_LEAST_TURN_SECONDS = 0.1
# An answer that takes longer is reported, and still counts when it comes: a disk that hangs holds up QEMU's
# main loop.
_SLOW_SECONDS = 20.0
_GIVE_UP_SECONDS = 120.0
_FIRST_REMINDER_SECONDS = 60.0
# For so long a guest that has powered itself off, and a connection that is gone, are taken for QEMU's end.
_END_SECONDS = 5.0
# A guest that was let go on after a disk's failure, and for so long did not stop again, runs.
_RETRY_SECONDS = 10.0


class Health:
    """The health of one guest. ``runs`` is what the status line says of one that does.

    ``is_linked`` says whether the link of its LAN is there, where it has one. ``clock`` gives seconds, as the
    loop's does.
    """

    def __init__(
        self,
        guest: Guest,
        *,
        notifier: Notifier,
        status: StatusLine,
        runs: str,
        is_linked: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._guest = guest
        self._notifier = notifier
        self._status = status
        self._runs = runs
        self._is_linked = is_linked
        self._lost_link = False
        self._clock = clock or asyncio.get_running_loop().time
        self._guard = Guard("the watch over the guest", clock=self._clock)
        self._pause: _Pause | None = None
        self._silent_since: float | None = None
        self._ending = False
        self._log_state = guest.record.report_state

    def end(self) -> None:
        """Have the status line say from now on that the guest is being stopped."""
        self._notifier.stopping()
        self._report("stopping the guest")
        self._ending = True

    async def watch(self) -> str:
        """Why the guest cannot go on, once it cannot. What a turn raises is logged, and the next one made."""
        seconds = _TURN_SECONDS
        if self._notifier.watchdog_seconds is not None:
            seconds = min(seconds, self._notifier.watchdog_seconds / 4)
        while True:
            self._guest.state_changed.clear()
            try:
                if (why := await self.turn()) is not None:
                    return why
            except QmpError as error:
                if not self._guest.qmp.connected:
                    await asyncio.sleep(_END_SECONDS)  # it is QEMU's end, mostly, and that ends this watch
                self._report_silent(error.message)
            except Exception as error:
                self._guard.report(error)
            await asyncio.sleep(min(seconds, _LEAST_TURN_SECONDS))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._guest.state_changed.wait()

    async def turn(self) -> str | None:
        """One question: why the guest cannot go on, or None. Raises QmpError where QEMU does not answer."""
        state = await self._ask()
        self._look_at_link()
        if state == _BROKEN:
            return state
        if state in ALIVE:
            self._notifier.alive()
            self._report_alive(state)
            return None
        return await self._look_at_pause(state)

    async def _ask(self) -> str:
        async with tasks(self._guest.status(seconds=_GIVE_UP_SECONDS)) as (asking,):
            await asyncio.wait({asking}, timeout=_SLOW_SECONDS)
            if not asking.done():
                self._report_silent(f"no answer on QMP for {_SLOW_SECONDS:g} s")
            state = str(await asking)
        if self._silent_since is not None:
            self._log_state(
                _log.info, "QEMU answers again", after_seconds=round(self._clock() - self._silent_since)
            )
            self._silent_since = None
            self._report(self._runs if self._pause is None else self._pause.describe(self._clock()))
        return state

    def _look_at_link(self) -> None:
        if not self._lost_link and not self._is_linked():
            self._lost_link = True
            self._runs += ", without its LAN"
            _log.error("the link of the guest's LAN is gone: the guest has none until it is started again")

    async def _look_at_pause(self, state: str) -> str | None:
        now = self._clock()
        if self._pause is None:
            self._pause = _Pause(since=now)
        pause = self._pause
        pause.state = state
        watched = self._notifier.watchdog_seconds is not None
        if watched and now - pause.since > HEALTH_PAUSE_SECONDS:
            return f"it has been held for {_show(now - pause.since)}: {state}"
        self._notifier.alive()
        if state == _POWERED_OFF and now - pause.since < _END_SECONDS:
            return None
        self._report(pause.describe(now))
        if now >= pause.remind_at:
            pause.remind_at = now + max(_FIRST_REMINDER_SECONDS, now - pause.since)
            left = (
                {"watchdog_seconds_left": round(pause.since + HEALTH_PAUSE_SECONDS - now)} if watched else {}
            )
            seconds = round(now - pause.since)
            self._log_state(_log.warning, "the guest is paused", status=state, paused_seconds=seconds, **left)
        if state == _DISK_FAILED:
            pause.retried_at = now
            with contextlib.suppress(QmpError):  # what is wrong then, the next turn sees
                await self._guest.qmp.execute("cont")
        return None

    def _report_alive(self, state: str) -> None:
        if self._pause is not None:
            if self._clock() - self._pause.retried_at < _RETRY_SECONDS:
                return  # it runs to its next request, which may fail as the last one did
            seconds = round(self._clock() - self._pause.since)
            self._log_state(_log.info, "the guest runs again", paused_seconds=seconds)
            self._pause = None
            self._notifier.ready()  # it may have been started paused
        self._report(self._runs if state == "running" else f"{self._runs}: {state}")

    def _report(self, text: str) -> None:
        if not self._ending:
            self._status.guest(text)

    def _report_silent(self, reason: str) -> None:
        if self._silent_since is None:
            self._silent_since = self._clock()
            self._log_state(_log.error, "QEMU does not answer", reason=reason)
            self._report("QEMU does not answer")


class _Pause:
    """One pause: its times by the clock, and the state in which the guest is held."""

    def __init__(self, *, since: float) -> None:
        self.since = since
        self.state = ""
        self.remind_at = since
        self.retried_at = -math.inf

    def describe(self, now: float) -> str:
        return f"the guest is paused ({self.state}) for {_show(now - self.since)}"


def _show(seconds: float) -> str:
    """To the minute: each change of the text is a message to the service manager."""
    minutes = int(seconds) // 60
    if minutes < 1:
        return "less than a minute"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
