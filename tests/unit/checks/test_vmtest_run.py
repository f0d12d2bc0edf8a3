"""Several VM tests at once: the order, the budget, and how each ends; a build is a fake."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

import pynix_eval_shim as shim
from ectools.checks import vmtest_run
from ectools.checks.vmtest import VmTest
from ectools.checks.vmtest_run import Listener, Preparation, Schedule, Verdict, VmTestOutcome, run_tests
from ectools.checks.vmtest_steps import StepKind

NIX = shim.Nix()


def make_test(name: str, mib: int = 100, **more: Any) -> VmTest:
    return VmTest(name=name, drv=f"/{name}.drv", nodes={"m": mib}, seconds=50.0, **more)


@dataclass
class FakeBuilds:
    """The shim's ``build``: says what a test's machine says, and fails as it is told to.

    With ``wait`` a build ends only once that many are under way at once.
    """

    lines: tuple[str, ...] = ()
    errors: dict[str, shim.NixError] = field(default_factory=dict)
    progress: tuple[shim.BuildProgress, ...] = ()
    cached: bool = False
    machine: str = ""
    wait: threading.Barrier | None = None
    calls: list[dict[str, Any]] = field(default_factory=list)
    under_way: int = 0
    most: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, *, installable: str, **options: Any) -> None:
        with self.lock:
            self.calls.append({"installable": installable, **options})
            self.under_way += 1
            self.most = max(self.most, self.under_way)
        try:
            drv = installable.removesuffix("^*")
            options["on_event"](shim.BuildEvent(drv="/needed.drv"))
            options["on_event"](shim.BuildEvent(drv="/needed.drv", line="compiling"))
            for progress in self.progress:
                options["on_progress"](progress)
            if not self.cached:
                options["on_event"](shim.BuildEvent(drv=drv, machine=self.machine))
                for progress in self.progress:
                    options["on_progress"](progress)
            for line in self.lines:
                options["on_event"](shim.BuildEvent(drv=drv, line=line))
            if self.wait is not None:
                self.wait.wait(30)
            if drv in self.errors:
                raise self.errors[drv]
        finally:
            with self.lock:
                self.under_way -= 1

    @property
    def order(self) -> list[str]:
        return [
            call["installable"].strip("/").removesuffix(".drv^*").removesuffix(".drv") for call in self.calls
        ]


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> FakeBuilds:
    fake = FakeBuilds()
    monkeypatch.setattr(shim, "build", fake)
    return fake


class Heard:
    """What a listener was told."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, StepKind, int, str]] = []
        self.ended: list[VmTestOutcome] = []
        self.prepared: list[tuple[str, Preparation]] = []
        self.listener = Listener(
            on_line=lambda test, kind, depth, text: self.lines.append((test.name, kind, depth, text)),
            on_complete=self.ended.append,
            on_prepare=lambda test, preparation: self.prepared.append((test.name, preparation)),
        )


def run(
    *tests: VmTest, jobs: int = 1, memory_mib: int = 1000, release: tuple[int, ...] = (2, 13), **more: Any
) -> tuple[list[VmTestOutcome], Heard]:
    heard = Heard()
    schedule = Schedule(jobs=jobs, memory_mib=memory_mib, **more)
    probe: Any = SimpleNamespace(release=release)
    outcomes = run_tests(tests, schedule=schedule, listener=heard.listener, nix=NIX, probe=probe)
    assert sorted(each.test.name for each in heard.ended) == sorted(test.name for test in tests)
    return outcomes, heard


class TestSchedule:
    def test_outcomes_are_in_the_order_given_and_the_largest_runs_first(self, builds: FakeBuilds) -> None:
        tests = [make_test("a", 100), make_test("b", 300), make_test("c", 300), make_test("d", 200)]
        outcomes, _ = run(*tests)
        assert [outcome.test.name for outcome in outcomes] == ["a", "b", "c", "d"]
        # Of the same size in the order given.
        assert builds.order == ["b", "c", "d", "a"]
        assert builds.most == 1

    def test_a_budget_that_is_met_exactly_is_enough(self, builds: FakeBuilds) -> None:
        builds.wait = threading.Barrier(2)
        outcomes, _ = run(make_test("a", 400), make_test("b", 600), jobs=2, memory_mib=1000)
        assert [outcome.verdict for outcome in outcomes] == [Verdict.PASSED] * 2
        assert builds.most == 2
        builds.wait = None
        (outcome,), _ = run(make_test("c", 1000), memory_mib=1000)
        assert outcome.verdict is Verdict.PASSED

    def test_more_than_the_budget_never_runs_at_once(self, builds: FakeBuilds) -> None:
        outcomes, _ = run(make_test("a", 401), make_test("b", 600), jobs=2, memory_mib=1000)
        assert [outcome.verdict for outcome in outcomes] == [Verdict.PASSED] * 2
        assert builds.most == 1

    def test_more_than_the_whole_budget_is_skipped_with_both_numbers(self, builds: FakeBuilds) -> None:
        (outcome,), heard = run(make_test("a", 1001), memory_mib=1000)
        assert outcome.verdict is Verdict.SKIPPED
        assert outcome.reason == "needs 1001 MiB, and the budget is 1000 MiB (--memory)"
        assert heard.ended == [outcome]
        assert builds.calls == []

    def test_as_many_as_jobs(self, builds: FakeBuilds) -> None:
        builds.wait = threading.Barrier(2)
        run(*(make_test(name) for name in "abcd"), jobs=2)
        assert builds.most == 2

    def test_what_cannot_be_tried_is_told_first(self, builds: FakeBuilds) -> None:
        broken = make_test("a", broken="no", obstacle="no")
        outcomes, heard = run(make_test("c"), broken, make_test("b", obstacle="no kvm"))
        assert [(outcome.verdict, outcome.reason) for outcome in outcomes] == [
            (Verdict.PASSED, None),
            (Verdict.ERROR, "cannot be evaluated: no"),
            (Verdict.SKIPPED, "no kvm"),
        ]
        assert [each.test.name for each in heard.ended] == ["a", "b", "c"]
        assert builds.order == ["c"]

    def test_an_interrupt_stops_what_runs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        stops = []

        def build(**options: Any) -> None:
            stops.append(options["stop"])
            assert options["stop"].wait(30)
            raise shim.StoppedError("stopped")

        def interrupt(*_arguments: Any, **_options: Any) -> Any:
            raise KeyboardInterrupt

        monkeypatch.setattr(shim, "build", build)
        monkeypatch.setattr(vmtest_run, "wait", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(make_test("a"))
        assert all(stop.is_set() for stop in stops)


class TestBuild:
    @pytest.mark.parametrize(
        ("release", "installable"), [((2, 12, 9), "/a.drv"), ((2, 13), "/a.drv^*"), ((2, 8), "/a.drv")]
    )
    def test_all_outputs_of_the_derivation(
        self, builds: FakeBuilds, release: tuple[int, ...], installable: str
    ) -> None:
        run(make_test("a"), release=release)
        (call,) = builds.calls
        assert call["installable"] == installable
        assert call["nix"] is NIX
        assert call["limits"] == shim.Limits(seconds=6 * 3600.0 + 50.0, memory_bytes=None)
        run(make_test("a"), seconds=7.0)
        assert builds.calls[1]["limits"].seconds == 6 * 3600.0 + 7.0

    def test_lines_are_passed_on_with_their_kind_and_depth(self, builds: FakeBuilds) -> None:
        builds.lines = ("subtest: boots", "machine: waiting", "(finished: subtest: boots, in 1.00 seconds)")
        builds.machine = "ssh://far"
        (outcome,), heard = run(make_test("a"))
        assert heard.lines == [
            ("a", StepKind.SUBTEST, 0, "subtest: boots"),
            ("a", StepKind.STEP, 1, "machine: waiting"),
            ("a", StepKind.STEP, 0, "(finished: subtest: boots, in 1.00 seconds)"),
        ]
        assert [step.name for step in outcome.steps] == ["boots"]
        assert (outcome.machine, outcome.known) == ("ssh://far", False)

    def test_what_it_needs_is_counted_without_itself_until_it_begins(self, builds: FakeBuilds) -> None:
        builds.progress = (
            shim.BuildProgress(to_build=1),
            shim.BuildProgress(built=1, to_build=3, copied=4, to_copy=5),
        )
        _, heard = run(make_test("a"))
        assert heard.prepared == [
            ("a", Preparation(built=1, to_build=2, copied=4, to_copy=5, building="needed")),
        ]

    @pytest.mark.parametrize(
        ("drv", "name"),
        [
            (f"/nix/store/{'a1' * 16}-unit-x.service.drv", "unit-x.service"),
            ("/elsewhere/plain.drv", "plain"),
            ("plain", "plain"),
        ],
    )
    def test_a_derivation_is_told_by_its_name(self, drv: str, name: str) -> None:
        heard = Heard()
        one = vmtest_run._Run(
            test=make_test("a"), listener=heard.listener, lock=threading.Lock(), seconds=50.0
        )
        one._on_event(shim.BuildEvent(drv=drv))
        assert heard.prepared == []  # nothing is counted yet
        one._on_progress(shim.BuildProgress(copied=1, to_copy=2))
        one._on_event(shim.BuildEvent(drv=drv))
        told = Preparation(built=0, to_build=0, copied=1, to_copy=2, building=name)
        assert heard.prepared == [("a", told), ("a", told)]

    def test_the_end_of_each_console_is_kept_apart(self, builds: FakeBuilds) -> None:
        builds.lines = ("a # one", "b # other", "a #", *(f"b # {number}" for number in range(60)))
        (outcome,), _ = run(make_test("a"))
        assert outcome.consoles == {"a": ("one", ""), "b": tuple(str(number) for number in range(10, 60))}

    def test_what_was_built_before_is_known(self, builds: FakeBuilds) -> None:
        builds.cached = True
        (outcome,), _ = run(make_test("a"))
        assert (outcome.verdict, outcome.known, outcome.seconds) == (Verdict.PASSED, True, 0.0)
        builds.errors = {"/a.drv": shim.NixError("x")}
        (outcome,), _ = run(make_test("a"))
        assert (outcome.verdict, outcome.known) == (Verdict.ERROR, False)


class TestVerdicts:
    @pytest.mark.parametrize(
        ("error", "lines", "verdict", "reason"),
        [
            (shim.MissingSystemFeatureError("no kvm"), (), Verdict.SKIPPED, "no kvm"),
            (shim.StoppedError("x"), (), Verdict.ERROR, "stopped"),
            (shim.NixError("broke"), (), Verdict.ERROR, "broke"),
            (
                shim.BuildFailedError("exit 1", drv="/needed.drv", log=("why",)),
                (),
                Verdict.ERROR,
                "what it needs did not build: exit 1",
            ),
            (shim.BuildFailedError("exit 1", drv="/a.drv"), (), Verdict.FAILED, "the test failed"),
            (
                shim.BuildFailedError("exit 1", drv="/a.drv"),
                ("subtest: boots",),
                Verdict.FAILED,
                "the test failed in the subtest 'boots'",
            ),
        ],
    )
    def test_each_way_to_fail(
        self,
        builds: FakeBuilds,
        error: shim.NixError,
        lines: tuple[str, ...],
        verdict: Verdict,
        reason: str,
    ) -> None:
        builds.errors = {"/a.drv": error}
        builds.lines = lines
        (outcome,), _ = run(make_test("a"))
        assert (outcome.verdict, outcome.reason) == (verdict, reason)
        if "needs" in reason:
            assert outcome.log[-1] == "why"

    def test_time_is_up_once_it_is_more_than_allowed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        now = 100.0
        monkeypatch.setattr(vmtest_run, "time", SimpleNamespace(monotonic=lambda: now))
        one = vmtest_run._Run(
            test=make_test("a"), listener=Heard().listener, lock=threading.Lock(), seconds=50.0
        )
        now = 1000.0
        one.stop_when_late()
        assert not one.late  # what it needs is still being built
        one._on_event(shim.BuildEvent(drv="/a.drv"))
        now = 1050.0
        one._on_event(shim.BuildEvent(drv="/a.drv", machine="ssh://far"))
        one.stop_when_late()
        assert not one.late
        now = 1050.5
        one.stop_when_late()
        assert one.late
        assert one.stop.is_set()
        assert one.machine == "ssh://far"

    def test_what_was_stopped_for_its_time_says_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def build(**options: Any) -> None:
            options["on_event"](shim.BuildEvent(drv="/a.drv"))
            options["on_event"](shim.BuildEvent(drv="/a.drv", line="subtest: boots"))
            assert options["stop"].wait(30)
            raise shim.StoppedError("stopped")

        monkeypatch.setattr(shim, "build", build)
        monkeypatch.setattr(vmtest_run, "_POLL_SECONDS", 0.001)
        (outcome,), _ = run(make_test("a"), seconds=0.001)
        assert outcome.verdict is Verdict.TIMED_OUT
        assert outcome.reason == "still running after 0.001 s in the subtest 'boots'; killed"


@pytest.mark.parametrize(
    ("text", "mib"),
    [
        ("MemTotal: 9 kB\nMemAvailable:   4096000 kB\n", 3000),
        ("MemAvailable: x kB", 4096),
        ("MemAvailable:", 4096),
        ("", 4096),
        (None, 4096),
    ],
)
def test_three_quarters_of_what_is_available(
    monkeypatch: pytest.MonkeyPatch, text: str | None, mib: int
) -> None:
    def read(_path: object, *, encoding: str) -> str:
        assert encoding == "ascii"
        if text is None:
            raise FileNotFoundError
        return text

    monkeypatch.setattr(vmtest_run.Path, "read_text", read)
    assert vmtest_run.available_memory_mib() == mib
