"""The probe's report as a verdict, and the probe as a process that may fail."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ectools.demo.netboot import verdict as verdict_module
from ectools.demo.netboot.lab import Lab
from ectools.demo.netboot.verdict import ProbeVerdict, read_verdict, run_demo_probe
from ectools.processes import Completed, ProcessError

OFFER = {"server": "192.168.77.1", "address": "192.168.77.117", "siaddr": "192.168.77.2", "file": "x.efi"}
LOAD = {"uri": "tftp://192.168.77.2/x.efi", "state": "found", "contents": "a program", "detail": ""}


def report(*, outcome: str = "boots", faults: tuple[dict[str, str], ...] = (), **load: Any) -> dict[str, Any]:
    stage = {"stage": "firmware", "offers": [OFFER], "loads": [{**LOAD, **load}]}
    return {"architectures": [{"outcome": outcome, "steps": [stage]}], "faults": list(faults)}


def test_what_boots() -> None:
    verdict = read_verdict(report())
    assert verdict == ProbeVerdict(
        outcome="boots",
        steps=(
            (True, "firmware: 192.168.77.1 offers 192.168.77.117 and names 192.168.77.2 and x.efi"),
            (True, "tftp://192.168.77.2/x.efi: a program"),
        ),
        faults=(),
    )
    assert verdict.boots


def test_what_does_not() -> None:
    fault = {"severity": "error", "message": "TFTP is silent", "remedy": "open UDP port 69"}
    verdict = read_verdict(
        report(outcome="stops", faults=(fault,), state="silent", contents=None, detail="no answer")
    )
    assert not verdict.boots
    assert verdict.steps[1] == (False, "tftp://192.168.77.2/x.efi: no answer")
    assert verdict.faults == ("TFTP is silent; to do: open UDP port 69",)


def test_a_warning_is_no_fault_and_a_fault_counts_whatever_the_outcome() -> None:
    warning = {"severity": "warning", "message": "slow", "remedy": "wait"}
    assert read_verdict(report(faults=(warning,))).boots
    assert not read_verdict(report(faults=({**warning, "severity": "error"},))).boots


def run_with(monkeypatch: pytest.MonkeyPatch, *results: Completed | ProcessError) -> ProbeVerdict:
    windows, left = iter(("3", "20")), iter(results)

    def run(argv: list[str], *, timeout: float) -> Completed:
        assert timeout > 0
        assert argv[:3] == ["nsenter", "--net=/run/netns/ec-client-t", "--"]
        assert argv[4:] == [
            *("-m", "ectools.cli.main", "netboot", "probe", "--interface", "lan0", "--arch", "7"),
            *("--timeout", next(windows), "--json"),
        ]
        result = next(left)
        if isinstance(result, ProcessError):
            raise result
        return result

    monkeypatch.setattr(verdict_module, "run", run)
    verdict = run_demo_probe(Lab(Path("/nowhere"), tag="t"))
    assert next(left, None) is None
    return verdict


def test_the_probe_runs_in_the_client(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_with(monkeypatch, Completed(json.dumps(report()), "")).boots


def test_a_probe_that_found_a_fault_has_a_report(monkeypatch: pytest.MonkeyPatch) -> None:
    found = ProcessError("it failed", argv=[], returncode=1, stdout=json.dumps(report(outcome="stops")))
    assert run_with(monkeypatch, found, found).outcome == "stops"


def test_who_does_not_answer_in_time_is_given_more(monkeypatch: pytest.MonkeyPatch) -> None:
    slow = ProcessError("it failed", argv=[], returncode=1, stdout=json.dumps(report(outcome="not offered")))
    assert run_with(monkeypatch, slow, Completed(json.dumps(report()), "")).boots


@pytest.mark.parametrize(("status", "out"), [(1, ""), (2, "{}")])
def test_a_probe_that_cannot_run_is_an_error(monkeypatch: pytest.MonkeyPatch, status: int, out: str) -> None:
    with pytest.raises(ProcessError, match="it failed"):
        run_with(monkeypatch, ProcessError("it failed", argv=[], returncode=status, stdout=out))
