"""Files to sockets in turn: a clock that stands still, real sockets, and system calls that a test scripts."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest
from support.still_loop import StillLoop, advance, run_still, turns

from ectools.netboot.http import sendfile
from ectools.netboot.http.sendfile import (
    HURRIED_SLICE_BYTES,
    HURRIED_TURN_SECONDS,
    SLICE_BYTES,
    TURN_SECONDS,
    Abort,
    SendfileScheduler,
    Transfer,
)
from ectools.netboot.http.webroot import OpenedFile

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

SIZE = 64 << 20
KIB = 1 << 10


class Bench:
    """A scheduler, a sparse file, and sockets that take what they are given."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.loop = asyncio.get_running_loop()
        assert isinstance(self.loop, StillLoop)
        self.scheduler = SendfileScheduler()
        self.sockets: list[socket.socket] = []
        self.files: list[int] = []

    def open(self) -> OpenedFile:
        self.files.append(os.open(self.path, os.O_RDONLY))
        return OpenedFile(descriptor=self.files[-1], status=os.fstat(self.files[-1]))

    def start(self, count: int = SIZE, *, offset: int = 0, file: OpenedFile | None = None) -> Transfer:
        ours, theirs = socket.socketpair()
        self.sockets += [ours, theirs]
        for each in (ours, theirs):
            each.setblocking(False)
        return self.scheduler.start(ours.fileno(), file or self.open(), offset=offset, count=count)

    def close(self) -> None:
        for each in self.sockets:
            each.close()
        for number in self.files:
            os.close(number)
        with contextlib.suppress(ValueError):
            self.scheduler.close()


class Kernel:
    """What sendfile(2) does next; by default it takes all, and each call some time."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, int, int]] = []
        self.seconds = 0.0
        self.answers: list[int | OSError] = []

    def sendfile(self, out: int, _: int, offset: int, count: int) -> int:
        self.calls.append((out, offset, count))
        loop = asyncio.get_running_loop()
        assert isinstance(loop, StillLoop)
        loop.now += self.seconds
        answer = self.answers.pop(0) if self.answers else count
        if isinstance(answer, OSError):
            raise answer
        return answer


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    kernel = Kernel()
    monkeypatch.setattr(os, "sendfile", kernel.sendfile)
    return kernel


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with (tmp_path / "initrd").open("wb") as file:
        file.truncate(SIZE)
    return tmp_path / "initrd"


@pytest.fixture
def in_memory(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Each byte that is asked for is in memory; the positions at which it was asked."""
    asked: list[int] = []

    def preadv(_: int, buffers: list[bytearray], position: int, flags: int) -> int:
        assert flags == os.RWF_NOWAIT
        assert [len(buffer) for buffer in buffers] == [1]
        asked.append(position)
        return 1

    monkeypatch.setattr(os, "preadv", preadv)
    return asked


def run(path: Path, scenario: Callable[[Bench], Coroutine[Any, Any, None]]) -> None:
    async def inside() -> None:
        bench = Bench(path)
        try:
            await scenario(bench)
        finally:
            bench.close()

    run_still(inside())


def make_older(path: Path) -> None:
    """A date of a second before its own."""
    os.utime(path, ns=(0, path.stat().st_mtime_ns - 10**9))


def count_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.usefixtures("in_memory")
def test_a_file_goes_out_in_slices_to_its_last_byte(path: Path, kernel: Kernel) -> None:
    async def scenario(bench: Bench) -> None:
        before = count_descriptors()
        transfer = bench.start(2 * SLICE_BYTES + 5, offset=7)
        assert transfer.socket != bench.sockets[0].fileno()
        await turns()
        assert transfer.on_complete.result() is None
        assert (transfer.sent, transfer.remaining, transfer.offset) == (
            2 * SLICE_BYTES + 5,
            0,
            2 * SLICE_BYTES + 12,
        )
        assert [call[1:] for call in kernel.calls] == [
            (7, SLICE_BYTES),
            (7 + SLICE_BYTES, SLICE_BYTES),
            (7 + 2 * SLICE_BYTES, 5),
        ]
        # The duplicate is closed: the pair and the file are what is left.
        assert count_descriptors() == before + 3

    run(path, scenario)


@pytest.mark.usefixtures("in_memory")
def test_slices_are_short_while_somebody_waits(path: Path, kernel: Kernel) -> None:
    async def scenario(bench: Bench) -> None:
        bench.scheduler.waiting.add("somebody")
        bench.start(SLICE_BYTES)
        await turns(1)
        assert {count for _, _, count in kernel.calls} == {HURRIED_SLICE_BYTES}

    run(path, scenario)


@pytest.mark.parametrize(("waiting", "seconds"), [(False, TURN_SECONDS), (True, HURRIED_TURN_SECONDS)])
@pytest.mark.usefixtures("in_memory")
def test_a_turn_of_the_loop_has_a_bounded_time(
    path: Path, kernel: Kernel, waiting: bool, seconds: float
) -> None:
    async def scenario(bench: Bench) -> None:
        if waiting:
            bench.scheduler.waiting.add("somebody")
        kernel.seconds = seconds / 2  # so that the second slice ends just at the end of the turn
        bench.start()
        for turn in range(1, 4):
            await turns(1)
            assert len(kernel.calls) == 2 * turn

    run(path, scenario)


@pytest.mark.usefixtures("in_memory")
def test_downloads_take_turns_and_one_that_has_ended_gets_none(path: Path, kernel: Kernel) -> None:
    async def scenario(bench: Bench) -> None:
        first, second, third = (bench.start(2 * SLICE_BYTES) for _ in range(3))
        bench.scheduler.stop(second, Abort.CLIENT_GONE)
        numbers = (first.socket, third.socket)
        await turns()
        assert [call[0] for call in kernel.calls] == [*numbers, *numbers]
        assert await second.on_complete is Abort.CLIENT_GONE
        # It keeps its outcome.
        bench.scheduler.stop(second, Abort.SHUTDOWN)
        assert second.on_complete.result() is Abort.CLIENT_GONE

    run(path, scenario)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (BrokenPipeError(32, "Broken pipe"), Abort.CLIENT_GONE),
        (ConnectionResetError(104, "Connection reset by peer"), Abort.CLIENT_GONE),
        (OSError(5, "Input/output error"), Abort.FILE_UNREADABLE),
        (0, Abort.FILE_CHANGED),
    ],
)
@pytest.mark.usefixtures("in_memory")
def test_why_a_download_breaks_off(path: Path, kernel: Kernel, answer: int | OSError, reason: Abort) -> None:
    async def scenario(bench: Bench) -> None:
        kernel.answers = [100, answer]
        transfer = bench.start()
        await turns()  # 100 bytes go, and then the socket says that it has room
        assert transfer.on_complete.result() is reason
        assert transfer.sent == 100
        assert bench.scheduler.guard.failures == 0

    run(path, scenario)


@pytest.mark.usefixtures("in_memory")
def test_a_full_socket_is_waited_for_and_never_asked_in_vain(path: Path, kernel: Kernel) -> None:
    async def scenario(bench: Bench) -> None:
        theirs: list[socket.socket] = []
        kernel.answers = [BlockingIOError()]
        transfer = bench.start()
        ours = bench.sockets[0]
        while True:  # until there is no room
            try:
                ours.send(bytes(64 * KIB))
            except BlockingIOError:
                break
        await turns()
        assert len(kernel.calls) == 1
        assert transfer.watched
        theirs.append(bench.sockets[1])
        # It has room again, and then none: it is watched once more.
        kernel.answers = [BlockingIOError(), BlockingIOError()]
        with contextlib.suppress(BlockingIOError):
            while theirs[0].recv(1 << 20):
                pass
        await turns()
        assert len(kernel.calls) >= 3
        await turns()
        assert transfer.on_complete.result() is None

    run(path, scenario)


@pytest.mark.usefixtures("in_memory")
def test_closing_the_socket_elsewhere_does_not_lead_the_bytes_astray(path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        transfer = bench.start(100)
        ours, theirs = bench.sockets
        ours.close()
        await turns()
        assert await transfer.on_complete is None
        assert theirs.recv(1000) == bytes(100)

    run(path, scenario)


def test_a_file_that_has_changed_is_not_sent_to_its_end(path: Path) -> None:
    async def scenario(bench: Bench) -> None:
        file = bench.open()
        make_older(path)
        transfer = bench.start(10, file=file)
        await turns()
        assert (transfer.on_complete.result(), transfer.sent) == (Abort.FILE_CHANGED, 0)

    run(path, scenario)


def test_a_file_that_changes_before_its_last_slice_is_sent_up_to_there(path: Path, kernel: Kernel) -> None:
    async def scenario(bench: Bench) -> None:
        bench.scheduler._is_on_disk = lambda *_: False  # type: ignore[method-assign]
        file = bench.open()
        make_older(path)
        transfer = bench.start(SLICE_BYTES + 1, file=file)
        await turns()
        assert (transfer.on_complete.result(), transfer.sent) == (Abort.FILE_CHANGED, SLICE_BYTES)

    run(path, scenario)


@pytest.mark.parametrize("name", ["link", "rename"])
def test_another_name_of_a_file_is_no_change_of_it(path: Path, kernel: Kernel, name: str) -> None:
    async def scenario(bench: Bench) -> None:
        bench.scheduler._is_on_disk = lambda *_: False  # type: ignore[method-assign]
        other = path.with_name("other")
        if name == "rename":
            other.write_bytes(b"")
        file = bench.open()
        if name == "link":
            os.link(path, other)
        else:
            other.rename(path)
        transfer = bench.start(10, file=file)
        await turns()
        assert transfer.on_complete.result() is None

    run(path, scenario)


@pytest.mark.parametrize("change", ["date", "size"])
def test_a_change_is_seen_beside_another_name(path: Path, kernel: Kernel, change: str) -> None:
    async def scenario(bench: Bench) -> None:
        bench.scheduler._is_on_disk = lambda *_: False  # type: ignore[method-assign]
        file = bench.open()
        before = file.status
        os.link(path, path.with_name("other"))
        if change == "size":
            os.truncate(path, SIZE + 1)
            os.utime(path, ns=(0, before.st_mtime_ns))
        else:
            os.utime(path, ns=(0, before.st_mtime_ns + 1_000_000_000))
        transfer = bench.start(10, file=file)
        await turns()
        assert transfer.on_complete.result() is Abort.FILE_CHANGED

    run(path, scenario)


@pytest.mark.usefixtures("in_memory")
def test_a_fault_ends_its_download_and_no_other(path: Path, kernel: Kernel) -> None:
    async def scenario(bench: Bench) -> None:
        kernel.answers = ["no number"]  # type: ignore[list-item]
        first, second = bench.start(10), bench.start(10)
        await turns()
        assert first.on_complete.result() is Abort.FAULT
        assert second.on_complete.result() is None
        assert bench.scheduler.guard.failures == 1
        assert bench.scheduler.guard.name == "downloads"

    run(path, scenario)


@pytest.mark.usefixtures("in_memory")
def test_everything_ends_when_the_scheduler_is_closed(path: Path, kernel: Kernel) -> None:
    async def scenario(bench: Bench) -> None:
        before = count_descriptors()
        transfers = [bench.start() for _ in range(3)]
        bench.scheduler.close()
        assert [await transfer.on_complete for transfer in transfers] == [Abort.SHUTDOWN] * 3
        assert kernel.calls == []
        # A pair and a file each; the epoll is closed.
        assert count_descriptors() == before + 9 - 1

    run(path, scenario)


# --- What is not in memory


def test_which_bytes_are_looked_for_in_memory(path: Path, kernel: Kernel, in_memory: list[int]) -> None:
    async def scenario(bench: Bench) -> None:
        step = 128 * KIB
        kernel.answers = [step, step, step]
        transfer = bench.start(3 * step + 1, offset=5)
        await turns(1)
        assert in_memory == [5, 5 + step, 5 + 2 * step, 5 + 3 * step]
        assert (transfer.probed_to, transfer.probed_at) == (5 + 3 * step + 1, 1000.0)
        await turns()
        # What was there a moment ago is not asked for again.
        assert len(in_memory) == 4

    run(path, scenario)


@pytest.mark.parametrize(("later", "again"), [(1.9, False), (2.0, True)])
def test_what_was_in_memory_a_while_ago_is_asked_for_again(
    path: Path, kernel: Kernel, in_memory: list[int], later: float, again: bool
) -> None:
    async def scenario(bench: Bench) -> None:
        kernel.answers = [BlockingIOError()]
        transfer = bench.start(10)
        await turns(1)
        assert in_memory == [0, 9]
        transfer.probed_at = 1000.0
        await advance(later)
        assert in_memory == ([0, 9, 0, 9] if again else [0, 9])
        assert transfer.probed_at == (1000.0 + later if again else 1000.0)

    run(path, scenario)


def test_only_the_new_part_of_a_slice_is_looked_for(path: Path, kernel: Kernel, in_memory: list[int]) -> None:
    async def scenario(bench: Bench) -> None:
        kernel.answers = [1000]
        bench.start(SIZE)
        await turns(1)
        first = len(in_memory)
        assert in_memory[-1] == SLICE_BYTES - 1
        await turns(2)
        assert in_memory[first : first + 2] == [SLICE_BYTES, SLICE_BYTES + 999]

    run(path, scenario)


@pytest.mark.parametrize("missing", [0, 128 * KIB, SLICE_BYTES - 1])
def test_what_is_on_disk_is_read_by_a_thread_and_then_sent(
    path: Path, kernel: Kernel, monkeypatch: pytest.MonkeyPatch, missing: int
) -> None:
    read: list[tuple[int, int]] = []

    def preadv(_: int, __: list[bytearray], position: int, ___: int) -> int:
        if position == missing:
            raise BlockingIOError
        return 1

    def pread(_: int, count: int, offset: int) -> bytes:
        read.append((offset, count))
        raise OSError(5, "Input/output error")  # sendfile will say so

    monkeypatch.setattr(os, "preadv", preadv)
    monkeypatch.setattr(os, "pread", pread)

    async def scenario(bench: Bench) -> None:
        transfer = bench.start(2 * SLICE_BYTES)
        await turns(1)
        assert kernel.calls == []
        bench.loop.now += 500  # type: ignore[attr-defined]
        assert await transfer.on_complete is None
        assert read == [(0, SLICE_BYTES)]
        assert [call[1:] for call in kernel.calls] == [(0, SLICE_BYTES), (SLICE_BYTES, SLICE_BYTES)]
        assert transfer.progress == bench.loop.time()
        assert not transfer.was_read

    run(path, scenario)


def test_a_disk_that_hangs_holds_up_no_others_files(
    path: Path, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each device has its own few threads."""
    on = threading.Event()
    hung: set[int] = set()
    inside: list[int] = []

    def preadv(*_: object) -> int:
        raise BlockingIOError

    def pread(descriptor: int, *_: int) -> bytes:
        if descriptor in hung:
            inside.append(descriptor)
            on.wait(60)
        return b""

    monkeypatch.setattr(os, "preadv", preadv)
    monkeypatch.setattr(os, "pread", pread)

    async def scenario(bench: Bench) -> None:
        transfers = []
        for _ in range(50):
            file = bench.open()
            hung.add(file.descriptor)
            transfers.append(bench.start(10, file=file))
        other = bench.open()
        elsewhere = os.stat_result((*other.status[:2], other.status.st_dev + 1, *other.status[3:]))
        monkeypatch.setattr(sendfile, "_has_changed", lambda _: False)
        found = bench.start(10, file=OpenedFile(descriptor=other.descriptor, status=elsewhere))
        assert await found.on_complete is None
        assert len(inside) <= 4
        on.set()
        for transfer in transfers:
            assert await transfer.on_complete is None

    run(path, scenario)


def test_a_download_that_ended_while_its_file_was_read_stays_ended(
    path: Path, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def preadv(*_: object) -> int:
        raise BlockingIOError

    monkeypatch.setattr(os, "preadv", preadv)

    async def scenario(bench: Bench) -> None:
        transfer = bench.start(10)
        await turns(1)
        bench.scheduler.stop(transfer, Abort.CLIENT_GONE)
        while not transfer.was_read:  # noqa: ASYNC110 - a thread makes it true
            await asyncio.sleep(0)
        await turns()
        assert kernel.calls == []
        assert bench.scheduler.guard.failures == 0
        assert not bench.scheduler._ready

    run(path, scenario)


def test_a_filesystem_that_cannot_tell_what_is_in_memory_is_sent_from(
    path: Path, kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def preadv(*_: object) -> int:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "preadv", preadv)

    async def scenario(bench: Bench) -> None:
        transfer = bench.start(10)
        await turns()
        assert transfer.on_complete.result() is None

    run(path, scenario)


# --- What a client takes


class Buffer:
    """What a socket's send buffer holds, as the kernel would say."""

    unread = 0

    def __call__(self, _: int) -> int:
        return self.unread


@pytest.fixture
def buffer(monkeypatch: pytest.MonkeyPatch) -> Buffer:
    buffer = Buffer()
    monkeypatch.setattr(sendfile, "_count_unread", buffer)
    return buffer


@pytest.mark.usefixtures("in_memory")
def test_a_client_that_takes_nothing_for_so_long_is_dropped(
    path: Path, kernel: Kernel, buffer: Buffer
) -> None:
    async def scenario(bench: Bench) -> None:
        kernel.answers = [BlockingIOError()]
        transfer = bench.start()
        bench.sockets[0].close()
        await turns(1)
        bench.scheduler.stop_stalled(60)
        assert transfer.unread is None
        await still(bench, transfer, 60, 0)
        assert transfer.unread is None  # just so long is not longer
        buffer.unread = 1000
        await still(bench, transfer, 1, 60)
        assert (transfer.unread, transfer.progress) == (1000, bench.loop.time())
        buffer.unread = 999
        await still(bench, transfer, 61, 60)
        assert (transfer.unread, transfer.progress) == (999, bench.loop.time())
        assert not transfer.on_complete.done()
        await still(bench, transfer, 61, 60)
        assert await transfer.on_complete is Abort.CLIENT_STALLED

    async def still(bench: Bench, transfer: Transfer, later: float, seconds: float) -> None:
        bench.loop.now += later  # type: ignore[attr-defined]
        bench.scheduler.stop_stalled(seconds or 60)

    run(path, scenario)


@pytest.mark.usefixtures("in_memory")
def test_each_byte_that_is_taken_counts_as_progress(path: Path, kernel: Kernel) -> None:
    async def scenario(bench: Bench) -> None:
        transfer = bench.start(3 * SLICE_BYTES)
        transfer.unread = 5
        kernel.seconds = 1.0
        await turns(1)
        assert (transfer.progress, transfer.unread) == (bench.loop.time(), None)
        assert transfer.progress == 1001.0

    run(path, scenario)


@pytest.mark.usefixtures("in_memory", "kernel")
def test_rates(path: Path, buffer: Buffer) -> None:
    async def scenario(bench: Bench) -> None:
        transfer = bench.start()
        measure = bench.scheduler.measure_rate

        def later(seconds: float, *, sent: int, unread: int) -> float | None:
            bench.loop.now += seconds  # type: ignore[attr-defined]
            transfer.sent, buffer.unread = sent, unread
            return measure(transfer, 10.0)

        assert later(0, sent=5000, unread=1000) is None
        assert later(9, sent=90_000, unread=0) is None
        assert later(1, sent=10_000, unread=1000) == 500.0
        # Between two measurements the last one stands.
        assert later(9, sent=99_000, unread=0) == 500.0
        assert later(1, sent=10_000, unread=0) == 100.0
        # Just four times as long is measured; longer ago it says nothing, and measuring begins anew.
        assert later(40, sent=14_000, unread=0) == 100.0
        assert later(40.5, sent=20_000, unread=0) is None
        assert later(10, sent=21_000, unread=0) == 100.0

    run(path, scenario)


def test_what_lies_in_a_sockets_buffer_is_counted() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        with socket.create_connection(listener.getsockname()) as client, listener.accept()[0] as ours:
            assert sendfile._count_unread(ours.fileno()) == 0
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            ours.setblocking(False)
            sent = 0
            with contextlib.suppress(BlockingIOError):
                while True:
                    sent += ours.send(bytes(1 << 16))
            assert 1000 < sendfile._count_unread(ours.fileno()) <= sent
