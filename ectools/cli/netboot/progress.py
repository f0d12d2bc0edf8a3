"""How far a download is: click's progress bar on a terminal, and nothing anywhere else."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_MAX_LABEL = 30
_REDRAW_SECONDS = 0.1


@contextlib.contextmanager
def show_download() -> Iterator[Callable[[str, int, int | None], None]]:
    """A listener of ``stage``'s, whose bar on standard error is finished with the block, whatever ends it.

    It is told the archive's name, its bytes that have come, and all its bytes where that is known. A terminal
    that goes away ends no download.
    """
    bar = _Bar()
    try:
        yield bar.update if sys.stderr.isatty() else _ignore
    finally:
        bar.finish()


class _Bar:
    def __init__(self) -> None:
        self._bar: Any = None
        self._done = self._shown = 0
        self._began = self._drawn = 0.0

    def update(self, name: str, done: int, size: int | None) -> None:
        with contextlib.suppress(OSError):
            self._done = done
            now = time.monotonic()
            if self._bar is None:
                self._began = now
                self._bar = self._start(name, size)
            # A terminal may be far away: what it takes in is taken from the download.
            if now - self._drawn >= _REDRAW_SECONDS or done == size:
                self._drawn = now
                self._draw()

    def finish(self) -> None:
        with contextlib.suppress(OSError):
            if self._bar is not None:
                self._draw()
                self._bar.render_finish()

    def _draw(self) -> None:
        step, self._shown = self._done - self._shown, self._done
        self._bar.update(step)

    def _start(self, name: str, size: int | None) -> Any:
        return click.progressbar(
            # Without a length the bar counts; an iterator that has no length says that there is none.
            (_ for _ in ()) if size is None else None,
            length=size,
            label=name if len(name) <= _MAX_LABEL else f"…{name[1 - _MAX_LABEL :]}",
            file=sys.stderr,
            item_show_func=lambda _: self._describe(size),
            fill_char="█",
            empty_char="·",
            width=0,  # what the terminal has left
        )

    def _describe(self, size: int | None) -> str:
        """``123.4/293.0 MB  87.1 MB/s``; the size where it is known."""
        seconds = time.monotonic() - self._began
        rate = self._done / seconds if seconds else 0.0
        of = "" if size is None else f"/{size / 1e6:.1f}"
        return f"{self._done / 1e6:.1f}{of} MB  {rate / 1e6:.1f} MB/s"


def _ignore(_name: str, _done: int, _size: int | None) -> None:
    """Nobody looks."""
