from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

import pytest

from ectools.netboot.release.progress import render_progress, watch

if TYPE_CHECKING:
    from collections.abc import Iterator


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Archive:
    name = "boot.tar.gz"
    source = "/boot.tar.gz"
    size: int | None = 30

    def chunks(self) -> Iterator[bytes]:
        for _ in range(3):
            yield b"0123456789"

    def sha256(self) -> str:
        return ""


@pytest.mark.parametrize(
    ("done", "size", "seconds", "expected"),
    [
        (0, None, 0.0, "0.0 MB  0.0 MB/s"),
        (5_000_000, None, 2.0, "5.0 MB  2.5 MB/s"),
        (0, 100, 0.0, "[························]   0%  0.0/0.0 MB  0.0 MB/s  0:00 left"),
        (
            50_000_000,
            100_000_000,
            0.5,
            "[████████████············]  50%  50.0/100.0 MB  100.0 MB/s  0:00 left",
        ),
        (1_000_000, 100_000_000, 1.0, "[························]   1%  1.0/100.0 MB  1.0 MB/s  1:39 left"),
        (200, 100, 1.0, "[████████████████████████] 100%  0.0/0.0 MB  0.0 MB/s  0:00 left"),
    ],
)
def test_the_line(done: int, size: int | None, seconds: float, expected: str) -> None:
    assert render_progress(done, size, seconds) == expected


def test_only_a_terminal_shows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ectools.netboot.release.progress._REDRAW_SECONDS", 0.0)
    plain, terminal = io.StringIO(), Terminal()
    for stream in (plain, terminal):
        assert b"".join(watch(Archive(), stream)) == b"0123456789" * 3
    assert plain.getvalue() == ""
    assert re.search(r"boot\.tar\.gz {2}\[█+·*\] +\d+%", terminal.getvalue())
    assert terminal.getvalue().endswith("\r\x1b[K")


def test_the_line_goes_when_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ectools.netboot.release.progress._REDRAW_SECONDS", 0.0)
    terminal = Terminal()
    watched = watch(Archive(), terminal)
    next(watched)
    next(watched)
    watched.close()
    assert terminal.getvalue().endswith("\r\x1b[K")
