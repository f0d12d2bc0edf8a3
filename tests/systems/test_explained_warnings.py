"""The lists of explained warnings: what they let pass, and that the journal's cannot go stale."""

from __future__ import annotations

import pytest

from .journal import EXPLAINED, Form, judge_power_off, judge_warnings

OFF = """\
[  10.000000] disk on fire, long before
[\x1b[0;32m  OK  \x1b[0m] Reached target \x1b[0;1;39mpoweroff.target\x1b[0m - System Power Off.\r
[   98.569495] (sd-umount)[1178]: Failed to unmount /run/shutdown/mounts/94ce087d: Device or resource busy\r
[   98.593114] systemd-shutdown[1]: Could not detach loopback /dev/loop0: Device or resource busy\r
[   98.594887] systemd-shutdown[1]: Unable to finalize remaining file systems, loop devices, ignoring.\r
[   98.610022] reboot: Power down\r
"""
STAGE2 = "booting system configuration /nix/store/abc-nixos-system-ec-runner"


def test_what_is_explained_passes() -> None:
    assert judge_warnings([STAGE2, "No swap; memory pressure usage will be degraded", ""], Form.DISK) == []


def test_what_nothing_explains_is_named() -> None:
    assert judge_warnings([STAGE2, "disk on fire", STAGE2], Form.ISO) == ["unexplained: disk on fire"]


def test_where_systemd_is_stage_1_its_start_is_no_warning() -> None:
    assert judge_warnings([], Form.DISK, scripted=False) == []


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


def test_what_is_said_at_the_end_is_explained_or_named() -> None:
    assert judge_power_off(OFF) == []
    fault = "systemd-shutdown[1]: Failed to finalize DM devices, ignoring."
    assert judge_power_off(f"{OFF}[   99.000000] {fault}\n") == [fault]


def test_an_end_that_was_cut_off_is_a_fault() -> None:
    assert judge_power_off("login:") == ["nothing is said after 'Power Off'"]
