"""VM tests found, judged, run, stopped and reported by the real nix: derivations that print as tests do."""

from __future__ import annotations

import itertools
import threading
import uuid
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.vmtests import assert_no_builder, find_builders, make_source

from ectools.checks.vmtest import CannotRunError, Source, VmTest, find_tests, make_nix, probe_nix
from ectools.checks.vmtest_report import show_outcome, show_test, write_vmtests_junit
from ectools.checks.vmtest_run import (
    Listener,
    Schedule,
    Verdict,
    VmTestOutcome,
    run_tests,
    vmtests_exit_status,
)
from ectools.checks.vmtest_steps import DriverStep, StepKind
from ectools.errors import EcError, InputError
from pynix_eval_shim import Nix

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.nix

ROOMY = Schedule(jobs=2, memory_mib=100_000)


@pytest.fixture
def source(any_nix: Nix, tmp_path: Path) -> Source:
    store = f"local?store={tmp_path}/store&state={tmp_path}/state&log={tmp_path}/log"
    return make_source(tmp_path, replace(any_nix, store=store))


def find(source: Source, *names: str) -> list[VmTest]:
    return find_tests(source, probe_nix(source), names)


class Heard:
    """A listener that keeps all that it hears, and may react to a line."""

    def __init__(self, react: Callable[[str], None] | None = None) -> None:
        self.lines: list[tuple[str, StepKind, int, str]] = []
        self.ends: list[VmTestOutcome] = []
        self._react = react

    def line(self, test: VmTest, kind: StepKind, depth: int, text: str) -> None:
        self.lines.append((test.name, kind, depth, text))
        if self._react is not None:
            self._react(text)


def run(
    source: Source, *names: str, schedule: Schedule = ROOMY, heard: Heard | None = None
) -> tuple[list[VmTestOutcome], Heard]:
    heard = heard or Heard()
    listener = Listener(on_line=heard.line, on_complete=heard.ends.append)
    probe = probe_nix(source)
    outcomes = run_tests(
        find_tests(source, probe, names),
        schedule=schedule,
        listener=listener,
        nix=make_nix(source),
        probe=probe,
    )
    return outcomes, heard


def test_each_test_is_found_with_its_needs_and_what_stands_in_its_way(source: Source) -> None:
    tests = {test.name: test for test in find(source)}
    assert list(tests) == sorted(tests)
    names = (
        "passes fails hangs needs-feature needs-broken placeholder throws aborts large meets-left meets-right"
    )
    assert set(tests) == {f"vm-{name}" for name in names.split()}
    passes = tests["vm-passes"]
    assert passes.nodes == {"machine": 600}
    assert (passes.memory_mib, passes.seconds, passes.features) == (600, 300.0, frozenset({"nixos-test"}))
    assert passes.obstacle is None
    assert passes.broken is None
    assert tests["vm-large"].memory_mib == 8000
    assert "not today" in (tests["vm-throws"].broken or "")
    assert "never" in (tests["vm-aborts"].broken or "")
    assert "{a-feature-of-no-machine}" in (tests["vm-needs-feature"].obstacle or "")
    assert "placeholder" in (tests["vm-placeholder"].obstacle or "")
    assert "can run here" in show_test(passes)
    assert "a-feature-of-no-machine" in show_test(tests["vm-needs-feature"])


def test_names_are_known_with_and_without_the_prefix(source: Source) -> None:
    assert [test.name for test in find(source, "passes", "vm-fails", "vm-passes")] == [
        "vm-passes",
        "vm-fails",
    ]
    with pytest.raises(InputError, match=r"vm-nope: no such VM test; there are: .*vm-passes"):
        find(source, "nope")


def test_remote_builders_may_have_what_this_machine_lacks(source: Source) -> None:
    remote = replace(source, builders="ssh://nowhere.invalid x86_64-linux,aarch64-linux")
    (test,) = find(remote, "needs-feature")
    assert test.obstacle is None
    (placeholder,) = find(remote, "placeholder")
    assert placeholder.obstacle is not None
    assert make_nix(remote).options["builders"] == remote.builders


def test_a_test_that_passes_and_its_log(source: Source) -> None:
    (outcome,), heard = run(source, "passes")
    assert outcome.verdict is Verdict.PASSED
    assert vmtests_exit_status([outcome]) == 0
    assert outcome.steps == (
        DriverStep(name="boots", seconds=1.5),
        DriverStep(name="serves", seconds=1.5),
        DriverStep(name="nested", seconds=1.5),
    )
    shown = [(kind, depth, text) for _, kind, depth, text in heard.lines]
    assert shown[:4] == [
        (StepKind.STEP, 0, "start all VMs"),
        (StepKind.SUBTEST, 0, "subtest: boots"),
        (StepKind.STEP, 1, "machine: must succeed: true"),
        (StepKind.CONSOLE, 1, "machine # [    0.0] Linux version 6"),
    ]
    assert (StepKind.STEP, 2, "machine: waiting for unit x") in shown
    assert heard.ends == [outcome]
    # Nix has its output now, and runs it no second time.
    (again,), heard = run(source, "passes")
    assert (again.verdict, again.known, heard.lines) == (Verdict.PASSED, True, [])


def test_what_does_not_pass_says_why(source: Source, tmp_path: Path) -> None:
    names = ["fails", "needs-feature", "needs-broken", "placeholder", "throws", "large", "passes"]
    outcomes, _ = run(source, *names, schedule=Schedule(jobs=2, memory_mib=2000))
    found = {outcome.test.name.removeprefix("vm-"): outcome for outcome in outcomes}
    assert list(found) == names
    assert {name: outcome.verdict for name, outcome in found.items()} == {
        "fails": Verdict.FAILED,
        "needs-feature": Verdict.SKIPPED,
        "needs-broken": Verdict.ERROR,
        "placeholder": Verdict.SKIPPED,
        "throws": Verdict.ERROR,
        "large": Verdict.SKIPPED,
        "passes": Verdict.PASSED,
    }
    reasons = {name: outcome.reason or "" for name, outcome in found.items()}
    assert "the subtest 'serves <all> \"of\" it' failed: Shell command failed" in reasons["fails"]
    assert "machine # kernel panic" in found["fails"].log
    assert "did not build" in reasons["needs-broken"]
    assert "no such luck" in found["needs-broken"].log
    assert "8000 MiB" in reasons["large"]
    assert vmtests_exit_status(outcomes) == 1
    assert vmtests_exit_status([found["passes"], found["large"]]) == 3
    assert show_outcome(found["large"]).startswith("skipped    vm-large  needs 8000 MiB")

    root = ET.fromstring(write_vmtests_junit(outcomes))
    assert {name: root.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "12",
        "failures": "2",
        "errors": "2",
        "skipped": "3",
    }
    failed = root.find("testsuite[@name='vm-fails']")
    assert failed is not None
    assert [case.get("name") for case in failed] == ["boots", 'serves <all> "of" it', "the whole test"]
    assert [len(case.findall("failure")) for case in failed] == [0, 1, 1]
    assert "kernel panic" in (failed.findtext("testcase/system-out") or "")


def test_a_test_that_hangs_is_killed_with_its_builder(source: Source, tmp_path: Path) -> None:
    (outcome,), _ = run(source, "hangs", schedule=replace(ROOMY, seconds=1.0))
    assert outcome.verdict is Verdict.TIMED_OUT
    assert outcome.reason == "still running after 1 s in the subtest 'waits'; killed"
    assert vmtests_exit_status([outcome]) == 1
    assert 'failure message="it did not end"' in write_vmtests_junit([outcome])
    assert_no_builder(tmp_path)


def test_two_run_at_once(source: Source) -> None:
    outcomes, heard = run(source, "meets-left", "meets-right", schedule=replace(ROOMY, seconds=120.0))
    assert [outcome.verdict for outcome in outcomes] == [Verdict.PASSED, Verdict.PASSED]
    assert {name for name, *_ in heard.lines} == {"vm-meets-left", "vm-meets-right"}


@pytest.mark.parametrize("schedule", [Schedule(jobs=2, memory_mib=1000), Schedule(jobs=1, memory_mib=9000)])
def test_no_more_run_than_jobs_and_memory_allow(source: Source, schedule: Schedule) -> None:
    _, heard = run(source, "passes", "fails", schedule=schedule)
    order = [name for name, *_ in heard.lines]
    assert len(order) > 10
    assert sum(before != after for before, after in itertools.pairwise(order)) == 1


class StopError(Exception):
    """What ends a run early."""


def test_an_interrupt_from_the_log_leaves_no_builder(source: Source, tmp_path: Path) -> None:
    seen: list[list[str]] = []

    def interrupt(line: str) -> None:
        seen.append(find_builders(tmp_path))
        raise StopError

    with pytest.raises(StopError):
        run(source, "hangs", heard=Heard(interrupt))
    assert seen[0], "the builder was not to be seen"
    assert_no_builder(tmp_path)


def test_an_interrupt_from_outside_leaves_no_builder(source: Source, tmp_path: Path) -> None:
    def let_the_other_end() -> None:
        (tmp_path / "pipes" / "right").write_text("\n")
        (tmp_path / "pipes" / "left").read_text()

    def line(test: VmTest, kind: StepKind, depth: int, text: str) -> None:
        if test.name == "vm-hangs":
            threading.Thread(target=let_the_other_end).start()

    def ended(outcome: VmTestOutcome) -> None:
        assert outcome.test.name == "vm-meets-left"
        raise StopError

    with pytest.raises(StopError):
        run_tests(
            find(source, "hangs", "meets-left"),
            schedule=ROOMY,
            listener=Listener(on_line=line, on_complete=ended),
            nix=make_nix(source),
            probe=probe_nix(source),
        )
    assert_no_builder(tmp_path)


def test_a_channel_stands_in_for_a_nixpkgs_that_cannot_be_fetched(
    any_nix: Nix, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = probe_nix(Source(nix=any_nix)).system
    channel, flake = tmp_path / "channel", tmp_path / "flake"
    for directory in (channel, flake):
        directory.mkdir()
    derivation = """derivation {
      name = "vm-test"; builder = "/bin/sh"; system = "x86_64-linux";
      requiredSystemFeatures = [ "nixos-test" ];
    }"""
    (channel / "flake.nix").write_text(f"{{ outputs = _: {{ test = {derivation}; }}; }}")
    (flake / "flake.nix").write_text(f"""{{
      inputs.nixpkgs.url = "git+file:///no/such/nixpkgs";
      outputs = {{ nixpkgs, ... }}: {{ checks.{system}.vm-one = nixpkgs.test; }};
    }}""")
    monkeypatch.setenv("NIX_PATH", f"nixpkgs={channel}")
    (test,) = find(Source(flake=f"path:{flake}", nix=any_nix))
    assert test.name == "vm-one"
    assert test.broken is None


def test_a_flake_that_cannot_be_used(any_nix: Nix, tmp_path: Path) -> None:
    def flake(text: str) -> Source:
        directory = tmp_path / str(uuid.uuid4())
        directory.mkdir()
        (directory / "flake.nix").write_text(text)
        return Source(flake=f"path:{directory}", nix=any_nix)

    system = probe_nix(Source(nix=any_nix)).system
    with pytest.raises(CannotRunError, match=r"has no checks\..*vm-\*"):
        find(flake(f"{{ outputs = _: {{ checks.{system} = {{ vmx = 1; }}; }}; }}"))
    with pytest.raises(EcError, match="cannot be evaluated") as caught:
        find(flake("{ outputs = _: { }; }"))
    assert caught.value.exit_code == 1
    lost = flake(f"""{{
      inputs.nixpkgs.url = "git+file:///no/such/nixpkgs";
      outputs = {{ nixpkgs, ... }}: {{ checks.{system} = nixpkgs.checks; }};
    }}""")
    with pytest.raises(CannotRunError, match="cannot be had") as caught:
        find(lost)
    assert caught.value.exit_code == 3
    assert "--override-input" in (caught.value.hint or "")
    with pytest.raises(CannotRunError, match="not found"):
        probe_nix(Source(nix=Nix(program="no-such-nix")))
