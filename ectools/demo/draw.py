"""The stages of a boot as they happen: a line each, with its time and a bar to scale."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, TextIO

from ectools.log import use_colour

if TYPE_CHECKING:
    from enum import StrEnum

    from ectools.demo.stages import Timeline

_SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_COLUMNS_A_SECOND = 2


class Drawing:
    """Draws on ``stream``; on a terminal, the stage under way is drawn anew at each ``tick``."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._live = stream.isatty()
        self._colour = use_colour(stream)
        self._ticks = 0

    def reached(self, timeline: Timeline, stage: StrEnum) -> None:
        """A stage was reached: its line, for good."""
        took = timeline.duration(stage)
        self._write(
            f"  {self._paint('✓', 32)} {_line(timeline, stage, took, at=timeline.reached[stage])}", end="\n"
        )

    def command(self, text: str) -> None:
        """A command as a person types it."""
        self._write(f"    {self._paint(f'$ {text}', 36)}", end="\n")

    def said(self, text: str) -> None:
        """What a command printed, or a file holds."""
        for line in text.splitlines():
            self._write(f"    {self._paint(line, 2)}", end="\n")

    def verdict(self, text: str, *, good: bool) -> None:
        """A step that all the others lead to."""
        self.step(self._paint(text, 1), good=good)

    def step(self, text: str, *, good: bool) -> None:
        """Something without a time: it is as it should be, or not."""
        self._write(f"  {self._paint('✓', 32) if good else self._paint('✗', 31)} {text}", end="\n")

    def remark(self, text: str) -> None:
        """Something that is worth a line of its own."""
        self._write(f"  {self._paint('!', 33)} {text}", end="\n")

    def note(self, text: str) -> None:
        """Something that happens, and is neither good nor bad."""
        self._write(f"  {self._paint('·', 36)} {text}", end="\n")

    def standing(self, text: str) -> None:
        """How things stand, on a terminal alone: the line is drawn anew each time."""
        if self._live:
            self._ticks += 1
            spinner = self._paint(_SPINNER[self._ticks % len(_SPINNER)], 36)
            columns = shutil.get_terminal_size((100, 24)).columns
            self._write(f"  {spinner} {text}"[: columns - 1 + len(spinner) - 1], end="\r")

    def tick(self, timeline: Timeline, seconds: float) -> None:
        """Draw the stage under way. Call it several times a second."""
        stage = timeline.next
        if self._live and stage is not None:
            self._ticks += 1
            since = seconds - max(timeline.reached.values(), default=0.0)
            spinner = self._paint(_SPINNER[self._ticks % len(_SPINNER)], 36)
            self._write(f"  {spinner} {_line(timeline, stage, since, at=seconds)}", end="\r")

    def stopped(self, timeline: Timeline) -> None:
        """The boot ended without its last stage: say where."""
        if (stage := timeline.next) is not None:
            self._write(f"  {self._paint('✗', 31)} {stage:<{timeline.width}}  not reached", end="\n")

    def _write(self, text: str, *, end: str) -> None:
        self._stream.write(f"\r\x1b[K{text}{end}" if self._live else text + end)
        self._stream.flush()

    def _paint(self, text: str, code: int) -> str:
        return _paint(text, code, colour=self._colour)


def _paint(text: str, code: int, *, colour: bool) -> str:
    """SGR of ECMA-48, or the text as it is."""
    return f"\x1b[{code}m{text}\x1b[0m" if colour else text


def _line(timeline: Timeline, stage: StrEnum, took: float, *, at: float) -> str:
    left = f"{stage:<{timeline.width}}  {took:6.2f} s  {at:6.2f} s  "
    room = shutil.get_terminal_size((100, 24)).columns - len(left) - 6
    width = round(took * _COLUMNS_A_SECOND)
    return (left + ("━" * width if width <= room else "━" * max(room - 1, 0) + "…")).rstrip()


def print_section(stream: TextIO, title: str, words: str, body: str = "") -> None:
    """A part of the demo begins: its title, what it is, and the lines of ``body`` below it."""
    stream.write(f"{_paint(title, 1, colour=use_colour(stream))}: {words}\n")
    stream.writelines(f"    {line}\n" if line else "\n" for line in body.splitlines())
    stream.flush()
