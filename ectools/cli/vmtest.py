"""``ectools vmtest``: the NixOS VM tests of a flake."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from pathlib import Path

import click

from ectools.checks import vmtest_report as report
from ectools.checks import vmtest_run
from ectools.checks.vmtest import Source, VmTest, find_tests, make_nix, probe_nix
from ectools.checks.vmtest_run import Listener, Preparation, Schedule, Verdict, VmTestOutcome, run_tests
from ectools.checks.vmtest_steps import StepKind
from ectools.cli.complete import complete_vm_test
from ectools.cli.param_types import OVERRIDE_INPUT, Seconds
from ectools.files import write_atomic
from ectools.log import use_colour
from ectools.nixpkgs import find_nixpkgs

_COLOURS = {StepKind.SUBTEST: "1", StepKind.FAILURE: "31", StepKind.CONSOLE: "2"}
_SHOWN_AFTER_FAILURE = 20
_REDRAW_SECONDS = 0.1
_SECONDS_BETWEEN_LINES = 30.0


@click.command("vmtest", epilog="Example: ectools vmtest ipxe-qemu --jobs 2 --memory 6144 --junit vmtest.xml")
@click.argument("names", metavar="[NAME]...", nargs=-1, shell_complete=complete_vm_test)
@click.option("--list", "only_list", is_flag=True, help="List the tests, and why one cannot run here.")
@click.option("--flake", metavar="REF", default=".", show_default=True, help="The flake that has the tests.")
@click.option("--system", help="The system whose checks are meant. [default: this machine's]")
@OVERRIDE_INPUT
@click.option("--builders", metavar="BUILDERS", help="Remote builders, as nix.conf(5) writes them.")
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(min=1),
    help="How many tests at once. [default: half of the processors]",
)
@click.option(
    "--memory",
    type=click.IntRange(min=1),
    metavar="MIB",
    help="Memory for all machines of all tests. [default: three quarters of what is available]",
)
@click.option(
    "--timeout",
    type=Seconds(min=0.001),
    metavar="SECONDS",
    help="Of each test, in place of its own meta.timeout.",
)
@click.option("--junit", type=click.Path(path_type=Path), metavar="FILE", help="Write JUnit XML as well.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
@click.option("-v", "--verbose", is_flag=True, help="Show the machines' consoles too.")
@click.option("-q", "--quiet", is_flag=True, help="Show no log while tests run.")
def vmtest(
    *,
    names: tuple[str, ...],
    only_list: bool,
    flake: str,
    system: str | None,
    inputs: tuple[tuple[str, str], ...],
    builders: str | None,
    jobs: int | None,
    memory: int | None,
    timeout: float | None,
    junit: Path | None,
    as_json: bool,
    verbose: bool,
    quiet: bool,
) -> int:
    """Run the NixOS VM tests of a flake: its checks.SYSTEM.vm-NAME, through nix build.

    Its nixpkgs is the one of --override-input, else of $NIXPKGS, else the locked one; where that cannot be
    fetched, <nixpkgs>.

    The exit status is 0 where all passed, 1 where one failed, timed out or could not be evaluated or built,
    and 3 where none did but one could not run here, each with the reason. The time of a test begins when what
    it needs has been built.
    """
    named = find_nixpkgs(None)
    given = {} if named is None else {"nixpkgs": f"path:{named}"}
    source = Source(flake=flake, system=system, override_inputs={**given, **dict(inputs)}, builders=builders)
    probe = probe_nix(source)
    tests = find_tests(source, probe, names)
    if only_list:
        _print_list(tests, as_json=as_json)
        return 0
    schedule = Schedule(
        jobs=jobs or max(1, (os.cpu_count() or 1) // 2),
        memory_mib=memory or vmtest_run.available_memory_mib(),
        seconds=timeout,
    )
    progress = _Progress(shown=_shown(verbose=verbose, quiet=quiet), quiet=quiet, as_json=as_json)
    listener = Listener(
        on_line=progress.show_line,
        on_complete=progress.show_outcome,
        on_prepare=progress.show_preparation,
    )
    outcomes = run_tests(tests, schedule=schedule, listener=listener, nix=make_nix(source), probe=probe)
    if junit is not None:
        write_atomic(junit, f"{report.write_vmtests_junit(outcomes)}\n".encode())
    if as_json:
        click.echo(
            json.dumps([report.show_outcome_json(each) for each in outcomes], indent=2, ensure_ascii=False)
        )
    return vmtest_run.vmtests_exit_status(outcomes)


def _print_list(tests: list[VmTest], *, as_json: bool) -> None:
    if as_json:
        listed = [report.show_test_json(test) for test in tests]
        click.echo(json.dumps(listed, indent=2, ensure_ascii=False))
        return
    for test in tests:
        click.echo(report.show_test(test))


def _shown(*, verbose: bool, quiet: bool) -> frozenset[StepKind]:
    if quiet:
        return frozenset()
    return frozenset(StepKind) if verbose else frozenset(StepKind) - {StepKind.CONSOLE}


class _Progress:
    """Prints the log to standard error as it comes, and each outcome to standard output.

    What is built before a test begins is one line that changes on a terminal, and now and then a line
    elsewhere.
    """

    def __init__(self, *, shown: frozenset[StepKind], quiet: bool, as_json: bool) -> None:
        self._shown = shown
        self._quiet = quiet
        self._as_json = as_json
        self._colour = use_colour(sys.stderr)
        self._live = sys.stderr.isatty()
        self._prepared: dict[str, float] = {}
        self._drawn = False

    def show_preparation(self, test: VmTest, preparation: Preparation) -> None:
        now, last = time.monotonic(), self._prepared.get(test.name)
        pause = _REDRAW_SECONDS if self._live else _SECONDS_BETWEEN_LINES
        if self._quiet or (last is not None and now - last < pause):
            return
        self._prepared[test.name] = now
        text = f"{test.name} | {_describe_preparation(preparation)}"
        if self._live:
            text = text[: shutil.get_terminal_size().columns - 1]
            click.echo(f"\r\x1b[K{text}", err=True, nl=False)
            self._drawn = True
        else:
            click.echo(text, err=True)

    def show_line(self, test: VmTest, kind: StepKind, depth: int, text: str) -> None:
        if kind not in self._shown:
            return
        code = _COLOURS.get(kind)
        painted = f"\x1b[{code}m{text}\x1b[0m" if self._colour and code else text
        self._say(f"{test.name} | {'  ' * depth}{painted}")

    def show_outcome(self, outcome: VmTestOutcome) -> None:
        failed = outcome.verdict in (Verdict.FAILED, Verdict.TIMED_OUT, Verdict.ERROR)
        if failed and StepKind.CONSOLE not in self._shown and not self._quiet:
            self._show_ends(outcome)
        # With --json, standard output is the array's.
        self._clear()
        click.echo(report.show_outcome(outcome), err=self._as_json)

    def _show_ends(self, outcome: VmTestOutcome) -> None:
        """The last lines of each machine's console; where no machine came to be, those of the log."""
        name = outcome.test.name
        ends = {f"the end of {machine}'s console": lines for machine, lines in outcome.consoles.items()}
        for what, lines in (ends or {"the last lines": outcome.log}).items():
            if lines:
                self._say(f"{name}: {what}:")
            for line in lines[-_SHOWN_AFTER_FAILURE:]:
                self._say(f"{name} |   {line}")
        if outcome.log:
            self._say(f"{name}: all of it: nix log {outcome.test.drv}")

    def _say(self, text: str) -> None:
        self._clear()
        click.echo(text, err=True)

    def _clear(self) -> None:
        if self._drawn:
            click.echo("\r\x1b[K", err=True, nl=False)
            self._drawn = False


def _describe_preparation(preparation: Preparation) -> str:
    """``what it needs: 37 of 412 built, 3 of 5 copied: NAME``; the name is of what is being built."""
    counts = []
    if preparation.to_build:
        counts.append(f"{preparation.built} of {preparation.to_build} built")
    if preparation.to_copy:
        counts.append(f"{preparation.copied} of {preparation.to_copy} copied")
    building = f": {preparation.building}" if preparation.building else ""
    return f"what it needs: {', '.join(counts)}{building}"


COMMAND = vmtest
