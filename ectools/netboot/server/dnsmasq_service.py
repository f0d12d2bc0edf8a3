"""dnsmasq by itself, under a service manager: TFTP and ProxyDHCP, with HTTP in another process.

That process needs no capability then. What it has to know comes to it as datagrams (``dnsmasq.reports``).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ectools import log
from ectools.errors import EcError
from ectools.netboot.dnsmasq.liveness import ANSWER_SECONDS, ASK_PAUSE_SECONDS
from ectools.netboot.dnsmasq.plan import DnsmasqPlan, build_plan
from ectools.netboot.dnsmasq.process import Dnsmasq
from ectools.netboot.dnsmasq.reports import REPORT_SECONDS, ReportSender
from ectools.netboot.dnsmasq.transfer_limit import TransferTable
from ectools.netboot.server.boot_user import become_boot_user
from ectools.netboot.server.host import check_host, check_reloaded
from ectools.netboot.server.reload import Reloader
from ectools.netboot.server.signals import handle_signals
from ectools.netboot.settings.model import NETBOOT_OPTIONS
from ectools.notify import Notifier
from ectools.supervision import ChildState
from ectools.timers import Periodic, report_unseen_failures

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from ectools.capabilities import Capability
    from ectools.netboot.settings.model import ServerSettings

_log = log.Log(__name__)

# dnsmasq is restarted by its supervisor before this: it is for a supervisor that does not.
_MOST_SILENT_SECONDS = 4 * (ASK_PAUSE_SECONDS + ANSWER_SECONDS)


def serve_dnsmasq(load: Callable[[], ServerSettings], *, reports: Path | None) -> None:
    """Serve until SIGTERM or SIGINT; SIGHUP has ``load`` read the settings again. Raises EcError."""
    settings = load()
    grants = become_boot_user(settings, with_dnsmasq=True)
    plan = build_plan(settings)
    check_host(settings)
    # The loop is named, because a policy that somebody installed (uvloop's) would choose another.
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        runner.run(_DnsmasqService.serve(settings, plan, load, reports, grants=grants))


class _DnsmasqService:
    """One dnsmasq, while it is kept running."""

    def __init__(
        self,
        settings: ServerSettings,
        plan: DnsmasqPlan,
        load: Callable[[], ServerSettings],
        reports: Path | None,
        *,
        grants: Collection[Capability],
    ) -> None:
        self._settings = settings
        self._plan = plan
        self._load = load
        self._notifier = Notifier()
        self._stop = asyncio.Event()
        self._reports = None if reports is None else ReportSender(reports)
        self._dnsmasq = Dnsmasq(
            plan,
            delivered=self._delivered,
            offered=self._offered,
            changed=lambda _: self._report_state(),
            table=TransferTable.of_unit(),
            grants=grants,
        )
        self._reloader = Reloader(self._prepare, self._apply, notifier=self._notifier, stop=self._stop)

    @classmethod
    async def serve(
        cls,
        settings: ServerSettings,
        plan: DnsmasqPlan,
        load: Callable[[], ServerSettings],
        reports: Path | None,
        *,
        grants: Collection[Capability],
    ) -> None:
        report_unseen_failures(asyncio.get_running_loop())
        service = cls(settings, plan, load, reports, grants=grants)
        with handle_signals(stop=service._stop.set, reload=service._reloader.ask):
            await service._run()

    async def _run(self) -> None:
        self._notifier.status("starting")
        period = min(REPORT_SECONDS, (self._notifier.watchdog_seconds or 60.0) / 3)
        turns = Periodic(self._turn, seconds=period, name="the report on dnsmasq")
        try:
            async with self._dnsmasq.running(unless=self._stop) as running, self._reloader.running():
                if not self._stop.is_set():
                    self._notifier.ready()
                    turns.start()
                    stopping = asyncio.create_task(self._stop.wait())
                    await asyncio.wait({stopping, running}, return_when=asyncio.FIRST_COMPLETED)
                    stopping.cancel()
                    if running.done():
                        running.result()
        finally:
            turns.stop()
            self._notifier.stopping()
            _log.info("dnsmasq has stopped", restarts=self._dnsmasq.restarts)

    def _turn(self) -> None:
        self._report_state()
        if self._is_alive():
            self._notifier.alive()
        self._notifier.status(f"dnsmasq is {self._dnsmasq.state}; {self._dnsmasq.restarts} restarts")

    def _is_alive(self) -> bool:
        """Whether dnsmasq answers, or is just being started again."""
        answered = self._dnsmasq.answered
        if self._dnsmasq.state is not ChildState.RUNNING or answered is None:
            return True
        return asyncio.get_running_loop().time() - answered < _MOST_SILENT_SECONDS

    def _report_state(self) -> None:
        if self._reports is not None:
            dnsmasq = self._dnsmasq
            self._reports.state(
                dnsmasq.state, restarts=dnsmasq.restarts, tftp=dnsmasq.tftp, clients=dnsmasq.clients
            )

    def _delivered(self, client: str, file: str) -> None:
        if self._reports is not None:
            self._reports.delivered(client, file)

    def _offered(self, mac: str) -> None:
        if self._reports is not None:
            self._reports.offered(mac)

    def _prepare(self) -> tuple[ServerSettings, DnsmasqPlan]:
        settings = self._load()
        return settings, build_plan(settings)

    def _apply(self, prepared: tuple[ServerSettings, DnsmasqPlan]) -> None:
        settings, plan = prepared
        for name, option in (("listen_ip", "listenIP"), ("state_dir", "stateDir")):
            if getattr(settings, name) != getattr(self._settings, name):
                raise EcError(f"a restart is needed to change {NETBOOT_OPTIONS}.{option}")
        check_reloaded(settings, self._settings)
        self._dnsmasq.reconfigure(plan)
        self._settings, self._plan = settings, plan
