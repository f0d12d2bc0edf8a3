"""Files → sockets: sendfile in slices, in turn, for a bounded time per turn of the event loop.

asyncio's own ``loop.sendfile`` hands the whole remaining length to one system call per socket and turn: with
n fast readers a new connection waits for n socket buffers to fill, at each of the turns that it needs. Here
the sockets of all downloads have an epoll of their own, which the loop watches as one descriptor. Whoever can
take bytes queues up, and each gets a slice. While there are downloads only, long turns and large slices spare
the processor; while anybody waits for something else, short ones let the loop come round to it.
``bench/http`` measures it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
from collections import defaultdict, deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from ectools.netboot.http.cache import file_identity
from ectools.netboot.http.send_buffer import count_unread
from ectools.timers import Guard

if TYPE_CHECKING:
    from collections.abc import Callable

    from ectools.netboot.http.webroot import OpenedFile

SLICE_BYTES = 4 << 20
TURN_SECONDS = 0.005
# While somebody waits: from its connection to its answer a client takes about six turns of the loop. A slice
# is about what a socket takes at once; with a quarter of it each byte costs an eighth more processor time,
# and with a quarter of the turn a few per cent, for a script that comes sooner than from nginx either way.
HURRIED_SLICE_BYTES = 2 << 20
HURRIED_TURN_SECONDS = 0.002
_DISK_READERS = 4
# What the kernel reads ahead at once (read_ahead_kb): seldom less of a file than that is in memory.
_PROBE_BYTES = 128 << 10
_PROBED_SECONDS = 2.0


class Abort(StrEnum):
    """Why a response was not sent to its end."""

    CLIENT_GONE = "client gone"
    CLIENT_STALLED = "client stalled"
    FILE_CHANGED = "file changed"
    FILE_UNREADABLE = "file unreadable"
    FAULT = "fault of the server"
    MADE_ROOM = "made room for others"
    NO_DESCRIPTOR = "out of descriptors"
    SHUTDOWN = "shutdown"


@dataclass(kw_only=True, eq=False, slots=True)
class Transfer:
    """One download in flight. ``on_complete`` gives None when all of it was sent, else why it was not.

    ``progress`` is the loop's time when the client last took something, ``unread`` what its socket held when
    that was last doubted; ``was_read`` says that the next slice was read from disk for it, ``watched`` that
    the socket is registered. Up to ``probed_to`` the file was seen in memory, at ``probed_at`` or later.
    ``measured``: when the client had taken how many bytes; ``rate``: in bytes per second, since then.
    """

    socket: int
    file: OpenedFile
    offset: int
    remaining: int
    progress: float
    on_complete: asyncio.Future[Abort | None]
    sent: int = 0
    unread: int | None = None
    was_read: bool = False
    probed_to: int = 0
    probed_at: float = float("-inf")
    watched: bool = False
    measured: tuple[float, int] | None = None
    rate: float | None = None


class SendfileScheduler:
    """The scheduler of all downloads of one event loop.

    ``waiting`` holds whoever waits for something else than a download, and for this loop: as long as anybody
    does, turns are short. That costs the downloads something, so that whoever waits for a disk, or has sent
    nothing for a while, is not in it.
    """

    def __init__(self) -> None:
        self.waiting: set[object] = set()
        self._loop = asyncio.get_running_loop()
        self.guard = Guard("downloads", clock=self._loop.time)
        """Of work for one transfer: an exception ends that transfer, and no other."""
        self._epoll = select.epoll()
        self._transfers: dict[int, Transfer] = {}
        self._ready: deque[Transfer] = deque()
        self._turn_is_due = False
        self._probe = bytearray(1)
        # By device, so that one that hangs holds up no other's files; there are few.
        self._readers: defaultdict[int, ThreadPoolExecutor] = defaultdict(
            lambda: ThreadPoolExecutor(_DISK_READERS, thread_name_prefix="disk")
        )
        self._loop.add_reader(self._epoll.fileno(), self._collect)

    def start(self, socket: int, file: OpenedFile, *, offset: int, count: int) -> Transfer:
        """Begin to send ``count`` bytes, at least one, of ``file`` from ``offset`` on.

        What was written to the socket before must have left the process. The socket is duplicated, so that
        closing it elsewhere cannot make the bytes go to whoever gets its number next.
        """
        transfer = Transfer(
            socket=os.dup(socket),
            file=file,
            offset=offset,
            remaining=count,
            progress=self._loop.time(),
            on_complete=self._loop.create_future(),
        )
        self._transfers[transfer.socket] = transfer
        self._enqueue(transfer)
        return transfer

    def stop(self, transfer: Transfer, reason: Abort | None) -> None:
        """End a transfer where it stands; one that has ended keeps its outcome."""
        if transfer.on_complete.done():
            return
        transfer.on_complete.set_result(reason)
        del self._transfers[transfer.socket]
        try:
            if transfer.watched:
                # Explicitly: the original descriptor would keep the registration alive (epoll(7), Q6).
                self._epoll.unregister(transfer.socket)
        finally:
            os.close(transfer.socket)

    def stop_stalled(self, seconds: float) -> None:
        """End the transfers whose client has taken nothing for so long."""
        oldest = self._loop.time() - seconds
        for transfer in [each for each in self._transfers.values() if each.progress < oldest]:
            self._guarded(self._stop_if_stalled, transfer)

    def _stop_if_stalled(self, transfer: Transfer) -> None:
        # A socket asks for more only when a third of its buffer is free, and for a slow client that takes a
        # while: what counts is whether the buffer has shrunk.
        unread = count_unread(transfer.socket)
        if transfer.unread is None or unread < transfer.unread:
            transfer.unread = unread
            transfer.progress = self._loop.time()
        else:
            self.stop(transfer, Abort.CLIENT_STALLED)

    def measure_rate(self, transfer: Transfer, seconds: float) -> float | None:
        """Bytes per second that the client has taken over the last ``seconds`` or more.

        None where it was not measured for so long yet: measuring begins with the first call. What lies in the
        socket's buffer was not taken. None too once it has ended: the number may be another socket's.
        """
        if transfer.on_complete.done():
            return None
        now, taken = self._loop.time(), transfer.sent - count_unread(transfer.socket)
        if transfer.measured is None or now - transfer.measured[0] > 4 * seconds:
            transfer.measured = (now, taken)
            return None
        began, before = transfer.measured
        if now - began < seconds:
            return transfer.rate
        transfer.rate = (taken - before) / (now - began)
        transfer.measured = (now, taken)
        return transfer.rate

    def close(self) -> None:
        """End everything."""
        for transfer in list(self._transfers.values()):
            self.stop(transfer, Abort.SHUTDOWN)
        self._loop.remove_reader(self._epoll.fileno())
        self._epoll.close()
        for readers in self._readers.values():
            readers.shutdown(wait=False, cancel_futures=True)

    def _guarded(self, work: Callable[..., None], transfer: Transfer, *arguments: object) -> None:
        """Work for one transfer, which a fault of ours ends, and it alone."""
        if not self.guard.call(work, transfer, *arguments):
            self.guard.call(self.stop, transfer, Abort.FAULT)

    def _collect(self) -> None:
        for descriptor, _ in self._epoll.poll(0):
            transfer = self._transfers.get(descriptor)
            if transfer is not None:
                self._ready.append(transfer)
        if not self._turn_is_due:
            self._run_turn()

    def _enqueue(self, transfer: Transfer) -> None:
        self._ready.append(transfer)
        if not self._turn_is_due:
            self._turn_is_due = True
            self._loop.call_soon(self._run_turn)

    def _run_turn(self) -> None:
        """One turn of the scheduler: a slice for one transfer in the queue after another, for a bounded time.

        A transfer whose slice went whole queues up again; one whose socket is full waits for epoll
        (``_watch``), one whose file is on disk for a thread (``_read_ahead``). Where the queue is not empty
        at the end of the turn, another is due after the loop has served everything else once.
        """
        self._turn_is_due = False
        slice_bytes = HURRIED_SLICE_BYTES if self.waiting else SLICE_BYTES
        end = self._loop.time() + (HURRIED_TURN_SECONDS if self.waiting else TURN_SECONDS)
        while self._ready and self._loop.time() < end:
            transfer = self._ready.popleft()
            if not transfer.on_complete.done():
                self._guarded(self._send_slice, transfer, slice_bytes)
        if self._ready:
            self._turn_is_due = True
            self._loop.call_soon(self._run_turn)

    def _send_slice(self, transfer: Transfer, slice_bytes: int) -> None:
        wanted = min(transfer.remaining, slice_bytes)
        if wanted == transfer.remaining and _has_changed(transfer.file):
            # The client would hold a mixture of two files and take it for whole.
            self.stop(transfer, Abort.FILE_CHANGED)
            return
        if not transfer.was_read and self._is_on_disk(transfer, wanted):
            self._read_ahead(transfer, wanted)
            return
        try:
            sent = os.sendfile(transfer.socket, transfer.file.descriptor, transfer.offset, wanted)
        except BlockingIOError:
            self._watch(transfer)
            return
        except OSError as error:
            gone = isinstance(error, ConnectionError)
            self.stop(transfer, Abort.CLIENT_GONE if gone else Abort.FILE_UNREADABLE)
            return
        if sent == 0:  # the file has become shorter
            self.stop(transfer, Abort.FILE_CHANGED)
            return
        transfer.offset += sent
        transfer.sent += sent
        transfer.remaining -= sent
        transfer.progress = self._loop.time()
        transfer.unread = None
        transfer.was_read = False
        if transfer.remaining == 0:
            self.stop(transfer, None)
        elif sent == wanted:
            self._ready.append(transfer)
        else:
            self._watch(transfer)

    def _watch(self, transfer: Transfer) -> None:
        """The socket is full: it reports itself once, when a good part of its buffer is free again."""
        events = select.EPOLLOUT | select.EPOLLONESHOT
        if transfer.watched:
            self._epoll.modify(transfer.socket, events)
        else:
            self._epoll.register(transfer.socket, events)
            transfer.watched = True

    def _is_on_disk(self, transfer: Transfer, count: int) -> bool:
        """Whether a part of the next slice would have to be waited for, and everybody with it.

        A client that takes little at a time has the same bytes before it again and again: what was in memory
        a moment ago is not asked for anew.
        """
        end, now = transfer.offset + count, self._loop.time()
        fresh = now - transfer.probed_at < _PROBED_SECONDS
        start = max(transfer.offset, transfer.probed_to) if fresh else transfer.offset
        if start >= end:
            return False
        for position in (*range(start, end - 1, _PROBE_BYTES), end - 1):
            try:
                os.preadv(transfer.file.descriptor, [self._probe], position, os.RWF_NOWAIT)
            except BlockingIOError:
                return True
            except OSError:
                return False  # a filesystem that cannot tell; what else may be wrong, sendfile will say
        if not fresh:
            transfer.probed_at = now
        transfer.probed_to = end
        return False

    def _read_ahead(self, transfer: Transfer, count: int) -> None:
        """Have a thread read the next slice into the page cache, and the transfer queue up after it."""

        def enqueue(_: asyncio.Future[None]) -> None:
            transfer.was_read = True
            transfer.progress = self._loop.time()
            if not transfer.on_complete.done():
                self._enqueue(transfer)

        file = transfer.file
        readers = self._readers[file.status.st_dev]
        reading = self._loop.run_in_executor(readers, _read, file.descriptor, transfer.offset, count)
        reading.add_done_callback(enqueue)


def _read(descriptor: int, offset: int, count: int) -> None:
    # The transfer may end meanwhile, and the number be another file's: what is read is thrown away.
    with contextlib.suppress(OSError):
        os.pread(descriptor, count, offset)


def _has_changed(file: OpenedFile) -> bool:
    """Whether what is open may hold other bytes than when it was opened.

    The change time tells, which nobody can set: also where a file was written in place and its date put back.
    To give the file another name, or to take one, changes it as well, and not the content: a rename over the
    file does just that.
    """
    now, before = os.fstat(file.descriptor), file.status
    if now.st_nlink != before.st_nlink:
        return (now.st_size, now.st_mtime_ns) != (before.st_size, before.st_mtime_ns)
    return file_identity(now) != file_identity(before)
