"""The list of explained warnings: what it lets pass, and that it cannot go stale."""

from __future__ import annotations

import pytest

from .journal import EXPLAINED, Form, judge_warnings

STAGE2 = "booting system configuration /nix/store/abc-nixos-system-ec-runner"


def test_what_is_explained_passes() -> None:
    assert judge_warnings([STAGE2, "No swap; memory pressure usage will be degraded", ""], Form.DISK) == []


def test_what_nothing_explains_is_named() -> None:
    assert judge_warnings([STAGE2, "disk on fire", STAGE2], Form.ISO) == ["unexplained: disk on fire"]


def test_an_explanation_is_of_the_whole_line() -> None:
    line = f"{STAGE2}\nNo swap; memory pressure usage will be degraded, and so will be all else".splitlines()[
        1
    ]
    assert judge_warnings([STAGE2, line], Form.DISK) == [f"unexplained: {line}"]


@pytest.mark.parametrize("form", Form)
def test_an_explanation_of_what_is_no_longer_said_is_stale(form: Form) -> None:
    faults = judge_warnings([], form)
    assert len(faults) == len([entry for entry in EXPLAINED if form in entry.always]) > 0
    assert all(fault.startswith(f"stale: no boot from {form}") for fault in faults)
