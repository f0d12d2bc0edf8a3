"""One fault's verdict: made in a copy of the tree of its own, and shown to the tests."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from .mutants import short_diff
from .tree import copy_tree, write_fault

if TYPE_CHECKING:
    from pathlib import Path

    from .choose import Chosen
    from .measure import Measured
    from .mutants import Mutant
    from .runner import Ran, Runner

_PASSED = 0
_NO_TESTS = 5

# A machine with other work is slower than it was when the tests were measured, and a fixture of the whole run, counted
# for the first test that asked for it, is made anew.
_SLOWER = 5.0
_START_SECONDS = 60.0
_LEAST_TEST_SECONDS = 30.0


class Verdict(StrEnum):
    """What the tests say of a fault."""

    KILLED = "killed"
    TIMEOUT = "timeout"
    SURVIVED = "survived"
    NOT_COVERED = "not covered"

    @property
    def is_noticed(self) -> bool:
        """Whether a test fails, or never ends."""
        return self in {Verdict.KILLED, Verdict.TIMEOUT}


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A fault and what became of it."""

    mutant: Mutant
    before: str
    after: str
    verdict: Verdict
    tests: int
    """How many tests cover it."""
    killer: str | None
    """The test, or file, that noticed it first."""
    why: str
    """The end of what that test said."""
    seconds: float


def judge(
    runner: Runner, mutant: Mutant, *, base: Path, text: str, chosen: Chosen, measured: Measured
) -> Judged:
    """The verdict on one fault. ``text`` is its file's with the fault, ``base`` the copy of the tree without it."""
    started = time.monotonic()
    verdict, ran = Verdict.NOT_COVERED, None
    if chosen.near:
        verdict, ran = _try(
            runner, mutant, base=base, text=text, stages=(chosen.near, chosen.far), measured=measured
        )
    before, after = short_diff((base / mutant.path).read_text(encoding="utf-8"), text)
    return Judged(
        mutant=mutant,
        before=before,
        after=after,
        verdict=verdict,
        tests=len(chosen.near),
        killer=ran.failed if ran else None,
        why=ran.text if ran else "",
        seconds=time.monotonic() - started,
    )


def run_chosen(runner: Runner, tree: Path, tests: list[str], measured: Measured) -> Ran:
    """Run some tests until one fails, each and all with a time limit."""
    files = list(dict.fromkeys(name.partition("::")[0] for name in tests))
    seconds = [measured.seconds[name] for name in tests]
    one = max(_LEAST_TEST_SECONDS, _SLOWER * max(seconds))
    limit = _START_SECONDS + _SLOWER * sum(seconds)
    return runner.run(tree, ["-x", f"--timeout={one}", *files], tests=tests, limit=limit, env={})


def _try(
    runner: Runner,
    mutant: Mutant,
    *,
    base: Path,
    text: str,
    stages: tuple[list[str], ...],
    measured: Measured,
) -> tuple[Verdict, Ran | None]:
    with runner.folder() as folder:
        tree = folder / "tree"
        copy_tree(base, tree)
        write_fault(tree, mutant.path, text)
        for tests in stages:
            if not tests:
                continue
            ran = run_chosen(runner, tree, tests, measured)
            if ran.status is None or "from pytest-timeout" in ran.text:
                return Verdict.TIMEOUT, ran
            if ran.status not in {_PASSED, _NO_TESTS}:
                return Verdict.KILLED, ran
    return Verdict.SURVIVED, None
