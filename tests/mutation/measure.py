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

_MEASURE_SECONDS = 3600.0
_CONTEXT_END = re.compile(r"\|\w+$| \(\w+\)$")
_KEPT = 3
"""How many trees' measurements the cache keeps."""


class MeasureError(Exception):
    """The tests fail without a fault; ``str()`` of it says which and why."""


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
    """What the tests of one level do: ``seconds.json``, and coverage's data of each group of tests."""

    def __init__(self, directory: Path, tree: str) -> None:
        self._directory = directory
        self._tree = tree
        self._lines: dict[str, dict[int, set[str]]] = {}

    @cached_property
    def seconds(self) -> dict[str, float]:
        """Every test's id, in the order in which they ran, and its time."""
        found: dict[str, float] = json.loads((self._directory / "seconds.json").read_text())["seconds"]
        return found

    def covering(self, path: str) -> dict[int, set[str]]:
        """For each line of a file the tests that run it, but not those whose file runs it by an import."""
        if path not in self._lines:
            lines: dict[int, set[str]] = {}
            for file in sorted(self._directory.glob("*.coverage")):
                data = CoverageData(str(file))
                data.read()
                for line, contexts in data.contexts_by_lineno(f"{self._tree}/{path}").items():
                    # pytest-cov's contexts: "id|run"; a child's: "id (call)"; "" at collection.
                    lines.setdefault(line, set()).update(
                        _CONTEXT_END.sub("", name) for name in contexts if name
                    )
            self._lines[path] = lines
        return self._lines[path]


def measure(runner: Runner, level: Level, *, base: Path, cache: Path, jobs: int) -> Measured:
    """The measurement of a level, from the cache if it is there. ``base`` is a copy of the tree.

    Raises:
        MeasureError: a test fails without a fault.
    """
    directory = cache / level.package
    if not directory.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            made = Path(tempfile.mkdtemp(dir=cache, prefix=".new-"))
            stack.callback(shutil.rmtree, made, ignore_errors=True)
            _measure(runner, level, base=base, directory=made, jobs=jobs)
            made.rename(directory)
        _prune(cache.parent)
    return Measured(directory, json.loads((directory / "seconds.json").read_text())["tree"])


def _measure(runner: Runner, level: Level, *, base: Path, directory: Path, jobs: int) -> None:
    files = sorted(path.relative_to(base).as_posix() for path in (base / level.tests).rglob("test_*.py"))
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
    for ran in runner.each(run, range(min(jobs, len(files))), jobs=jobs):
        if ran.status != 0:
            raise MeasureError(
                f"{level.tests}: fails without a fault: {ran.failed or ran.status}\n{ran.text}"
            )
        seconds.update(ran.seconds)
    (directory / "seconds.json").write_text(json.dumps({"tree": str(base), "seconds": seconds}))


def _prune(caches: Path) -> None:
    """Remove the measurements of all trees but the newest."""
    directories = sorted(caches.iterdir(), key=os.path.getmtime, reverse=True)
    for directory in directories[_KEPT:]:
        shutil.rmtree(directory, ignore_errors=True)
