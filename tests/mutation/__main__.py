"""``./dev mutate [PATH…]``: parses, draws, judges, prints. Exit status 1: below the floor, 2: bad usage."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .draw import draw, find_all
from .measure import LEVELS, MeasureError
from .mutants import Mutant, PragmaError, mutated_text, short_diff
from .report import fault_text, noticed_percent, summary_text, survivor_text, to_json
from .session import SanityError, open_session

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .judge import Judged

DEFAULT_PATHS = ("ectools/netboot", "ectools/vm", "ectools/options", "pynix_eval_shim")
FLOOR_PERCENT = 90.0


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--sample", type=click.IntRange(min=1), help="How many faults to draw.  [default: all]")
@click.option(
    "--tests",
    "only",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="Show them to these tests alone: quicker while writing, and at most as many are noticed.",
)
@click.option(
    "--seed", type=int, default=1, show_default=True, help="The same tree and seed: the same faults."
)
@click.option(
    "-j", "--jobs", type=click.IntRange(min=1), default=os.cpu_count(), help="Runs at once.  [default: cores]"
)
@click.option(
    "--floor", type=click.FloatRange(0, 100), default=FLOOR_PERCENT, show_default=True, help="In percent."
)
@click.option(
    "--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write all results here."
)
@click.option("--list", "only_list", is_flag=True, help="Print the faults, and run nothing.")
def main(
    paths: tuple[Path, ...],
    *,
    sample: int | None,
    only: tuple[Path, ...],
    seed: int,
    jobs: int,
    floor: float,
    json_file: Path | None,
    only_list: bool,
) -> None:
    """Make small faults in the code, and name those that no test of the same level notices."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    root = Path.cwd().resolve()
    faults = _draw_faults(root, _check_paths(root, paths), sample=sample, seed=seed)
    if only_list:
        for mutant, text in faults.items():
            click.echo(
                fault_text(mutant, *short_diff((root / mutant.path).read_text(encoding="utf-8"), text))
            )
        return
    try:
        with open_session(
            root, jobs=jobs, only=[path.resolve().relative_to(root).as_posix() for path in only]
        ) as session:
            session.measure(faults, on_stage=functools.partial(click.echo, err=True))
            with contextlib.closing(session.judge(faults)) as judged:
                results = list(_with_progress(judged, len(faults)))
    except (MeasureError, SanityError) as error:
        raise click.ClickException(str(error)) from error
    results.sort(key=lambda one: (one.mutant.path, one.mutant.index))
    for one in results:
        if not one.verdict.is_noticed:
            click.echo(f"{survivor_text(one)}\n")
    click.echo(summary_text(results))
    if json_file is not None:
        json_file.write_text(json.dumps(to_json(results), indent=2) + "\n", encoding="utf-8")
    sys.exit(int(noticed_percent(results) < floor))


def _check_paths(root: Path, paths: tuple[Path, ...]) -> list[Path]:
    """Absolute paths of files and directories, each below a package that has tests of its level."""
    found = [path.resolve() for path in paths or [root / name for name in DEFAULT_PATHS]]
    packages = [root / level.package for level in LEVELS]
    for path in found:
        if not any(path.is_relative_to(package) for package in packages):
            expected = " or ".join(level.package for level in LEVELS)
            raise click.UsageError(
                f"{path}: expected something below {expected}, which have tests of their level"
            )
    return found


def _draw_faults(root: Path, paths: list[Path], *, sample: int | None, seed: int) -> dict[Mutant, str]:
    """Faults, each with its file's text with it."""
    texts: dict[Mutant, str] = {}

    def is_viable(mutant: Mutant) -> bool:
        text = mutated_text(root, mutant)
        if text is not None:
            texts[mutant] = text
        return text is not None

    click.echo("finding faults", err=True)
    try:
        drawn = draw(find_all(root, paths), sample=sample, seed=seed, is_viable=is_viable)
    except PragmaError as error:
        raise click.UsageError(str(error)) from error
    return {mutant: texts[mutant] for mutant in drawn}


def _with_progress(judged: Iterable[Judged], total: int) -> Iterator[Judged]:
    """The same, told on stderr: a bar on a terminal, else a line for each."""
    if sys.stderr.isatty():
        with click.progressbar(judged, length=total, label=f"{total} faults", file=sys.stderr) as bar:
            yield from bar
        return
    for number, one in enumerate(judged, start=1):
        click.echo(f"{number}/{total} {one.verdict}: {one.mutant.path}:{one.mutant.line}", err=True)
        yield one


if __name__ == "__main__":
    main(prog_name="./dev mutate")
