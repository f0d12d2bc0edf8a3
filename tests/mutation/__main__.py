"""``./dev mutate [PATH…]``: parses, draws, runs, prints; exit status 1 below the floor, 2 for bad arguments."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .draw import draw, find_all
from .judge import Verdict
from .measure import LEVELS, MeasureError
from .mutants import Mutant, PragmaError, mutated_text, short_diff
from .report import fault_text, killed_percent, summary_text, survivor_text, to_json
from .session import SanityError, judge_all

if TYPE_CHECKING:
    from .judge import Judged

DEFAULT_PATHS = ("ectools/netboot", "ectools/vm", "ectools/options", "pynix_eval_shim")
FLOOR_PERCENT = 90.0


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path))
@click.option("--sample", type=click.IntRange(min=1), help="How many faults to draw; without it, all.")
@click.option(
    "--seed", type=int, default=1, show_default=True, help="The same tree and seed draw the same faults."
)
@click.option(
    "-j", "--jobs", type=click.IntRange(min=1), default=os.cpu_count() or 1, help="Runs at once [cores]."
)
@click.option(
    "--floor", type=click.FloatRange(0, 100), default=FLOOR_PERCENT, show_default=True, help="In percent."
)
@click.option(
    "--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write all results here."
)
@click.option("--list", "only_list", is_flag=True, help="Print the faults and run nothing.")
def main(
    paths: tuple[Path, ...],
    *,
    sample: int | None,
    seed: int,
    jobs: int,
    floor: float,
    json_file: Path | None,
    only_list: bool,
) -> None:
    """Make small faults in the code, and name those that no test of the same level notices."""
    root = Path.cwd().resolve()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    texts: dict[Mutant, str | None] = {}

    def is_viable(mutant: Mutant) -> bool:
        texts[mutant] = mutated_text(root, mutant)
        return texts[mutant] is not None

    click.echo("finding faults", err=True)
    try:
        drawn = draw(find_all(root, _check_paths(root, paths)), sample=sample, seed=seed, is_viable=is_viable)
    except PragmaError as error:
        raise click.UsageError(str(error)) from error
    faults = {mutant: text for mutant in drawn if (text := texts[mutant]) is not None}
    if only_list:
        for mutant, text in faults.items():
            click.echo(
                fault_text(mutant, *short_diff((root / mutant.path).read_text(encoding="utf-8"), text))
            )
        return
    results = _run(root, faults, jobs=jobs)
    for judged in results:
        if not judged.verdict.is_noticed:
            click.echo(survivor_text(judged) + "\n")
    click.echo(summary_text(results))
    if json_file is not None:
        json_file.write_text(json.dumps(to_json(results), indent=2) + "\n", encoding="utf-8")
    sys.exit(int(killed_percent(results) < floor))


def _check_paths(root: Path, paths: tuple[Path, ...]) -> list[Path]:
    """Absolute paths of files and folders, each below a package that has tests of its level."""
    found = [path.resolve() for path in paths or [root / name for name in DEFAULT_PATHS]]
    packages = [root / level.package for level in LEVELS]
    for path in found:
        if not any(path.is_relative_to(package) for package in packages):
            expected = " or ".join(level.package for level in LEVELS)
            raise click.UsageError(f"{path}: no code of a level: expected something below {expected}")
    return found


def _run(root: Path, faults: dict[Mutant, str], *, jobs: int) -> list[Judged]:
    noticed = lived = 0
    with click.progressbar(length=len(faults), label="faults", file=sys.stderr) as bar:

        def progress(judged: Judged) -> None:
            nonlocal noticed, lived
            noticed += judged.verdict.is_noticed
            lived += not judged.verdict.is_noticed
            bar.label = f"{noticed} noticed, {lived} not"
            bar.update(1)

        try:
            return judge_all(
                root, faults, jobs=jobs, on_stage=lambda text: click.echo(text, err=True), on_judged=progress
            )
        except (MeasureError, SanityError) as error:
            raise click.ClickException(str(error)) from error


__all__ = ["Verdict", "main"]

if __name__ == "__main__":
    main(prog_name="./dev mutate")
