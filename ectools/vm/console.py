"""A child's output as lines fit for a log: bounded, without escape sequences, without the secret."""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

LINE_BYTES = 2000
TAIL_LINES = 20
REDACTED = "***"

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
    for secret in secrets:
        text = text.replace(secret, REDACTED)
    return text


class Tail:
    """The last lines of an output, for the report of a failure."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=TAIL_LINES)

    def add(self, line: str) -> None:
        self._lines.append(line)

    def lines(self) -> list[str]:
        return list(self._lines)


async def pump_lines(
    stream: asyncio.StreamReader, on_line: Callable[[str], None], *, secrets: tuple[str, ...] = ()
) -> None:
    """Call ``on_line`` with each line of ``stream`` that is not empty, until its end."""
    splitter = LineSplitter()
    while data := await stream.read(65536):
        for line in splitter.feed(data):
            if text := clean_line(line, secrets=secrets):
                on_line(text)
    for line in splitter.finish():
        if text := clean_line(line, secrets=secrets):
            on_line(text)
