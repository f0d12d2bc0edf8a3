"""QEMU's end of a QMP connection, as a test wants it to answer."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from typing import TYPE_CHECKING, Any, cast

from ectools.outputs import Outputs
from ectools.vm.argv import Accelerator
from ectools.vm.guest import Guest, GuestLog

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

GREETING = {
    "QMP": {"version": {"qemu": {"micro": 0, "minor": 2, "major": 7}, "package": ""}, "capabilities": []}
}


class QmpServer:
    """Answers ``query-status`` with ``state``, once ``answering`` is set; ``answers`` has those of others,
    and ``errors`` what is answered with one.

    ``asked`` are the commands in their order; ``garbled`` is how many of the next answers hold nothing.
    One that does not greet (``greets``) hangs up at once. ``on_command`` is called with each command's name
    before it is answered.
    """

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._writer: asyncio.StreamWriter | None = None
        self.greets = True
        self.state = "running"
        self.answering = asyncio.Event()
        self.answering.set()
        self.answers: dict[str, Any] = {}
        self.errors: dict[str, str] = {}
        self.asked: list[str] = []
        self.on_command: Callable[[str], None] = lambda _: None
        self.garbled = 0

    def send_event(self, name: str, data: dict[str, Any] | None = None) -> None:
        self._say({"event": name, "data": data or {}, "timestamp": {"seconds": 1, "microseconds": 2}})

    def hang_up(self) -> None:
        assert self._writer is not None
        self._writer.close()

    async def run(self) -> None:
        reader, self._writer = await asyncio.open_connection(sock=self._channel)
        if not self.greets:
            self._writer.close()
            return
        self._say(GREETING)
        pending = ""
        while data := await reader.read(4096):
            pending += data.decode()
            # The client ends no line, and may ask again before it is answered.
            while pending:
                try:
                    command, end = json.JSONDecoder().raw_decode(pending)
                except ValueError:
                    break
                pending = pending[end:]
                await self._answer(command)

    async def _answer(self, command: dict[str, Any]) -> None:
        name = command["execute"]
        self.on_command(name)
        value: Any = self.answers.get(name, {})
        if name == "query-status":
            await self.answering.wait()
            value = {"status": self.state, "running": self.state == "running"}
        if name != "qmp_capabilities":
            self.asked.append(name)
            if self.garbled:
                self.garbled -= 1
                value = {}
        answer = {"return": value}
        if name in self.errors:
            answer = {"error": {"class": "GenericError", "desc": self.errors[name]}}
        self._say({**answer, "id": command["id"]} if "id" in command else answer)

    def _say(self, message: dict[str, Any]) -> None:
        assert self._writer is not None
        self._writer.write(json.dumps(message).encode() + b"\r\n")


@contextlib.asynccontextmanager
async def guest_without_qemu(
    *, process: object = None, accelerator: Accelerator = Accelerator.TCG, connected: bool = True
) -> AsyncIterator[tuple[Guest, QmpServer]]:
    """A guest whose QEMU is a ``QmpServer``, and whose process is ``process``."""
    ours, theirs = socket.socketpair()
    server = QmpServer(theirs)
    serving = asyncio.create_task(server.run())
    guest = Guest(
        process=cast("asyncio.subprocess.Process", process),
        accelerator=accelerator,
        channel=ours,
        record=GuestLog(),
        outputs=Outputs(),
    )
    if connected:
        await guest.connect()
    try:
        yield guest, server
    finally:
        server.answering.set()
        guest.record.close()
        await guest.qmp.close()
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        theirs.close()
