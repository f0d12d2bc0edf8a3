"""How far a download is: a line drawn anew on a terminal, and nothing anywhere else."""

from __future__ import annotations

import shutil
import time
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from ectools.netboot.release.download import Archive

_REDRAW_SECONDS = 0.1
_BAR = 24


def watch(archive: Archive, stream: TextIO) -> Generator[bytes, None, None]:
    """The archive's chunks, with a bar on ``stream`` while they pass, where that is a terminal.

    Closing the generator removes the bar.
    """
    if stream.isatty():
        yield from _draw(archive.chunks(), archive, stream)
    else:
        yield from archive.chunks()


def _draw(chunks: Iterator[bytes], archive: Archive, stream: TextIO) -> Iterator[bytes]:
    began = drawn = time.monotonic()
    done = 0
    try:
        for chunk in chunks:
            done += len(chunk)
            now = time.monotonic()
            if now - drawn >= _REDRAW_SECONDS:
                drawn = now
                line = render_progress(done, archive.size, now - began)
                stream.write(f"\r\x1b[K{_fit(archive.name, line)}")
                stream.flush()
            yield chunk
    finally:
        stream.write("\r\x1b[K")
        stream.flush()


def _fit(name: str, line: str) -> str:
    """Both in one row of the terminal: of a long name, its end."""
    columns = shutil.get_terminal_size((80, 24)).columns - 1
    room = columns - len(line) - 2
    if room < 2:
        return line[:columns]
    return f"{name if len(name) <= room else '…' + name[1 - room :]}  {line}"


def render_progress(done: int, size: int | None, seconds: float) -> str:
    """``[████····]  42%  123.4/293.0 MB  87.1 MB/s  0:02 left``; less of it where the size is not known."""
    rate = done / seconds if seconds else 0.0
    if not size:
        return f"{done / 1e6:.1f} MB  {rate / 1e6:.1f} MB/s"
    part = min(done / size, 1.0)
    full = int(part * _BAR)
    left = int((size - done) / rate) if rate and done < size else 0
    return (
        f"[{'█' * full}{'·' * (_BAR - full)}] {part:4.0%}  {done / 1e6:.1f}/{size / 1e6:.1f} MB"
        f"  {rate / 1e6:.1f} MB/s  {left // 60}:{left % 60:02} left"
    )
