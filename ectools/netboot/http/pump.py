"""Files → sockets: sendfile in slices, in turn, a bounded amount per turn of the event loop.

asyncio's own ``loop.sendfile`` hands the whole remaining length to one system call per socket and turn, so that
with n fast readers a new connection waits for n socket buffers to fill, at each of the turns that it needs. Here
the sockets of all downloads have an epoll of their own, which the loop watches as one descriptor. Whoever can
take bytes queues up; each gets a slice, and after ``TURN_BYTES`` the loop sees to everything else first.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
from collections import deque
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ectools.netboot.http.webroot import OpenedFile

SLICE_BYTES = 1 << 20
TURN_BYTES = 2 << 20


class Abort(StrEnum):
    """Why a response was not sent to its end."""

    CLIENT_GONE = "client gone"
    CLIENT_STALLED = "client stalled"
    FILE_CHANGED = "file changed"
    FILE_UNREADABLE = "file unreadable"
    SHUTDOWN = "shutdown"


class Transfer:
    """One download in flight. ``ended`` gives None when all of it was sent, else why it was not."""

    __slots__ = ("ended", "file", "offset", "progress", "remaining", "sent", "socket")

    def __init__(self, socket: int, file: OpenedFile, *, offset: int, count: int) -> None:
        loop = asyncio.get_running_loop()
        self.socket = socket
        self.file = file
        self.offset = offset
        self.remaining = count
        self.sent = 0
        self.progress = loop.time()
        self.ended: asyncio.Future[Abort | None] = loop.create_future()


class Pump:
    """All downloads of one event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._epoll = select.epoll()
        self._transfers: dict[int, Transfer] = {}
        self._ready: deque[Transfer] = deque()
        self._turn_is_due = False
        self._loop.add_reader(self._epoll.fileno(), self._collect)

    def start(self, socket: int, file: OpenedFile, *, offset: int, count: int) -> Transfer:
        """Begin to send ``count`` bytes of ``file`` from ``offset`` on. Everything sent to it before must have left
        the process. The socket is duplicated: whoever closes the original cannot make the bytes go elsewhere.
        """
        transfer = Transfer(os.dup(socket), file, offset=offset, count=count)
        self._transfers[transfer.socket] = transfer
        self._epoll.register(transfer.socket, 0)
        self._ready.append(transfer)
        self._schedule_turn()
        return transfer

    def stop(self, transfer: Transfer, reason: Abort | None) -> None:
        """End a transfer where it stands; one that has ended keeps its outcome."""
        if transfer.ended.done():
            return
        transfer.ended.set_result(reason)
        del self._transfers[transfer.socket]
        # Explicitly, because the original descriptor keeps the registration alive (epoll(7), question 6).
        self._epoll.unregister(transfer.socket)
        os.close(transfer.socket)

    def stop_stalled(self, seconds: float) -> None:
        """End the transfers whose client has taken nothing for so long."""
        oldest = self._loop.time() - seconds
        for transfer in [found for found in self._transfers.values() if found.progress < oldest]:
            self.stop(transfer, Abort.CLIENT_STALLED)

    def close(self) -> None:
        """End everything."""
        for transfer in list(self._transfers.values()):
            self.stop(transfer, Abort.SHUTDOWN)
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()

    def _collect(self) -> None:
        for descriptor, _ in self._epoll.poll(0):
            self._ready.append(self._transfers[descriptor])
        if not self._turn_is_due:
            self._run_turn()

    def _schedule_turn(self) -> None:
        if not self._turn_is_due:
            self._turn_is_due = True
            self._loop.call_soon(self._run_turn)

    def _run_turn(self) -> None:
        self._turn_is_due = False
        left = TURN_BYTES
        while left > 0 and self._ready:
            transfer = self._ready.popleft()
            if not transfer.ended.done():
                left -= self._send_slice(transfer)
        if self._ready:
            self._schedule_turn()

    def _send_slice(self, transfer: Transfer) -> int:
        wanted = min(transfer.remaining, SLICE_BYTES)
        if wanted == transfer.remaining and _has_changed(transfer.file):
            # The client would hold a mixture of two files and take it for whole.
            self.stop(transfer, Abort.FILE_CHANGED)
            return 0
        try:
            sent = os.sendfile(transfer.socket, transfer.file.descriptor, transfer.offset, wanted)
        except BlockingIOError:
            sent = 0
        except ConnectionError:
            self.stop(transfer, Abort.CLIENT_GONE)
            return 0
        except OSError:
            self.stop(transfer, Abort.FILE_UNREADABLE)
            return 0
        else:
            if sent == 0:  # the file has become shorter
                self.stop(transfer, Abort.FILE_CHANGED)
                return 0
            transfer.progress = self._loop.time()
        transfer.offset += sent
        transfer.sent += sent
        transfer.remaining -= sent
        if transfer.remaining == 0:
            self.stop(transfer, None)
        elif sent == wanted:
            self._ready.append(transfer)
        else:
            # The socket is full. It reports itself again, once, when a good part of its buffer is free.
            self._epoll.modify(transfer.socket, select.EPOLLOUT | select.EPOLLONESHOT)
        return sent


def _has_changed(file: OpenedFile) -> bool:
    now = os.fstat(file.descriptor)
    return (now.st_size, now.st_mtime_ns) != (file.status.st_size, file.status.st_mtime_ns)
