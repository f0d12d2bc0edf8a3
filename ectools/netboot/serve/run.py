"""The boot server's life: look at the host, start HTTP and dnsmasq, watch, reload, stop."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ectools import log
from ectools.errors import EcError
from ectools.netboot.access import read_chain_tokens
from ectools.netboot.dnsmasq.check import check_services, find_dnsmasq, list_boot_files
from ectools.netboot.dnsmasq.model import BootServices, build_boot_services
from ectools.netboot.dnsmasq.process import Dnsmasq
from ectools.netboot.dnsmasq.render import render_configuration
from ectools.netboot.http.listen import bind_listener
from ectools.netboot.http.server import BootServer
from ectools.netboot.http.settings import HttpSettings
from ectools.netboot.ipxe.script import AUTOEXEC_NAME, build_autoexec
from ectools.netboot.release.store import ReleaseStore
from ectools.netboot.serve.host import check_address, check_host, check_proxy_ports, make_folders
from ectools.netboot.serve.site import BootSite, Rules
from ectools.netboot.settings import OPTION_PREFIX
from ectools.notify import Notifier

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Callable, Mapping

    from ectools.netboot.settings import Settings

_log = log.Log(__name__)

_LOOK_SECONDS = 5.0
# What a reload leaves as it is: sockets and folders are taken at the start.
_FIXED = {
    "listen_ip": "listenIP",
    "http_port": "httpPort",
    "state_dir": "stateDir",
    "max_connections": "maxConnections",
}


@dataclass(frozen=True, kw_only=True)
class Ready:
    """What serves, once it does. ``release`` is the id of the current one."""

    url: str
    ip: str
    port: int
    release: str | None


@dataclass(frozen=True, kw_only=True)
class _Plan:
    settings: Settings
    rules: Rules
    services: BootServices
    configuration: str
    program: str


def serve_boot(load: Callable[[], Settings], *, on_ready: Callable[[Ready], None]) -> None:
    """Serve until SIGTERM or SIGINT; SIGHUP has ``load`` read the settings again. Raises EcError."""
    plan = _prepare(load())
    assert plan.settings.listen_ip is not None  # noqa: S101 - _prepare has seen to it
    check_host(plan.settings)
    listener = bind_listener(str(plan.settings.listen_ip), plan.settings.http_port)
    # The loop is named, because a policy that somebody installed (uvloop's) would choose another.
    with (
        contextlib.closing(listener),
        asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner,
    ):
        runner.run(_serve(plan, load, listener, on_ready))


def _prepare(settings: Settings) -> _Plan:
    """Everything that can be known to be wrong before anything serves."""
    program = find_dnsmasq()
    make_folders(settings)
    rules = Rules.build(settings, read_chain_tokens(settings))
    present = list_boot_files(settings.tftp_dir)
    services = build_boot_services(settings, present=present)
    configuration = render_configuration(services)
    check_services(services, configuration, program=program)
    for name in sorted({settings.tftp_boot_filename, AUTOEXEC_NAME} - present):
        _log.warning(
            "a boot file is missing, and clients of TFTP will not get on",
            file=str(settings.tftp_dir / name),
            hint="`ectools netboot ipxe` writes it",
        )
    _warn_of_other_script(settings, rules.token)
    return _Plan(
        settings=settings, rules=rules, services=services, configuration=configuration, program=program
    )


def _warn_of_other_script(settings: Settings, token: str | None) -> None:
    """The first script is written by another command, and may name another host or send another token."""
    path = settings.tftp_dir / AUTOEXEC_NAME
    try:
        found = path.read_bytes()
    except OSError:
        return
    if found != build_autoexec(settings, token).encode("ascii"):
        _log.warning(
            "the first boot script is not what these settings make: it may send clients elsewhere, or with "
            "another token",
            file=str(path),
            hint="`ectools netboot ipxe` with the same settings writes it anew",
        )


async def _serve(
    plan: _Plan, load: Callable[[], Settings], listener: socket.socket, on_ready: Callable[[Ready], None]
) -> None:
    boot = _Boot(plan, load, listener, on_ready)
    loop = asyncio.get_running_loop()
    handlers: Mapping[signal.Signals, Callable[[], None]] = {
        signal.SIGTERM: boot.ask_to_stop,
        signal.SIGINT: boot.ask_to_stop,
        signal.SIGHUP: boot.reload,
    }
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    try:
        await boot.run()
    finally:
        for number in handlers:
            # One more signal must not make an orderly end a death on the last metres.
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)


class _Boot:
    """One boot server, while it runs."""

    def __init__(
        self,
        plan: _Plan,
        load: Callable[[], Settings],
        listener: socket.socket,
        on_ready: Callable[[Ready], None],
    ) -> None:
        self._plan = plan
        self._load = load
        self._on_ready = on_ready
        self._notifier = Notifier()
        self._stop = asyncio.Event()
        self._site = BootSite(ReleaseStore(plan.settings.state_dir), plan.rules, details=self._report)
        self._server = BootServer(
            HttpSettings(root=plan.settings.state_dir, max_connections=plan.settings.max_connections),
            listener=listener,
            gate=self._site.check,
            site=self._site,
        )
        self._dnsmasq = Dnsmasq(
            plan.program,
            plan.configuration,
            proxy=plan.services.proxy is not None,
            folders=(plan.settings.state_dir, plan.settings.tftp_dir),
            delivered=self._site.nodes.first_stage,
        )

    def ask_to_stop(self) -> None:
        """A second time: drop everything."""
        if self._stop.is_set():
            self._server.abort()
        self._stop.set()

    def reload(self) -> None:
        """Read settings and tokens again; what is wrong with them leaves the old ones in force."""
        if self._stop.is_set():
            return
        self._notifier.reloading()
        try:
            self._apply(_prepare(self._load()))
        except EcError as error:
            _log.error("the settings cannot be used; the old ones stay in force", reason=error.render())
        else:
            _log.info("the settings have been read again")
        self._notifier.ready()

    async def run(self) -> None:
        """Serve until asked to stop. Raises DnsmasqError where dnsmasq cannot be kept running."""
        settings = self._plan.settings
        self._notifier.status("starting")
        ip, port = self._server.start()
        try:
            async with self._run_dnsmasq() as serving:
                if serving:
                    release = self._site.refresh()
                    if release is None:
                        _log.warning(
                            "no release is staged: clients are asked to come again until one is",
                            state_dir=str(settings.state_dir),
                            hint="`ectools netboot stage` fetches one",
                        )
                    url = f"http://{settings.hostname}:{port}/"
                    _log.info("the boot server is ready", ip=ip, port=port, url=url)
                    ready = Ready(url=url, ip=ip, port=port, release=None if release is None else release.id)
                    self._on_ready(ready)
                    self._notifier.ready()
                    await self._watch()
        finally:
            await self._end()
        if self._dnsmasq.gave_up.done():
            raise self._dnsmasq.gave_up.result()

    @contextlib.asynccontextmanager
    async def _run_dnsmasq(self) -> AsyncIterator[bool]:
        """dnsmasq for the length of the block; whether it serves: it may give up, or a stop be asked for."""
        ready = asyncio.Event()
        running = asyncio.create_task(self._dnsmasq.run(ready))
        waiting = [asyncio.create_task(event.wait()) for event in (ready, self._stop)]
        try:
            await asyncio.wait({*waiting, running}, return_when=asyncio.FIRST_COMPLETED)
            yield ready.is_set() and not self._stop.is_set()
        finally:
            for task in (*waiting, running):
                task.cancel()
            await asyncio.gather(*waiting, running, return_exceptions=True)

    async def _watch(self) -> None:
        """Until a stop is asked for or dnsmasq gives up."""
        period = min(_LOOK_SECONDS, (self._notifier.watchdog_seconds or _LOOK_SECONDS * 2) / 2)
        stopping = asyncio.create_task(self._stop.wait())
        ends: set[asyncio.Future[Any]] = {stopping, self._dnsmasq.gave_up}
        try:
            while not any(end.done() for end in ends):
                self._site.sweep()
                self._notifier.alive()
                self._notifier.status(self._describe())
                await asyncio.wait(ends, timeout=period, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()

    async def _end(self) -> None:
        self._notifier.stopping()
        _log.info("stopping: downloads in flight may end; a second signal drops them")
        dropped = await self._server.drain()
        await self._server.close()
        self._site.close()
        _log.info("the boot server has stopped", dropped=dropped)

    def _apply(self, plan: _Plan) -> None:
        changed = [
            f"{OPTION_PREFIX}.{option}"
            for name, option in _FIXED.items()
            if getattr(plan.settings, name) != getattr(self._plan.settings, name)
        ]
        if changed:
            raise EcError(f"a restart is needed to change {', '.join(changed)}")
        if plan.settings.interface != self._plan.settings.interface:
            # Nothing is bound to it: but the next start would fail.
            assert plan.settings.listen_ip is not None  # noqa: S101 - it is what it was
            check_address(plan.settings.listen_ip, plan.settings.interface)
        if plan.services.proxy is not None and self._plan.services.proxy is None:
            check_proxy_ports()
        self._site.set_rules(plan.rules)
        self._dnsmasq.reconfigure(plan.configuration, proxy=plan.services.proxy is not None)
        self._plan = plan

    def _report(self) -> Mapping[str, Any]:
        return {"dnsmasq": self._dnsmasq.state, "proxy_dhcp": self._plan.services.proxy is not None}

    def _describe(self) -> str:
        release = self._site.refresh()
        serving = "no release is staged" if release is None else f"serving {release.title}"
        return f"{serving}; dnsmasq is {self._dnsmasq.state}; {self._site.nodes.boots} boots"
