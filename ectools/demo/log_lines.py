"""Log files, read while they are written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator


def follow_lines(stream: Any) -> Iterator[list[bytes]]:
    """Each time: the lines that have been written whole to the file since the last time."""
    rest = b""
    while True:
        *lines, rest = (rest + stream.read()).split(b"\n")
        yield lines
