"""The output of a child as lines for a log: bounded, without escape sequences (ECMA-48), without secrets."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
from collections import deque
from typing import TYPE_CHECKING

from ectools.redact import redact_secrets
from ectools.timers import Guard

if TYPE_CHECKING:
    from collections.abc import Callable

LINE_BYTES = 2000
TAIL_LINES = 20
_COLLECT_SECONDS = 0.05
_PIPE_BYTES = 1 << 20
"""As much as a pipe may hold without a capability (pipe(7), pipe-max-size): 64 KiB are a moment's log."""

# ECMA-48: control sequences, operating system commands, and the other escapes.
_ESCAPE = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[ -/]*[0-~]?")
_CONTROL = re.compile(r"[\x00-\x07\x0b-\x1f\x7f-\x9f]")


class LineSplitter:
    """Bytes as they arrive → lines of at most LINE_BYTES bytes; a longer one is cut into several."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that ``data`` completes."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        while len(self._rest) > LINE_BYTES:
            lines.append(self._rest[:LINE_BYTES])
            self._rest = self._rest[LINE_BYTES:]
        return [piece for line in lines for piece in _cut(line)]

    def finish(self) -> list[bytes]:
        """The last line, where no newline ended it."""
        rest, self._rest = self._rest, b""
        return [rest] if rest else []


def _cut(line: bytes) -> list[bytes]:
    return [line[start : start + LINE_BYTES] for start in range(0, len(line), LINE_BYTES)] or [b""]


def clean_line(line: bytes, *, secrets: tuple[str, ...] = ()) -> str:
    """What a terminal would show of one line, without blanks at its end."""
    text = _ESCAPE.sub("", line.decode("utf-8", "replace"))
    # Firmware writes over what it wrote: "... 12%" and backspaces, a countdown and a carriage return.
    shown: list[str] = []
    for part in text.rstrip("\r").rsplit("\r", 1)[-1]:
        if part != "\b":
            shown.append(part)
        elif shown:
            shown.pop()
    text = _CONTROL.sub("", "".join(shown)).rstrip()
    return redact_secrets(text, secrets)


class Tail:
    """The last lines of an output, for the report of a failure."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=TAIL_LINES)

    def add(self, line: str) -> None:
        self._lines.append(line)

    def lines(self) -> list[str]:
        return list(self._lines)


class Outputs:
    """The outputs of one child, each a pipe that is read until its end, line by line.

    A guest's serial port is written byte by byte: so a pipe is read twenty times a second at most, instead of
    at each byte.
    """

    def __init__(self, *, secrets: tuple[str, ...] = ()) -> None:
        self._secrets = secrets
        self._child_ends: list[int] = []
        self._pumps: set[asyncio.Task[None]] = set()

    async def add(self, on_line: Callable[[str], None], *, waits: bool = True) -> int:
        """A descriptor for the child to write to; ``on_line`` gets every line that is not blank.

        What ``on_line`` raises is logged, and the output is read on: the child would wait for ever at a pipe
        that nobody reads. ``waits`` False: it never waits; what does not fit into the pipe is not written
        (EAGAIN of write(2)), which the child has to know how to take. Raises OSError where no pipe can be
        had.
        """
        ours, theirs = os.pipe()
        self._child_ends.append(theirs)
        if not waits:
            # Of what is open, and not of the descriptor: it holds in the child too.
            os.set_blocking(theirs, False)
            with contextlib.suppress(OSError):  # who runs this has used up his pipes' memory
                fcntl.fcntl(theirs, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        file = os.fdopen(ours, "rb", buffering=0)
        reader = asyncio.StreamReader()
        loop = asyncio.get_running_loop()
        try:
            transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), file)
        except BaseException:
            file.close()
            raise
        guard = Guard("a line of a child's output", clock=loop.time)
        self._pumps.add(asyncio.create_task(self._pump(reader, transport, on_line, guard)))
        return theirs

    def release(self) -> None:
        """Close the child's ends here, once it has them: its death is then the output's end."""
        while self._child_ends:
            os.close(self._child_ends.pop())

    async def finish(self, *, seconds: float) -> None:
        """After the child's end: take in what is left, for so long where somebody else holds the pipe."""
        self.release()
        if self._pumps:
            _, late = await asyncio.wait(self._pumps, timeout=seconds)
            for pump in late:
                pump.cancel()

    async def _pump(
        self,
        reader: asyncio.StreamReader,
        transport: asyncio.ReadTransport,
        on_line: Callable[[str], None],
        guard: Guard,
    ) -> None:
        splitter = LineSplitter()
        try:
            while data := await reader.read(65536):
                self._take(splitter.feed(data), on_line, guard)
                if not transport.is_closing():
                    transport.pause_reading()
                    await asyncio.sleep(_COLLECT_SECONDS)
                    transport.resume_reading()
            self._take(splitter.finish(), on_line, guard)
        finally:
            transport.close()

    def _take(self, lines: list[bytes], on_line: Callable[[str], None], guard: Guard) -> None:
        for line in lines:
            if text := clean_line(line, secrets=self._secrets):
                guard.call(on_line, text)
