"""Every verdict of the probe: real servers in real networks, and in each of them a real firmware."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.netboot_clients import start_client
from support.probe_cases import CASES, UP, WORKING, Case, put_files
from support.probe_lab import ProbeLab, build_probe_lab

from ectools.netboot.probe.faults import FaultCode

pytestmark = [pytest.mark.netns, pytest.mark.slow]


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[ProbeLab]:
    """Nothing is started; the files of a working boot host are there."""
    with build_probe_lab(tmp_path) as lab:
        put_files(lab)
        yield lab


@pytest.mark.parametrize("case", [*WORKING, *CASES], ids=lambda case: case.id)
def test_verdict(lab: ProbeLab, case: Case) -> None:
    expect_verdict(lab, case)


def expect_verdict(lab: ProbeLab, case: Case) -> None:
    case.set_up(lab)
    options = ["--verify"] if case.verify else []
    probed = lab.probe("--arch", str(case.number), *options, seconds=case.seconds)
    assert probed.report is not None, probed.errors
    assert probed.codes == case.codes, probed.report
    assert case.warnings <= probed.warnings, probed.report
    assert probed.status == bool(case.codes)
    assert (probed.outcome(case.number) == "boots") is (case in WORKING or case.boots), probed.report
    faults = probed.report["faults"]
    assert any(case.words in fault["message"] for fault in faults) or not case.words, faults
    assert any(case.remedy in fault["remedy"] for fault in faults) or not case.remedy, faults
    assert "t0ken" not in str(probed.report)
    assert lab.leased() == []


def test_every_code_is_set_up() -> None:
    assert {code for case in CASES for code in case.codes} == set(FaultCode)


@pytest.mark.qemu
@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "case", [each for each in (*WORKING, *CASES) if not each.unpaired], ids=lambda case: case.id
)
def test_a_firmware_does_as_it_is_told(lab: ProbeLab, tmp_path: Path, case: Case) -> None:
    case.set_up(lab)
    expect_boot(lab, tmp_path, case)


def expect_boot(lab: ProbeLab, directory: Path, case: Case) -> None:
    own = directory / "machine"
    own.mkdir()
    with start_client(lab.add_plug(), case.firmware, own) as client:
        shown = client.wait_for(UP, *case.shows)
    assert (shown == UP) is not bool(case.shows), client.console
