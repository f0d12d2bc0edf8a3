"""A stream that is read by a thread of its own while what came of it is used.

Receiving and hashing an archive, and unpacking and writing it, take about as long: one after the other, the
server waits for the disk. All of them leave the interpreter's lock.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator

_END_SECONDS = 1.0


def read_ahead(chunks: Generator[bytes, None, None], *, limit: int) -> Generator[bytes, None, None]:
    """``chunks``, of which up to ``limit`` bytes, and one chunk, are read before they are asked for.

    What ``chunks`` raises is raised where it would have been. One that is closed early lets the thread go: it
    ends with what it is reading, for which nobody waits long.
    """
    reader = _Reader(chunks, limit)
    thread = threading.Thread(target=reader.run, name="read-ahead", daemon=True)
    thread.start()
    try:
        while (chunk := reader.take()) is not None:
            yield chunk
    finally:
        reader.stop()
        thread.join(_END_SECONDS)


class _Reader:
    """``_waiting`` are the bytes in ``_chunks``; what is shared is changed under the condition alone."""

    def __init__(self, chunks: Generator[bytes, None, None], limit: int) -> None:
        self._source = chunks
        self._limit = limit
        self._changed = threading.Condition()
        self._chunks: deque[bytes] = deque()
        self._waiting = 0
        self._is_over = False
        self._is_stopped = False
        self._error: BaseException | None = None

    def run(self) -> None:
        error = None
        try:
            with contextlib.closing(self._source) as source:
                for chunk in source:
                    if not self._put(chunk):
                        break
        except BaseException as raised:
            error = raised
        with self._changed:
            self._error, self._is_over = error, True
            self._changed.notify_all()

    def _put(self, chunk: bytes) -> bool:
        """Whether more is wanted."""
        with self._changed:
            self._chunks.append(chunk)
            self._waiting += len(chunk)
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._waiting <= self._limit or self._is_stopped)
            return not self._is_stopped

    def take(self) -> bytes | None:
        """The next chunk; None at the end. Raises what the source has raised."""
        with self._changed:
            self._changed.wait_for(lambda: self._chunks or self._is_over)
            if self._chunks:
                chunk = self._chunks.popleft()
                self._waiting -= len(chunk)
                self._changed.notify_all()
                return chunk
            if self._error is not None:
                raise self._error
            return None

    def stop(self) -> None:
        with self._changed:
            self._is_stopped = True
            self._changed.notify_all()
