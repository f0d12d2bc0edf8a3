"""A connection of the HTTP server between a transport and an inner protocol that note what they are told."""

from __future__ import annotations

import asyncio
import socket
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

from support.still_loop import StillLoop, run_still

from ectools.netboot.http.admission import Admission
from ectools.netboot.http.connection import (
    Connection,
    Hooks,
)
from ectools.netboot.http.sendfile import Abort
from ectools.netboot.http.slots import Use

if TYPE_CHECKING:
    from collections.abc import Callable

    from ectools.netboot.http.sendfile import SendfileScheduler
    from ectools.netboot.http.webroot import OpenedFile

HEADER = b"GET / HTTP/1.1\r\nHost: b\r\n\r\n"


class Inner(asyncio.Protocol):
    """aiohttp's place."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.calls.append("made")

    def data_received(self, data: bytes) -> None:
        self.data += data

    def eof_received(self) -> bool | None:
        self.calls.append("eof")
        return None

    def pause_writing(self) -> None:
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self.calls.append("resume")

    def connection_lost(self, exc: BaseException | None) -> None:
        self.calls.append(f"lost {exc}")


class Transport:
    """A socket's transport."""

    def __init__(self) -> None:
        self.written = b""
        self.calls: list[str] = []
        self.eof_error: OSError | None = None
        self.closing = False
        self.high: int | None = None
        self.socket = socket.socket()

    def get_extra_info(self, name: str) -> object:
        return {"peername": ("::ffff:192.0.2.7", 4711, 0, 0), "socket": self.socket}[name]

    def set_write_buffer_limits(self, *, high: int) -> None:
        self.high = high

    def is_closing(self) -> bool:
        return self.closing

    def write(self, data: bytes) -> None:
        self.written += data

    def write_eof(self) -> None:
        if self.eof_error is not None:
            raise self.eof_error
        self.calls.append("eof")

    def close(self) -> None:
        self.closing = True
        self.calls.append("close")

    def abort(self) -> None:
        self.closing = True
        self.calls.append("abort")


class Transfer:
    def __init__(self) -> None:
        self.on_complete: asyncio.Future[Abort | None] = asyncio.get_running_loop().create_future()
        self.sent = 0


class Scheduler:
    """Downloads that a test ends."""

    def __init__(self) -> None:
        self.waiting: set[object] = set()
        self.transfers: list[Transfer] = []
        self.begun: list[dict[str, Any]] = []
        self.stopped: list[Abort | None] = []
        self.rate: float | None = None
        self.measured: list[float] = []

    def start(self, number: int, file: OpenedFile, *, offset: int, count: int) -> Transfer:
        self.begun.append({"socket": number, "file": file, "offset": offset, "count": count})
        self.transfers.append(Transfer())
        return self.transfers[-1]

    def stop(self, transfer: Transfer, reason: Abort | None) -> None:
        if not transfer.on_complete.done():
            self.stopped.append(reason)
            transfer.on_complete.set_result(reason)

    def measure_rate(self, transfer: Transfer, seconds: float) -> float | None:
        assert transfer is self.transfers[-1]
        self.measured.append(seconds)
        return self.rate


class Case:
    """A connection with all around it; made on a running loop."""

    def __init__(self, *, connected: bool = True) -> None:
        self.inner = Inner()
        self.made = 0
        self.scheduler = Scheduler()
        self.admission = Admission(1)
        self.lost: list[Connection] = []
        self.rejected: list[HTTPStatus] = []
        hooks = Hooks(
            scheduler=cast("SendfileScheduler", self.scheduler),
            admission=self.admission,
            choose_retry_after=lambda: 7,
            lost=self.lost.append,
            rejected=lambda _, status: self.rejected.append(status),
        )
        self.connection = Connection(self._make, hooks, header_seconds=10.0)
        slot = self.admission.find_slot("192.0.2.7", 4711)
        assert slot is not None
        self.admission.enter(self.connection, slot)
        self.transport = Transport()
        if connected:
            self.connection.connection_made(cast("asyncio.Transport", self.transport))

    def _make(self) -> Inner:
        self.made += 1
        return self.inner

    @property
    def use(self) -> Use:
        return self.admission.slots.find_use(self.connection)

    def request(self, *, has_body: bool = False) -> None:
        """A request comes, and is taken up."""
        self.connection.data_received(HEADER)
        self.connection.begin(has_body=has_body)

    def close(self) -> None:
        self.transport.socket.close()


def within(scenario: Callable[[Case], None]) -> None:
    """Run it on a loop whose time stands still."""

    async def run() -> None:
        case = Case()
        try:
            scenario(case)
        finally:
            case.close()

    run_still(run())


def clock() -> StillLoop:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, StillLoop)
    return loop


async def send(case: Case) -> tuple[int, Abort | None]:
    return await case.connection.send_file(cast("OpenedFile", "file"), offset=3, count=5)
