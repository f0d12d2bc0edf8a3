"""Downloads whose file is not in memory, or whose client takes little: what is read, measured and dropped."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
from typing import TYPE_CHECKING

import pytest
from support.sendfile_bench import KIB, SIZE, Bench, Kernel, run
from support.still_loop import advance, turns

from ectools.netboot.http import sendfile
from ectools.netboot.http.sendfile import (
    SLICE_BYTES,
    Abort,
    Transfer,
)
from ectools.netboot.http.webroot import OpenedFile

if TYPE_CHECKING:
    from pathlib import Path


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
    monkeypatch.setattr(sendfile, "count_unread", buffer)
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
            assert sendfile.count_unread(ours.fileno()) == 0
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            ours.setblocking(False)
            sent = 0
            with contextlib.suppress(BlockingIOError):
                while True:
                    sent += ours.send(bytes(1 << 16))
            assert 1000 < sendfile.count_unread(ours.fileno()) <= sent
