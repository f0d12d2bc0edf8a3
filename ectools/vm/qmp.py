"""QMP on a connected socket, by the QEMU project's own library, with this toolkit's errors."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING, Any

from qemu.qmp import EventListener, ExecuteError, QMPClient, QMPError, Runstate

from ectools.errors import EcError
from ectools.timers import Guard

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping

    from qemu.qmp import Message

# Its errors reach this toolkit as exceptions; on standard error they would be reported twice.
logging.getLogger("qemu.qmp").addHandler(logging.NullHandler())
logging.getLogger("qemu.qmp").propagate = False

_REPLY_SECONDS = 20.0
_CLOSE_SECONDS = 5.0
_REASON_LENGTH = 500


class QmpError(EcError):
    """QEMU did not answer, or answered with an error."""


class _Events(EventListener):
    """Hands every event on as it is read, whether its command's return has come yet or not."""

    def __init__(self, on_event: Callable[[str, Mapping[str, Any]], None]) -> None:
        super().__init__()
        self._on_event = on_event
        self._guard = Guard("an event of QEMU's", clock=time.monotonic)

    async def put(self, event: Message) -> None:
        # What is raised here would end the connection.
        data = event.get("data")
        self._guard.call(self._on_event, str(event["event"]), data if isinstance(data, dict) else {})


class Qmp:
    """One connection. ``on_event`` is called with each event's name and data, on the loop's thread."""

    def __init__(self, *, on_event: Callable[[str, Mapping[str, Any]], None]) -> None:
        self._client = QMPClient()
        # The library's own listener keeps every event for ever, and cannot be removed.
        self._client.events.event_filter = lambda _: False
        self._client.register_listener(_Events(on_event))

    async def connect(self, channel: socket.socket, *, seconds: float) -> None:
        """Greeting and negotiation. Raises QmpError, also where QEMU closes the socket because it dies."""
        try:
            async with asyncio.timeout(seconds):
                await self._client.connect(channel)
        except TimeoutError as error:
            raise QmpError(f"QEMU did not greet on QMP within {seconds:g} s") from error
        except (QMPError, OSError, EOFError) as error:
            raise QmpError(f"QEMU did not greet on QMP: {str(error)[:_REASON_LENGTH]}") from error

    @property
    def connected(self) -> bool:
        return self._client.runstate is Runstate.RUNNING

    async def execute(
        self,
        command: str,
        arguments: Mapping[str, object] | None = None,
        *,
        seconds: float = _REPLY_SECONDS,
    ) -> Any:
        """The command's return value. Raises QmpError, also where there is none within ``seconds``."""
        try:
            async with asyncio.timeout(seconds):
                return await self._client.execute(command, arguments)
        except ExecuteError as error:
            raise QmpError(f"QMP {command}: {str(error)[:_REASON_LENGTH]}") from error
        except TimeoutError as error:
            raise QmpError(f"QMP {command}: no answer within {seconds:g} s") from error
        except (QMPError, OSError, EOFError) as error:
            raise QmpError(f"QMP {command}: the connection is gone") from error

    async def drain(self) -> None:
        """Wait until QEMU's end is closed and every event before that has been handed on."""
        while self.connected:
            await self._client.runstate_changed()

    async def close(self) -> None:
        # disconnect() raises what ended the connection, which is QEMU's end. It waits until all commands have
        # been written, which a QEMU that hangs does not read.
        with contextlib.suppress(QMPError, OSError, EOFError, TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._client.disconnect()
