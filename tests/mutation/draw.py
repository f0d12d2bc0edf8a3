"""A random sample of the faults, the same for the same tree and seed.

Drawn are lines, not faults: a call with ten arguments has thirty faults and is still one line of code. A
round goes through the lines in random order; of a line it takes an operator at random, and of the operator's
faults one. A crude operator (``operators.CRUDE``) is taken only where the line has no other. Where all lines
are drawn, another round follows.
"""

from __future__ import annotations

import random
from collections import defaultdict
from typing import TYPE_CHECKING

from .mutants import Mutant, find_mutants
from .operators import CRUDE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path


def find_all(root: Path, paths: Iterable[Path]) -> list[Mutant]:
    """The faults of all Python files of some files and directories, ordered by file and place."""
    files = {
        file.relative_to(root).as_posix()
        for path in paths
        for file in (path.rglob("*.py") if path.is_dir() else [path])
    }
    return [mutant for file in sorted(files) for mutant in find_mutants(root, file)]


def draw(
    mutants: list[Mutant], *, sample: int | None, seed: int, is_viable: Callable[[Mutant], bool]
) -> list[Mutant]:
    """``sample`` of the faults (None: all), ordered by file and place; what is not viable is not drawn."""
    chosen: list[Mutant] = []
    for mutant in mutants if sample is None else _shuffled(mutants, random.Random(seed)):
        if len(chosen) == sample:
            break
        if is_viable(mutant):
            chosen.append(mutant)
    return sorted(chosen, key=lambda mutant: (mutant.path, mutant.index))


def _shuffled(mutants: list[Mutant], rng: random.Random) -> Iterator[Mutant]:
    of_line: dict[tuple[str, int], list[Mutant]] = defaultdict(list)
    for mutant in mutants:
        of_line[mutant.path, mutant.line].append(mutant)
    while of_line:
        for line in rng.sample(sorted(of_line), len(of_line)):
            of_operator: dict[str, list[Mutant]] = defaultdict(list)
            for mutant in of_line[line]:
                of_operator[mutant.operator].append(mutant)
            operator = rng.choice(sorted(of_operator.keys() - CRUDE) or sorted(of_operator))
            mutant = rng.choice(of_operator[operator])
            of_line[line].remove(mutant)
            if not of_line[line]:
                del of_line[line]
            yield mutant
