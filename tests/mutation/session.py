"""A whole run: a copy of the tree, the measurements, a fault that must be noticed, then all others, some at once."""

from __future__ import annotations

import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import TYPE_CHECKING

from .choose import choose
from .imports import Imports
from .judge import Judged, judge, run_chosen
from .measure import LEVELS, Level, Measured, measure
from .runner import Runner
from .tree import copy_files, copy_tree, hash_files, list_files, write_fault

if TYPE_CHECKING:
    from collections.abc import Callable

    from .mutants import Mutant

CACHE = ".cache/mutate"


class SanityError(Exception):
    """A fault that must be noticed was not: something else than the copy is tested."""


def judge_all(
    root: Path,
    faults: dict[Mutant, str],
    *,
    jobs: int,
    on_stage: Callable[[str], None],
    on_judged: Callable[[Judged], None],
) -> list[Judged]:
    """The verdicts on faults, in their order; ``faults`` maps each to its file's text with it.

    Raises:
        MeasureError: the tests fail without a fault.
        SanityError: what is tested is not the copy.
    """
    work = Path(tempfile.mkdtemp(prefix="mutate-"))
    work.chmod(0o755)
    runner = Runner(work)
    try:
        return _judge_all(runner, root, faults, jobs=jobs, on_stage=on_stage, on_judged=on_judged)
    finally:
        runner.stop()
        shutil.rmtree(work, ignore_errors=True)


def _judge_all(
    runner: Runner,
    root: Path,
    faults: dict[Mutant, str],
    *,
    jobs: int,
    on_stage: Callable[[str], None],
    on_judged: Callable[[Judged], None],
) -> list[Judged]:
    files = list_files(root)
    base = runner.work / "base"
    copy_files(root, files, base)
    cache = root / CACHE / hash_files(root, files)
    imports = Imports(base, files)
    levels = {mutant: _level(mutant) for mutant in faults}
    measured: dict[Level, Measured] = {}
    for level in sorted(set(levels.values()), key=LEVELS.index):
        on_stage(f"measuring {level.tests}, unless the cache has it")
        measured[level] = measure(runner, level, base=base, cache=cache, jobs=jobs)
        on_stage(f"a fault in all of {level.package} that must be noticed")
        _check_sanity(runner, level, base, measured[level], imports)

    def one(mutant: Mutant) -> Judged:
        level = levels[mutant]
        chosen = choose(mutant, level=level, measured=measured[level], imports=imports)
        return judge(runner, mutant, base=base, text=faults[mutant], chosen=chosen, measured=measured[level])

    with ThreadPoolExecutor(jobs) as pool:
        futures = {pool.submit(one, mutant): mutant for mutant in faults}
        try:
            for future in as_completed(futures):
                on_judged(future.result())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            runner.stop()
            raise
    return [future.result() for future in futures]


def _level(mutant: Mutant) -> Level:
    return next(level for level in LEVELS if mutant.path.startswith(f"{level.package}/"))


def _check_sanity(runner: Runner, level: Level, base: Path, measured: Measured, imports: Imports) -> None:
    """A test passes in the copy, and fails where the package cannot be imported.

    An editable installation points to the checkout: were that imported, every fault would live.
    """
    init = f"{level.package}/__init__.py"
    importing = imports.all(init, level.tests)
    name = next((one for one in measured.seconds if one.partition("::")[0] in importing), None)
    if name is None:
        raise SanityError(f"{level.tests}: no test imports {level.package}")
    clean = run_chosen(runner, base, [name], measured)
    with runner.folder() as folder:
        copy_tree(base, folder / "tree")
        write_fault(folder / "tree", init, 'raise SystemExit("a fault of ./dev mutate")\n')
        faulty = run_chosen(runner, folder / "tree", [name], measured)
    if clean.status != 0 or faulty.status in {0, None}:
        raise SanityError(
            f"{name}: expected exit status 0 without a fault, and another with one in {init};"
            f" found {clean.status} and {faulty.status}\n{clean.text}{faulty.text}"
        )
