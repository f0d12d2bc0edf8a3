"""Which test covers which line, and how long each test takes: measured once for a tree, and cached."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from coverage import CoverageData

if TYPE_CHECKING:
    from .runner import Ran, Runner

_PASSED, _FAILED = 0, 1
_MEASURE_SECONDS = 3600.0
_CONTEXT_END = re.compile(r"\|\w+$| \(\w+\)$")
_KEPT = 3
"""How many trees' measurements the cache keeps."""


class MeasureError(Exception):
    """The tests cannot run without a fault; ``str()`` of it says which and why."""


@dataclass(frozen=True, kw_only=True)
class Level:
    """A package and the tests that a fault in it is shown to."""

    package: str
    tests: str


LEVELS = (
    Level(package="ectools", tests="tests/unit"),
    Level(package="pynix_eval_shim", tests="tests/shim"),
)


class Measured:
    """What the tests of one level do: ``result.json``, and coverage's data of each group of tests."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._result = json.loads((directory / "result.json").read_text())
        self._lines: dict[str, dict[int, set[str]]] = {}

    @cached_property
    def seconds(self) -> dict[str, float]:
        """The id of every test that passes, in the order in which they ran, and its time."""
        found: dict[str, float] = self._result["seconds"]
        return found

    @cached_property
    def failing(self) -> list[str]:
        """The tests that fail without a fault: no fault is shown to them."""
        found: list[str] = self._result["failing"]
        return found

    def covering(self, path: str) -> dict[int, set[str]]:
        """For each line of a file the tests that run it, but not those whose file runs it by an import."""
        if path not in self._lines:
            lines: dict[int, set[str]] = {}
            for file in sorted(self._directory.glob("*.coverage")):
                data = CoverageData(str(file))
                data.read()
                for line, contexts in data.contexts_by_lineno(f"{self._result['tree']}/{path}").items():
                    # pytest-cov's contexts: "id|run"; a child's: "id (call)"; "" at collection.
                    lines.setdefault(line, set()).update(
                        _CONTEXT_END.sub("", name) for name in contexts if name
                    )
            self._lines[path] = lines
        return self._lines[path]


def measure(
    runner: Runner, level: Level, *, base: Path, cache: Path, jobs: int, only: tuple[str, ...] = ()
) -> Measured:
    """The measurement of a level, from the cache if it is there. ``base`` is a copy of the tree.

    ``only``: of its tests, those of these files and directories; the cache is theirs then.

    Raises:
        MeasureError: the tests cannot run, or none passes.
    """
    directory = cache / level.package
    if not directory.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            made = Path(tempfile.mkdtemp(dir=cache, prefix=".new-"))
            stack.callback(shutil.rmtree, made, ignore_errors=True)
            _measure(runner, level, base=base, directory=made, jobs=jobs, only=only)
            made.rename(directory)
        _prune(cache.parent)
    return Measured(directory)


def _measure(
    runner: Runner, level: Level, *, base: Path, directory: Path, jobs: int, only: tuple[str, ...]
) -> None:
    files = sorted(path.relative_to(base).as_posix() for path in (base / level.tests).rglob("test_*.py"))
    if only:
        files = [name for name in files if any(f"{name}/".startswith(f"{one}/") for one in only)]
        if not files:
            raise MeasureError(f"{level.tests}: none of the tests named is of this level")
    # The project's own settings of coverage are for its own measurement: a floor, branches.
    config = runner.work / "coveragerc"
    # A child knows the test that started it by pytest's variable.
    config.write_text("[run]\nparallel = true\ncontext = ${PYTEST_CURRENT_TEST-}\n")
    cov = [f"--cov={level.package}", "--cov-context=test", "--cov-report=", f"--cov-config={config}"]

    def run(group: int) -> Ran:
        env = {"COVERAGE_FILE": str(directory / f"{group}.coverage"), "MUTATION_COVERAGE": str(config)}
        arguments = [*cov, *files[group::jobs]]
        return runner.run(base, arguments, tests=None, limit=_MEASURE_SECONDS, env=env)

    seconds: dict[str, float] = {}
    failing: list[str] = []
    for ran in runner.each(run, range(min(jobs, len(files))), jobs=jobs):
        if ran.status not in {_PASSED, _FAILED} or ran.failed == list(ran.seconds):
            what = ran.failed[0] if ran.failed else f"exit status {ran.status}"
            raise MeasureError(f"{level.tests}: fails without a fault: {what}\n{ran.text}")
        failing += ran.failed
        seconds |= {name: spent for name, spent in ran.seconds.items() if name not in ran.failed}
    result = {"tree": str(base), "seconds": seconds, "failing": failing}
    (directory / "result.json").write_text(json.dumps(result))


def _prune(caches: Path) -> None:
    """Remove the measurements of all trees but the newest."""
    directories = sorted(caches.iterdir(), key=os.path.getmtime, reverse=True)
    for directory in directories[_KEPT:]:
        shutil.rmtree(directory, ignore_errors=True)
