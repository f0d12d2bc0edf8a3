"""Files to sockets in turn: a clock that stands still, real sockets, and system calls that a test scripts."""

from __future__ import annotations

import contextlib
import os
import socket
from typing import TYPE_CHECKING

import pytest
from support.sendfile_bench import KIB, SIZE, Bench, Kernel, count_descriptors, make_older, run
from support.still_loop import turns

from ectools.netboot.http.sendfile import (
    HURRIED_SLICE_BYTES,
    HURRIED_TURN_SECONDS,
    SLICE_BYTES,
    TURN_SECONDS,
    Abort,
)

if TYPE_CHECKING:
    from pathlib import Path


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
        for _ in range(3):  # however many have come
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
