"""The tests that a fault is shown to: those that run its line, then all of its level that import its file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .imports import Imports
    from .measure import Level, Measured
    from .mutants import Mutant


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """Tests by their ids, in the order to run them."""

    near: list[str]
    """Those that cover the fault; none: nothing does."""
    far: list[str]
    """The others that import its file, for a fault that the near ones let live: a fixture of a whole file or
    run is counted for the first test that asks for it."""


def choose(mutant: Mutant, *, level: Level, measured: Measured, imports: Imports) -> Chosen:
    """The tests for a fault.

    A line that runs at import is covered by every test whose file imports the module: near are those of the
    files that name it, and those that run some other line of it.
    """
    direct = imports.direct(mutant.path, level.tests)
    covering = measured.covering(mutant.path)
    everywhere = imports.all(mutant.path, level.tests)
    near: set[str] = set()
    for line, tests in covering.items():
        if mutant.at_import or line in mutant.lines:
            near |= tests
    if mutant.at_import:
        near |= {name for name in measured.seconds if _file(name) in direct}
    far = {name for name in measured.seconds if _file(name) in everywhere or _file(name) in direct} - near
    if mutant.at_import and not near:
        near, far = far, set()
    # A test that fails without a fault has no time.
    near &= measured.seconds.keys()
    return Chosen(near=_order(near, direct, measured), far=_order(far, direct, measured))


def _order(tests: set[str], direct: set[str], measured: Measured) -> list[str]:
    """By file, those that name the module first, then the quickest; within a file as they stand there."""
    seconds: dict[str, float] = {}
    for name in tests:
        seconds[_file(name)] = seconds.get(_file(name), 0.0) + measured.seconds[name]
    ordered = [name for name in measured.seconds if name in tests]
    return sorted(ordered, key=lambda name: (_file(name) not in direct, seconds[_file(name)], _file(name)))


def _file(name: str) -> str:
    return name.partition("::")[0]
