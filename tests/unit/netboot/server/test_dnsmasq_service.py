"""dnsmasq in a process of its own, with dnsmasq's place taken: reports, watchdog, reload, stop."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
from dataclasses import replace
from ipaddress import IPv4Address
from typing import TYPE_CHECKING, Any

import pytest
from support.fake_dnsmasq import FakeDnsmasq, ServiceManager, signals_restored
from support.served_case import ServedCase

from ectools.capabilities import Capability
from ectools.errors import EcError
from ectools.netboot.server import dnsmasq_service as module
from ectools.netboot.server.dnsmasq_service import serve_dnsmasq
from ectools.supervision import ChildFailedError, ChildState

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from pathlib import Path

    from ectools.netboot.settings.model import ServerSettings

GRANTS = (Capability.NET_ADMIN,)


class Case(ServedCase):
    """The service; ``scenario`` runs once dnsmasq does."""

    def __init__(self, directory: Path, manager: ServiceManager, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(directory, manager)
        self.patch = monkeypatch

    def serve(
        self,
        scenario: Callable[[FakeDnsmasq], Coroutine[Any, Any, None]],
        *,
        reports: Path | None = None,
        stops: bool = True,
    ) -> None:
        started: list[asyncio.Task[None]] = []

        async def play(dnsmasq: FakeDnsmasq) -> None:
            try:
                async with asyncio.timeout(60):
                    while "READY=1" not in self.manager.messages():  # noqa: ASYNC110
                        await asyncio.sleep(0)
                    await scenario(dnsmasq)
            finally:
                if stops:
                    os.kill(os.getpid(), signal.SIGTERM)

        def make(*arguments: Any, **options: Any) -> FakeDnsmasq:
            dnsmasq = FakeDnsmasq(*arguments, **options)
            started.append(asyncio.get_running_loop().create_task(play(dnsmasq)))
            return dnsmasq

        self.patch.setattr(module, "Dnsmasq", make)
        with signals_restored():
            serve_dnsmasq(self.load, reports=reports)
        for task in started:
            task.result()


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Case]:
    manager = ServiceManager(tmp_path / "notify", monkeypatch)
    case = Case(tmp_path / "state", manager, monkeypatch)

    def become(_: ServerSettings, *, with_dnsmasq: bool) -> tuple[Capability, ...]:
        case.calls.append(f"user, dnsmasq {with_dnsmasq}")
        return GRANTS

    def plan(settings: ServerSettings) -> str:
        case.calls.append(f"plan {settings.hostname}")
        return f"plan {settings.hostname}"

    monkeypatch.setattr(module, "become_boot_user", become)
    monkeypatch.setattr(module, "build_plan", plan)
    monkeypatch.setattr(module, "check_host", lambda settings: case.calls.append(f"host {settings.hostname}"))
    yield case
    manager.close()


class Reports:
    """The socket of the process that serves HTTP."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)
        self.found: list[Any] = []

    def read(self) -> list[Any]:
        while True:
            try:
                self.found.append(json.loads(self._socket.recv(4096)))
            except BlockingIOError:
                return self.found

    def close(self) -> None:
        self._socket.close()


def test_from_the_start_to_the_end(case: Case, tmp_path: Path) -> None:
    reports = Reports(tmp_path / "reports")

    async def scenario(dnsmasq: FakeDnsmasq) -> None:
        assert dnsmasq.plans == ["plan 192.0.2.10"]
        assert dnsmasq.grants == GRANTS
        dnsmasq.table.load(None)  # it is the service manager's to load
        await case.until(lambda: bool(reports.read()))
        figures = {"tftp": dnsmasq.tftp.to_json(), "clients": dnsmasq.clients.to_json()}
        assert reports.read() == [{"state": "running", "restarts": 3, **figures}]
        # A change is told at once, and what a client got.
        dnsmasq.state, dnsmasq.restarts = ChildState.RESTARTING, 4
        dnsmasq.changed(dnsmasq.state)
        dnsmasq.delivered("192.0.2.7", "ec-ipxe.efi")
        dnsmasq.offered("02:00:00:00:00:01")
        assert reports.read()[1:] == [
            {"state": "restarting", "restarts": 4, **figures},
            {"delivered": {"client": "192.0.2.7", "file": "ec-ipxe.efi"}},
            {"offered": {"mac": "02:00:00:00:00:01"}},
        ]

    case.serve(scenario, reports=reports.path)
    reports.close()
    assert case.calls == ["user, dnsmasq True", "plan 192.0.2.10", "host 192.0.2.10"]
    messages = case.manager.messages()
    assert messages[:2] == ["STATUS=starting", "READY=1"]
    assert "WATCHDOG=1" in messages
    assert "STATUS=dnsmasq is running; 3 restarts" in messages
    assert messages[-1] == "STOPPING=1"
    assert [line["restarts"] for line in case.lines("dnsmasq has stopped")] == [4]
    assert FakeDnsmasq.last.has_stopped


def test_without_anybody_to_report_to(case: Case) -> None:
    async def scenario(dnsmasq: FakeDnsmasq) -> None:
        dnsmasq.changed(ChildState.RUNNING)
        dnsmasq.delivered("192.0.2.7", "ec-ipxe.efi")
        dnsmasq.offered("02:00:00:00:00:01")

    case.serve(scenario)
    assert len(case.lines("dnsmasq has stopped")) == 1


def test_dnsmasq_that_is_given_up_ends_the_service(case: Case) -> None:
    async def scenario(dnsmasq: FakeDnsmasq) -> None:
        dnsmasq.ended.set_exception(ChildFailedError("dnsmasq died 6 times in a row"))

    with pytest.raises(ChildFailedError, match="6 times"):
        case.serve(scenario, stops=False)
    assert case.manager.messages()[-1] == "STOPPING=1"


def test_the_watchdog_is_fed_only_while_dnsmasq_answers_or_is_being_started(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "15000")
    limit = module._MOST_SILENT_SECONDS

    async def is_fed(dnsmasq: FakeDnsmasq, *, silent: float, state: ChildState = ChildState.RUNNING) -> bool:
        dnsmasq.state = state
        dnsmasq.answered = asyncio.get_running_loop().time() - silent
        before = len(case.manager.messages())
        await case.until(lambda: any(text.startswith("STATUS=") for text in case.manager.messages()[before:]))
        return "WATCHDOG=1" in case.manager.messages()[before:]

    async def scenario(dnsmasq: FakeDnsmasq) -> None:
        assert await is_fed(dnsmasq, silent=0)
        assert await is_fed(dnsmasq, silent=limit / 2)
        assert not await is_fed(dnsmasq, silent=limit + 1)
        assert await is_fed(dnsmasq, silent=limit + 1, state=ChildState.RESTARTING)
        dnsmasq.answered = None
        assert await is_fed(dnsmasq, silent=0)

    case.serve(scenario)


def test_how_long_silence_is_borne() -> None:
    """Some questions without an answer are the supervisor's to act upon."""
    assert module._MOST_SILENT_SECONDS == 60.0


def test_what_a_reload_may_change_and_what_it_may_not(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    prefix = "services.every-channel.netboot"
    checked: list[tuple[str, str]] = []

    def check(now: ServerSettings, before: ServerSettings) -> None:
        checked.append((now.hostname, before.hostname))
        if now.hostname == "192.0.2.66":
            raise EcError("there is no interface eth9")

    monkeypatch.setattr(module, "check_reloaded", check)
    settings = case.settings

    async def scenario(dnsmasq: FakeDnsmasq) -> None:
        for option, changed in (
            ("listenIP", replace(settings, listen_ip=IPv4Address("127.0.0.2"))),
            ("stateDir", replace(settings, state_dir=settings.state_dir / "other")),
        ):
            line = await case.reload(changed)
            assert line["reason"] == f"a restart is needed to change {prefix}.{option}"
        assert checked == []
        line = await case.reload(replace(settings, hostname="192.0.2.66"))
        assert line["reason"] == "there is no interface eth9"
        assert dnsmasq.plans == ["plan 192.0.2.10"]
        for name in ("192.0.2.98", "192.0.2.99"):
            line = await case.reload(replace(settings, hostname=name))
            assert line["level"] == "info"
            assert dnsmasq.plans[-1] == f"plan {name}"
        assert checked[-1] == ("192.0.2.99", "192.0.2.98")

    case.serve(scenario)


def test_a_stop_before_dnsmasq_serves_announces_nothing(case: Case) -> None:
    class Stopped(FakeDnsmasq):
        def running(self, *, unless: asyncio.Event) -> Any:
            unless.set()
            return super().running(unless=unless)

    case.patch.setattr(module, "Dnsmasq", Stopped)
    with signals_restored():
        serve_dnsmasq(case.load, reports=None)
    assert case.manager.messages() == ["STATUS=starting", "STOPPING=1"]
