"""``./dev demo systems`` as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from support.needs import require_root

from .main_job import Stage, find_revision

if TYPE_CHECKING:
    from pathlib import Path

    from support.nixos_build import Flake

JOB_SECONDS = 3600


def run_demo(directory: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """The command in a directory of its own for all that is temporary."""
    return subprocess.run(
        [sys.executable, "-m", "systems", "systems", "--json"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(directory), **env},
        capture_output=True,
        text=True,
        timeout=JOB_SECONDS,
        check=False,
    )


@pytest.mark.nix
@pytest.mark.qemu
@pytest.mark.netns
@pytest.mark.full
@pytest.mark.timeout(JOB_SECONDS + 60)
def test_the_main_job_is_done_whole_and_leaves_nothing(flake: Flake, tmp_path: Path) -> None:
    done = run_demo(tmp_path)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert list(result["stages"]) == [stage.name.lower() for stage in Stage]
    assert list(result["stages"].values()) == sorted(result["stages"].values())
    assert (result["source"], result["revision"]) == (str(flake.source), find_revision())
    system = "nixosConfigurations.ec-runner-x86_64-netboot.config.system.build.toplevel"
    assert result["toplevel"] == str(flake.build(system))
    for stage in Stage:
        assert f"✓ {stage}" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_without_a_nixpkgs_that_builds_one_line_says_so(tmp_path: Path) -> None:
    require_root("is told that it takes root")
    done = run_demo(tmp_path, BUILDABLE_NIXPKGS="", NIX_PATH=str(tmp_path))
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: NO NIXPKGS THAT BUILDS HERE: set BUILDABLE_NIXPKGS")
