"""VM tests and how they ended, for people, programs and test reporters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ectools import junit
from ectools.checks.vmtest_run import Verdict, VmTestOutcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ectools.checks.vmtest import VmTest
    from ectools.checks.vmtest_steps import DriverStep


def show_test(test: VmTest) -> str:
    """A line of ``--list``: name, memory, timeout, and why it cannot run here."""
    if test.broken is not None:
        return f"{test.name}  cannot be evaluated: {test.broken}"
    needs = f"{test.memory_mib} MiB, {test.seconds:g} s"
    return f"{test.name}  {needs}  " + (
        "can run here" if test.obstacle is None else f"cannot: {test.obstacle}"
    )


def show_test_json(test: VmTest) -> dict[str, Any]:
    """``name, derivation, system, description, features, nodes, memoryMiB, timeout, canRun, reason``."""
    return {
        "name": test.name,
        "derivation": test.drv or None,
        "system": test.system or None,
        "description": test.description,
        "features": None if test.features is None else sorted(test.features),
        "nodes": dict(test.nodes),
        "memoryMiB": test.memory_mib,
        "timeout": test.seconds,
        "canRun": test.broken is None and test.obstacle is None,
        "reason": test.broken or test.obstacle,
    }


def show_outcome(outcome: VmTestOutcome) -> str:
    """A line: verdict, name, seconds, and where it did not pass the reason."""
    line = f"{outcome.verdict.value:<9}  {outcome.test.name}"
    if outcome.known:
        return f"{line}  (it passed before, and nothing that it is made of has changed)"
    if outcome.verdict is not Verdict.SKIPPED and outcome.seconds:
        line += f"  {outcome.seconds:.1f} s"
    if outcome.machine:
        line += f"  on {outcome.machine}"
    return line if outcome.reason is None else f"{line}  {outcome.reason}"


def show_outcome_json(outcome: VmTestOutcome) -> dict[str, Any]:
    """``name, verdict, seconds, reason, machine, known, subtests, log, consoles``.

    ``log`` has the last lines, ``consoles`` the last lines of each machine's.
    """
    return {
        "name": outcome.test.name,
        "verdict": outcome.verdict.value,
        "seconds": round(outcome.seconds, 3),
        "reason": outcome.reason,
        "machine": outcome.machine or None,
        "known": outcome.known,
        "subtests": [
            {"name": step.name, "seconds": step.seconds, "failure": step.failure} for step in outcome.steps
        ],
        "log": list(outcome.log),
        "consoles": {name: list(lines) for name, lines in outcome.consoles.items()},
    }


def write_vmtests_junit(outcomes: Sequence[VmTestOutcome]) -> str:
    """A suite for each test, with a case for each subtest and one for the test as a whole."""
    return junit.write([junit.Suite(name=outcome.test.name, cases=_cases(outcome)) for outcome in outcomes])


def _cases(outcome: VmTestOutcome) -> list[junit.Case]:
    cases = [
        junit.Case(
            group=outcome.test.name, name=step.name, seconds=step.seconds, failure=_failure(outcome, step)
        )
        for step in outcome.steps
    ]
    verdict, passed = outcome.verdict, outcome.verdict is Verdict.PASSED
    whole = junit.Case(
        group=outcome.test.name,
        name="the whole test",
        seconds=outcome.seconds,
        failure=outcome.reason if verdict in (Verdict.FAILED, Verdict.TIMED_OUT) else None,
        error=outcome.reason if verdict is Verdict.ERROR else None,
        skipped=outcome.reason if verdict is Verdict.SKIPPED else None,
        output="" if passed else "\n".join([*_console_ends(outcome), *outcome.log]),
    )
    return [*cases, whole]


def _console_ends(outcome: VmTestOutcome) -> list[str]:
    """Each machine's last lines below its name, for a reader of one text."""
    lines = []
    for name, console in outcome.consoles.items():
        lines += [f"The end of {name}'s console:", *console, ""]
    return lines


def _failure(outcome: VmTestOutcome, step: DriverStep) -> str | None:
    if step.failure is not None or outcome.verdict is Verdict.PASSED or step.seconds is not None:
        return step.failure
    return "it did not end"
