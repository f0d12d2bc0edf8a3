"""A whole run: a copy of the tree, the measurements, a fault that must be noticed, then all others."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from .choose import choose
from .imports import Imports
from .judge import judge, run_tests
from .measure import LEVELS, Level, Measured, measure
from .runner import Runner
from .tree import copy_files, copy_tree, hash_files, list_files, write_fault

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence

    from .judge import Judged
    from .mutants import Mutant

CACHE = ".cache/mutate"
"""The directory of the measurements, below the checkout's root; git ignores it."""


_COLLECT_SECONDS = 600.0


class SanityError(Exception):
    """A fault that must be noticed was not: something else than the copy is tested."""


@contextlib.contextmanager
def open_session(root: Path, *, jobs: int, only: Sequence[str] = ()) -> Iterator[Session]:
    """A session on a checkout; at its end all that it started has ended, and its copies are gone."""
    work = Path(tempfile.mkdtemp(prefix="mutate-"))
    work.chmod(0o755)
    runner = Runner(work)
    try:
        yield Session(runner, root, jobs=jobs, only=only)
    finally:
        runner.stop()
        shutil.rmtree(work, ignore_errors=True)


class Session:
    """Measures, and judges faults; ``jobs`` is how many runs of pytest there are at once.

    ``only``: files and directories of the tests that faults are shown to; all of their level where empty.
    """

    def __init__(self, runner: Runner, root: Path, *, jobs: int, only: Sequence[str]) -> None:
        self._runner = runner
        self._jobs = jobs
        files = list_files(root)
        self._base = runner.work / "base"
        copy_files(root, files, self._base)
        self._cache = root / CACHE / hash_files(root, files, *only)
        self._only = tuple(only)
        self._imports = Imports(self._base, files)
        self._measured: dict[Level, Measured] = {}

    def measure(self, mutants: Iterable[Mutant], *, on_stage: Callable[[str], None]) -> None:
        """Measure the levels of some faults, or find them in the cache; see that a fault is noticed at all.

        Raises:
            MeasureError: the tests cannot run, or none passes.
            SanityError: what is tested is not the copy.
        """
        for level in sorted({_level(mutant) for mutant in mutants}, key=LEVELS.index):
            on_stage(f"measuring {level.tests}, unless the cache has it")
            measured = measure(
                self._runner, level, base=self._base, cache=self._cache, jobs=self._jobs, only=self._only
            )
            self._measured[level] = measured
            # Every copy has what Python compiles here; a measurement from the cache has compiled nothing.
            self._runner.run(
                self._base, ["--collect-only", level.tests], tests=None, limit=_COLLECT_SECONDS, env={}
            )
            for name in measured.failing:
                on_stage(f"left out, because it fails without a fault: {name}")
            self._check_sanity(level, measured)

    def judge(self, faults: Mapping[Mutant, str]) -> Generator[Judged]:
        """The verdicts, as they come; ``faults`` maps each to its file's text with it."""
        return self._runner.each(self._judge, faults.items(), jobs=self._jobs)

    def _judge(self, fault: tuple[Mutant, str]) -> Judged:
        mutant, text = fault
        level = _level(mutant)
        measured = self._measured[level]
        chosen = choose(mutant, level=level, measured=measured, imports=self._imports)
        return judge(
            self._runner, mutant, base=self._base, text=text, chosen=chosen, seconds=measured.seconds
        )

    def _check_sanity(self, level: Level, measured: Measured) -> None:
        """See that a test passes in the copy, and fails where the package cannot be imported.

        An editable installation points to the checkout: were that imported, every fault would live.
        """
        init = f"{level.package}/__init__.py"
        importing = self._imports.all(init, level.tests)
        name = next((one for one in measured.seconds if one.partition("::")[0] in importing), None)
        if name is None:
            raise SanityError(f"{level.tests}: no test imports {level.package}")
        clean = run_tests(self._runner, self._base, [name], measured.seconds)
        with self._runner.directory() as directory:
            copy_tree(self._base, directory / "tree")
            write_fault(directory / "tree", init, 'raise SystemExit("a fault of ./dev mutate")\n')
            faulty = run_tests(self._runner, directory / "tree", [name], measured.seconds)
        if clean.status != 0 or faulty.status in {0, None}:
            raise SanityError(
                f"{name}: expected exit status 0 without a fault, and another with one in {init};"
                f" found {clean.status} and {faulty.status}\n{clean.text}{faulty.text}"
            )


def _level(mutant: Mutant) -> Level:
    return next(level for level in LEVELS if mutant.path.startswith(f"{level.package}/"))
