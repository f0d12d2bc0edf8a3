"""dnsmasq as a child: unprivileged, its log read, started anew where it dies, hangs or has another plan."""

from __future__ import annotations

import asyncio
import contextlib
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ectools import log
from ectools.capabilities import Capability
from ectools.ipxe.language import AUTOEXEC_NAME
from ectools.log_limit import LogLimit
from ectools.netboot.dnsmasq.check import build_environment
from ectools.netboot.dnsmasq.counts import ClientCounts
from ectools.netboot.dnsmasq.events import DnsmasqLog
from ectools.netboot.dnsmasq.hosts import follow_hosts
from ectools.netboot.dnsmasq.liveness import WatchedProcess, watch_liveness
from ectools.netboot.dnsmasq.tftp_load import TftpFigures, TftpWatch
from ectools.netboot.dnsmasq.transfer_limit import TransferShare
from ectools.outputs import Outputs, Tail
from ectools.privileges import NOBODY, find_directory_user
from ectools.processes import describe_exit, find_program, start_async
from ectools.supervision import ChildState, RestartPolicy, Supervisor, tasks

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping
    from pathlib import Path
    from typing import Any

    from ectools.netboot.dnsmasq.plan import DnsmasqPlan
    from ectools.netboot.dnsmasq.transfer_limit import TransferTable

_log = log.Log(__name__)

_START_SECONDS = 60.0
_STOP_SECONDS = 5.0
# HTTP goes on without TFTP, so it is tried again for ever.
_POLICY = RestartPolicy(longest_pause=30.0)


@dataclass(frozen=True, kw_only=True)
class DnsmasqUser:
    """As whom root starts dnsmasq. ``reads_all``: it may read files whoever they belong to."""

    uid: int
    gid: int
    reads_all: bool


def find_dnsmasq_user(directories: Iterable[Path]) -> DnsmasqUser:
    """The user who may write ``directories``; where root alone may: nobody, who reads what is root's.

    Whoever may write one of them chooses what is served from it, by a link too: that must not be more than
    what they may read. Raises UnsafeDirectoryError.
    """
    user = find_directory_user(*directories)
    if user.uid == 0:
        return DnsmasqUser(uid=NOBODY, gid=NOBODY, reads_all=True)
    return DnsmasqUser(uid=user.uid, gid=user.gid, reads_all=False)


def build_dnsmasq_argv(program: str, *, proxy: bool, identity: DnsmasqUser | None) -> list[str]:
    """dnsmasq's command line; the configuration comes on its standard input. ``identity`` None: as it is.

    It needs CAP_NET_BIND_SERVICE for TFTP's and DHCP's ports, and CAP_NET_ADMIN to be a DHCP server at all.
    From root it gets these, the right to read that its identity has, and no more.
    """
    argv = [program, "--conf-file=-"]
    if identity is None:
        return argv
    capabilities = ["net_bind_service"]
    if identity.reads_all:
        capabilities.append("dac_read_search")
    if proxy:
        capabilities.append("net_admin")
    granted = ",".join(["-all", *(f"+{capability}" for capability in capabilities)])
    setpriv = find_program("setpriv", hint="install util-linux: root starts dnsmasq as another user with it")
    return [
        *(setpriv, f"--reuid={identity.uid}", f"--regid={identity.gid}", "--clear-groups", "--no-new-privs"),
        *(f"--inh-caps={granted}", f"--ambient-caps={granted}", f"--bounding-set={granted}"),
        *("--pdeathsig=KILL", "--", *argv),
    ]


class Dnsmasq:
    """dnsmasq, kept running by a supervisor.

    ``delivered`` is called with a client and the file that it got, ``offered`` with the MAC address of
    firmware that was answered; ``changed`` with each new state.

    ``table``: the limit per address that this process loads and removes; None: somebody else does.
    ``grants``: those of this process's capabilities that dnsmasq gets where it needs them.
    """

    def __init__(
        self,
        plan: DnsmasqPlan,
        *,
        delivered: Callable[[str, str], None],
        changed: Callable[[ChildState], None] = lambda _: None,
        table: TransferTable | None = None,
        grants: Collection[Capability] = (),
        offered: Callable[[str], None] = lambda _: None,
    ) -> None:
        self._plan = plan
        self._delivered = delivered
        self._offered = offered
        self._table = table
        self._tftp = TftpWatch(
            plan.services.listen_ip, count_refused=lambda: None if table is None else table.count_rejected()
        )
        self._grants = frozenset(grants)
        self._replanned = asyncio.Event()
        self._tail = Tail()
        self._limit = LogLimit("dnsmasq")
        self._supervisor = Supervisor(self._run_once, what="dnsmasq", policy=_POLICY, changed=changed)
        self.clients = ClientCounts()
        """What its log tells of clients, over restarts."""
        self.pid: int | None = None
        self.answered: float | None = None
        """The loop's time of the last sign of life of the one that runs."""

    @property
    def state(self) -> ChildState:
        return self._supervisor.state

    @property
    def restarts(self) -> int:
        """How often it was started again because it had ended or hung."""
        return self._supervisor.restarts

    def details(self) -> Mapping[str, Any]:
        """Further fields of the health report."""
        return {"dnsmasq_restarts": self._supervisor.restarts, "tftp": self.tftp.to_json()}

    @property
    def tftp(self) -> TftpFigures:
        """What TFTP has on its hands, and what it could not do."""
        return self._tftp.figures(self._plan.services.max_transfers)

    def reconfigure(self, plan: DnsmasqPlan) -> bool:
        """Whether ``plan`` is another: then dnsmasq is started again, because it reads its plan only then."""
        if plan == self._plan:
            return False
        self._plan = plan
        self._replanned.set()
        return True

    @contextlib.asynccontextmanager
    async def running(self, *, unless: asyncio.Event) -> AsyncIterator[asyncio.Task[None]]:
        """dnsmasq for the length of the block, as ``Supervisor.running``: entered once it serves."""
        try:
            async with (
                tasks(self._tftp.run(self._find_running)),
                self._supervisor.running(unless=unless) as running,
            ):
                yield running
        finally:
            self._limit.close()
            if self._table is not None:
                await asyncio.to_thread(self._table.remove)

    def _find_running(self) -> tuple[int | None, int]:
        return self.pid, self._plan.services.max_transfers

    def _take_delivered(self, client: str, file: str) -> None:
        self._tftp.sent += 1
        self._delivered(client, file)

    def _take_lost(self, lines: int) -> None:
        self._tftp.lines_lost += lines

    async def _run_once(self, serves: Callable[[], None]) -> str | None:
        """One dnsmasq, to its end: how it ended, or None where it was ended for a new plan."""
        self._replanned.clear()
        self._tail = Tail()
        plan, started = self._plan, asyncio.Event()
        events = DnsmasqLog(
            started=started.set,
            delivered=self._take_delivered,
            limit=self._limit,
            root=plan.services.tftp_dir,
            lost=self._take_lost,
            counts=self.clients,
            offered=self._offered,
        )

        def on_line(line: str) -> None:
            if events.feed(line):
                self._tail.add(line)

        outputs = Outputs()
        identity = find_dnsmasq_user(plan.directories) if os.geteuid() == 0 else None
        if self._table is not None:
            uid = os.geteuid() if identity is None else identity.uid
            services = plan.services
            share = TransferShare(address=services.listen_ip, max_transfers=services.max_transfers, uid=uid)
            await asyncio.to_thread(self._table.load, share)
        proxy = plan.services.proxy is not None
        argv = build_dnsmasq_argv(plan.program, proxy=proxy, identity=identity)
        needed = {Capability.NET_BIND_SERVICE, *([Capability.NET_ADMIN] if proxy else [])}
        with _readable(plan.configuration) as configuration:
            try:
                async with start_async(
                    argv,
                    stdin=configuration,
                    # Who waits for a reader of its log serves nobody meanwhile.
                    stdout=await outputs.add(on_line, waits=False),
                    stderr=await outputs.add(on_line, waits=False),
                    env=build_environment(),
                    term_seconds=_STOP_SECONDS,
                    capabilities=self._grants & needed,
                ) as child:
                    outputs.release()
                    return await self._follow(child, started, outputs, serves)
            finally:
                self.pid = self.answered = None
                await outputs.finish(seconds=_STOP_SECONDS)

    async def _follow(
        self,
        child: asyncio.subprocess.Process,
        started: asyncio.Event,
        outputs: Outputs,
        serves: Callable[[], None],
    ) -> str | None:
        async with tasks(child.wait(), started.wait(), self._replanned.wait()) as (ended, serving, replanned):
            first = asyncio.FIRST_COMPLETED
            await asyncio.wait({ended, serving, replanned}, timeout=_START_SECONDS, return_when=first)
            if serving.done() and not ended.done():
                self.pid = child.pid
                _log.info("dnsmasq serves", pid=child.pid, proxy_dhcp=self._plan.services.proxy is not None)
                serves()
                hosts = self._plan.services.hosts_file
                following = [] if hosts is None else [follow_hosts(hosts, child.pid)]
                async with tasks(self._watch(child.pid), *following) as (hung, *_):
                    await asyncio.wait({ended, replanned, hung}, return_when=first)
                    if hung.done() and not ended.done():
                        return str(hung.result())
            if ended.done():
                await outputs.finish(seconds=_STOP_SECONDS)
                return self._describe_end(ended.result())
            # Within the block: at its end the tasks are cancelled, and then each of them is done.
            if replanned.done():
                _log.info("dnsmasq is started again with its new configuration")
                return None
            return f"it did not say within {_START_SECONDS:g} s that it serves"

    async def _watch(self, pid: int) -> str:
        services = self._plan.services
        loop = asyncio.get_running_loop()

        def answered() -> None:
            self.answered = loop.time()

        answered()
        watched = WatchedProcess(
            pid=pid,
            address=services.listen_ip,
            directory=services.tftp_dir,
            files=(AUTOEXEC_NAME, *(offer.filename for offer in services.offers)),
            max_transfers=services.max_transfers,
        )
        return await watch_liveness(watched, answered=answered)

    def _describe_end(self, status: int) -> str:
        lines = self._tail.lines()
        if not self._supervisor.served.is_set():
            return describe_exit(status) + "".join(f"\n  {line}" for line in lines)
        return ": ".join([describe_exit(status), *lines[-1:]])


@contextlib.contextmanager
def _readable(text: str) -> Iterator[int]:
    """A descriptor from which ``text`` can be read once."""
    descriptor = os.memfd_create("dnsmasq.conf", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)
