"""One fault's verdict: it is made in a copy of the tree of its own, and shown to the tests."""

from __future__ import annotations

import time
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from .mutants import short_diff
from .tree import copy_tree, write_fault

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from .choose import Chosen
    from .mutants import Mutant
    from .runner import Ran, Runner

_PASSED = 0
_NO_TESTS = 5

# A machine with other work is slower than it was when the tests were measured; a fixture of the whole run,
# counted for the first test that asked for it, is made anew for another.
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
        """Whether a test fails, or does not end."""
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
    runner: Runner, mutant: Mutant, *, base: Path, text: str, chosen: Chosen, seconds: Mapping[str, float]
) -> Judged:
    """The verdict on one fault.

    ``text`` is its file's with the fault, ``base`` the copy without it, ``seconds`` the tests' times.
    """
    started = time.monotonic()
    verdict, ran = Verdict.NOT_COVERED, None
    if chosen.near:
        with runner.directory() as directory:
            tree = directory / "tree"
            copy_tree(base, tree)
            write_fault(tree, mutant.path, text)
            verdict, ran = _show(runner, tree, chosen, seconds)
    before, after = short_diff((base / mutant.path).read_text(encoding="utf-8"), text)
    return Judged(
        mutant=mutant,
        before=before,
        after=after,
        verdict=verdict,
        tests=len(chosen.near),
        killer=ran.failed[0] if ran and ran.failed else None,
        why=ran.text if ran else "",
        seconds=time.monotonic() - started,
    )


def run_tests(runner: Runner, tree: Path, tests: list[str], seconds: Mapping[str, float]) -> Ran:
    """Run some tests until one fails, with a time limit for each and one for all."""
    files = list(dict.fromkeys(name.partition("::")[0] for name in tests))
    expected = [seconds[name] for name in tests]
    one = max(_LEAST_TEST_SECONDS, _SLOWER * max(expected))
    limit = _START_SECONDS + _SLOWER * sum(expected)
    return runner.run(tree, ["-x", f"--timeout={one}", *files], tests=tests, limit=limit, env={})


def _show(
    runner: Runner, tree: Path, chosen: Chosen, seconds: Mapping[str, float]
) -> tuple[Verdict, Ran | None]:
    for tests in filter(None, (chosen.near, chosen.far)):
        ran = run_tests(runner, tree, tests, seconds)
        if _is_failure(ran) and _is_chance(runner, tree, ran, seconds):
            ran = run_tests(runner, tree, tests, seconds)
        if _is_failure(ran):
            is_late = ran.status is None or "from pytest-timeout" in ran.text
            return (Verdict.TIMEOUT if is_late else Verdict.KILLED), ran
    return Verdict.SURVIVED, None


def _is_failure(ran: Ran) -> bool:
    return ran.status not in {_PASSED, _NO_TESTS}


def _is_chance(runner: Runner, tree: Path, ran: Ran, seconds: Mapping[str, float]) -> bool:
    """Whether the test that failed passes alone: there may be other reasons than the fault."""
    known = [name for name in ran.failed if name in seconds]
    return bool(known) and not _is_failure(run_tests(runner, tree, known[:1], seconds))
