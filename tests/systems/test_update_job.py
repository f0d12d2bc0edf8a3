"""A real runner on a disk follows rollouts: to the next release, back from bad ones; it is installed anew."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.boot_host import BOOT_FILE
from support.netboot_lab import build_netboot_lab

from .update_job import run_update_job

if TYPE_CHECKING:
    from pathlib import Path

    from support.nixos_build import Flake


@pytest.mark.nix
@pytest.mark.qemu
@pytest.mark.netns
@pytest.mark.full
@pytest.mark.timeout(14400)
def test_an_installed_runner_is_led_to_the_next_release_and_goes_back_from_bad_ones(
    flake: Flake, tmp_path: Path
) -> None:
    with build_netboot_lab(tmp_path, boot_file=BOOT_FILE) as lab:
        updated = run_update_job(flake, lab, tmp_path, print)
    assert "never-good.service" in updated.stopped
    assert updated.told.startswith(("healthy: ", "booting: ")), updated.told
    # A reason is cut where it gets long: the second path is.
    assert f"{updated.systems[3]} did not come up: the disk went back to /nix/store/" in updated.hung
