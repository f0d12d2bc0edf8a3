"""VM tests, several at once: as many as ``jobs``, and never more memory than the budget."""

from __future__ import annotations

import contextlib
import re
import threading
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from ectools.checks.vmtest_steps import DriverStep, StepKind, Transcript

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from ectools.checks.vmtest import VmTest
    from pynix_eval_shim import BuildEvent, BuildProgress, Nix, NixError, Probe

_POLL_SECONDS = 0.2
_DEPENDENCY_SECONDS = 6 * 3600.0
"""How long what a test needs may take to be fetched and built; its own time begins after that."""
_FIRST_WITH_OUTPUTS_OF_DRV = (2, 13)
_DRV_NAME = re.compile(r"(?:.*/)?(?:[0-9a-z]{32}-)?(?P<name>.+?)(?:\.drv)?")


class Verdict(StrEnum):
    """How a test ended. ERROR is what went wrong before the test itself ran."""

    PASSED = "passed"
    FAILED = "failed"
    TIMED_OUT = "timed out"
    ERROR = "error"
    SKIPPED = "skipped"


@dataclass(frozen=True, kw_only=True)
class VmTestOutcome:
    """How one test ended, and after how many ``seconds`` of its own.

    ``reason`` says why it did not pass. ``log`` has its last lines, ``consoles`` those of each of its
    machines. ``machine`` is the builder's address where it ran elsewhere. ``known`` says that it had passed
    before and nothing was run.
    """

    test: VmTest
    verdict: Verdict
    seconds: float = 0.0
    reason: str | None = None
    steps: tuple[DriverStep, ...] = ()
    log: tuple[str, ...] = ()
    consoles: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    machine: str = ""
    known: bool = False


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How many tests at once, how much memory for all, and a timeout in place of the tests' own."""

    jobs: int
    memory_mib: int
    seconds: float | None = None


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """What is built and copied before a test can begin. ``building`` is the derivation begun last."""

    built: int
    to_build: int
    copied: int
    to_copy: int
    building: str


@dataclass(frozen=True, kw_only=True)
class Listener:
    """Callbacks: ``on_line(test, kind, depth, text)`` as a test prints, ``on_complete`` for each outcome.

    ``on_prepare`` is called as what a test needs is built and copied, up to thousands of times. All are
    called from several threads, one at a time.
    """

    on_line: Callable[[VmTest, StepKind, int, str], None]
    on_complete: Callable[[VmTestOutcome], None]
    on_prepare: Callable[[VmTest, Preparation], None] = lambda _test, _preparation: None


def vmtests_exit_status(outcomes: Sequence[VmTestOutcome]) -> int:
    """0: all passed. 1: one failed, timed out, or came to nothing. 3: none did, but one was skipped."""
    verdicts = {outcome.verdict for outcome in outcomes}
    if verdicts - {Verdict.PASSED, Verdict.SKIPPED}:
        return 1
    return 3 if Verdict.SKIPPED in verdicts else 0


def available_memory_mib() -> int:
    """Three quarters of what the kernel says can be used without swapping (proc(5), MemAvailable)."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) // 1024 * 3 // 4
    return 4096


def run_tests(
    tests: Sequence[VmTest], *, schedule: Schedule, listener: Listener, nix: Nix, probe: Probe
) -> list[VmTestOutcome]:
    """Run the tests and return how each ended, in the order given. Those that cannot run here are skipped.

    Whatever ends this call early, KeyboardInterrupt too, stops every test that runs, with its builders.
    """
    outcomes: dict[str, VmTestOutcome] = {}
    pending: list[VmTest] = []
    for each in tests:
        early = _conclude_early(each, schedule)
        if early is None:
            pending.append(each)
        else:
            outcomes[each.name] = early
            listener.on_complete(early)
    # The largest first: it waits for no one, and the small ones fill what it leaves.
    pending.sort(key=lambda test: -test.memory_mib)
    lock = threading.Lock()
    running: dict[Future[VmTestOutcome], _Run] = {}
    with ThreadPoolExecutor(max_workers=max(1, schedule.jobs)) as pool:
        try:
            while pending or running:
                while (test := _next(pending, running, schedule)) is not None:
                    pending.remove(test)
                    run = _Run(
                        test=test, listener=listener, lock=lock, seconds=schedule.seconds or test.seconds
                    )
                    running[pool.submit(run.run, nix, probe)] = run
                done, _ = wait(running, timeout=_POLL_SECONDS, return_when=FIRST_COMPLETED)
                for future in done:
                    run = running.pop(future)
                    outcomes[run.test.name] = outcome = future.result()
                    with lock:
                        listener.on_complete(outcome)
                for run in running.values():
                    run.stop_when_late()
        except BaseException:
            for run in running.values():
                run.stop.set()
            raise
    return [outcomes[test.name] for test in tests]


def _conclude_early(test: VmTest, schedule: Schedule) -> VmTestOutcome | None:
    """The outcome of a test that is not even tried."""
    if test.broken is not None:
        return VmTestOutcome(test=test, verdict=Verdict.ERROR, reason=f"cannot be evaluated: {test.broken}")
    if test.obstacle is not None:
        return VmTestOutcome(test=test, verdict=Verdict.SKIPPED, reason=test.obstacle)
    if test.memory_mib > schedule.memory_mib:
        reason = f"needs {test.memory_mib} MiB, and the budget is {schedule.memory_mib} MiB (--memory)"
        return VmTestOutcome(test=test, verdict=Verdict.SKIPPED, reason=reason)
    return None


def _next(
    pending: Sequence[VmTest], running: dict[Future[VmTestOutcome], _Run], schedule: Schedule
) -> VmTest | None:
    """The first that fits beside those that run."""
    if len(running) >= schedule.jobs:
        return None
    free = schedule.memory_mib - sum(run.test.memory_mib for run in running.values())
    return next((test for test in pending if test.memory_mib <= free), None)


@dataclass(kw_only=True)
class _Run:
    """One test under way; all but ``stop`` and ``late`` belongs to the thread that runs it."""

    test: VmTest
    listener: Listener
    lock: threading.Lock
    seconds: float
    stop: threading.Event = field(default_factory=threading.Event)
    late: bool = False
    began: float | None = None
    machine: str = ""
    transcript: Transcript = field(default_factory=Transcript)
    progress: BuildProgress | None = None
    building: str = ""

    def stop_when_late(self) -> None:
        """End it where its time is up; the clock starts when its own derivation does."""
        if self.began is not None and time.monotonic() - self.began > self.seconds:
            self.late = True
            self.stop.set()

    def run(self, nix: Nix, probe: Probe) -> VmTestOutcome:
        """The outcome of building the test's derivation."""
        from pynix_eval_shim import Limits, MissingSystemFeatureError, NixError, StoppedError, build

        # Up to 2.12 the bare path means all outputs, later ones take it for the .drv file itself.
        outputs = "^*" if probe.release >= _FIRST_WITH_OUTPUTS_OF_DRV else ""
        limits = Limits(seconds=_DEPENDENCY_SECONDS + self.seconds, memory_bytes=None)
        try:
            build(
                installable=f"{self.test.drv}{outputs}",
                on_event=self._on_event,
                on_progress=self._on_progress,
                stop=self.stop,
                limits=limits,
                nix=nix,
            )
        except MissingSystemFeatureError as error:
            return self._end(Verdict.SKIPPED, error.message)
        except StoppedError:
            if not self.late:
                return self._end(Verdict.ERROR, "stopped")
            where = f" in the subtest {self.transcript.under_way!r}" if self.transcript.under_way else ""
            return self._end(Verdict.TIMED_OUT, f"still running after {self.seconds:g} s{where}; killed")
        except NixError as error:
            return self._fail(error)
        return self._end(Verdict.PASSED, None)

    def _on_event(self, event: BuildEvent) -> None:
        if event.drv != self.test.drv:
            if event.line is None and (named := _DRV_NAME.fullmatch(event.drv)):
                self.building = named["name"]
                self._tell_preparation()
            return
        if event.line is None:
            # Twice, where a remote builder's own nix tells of it too.
            self.began = self.began or time.monotonic()
            self.machine = self.machine or event.machine
            return
        depth = self.transcript.depth
        kind = self.transcript.add(event.line)
        with self.lock:
            self.listener.on_line(self.test, kind, min(depth, self.transcript.depth), event.line)

    def _on_progress(self, progress: BuildProgress) -> None:
        self.progress = progress
        self._tell_preparation()

    def _tell_preparation(self) -> None:
        """Pass on what is known of it; once the test itself has begun there is no more to tell."""
        if self.began is not None or self.progress is None:
            return
        # Nix counts the test among what it builds.
        preparation = Preparation(
            built=self.progress.built,
            to_build=max(self.progress.to_build - 1, 0),
            copied=self.progress.copied,
            to_copy=self.progress.to_copy,
            building=self.building,
        )
        if preparation.to_build or preparation.to_copy:
            with self.lock:
                self.listener.on_prepare(self.test, preparation)

    def _fail(self, error: NixError) -> VmTestOutcome:
        from pynix_eval_shim import BuildFailedError

        if not isinstance(error, BuildFailedError):
            return self._end(Verdict.ERROR, str(error))
        if error.drv != self.test.drv:
            self.transcript.tail.extend(error.log)
            return self._end(Verdict.ERROR, f"what it needs did not build: {error.message}")
        failure = next((step for step in self.transcript.steps if step.failure is not None), None)
        if failure is not None:
            return self._end(Verdict.FAILED, f"the subtest {failure.name!r} failed: {failure.failure}")
        where = f" in the subtest {self.transcript.under_way!r}" if self.transcript.under_way else ""
        return self._end(Verdict.FAILED, f"the test failed{where}")

    def _end(self, verdict: Verdict, reason: str | None) -> VmTestOutcome:
        return VmTestOutcome(
            test=self.test,
            verdict=verdict,
            seconds=0.0 if self.began is None else time.monotonic() - self.began,
            reason=reason,
            steps=self.transcript.steps,
            log=tuple(self.transcript.tail),
            consoles={name: tuple(lines) for name, lines in self.transcript.consoles.items()},
            machine=self.machine,
            known=self.began is None and verdict is Verdict.PASSED,
        )
