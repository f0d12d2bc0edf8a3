"""A log is read line by line, each when it is whole."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ectools.demo.log_lines import follow_lines

if TYPE_CHECKING:
    from pathlib import Path


def test_a_line_comes_when_it_is_whole(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.touch()
    with log.open("rb") as stream, log.open("ab", buffering=0) as writer:
        lines = follow_lines(stream)
        assert next(lines) == []
        writer.write(b"one\ntw")
        assert next(lines) == [b"one"]
        writer.write(b"o\n\nthree")
        assert next(lines) == [b"two", b""]
        assert next(lines) == []
