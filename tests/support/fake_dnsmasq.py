"""In dnsmasq's place, a child that does what a test says; and a service manager that listens."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from typing import TYPE_CHECKING, Any

from ectools.netboot.dnsmasq.counts import ClientCounts
from ectools.netboot.dnsmasq.tftp_load import TftpFigures
from ectools.supervision import ChildState

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping
    from pathlib import Path

    import pytest


class FakeDnsmasq:
    """In the place of ``dnsmasq.process.Dnsmasq``; the last one made is ``last``."""

    last: FakeDnsmasq

    def __init__(
        self,
        plan: Any,
        *,
        delivered: Callable[[str, str], None],
        changed: Callable[[ChildState], None] = lambda _: None,
        table: Any = None,
        grants: Collection[Any] = (),
        offered: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.plans = [plan]
        self.delivered = delivered
        self.offered = offered
        self.changed = changed
        self.table = table
        self.grants = grants
        self.state = ChildState.RUNNING
        self.restarts = 3
        self.tftp = TftpFigures(transfers=2, max_transfers=40, sent=7)
        self.clients = ClientCounts()
        self.clients.offers["x64 UEFI"] = 2
        self.answered: float | None = None
        self.unless: asyncio.Event | None = None
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.has_stopped = False
        FakeDnsmasq.last = self

    def details(self) -> Mapping[str, Any]:
        return {"dnsmasq_restarts": self.restarts}

    def reconfigure(self, plan: Any) -> None:
        self.plans.append(plan)

    @contextlib.asynccontextmanager
    async def running(self, *, unless: asyncio.Event) -> AsyncIterator[asyncio.Future[None]]:
        self.unless = unless
        try:
            yield self.ended
        finally:
            self.has_stopped = True


class ServiceManager:
    """The other end of ``NOTIFY_SOCKET`` (sd_notify(3))."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)
        self._messages: list[str] = []
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        monkeypatch.delenv("WATCHDOG_USEC", raising=False)
        monkeypatch.delenv("WATCHDOG_PID", raising=False)

    def messages(self) -> list[str]:
        """All that came, without the clock of a reload."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self._messages.append(self._socket.recv(4096).decode().partition("\nMONOTONIC_USEC")[0])
        return self._messages

    def close(self) -> None:
        self._socket.close()


@contextlib.contextmanager
def signals_restored() -> Iterator[None]:
    """What serves ignores its signals once it has stopped: for the length of the block alone."""
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
