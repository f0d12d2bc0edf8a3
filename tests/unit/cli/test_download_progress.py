"""The bar of a download, and what is told to it while a release is staged."""

from __future__ import annotations

import contextlib
import io
import re
from typing import TYPE_CHECKING

import pytest
from support.releases import build_settings, release_files, write_archive

from ectools.cli.netboot.progress import show_download
from ectools.netboot.release.stage import stage

if TYPE_CHECKING:
    from pathlib import Path


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class GoneTerminal(Terminal):
    def write(self, _text: str) -> int:
        raise OSError(5, "Input/output error")


def test_a_terminal_shows_name_part_and_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    with show_download() as on_progress:
        for done in (0, 5_000_000, 10_000_000):
            on_progress("boot.tar.gz", done, 10_000_000)
    last = terminal.getvalue().splitlines()[-1]
    assert "boot.tar.gz" in last
    assert "100%" in last
    assert re.search(r"10\.0/10\.0 MB  \d+\.\d MB/s", last)
    assert terminal.getvalue().endswith("\x1b[?25h\n")


def test_a_size_that_is_not_known_is_no_part_of_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    with show_download() as on_progress:
        on_progress("boot.tar.gz", 5_000_000, None)
    assert " 5.0 MB  " in terminal.getvalue()
    assert "%" not in terminal.getvalue()


def test_of_a_long_name_the_end_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    with show_download() as on_progress:
        on_progress(f"{'x' * 100}-the-end.tar.gz", 2_000_000, 4_000_000)
    assert "…" + "x" * 14 + "-the-end.tar.gz" in terminal.getvalue()


def test_only_a_terminal_shows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", plain := io.StringIO())
    with show_download() as on_progress:
        on_progress("boot.tar.gz", 5, 10)
    assert plain.getvalue() == ""


def test_the_bar_ends_where_the_download_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", terminal := Terminal())
    with contextlib.suppress(RuntimeError), show_download() as on_progress:
        on_progress("boot.tar.gz", 2_000_000, 10_000_000)
        raise RuntimeError
    assert terminal.getvalue().endswith("\x1b[?25h\n")


def test_a_terminal_that_went_away_ends_no_download(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", GoneTerminal())
    with show_download() as on_progress:
        on_progress("boot.tar.gz", 2_000_000, 10_000_000)


def test_staging_tells_of_every_byte(tmp_path: Path) -> None:
    archive = write_archive(tmp_path, release_files("one"))
    told: list[tuple[str, int, int | None]] = []
    stage(
        build_settings(tmp_path / "state", release_tarball=str(archive)),
        on_progress=lambda name, done, size: told.append((name, done, size)),
    )
    size = archive.stat().st_size
    assert told[-1] == (archive.name, size, size)
    assert [done for _, done, _ in told] == sorted({done for _, done, _ in told})
