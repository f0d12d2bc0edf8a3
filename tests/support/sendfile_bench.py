"""A sendfile scheduler on a clock that stands still, real sockets, and sendfile(2) as a test scripts it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from typing import TYPE_CHECKING, Any

from support.still_loop import StillLoop, run_still

from ectools.netboot.http.sendfile import SendfileScheduler, Transfer
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
