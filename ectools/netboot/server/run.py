"""The boot server's life: look at the host, start HTTP and dnsmasq, watch, reload, stop.

dnsmasq may be another process's (``dnsmasq_service``): this one does HTTP alone then, and takes its reports.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ectools import log
from ectools.netboot.api.page.routes import mount_page
from ectools.netboot.dnsmasq.hosts import HostsKeeper
from ectools.netboot.dnsmasq.plan import DnsmasqPlan
from ectools.netboot.dnsmasq.process import Dnsmasq
from ectools.netboot.dnsmasq.reports import DnsmasqReports
from ectools.netboot.dnsmasq.transfer_limit import TransferTable
from ectools.netboot.fleet.live import LiveFleet
from ectools.netboot.http.garbage import settle_memory
from ectools.netboot.http.listen import bind_listener
from ectools.netboot.http.server import HttpServer
from ectools.netboot.http.settings import HttpSettings
from ectools.netboot.release.store import ReleaseStore
from ectools.netboot.rollout.slots import GroupSlots
from ectools.netboot.server.boot_records import BootRecords
from ectools.netboot.server.boot_user import become_boot_user
from ectools.netboot.server.fleet_service import FleetService
from ectools.netboot.server.host import check_address, check_host
from ectools.netboot.server.metrics import Remembered, render_metrics
from ectools.netboot.server.metrics_nodes import FiguresInForce
from ectools.netboot.server.plan import check_change, prepare_plan
from ectools.netboot.server.reload import Reloader
from ectools.netboot.server.rollout_service import RolloutService
from ectools.netboot.server.signals import handle_signals
from ectools.netboot.server.site import BootSite
from ectools.notify import Notifier
from ectools.supervision import ChildState, tasks
from ectools.timers import Jobs, report_unseen_failures

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Collection, Container, Mapping

    from ectools.capabilities import Capability
    from ectools.netboot.server.plan import BootServerPlan
    from ectools.netboot.settings.model import ServerSettings

_log = log.Log(__name__)

_LOOK_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class Ready:
    """What serves, once it does. ``release`` is the id of the current one."""

    url: str
    ip: str
    port: int
    release: str | None


def serve_boot(
    load: Callable[[], ServerSettings],
    *,
    on_ready: Callable[[Ready], None],
    dnsmasq_reports: Path | None = None,
    control_socket: Path | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT; SIGHUP has ``load`` read the settings again. Raises EcError.

    ``dnsmasq_reports``: dnsmasq is another process's, whose reports come to this socket. ``control_socket``:
    where who may use it looks after the fleet.
    """
    settings = load()
    grants = become_boot_user(settings, with_dnsmasq=dnsmasq_reports is None)
    plan = prepare_plan(settings, dnsmasq_reports)
    if dnsmasq_reports is None:
        check_host(settings)
    else:
        check_address(settings.listen_ip, settings.interface, origins=settings.origins)
    listener = bind_listener(str(settings.listen_ip), settings.http_port)
    # The loop is named, because a policy that somebody installed (uvloop's) would choose another.
    with (
        contextlib.closing(listener),
        asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner,
    ):
        runner.run(_serve(plan, load, listener, on_ready, grants=grants, control=control_socket))


async def _serve(
    plan: BootServerPlan,
    load: Callable[[], ServerSettings],
    listener: socket.socket,
    on_ready: Callable[[Ready], None],
    *,
    grants: Collection[Capability],
    control: Path | None,
) -> None:
    report_unseen_failures(asyncio.get_running_loop())
    boot = _Boot(plan, load, listener, on_ready, grants=grants, control=control)
    with handle_signals(stop=boot.ask_to_stop, reload=boot.reloader.ask):
        await boot.run()


class _Boot:
    """One boot server, while it runs."""

    def __init__(
        self,
        plan: BootServerPlan,
        load: Callable[[], ServerSettings],
        listener: socket.socket,
        on_ready: Callable[[Ready], None],
        *,
        grants: Collection[Capability],
        control: Path | None,
    ) -> None:
        self._plan = plan
        self._load = load
        self._on_ready = on_ready
        self._notifier = Notifier()
        self._stop = asyncio.Event()
        self._jobs = Jobs()
        self._records = BootRecords(
            plan.settings.fleet_dir, keep=self._find_kept, shared=plan.shared, jobs=self._jobs
        )
        releases = ReleaseStore(plan.settings.state_dir)
        clock, knows_time = self._records.clock, self._records.knows_time
        self._live = LiveFleet(self._records.store, clock=clock)
        self._rollouts = RolloutService(
            self._records.store,
            fleet=self._live,
            boots=self._records.boots,
            releases=releases,
            host=None if plan.shared is None else plan.shared.name,
            clock=clock,
            knows_time=knows_time,
            # What was said to nobody who knew the boot counts for nothing.
            is_cut_off=lambda: self._records.is_cut_off() or not self._records.boots.is_loaded,
            ticks=time.monotonic,
            jobs=self._jobs,
        )
        self._hosts = HostsKeeper(self._live)
        self._figures = FiguresInForce()
        self._site = BootSite(
            releases,
            plan.policy,
            details=self._report,
            boots=self._records.boots,
            live=self._live,
            rollouts=self._rollouts.rollouts,
            slots=GroupSlots(self._records.store, clock=clock),
            wall_clock=clock,
            is_cut_off=self._is_cut_off if plan.shared is not None else None,
        )
        self._server = HttpServer(
            HttpSettings(root=plan.settings.state_dir, max_connections=plan.settings.max_connections),
            listener=listener,
            access_check=self._site.check,
            router=self._site,
            classify=self._site.classify,
            receiver=self._site.receiver,
        )
        self._dnsmasq = self._build_dnsmasq(grants)
        self._trouble: str | None = None
        self._fleet = FleetService(
            plan.settings,
            fleet=self._live,
            rollouts=self._rollouts.rollouts,
            boots=self._records.boots,
            store=self._records.store,
            releases=releases,
            pin=self._rollouts.keep,
            is_shared=plan.shared is not None,
            behind=self._records.count_behind,
            clock=clock,
            knows_time=knows_time,
            ahead=self._records.measure_ahead,
            health=self._describe_health,
            metrics=self._render_metrics,
            reload_error=lambda: self.reloader.error,
            tokens=plan.access_tokens,
            control=control,
            mount=[mount_page],
            jobs=self._jobs,
        )
        self._server.other_guards += [
            self._site.guard,
            self._records.store.guard,
            self._fleet.guard,
            self._jobs,
        ]
        self.reloader = Reloader(self._prepare, self._apply, notifier=self._notifier, stop=self._stop)

    def _build_dnsmasq(self, grants: Collection[Capability]) -> Dnsmasq | DnsmasqReports:
        delivered, offered = self._site.nodes.first_stage, self._site.nodes.offered
        plan = self._plan.dnsmasq
        if isinstance(plan, Path):
            return DnsmasqReports(plan, delivered=delivered, offered=offered)
        table = TransferTable.of_program(plan.services.listen_ip)
        return Dnsmasq(plan, delivered=delivered, offered=offered, table=table, grants=grants)

    def ask_to_stop(self) -> None:
        """A second time: drop everything."""
        if self._stop.is_set():
            self._server.abort()
        self._stop.set()

    async def run(self) -> None:
        """Serve until asked to stop. Raises ChildFailedError where dnsmasq does not start."""
        settings = self._plan.settings
        self._notifier.status("starting")
        # First: whoever reports would be told that its token is unknown.
        await self._records.start()
        await self._fleet.load()
        await self._rollouts.load()
        await self._hosts.keep(settings)
        hosts = self._jobs.repeat(
            lambda: self._hosts.keep(self._plan.settings), seconds=_LOOK_SECONDS, name="keeps dnsmasq's hosts"
        )
        async with self._records.running(), self._fleet.running(), self._rollouts.running(), tasks(hosts):
            await self._run(settings)

    async def _run(self, settings: ServerSettings) -> None:
        ip, port = self._server.start()
        await self._fleet.keep_open()
        try:
            async with self._dnsmasq.running(unless=self._stop) as dnsmasq:
                if not self._stop.is_set():
                    release = await self._site.refresh()
                    if release is None:
                        _log.warning(
                            "no release is staged: clients are asked to come again until one is",
                            state_dir=str(settings.state_dir),
                            hint="`ectools netboot stage` fetches one",
                        )
                    url = f"http://{settings.hostname}:{port}/"
                    _log.info("the boot server is ready", ip=ip, port=port, url=url)
                    ready = Ready(url=url, ip=ip, port=port, release=None if release is None else release.id)
                    settle_memory()
                    self._on_ready(ready)
                    self._notifier.ready()
                    async with self.reloader.running():
                        await self._watch(dnsmasq)
        finally:
            await self._end()

    async def _watch(self, dnsmasq: asyncio.Future[None]) -> None:
        """Until a stop is asked for. Raises what ends ``dnsmasq``."""
        period = min(_LOOK_SECONDS, (self._notifier.watchdog_seconds or _LOOK_SECONDS * 2) / 2)
        stopping = asyncio.create_task(self._stop.wait())
        ends: set[asyncio.Future[Any]] = {stopping, dnsmasq}
        try:
            while not any(end.done() for end in ends):
                await self._site.sweep()
                await self._fleet.keep_open()
                await self._look_after_itself(period)
                self._notifier.status(self._describe())
                await asyncio.wait(ends, timeout=period, return_when=asyncio.FIRST_COMPLETED)
            if dnsmasq.done():
                dnsmasq.result()
        finally:
            stopping.cancel()

    async def _look_after_itself(self, seconds: float) -> None:
        """Feed the service manager's watchdog, as long as this server answers itself."""
        trouble = await self._server.check_itself(seconds=seconds)
        if trouble is None:
            self._notifier.alive()
        elif trouble != self._trouble:
            _log.error("the boot server does not answer itself; its watchdog is not fed", reason=trouble)
        self._trouble = trouble

    async def _end(self) -> None:
        self._notifier.stopping()
        _log.info("stopping: downloads in flight may end; a second signal drops them")
        dropped = await self._server.drain()
        await self._server.close()
        await self._fleet.close()
        self._site.close()
        _log.info("the boot server has stopped", dropped=dropped)

    def _prepare(self) -> BootServerPlan:
        mine = self._plan.dnsmasq
        return prepare_plan(self._load(), mine if isinstance(mine, Path) else None)

    def _apply(self, plan: BootServerPlan) -> None:
        check_change(plan, self._plan)
        self._site.set_policy(plan.policy)
        self._fleet.set_tokens(plan.access_tokens)
        self._fleet.set_hosts(plan.settings)
        if isinstance(plan.dnsmasq, DnsmasqPlan) and isinstance(self._dnsmasq, Dnsmasq):
            self._dnsmasq.reconfigure(plan.dnsmasq)
        self._plan = plan

    def _is_cut_off(self) -> bool:
        return self._records.is_cut_off() or self._fleet.is_someone_missing

    def _find_kept(self) -> tuple[int, Container[str]]:
        return self._plan.settings.fleet.keep_boots, self._live.fleet.nodes

    def _report(self) -> Mapping[str, Any]:
        proxy = self._plan.settings.proxy_dhcp is not None
        state = {"dnsmasq": self._dnsmasq.state, "proxy_dhcp": proxy, **self._dnsmasq.details()}
        failing = self._jobs.list_failing()
        # It serves all the same: its own watchdog, which asks the boot port, does not end it for that.
        status = {"status": "degraded"} if failing else {}
        lacks = {"lacks": [each.describe() for each in self._fleet.unstaged]}
        # Neither is a reason to send nodes elsewhere: what is in force is served.
        stale = {"reload_error": self.reloader.error, "nodes_left_out": len(self._live.left_out)}
        return {**state, **self._records.describe(), **lacks, **stale, "failing": failing, **status}

    async def _describe_health(self) -> Mapping[str, Any]:
        root, of_site = await asyncio.gather(self._server.is_root_there(), self._site.report())
        status = {"status": "ok", "root": root, **self._server.describe(), **of_site}
        return status if root else {**status, "status": "failed"}

    def _render_metrics(self) -> str:
        return render_metrics(
            self._server,
            boots=self._site.nodes.boots,
            dnsmasq_up=self._dnsmasq.state is ChildState.RUNNING,
            dnsmasq_restarts=self._dnsmasq.restarts,
            tftp=self._dnsmasq.tftp,
            clients=self._dnsmasq.clients,
            release=self._site.release,
            is_reloaded=self.reloader.error is None,
            remembered=Remembered(
                nodes=self._figures.find(self._live.fleet, base=self._plan.policy.figures),
                overrides=self._live.overrides,
                register=self._records.boots,
                rollouts=self._rollouts.rollouts.rollouts,
                under_way=self._rollouts.rollouts.count_under_way(),
                unstaged=self._fleet.unstaged,
                left_out=len(self._live.left_out),
                store=self._records.store,
                clock_ahead=self._records.measure_ahead(),
            ),
        )

    def _describe(self) -> str:
        release = self._site.release
        serving = "no release is staged" if release is None else f"serving {release.title}"
        return f"{serving}; dnsmasq is {self._dnsmasq.state}; {self._site.nodes.boots} boots"
