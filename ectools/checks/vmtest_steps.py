"""What the NixOS test driver prints, line by line.

``subtest: NAME`` begins a subtest and ``(finished: subtest: NAME, in 1.23 seconds)`` ends it; one that fails
does not end, but is named in ``Test "NAME" failed with error: "…"``. ``MACHINE # …`` is a machine's console;
the rest, ``MACHINE: must succeed: …`` above all, are the driver's own steps. Some versions put the machine's
name, or ``!!! ``, before a line.
"""

from __future__ import annotations

import re
from collections import deque
from dataclasses import dataclass
from enum import StrEnum

LINES_KEPT = 200
CONSOLE_LINES_KEPT = 50

_BEGIN = re.compile(r"subtest: (?P<name>.+)")
_END = re.compile(r"(?:[\w.-]+: )?\(finished: subtest: (?P<name>.+), in (?P<seconds>\d+(?:\.\d+)?) seconds\)")
_FAILED = re.compile(r'(?:!!! )?Test "(?P<name>.+)" failed with error: "?(?P<message>.*?)"?')
_CONSOLE = re.compile(r"(?P<machine>[\w.-]+) #(?: (?P<text>.*))?")


class StepKind(StrEnum):
    """What a line is."""

    SUBTEST = "subtest"
    STEP = "step"
    FAILURE = "failure"
    CONSOLE = "console"


@dataclass(frozen=True, kw_only=True)
class DriverStep:
    """A subtest. ``seconds`` is None where it did not end; ``failure`` is what the driver said of it."""

    name: str
    seconds: float | None = None
    failure: str | None = None


class Transcript:
    """Collects a test's lines; ``steps`` are its subtests so far, ``tail`` its last lines.

    ``consoles`` has the last lines of each machine's console, where its journal is printed too: what the
    driver says of a failure, and the other machines, would push them out of ``tail``.
    """

    def __init__(self) -> None:
        self._steps: list[DriverStep] = []
        self._open: list[int] = []
        self.tail: deque[str] = deque(maxlen=LINES_KEPT)
        self.consoles: dict[str, deque[str]] = {}

    @property
    def steps(self) -> tuple[DriverStep, ...]:
        return tuple(self._steps)

    @property
    def depth(self) -> int:
        """How many subtests are under way."""
        return len(self._open)

    @property
    def under_way(self) -> str | None:
        """The innermost subtest that has begun and not ended."""
        return self._steps[self._open[-1]].name if self._open else None

    def add(self, line: str) -> StepKind:
        """Take a line in."""
        line = line.rstrip()
        self.tail.append(line)
        if begin := _BEGIN.fullmatch(line):
            self._open.append(len(self._steps))
            self._steps.append(DriverStep(name=begin["name"]))
            return StepKind.SUBTEST
        if end := _END.fullmatch(line):
            self._close(end["name"], DriverStep(name=end["name"], seconds=float(end["seconds"])))
        elif failed := _FAILED.fullmatch(line):
            self._close(failed["name"], DriverStep(name=failed["name"], failure=failed["message"]))
            return StepKind.FAILURE
        elif console := _CONSOLE.fullmatch(line):
            kept = self.consoles.setdefault(console["machine"], deque(maxlen=CONSOLE_LINES_KEPT))
            kept.append(console["text"] or "")
            return StepKind.CONSOLE
        return StepKind.STEP

    def _close(self, name: str, step: DriverStep) -> None:
        for position in reversed(self._open):
            if self._steps[position].name == name:
                self._open.remove(position)
                # Some drivers say that a subtest finished even where it failed before.
                if self._steps[position].failure is None:
                    self._steps[position] = step
                return
