"""The lines of the NixOS test driver, of several versions, and what comes of them."""

from __future__ import annotations

import json
import string
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ectools import junit
from ectools.checks.vmtest import VmTest, read_features
from ectools.checks.vmtest_report import write_vmtests_junit
from ectools.checks.vmtest_run import Verdict, VmTestOutcome, vmtests_exit_status
from ectools.checks.vmtest_steps import LINES_KEPT, DriverStep, StepKind, Transcript


def hear(*lines: str) -> tuple[Transcript, list[StepKind]]:
    transcript = Transcript()
    return transcript, [transcript.add(line) for line in lines]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("start all VMs", StepKind.STEP),
        ("machine: must succeed: systemctl is-active x # really", StepKind.STEP),
        ("machine # [    1.0] systemd[1]: started", StepKind.CONSOLE),
        ("node-1.lan # ", StepKind.CONSOLE),
        ("subtest: boots # and more", StepKind.SUBTEST),
        ("(finished: must succeed: true, in 0.01 seconds)", StepKind.STEP),
        ('!!! Test "boots" failed with error: "no"', StepKind.FAILURE),
        ("", StepKind.STEP),
    ],
)
def test_each_line_is_of_a_kind(line: str, kind: StepKind) -> None:
    assert hear(line)[1] == [kind]


@pytest.mark.parametrize(
    "end", ["(finished: subtest: a, in 2.50 seconds)", "host: (finished: subtest: a, in 2 seconds)"]
)
def test_a_subtest_that_ends(end: str) -> None:
    transcript, _ = hear("subtest: a", "host: must succeed: x", end)
    assert transcript.steps == (DriverStep(name="a", seconds=2.5 if "2.50" in end else 2.0),)
    assert (transcript.depth, transcript.under_way) == (0, None)


def test_nested_subtests_and_one_that_fails() -> None:
    transcript, _ = hear("subtest: outer", "subtest: inner")
    assert (transcript.depth, transcript.under_way) == (2, "inner")
    transcript.add('Test "inner" failed with error: "expected "a""')
    assert transcript.under_way == "outer"
    transcript.add("(finished: subtest: inner, in 0.10 seconds)")
    transcript.add('Test "outer" failed with error: "expected "a""')
    assert transcript.steps == (
        DriverStep(name="outer", failure='expected "a"'),
        DriverStep(name="inner", failure='expected "a"'),
    )


def test_a_subtest_of_the_same_name_twice() -> None:
    end = "(finished: subtest: a, in {}.00 seconds)"
    transcript, _ = hear("subtest: a", end.format(1), "subtest: a", end.format(2))
    assert [step.seconds for step in transcript.steps] == [1.0, 2.0]


@given(st.lists(st.text(alphabet=string.printable), max_size=30))
def test_no_line_upsets_it(lines: list[str]) -> None:
    transcript, kinds = hear(*lines)
    assert len(kinds) == len(lines)
    assert len(transcript.tail) <= LINES_KEPT


def aterm(**env: str) -> str:
    def quote(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'

    pairs = ",".join(f"({quote(name)},{quote(value)})" for name, value in env.items())
    return f'Derive([("out","/nix/store/x","","")],[],[],"x86_64-linux","/bin/sh",[],[{pairs}])'


@pytest.mark.parametrize(
    ("env", "features"),
    [
        ({"name": "x", "requiredSystemFeatures": "nixos-test kvm"}, {"nixos-test", "kvm"}),
        ({"name": 'x("requiredSystemFeatures","forged")', "requiredSystemFeatures": "kvm"}, {"kvm"}),
        ({"__json": json.dumps({"requiredSystemFeatures": ["kvm"], "text": 'a"\\\n'})}, {"kvm"}),
        ({"__json": json.dumps({"name": "x"})}, set()),
        ({"name": "x"}, set()),
    ],
)
def test_the_features_of_a_derivation(tmp_path: Path, env: dict[str, str], features: set[str]) -> None:
    drv = tmp_path / "x.drv"
    drv.write_text(aterm(**env))
    assert read_features(drv) == features
    assert read_features(tmp_path / "none.drv") is None


def outcome(verdict: Verdict, *steps: DriverStep) -> VmTestOutcome:
    return VmTestOutcome(
        test=VmTest(name="vm-x"), verdict=verdict, reason="because", steps=steps, seconds=1.0
    )


@pytest.mark.parametrize(
    ("verdicts", "status"),
    [
        ([], 0),
        ([Verdict.PASSED], 0),
        ([Verdict.PASSED, Verdict.SKIPPED], 3),
        ([Verdict.SKIPPED, Verdict.FAILED], 1),
        ([Verdict.TIMED_OUT], 1),
        ([Verdict.ERROR, Verdict.PASSED], 1),
    ],
)
def test_the_exit_status(verdicts: list[Verdict], status: int) -> None:
    assert vmtests_exit_status([outcome(verdict) for verdict in verdicts]) == status


def test_a_subtest_under_way_failed_where_the_test_did() -> None:
    done, under_way = DriverStep(name="a", seconds=1.0), DriverStep(name="b")
    failures = {
        verdict: len(
            ET.fromstring(write_vmtests_junit([outcome(verdict, done, under_way)])).findall(".//failure")
        )
        for verdict in (Verdict.PASSED, Verdict.FAILED, Verdict.TIMED_OUT, Verdict.ERROR)
    }
    assert failures == {Verdict.PASSED: 0, Verdict.FAILED: 2, Verdict.TIMED_OUT: 2, Verdict.ERROR: 1}


@given(st.text(), st.text())
def test_any_text_makes_well_formed_junit(name: str, text: str) -> None:
    case = junit.Case(group=name, name=name, failure=text, output=text)
    root = ET.fromstring(junit.write([junit.Suite(name=name, cases=[case])]).encode("utf-8", "surrogatepass"))
    found = root.find("testsuite/testcase/failure")
    assert found is not None
    kept = "".join(char if char.isprintable() or char in "\t\n" else "" for char in text)
    message = found.get("message") or ""
    assert "".join(char if char.isprintable() or char in "\t\n" else "" for char in message).replace(
        "\ufffd", ""
    ) == (kept.replace("\ufffd", ""))
