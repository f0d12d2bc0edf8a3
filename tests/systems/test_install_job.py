"""``./dev demo install`` as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from .install_job import DISK_SERIAL, INSTALLED, InstallStage

if TYPE_CHECKING:
    from pathlib import Path

    from support.nixos_build import Flake

JOB_SECONDS = 9000


@pytest.mark.nix
@pytest.mark.qemu
@pytest.mark.netns
@pytest.mark.full
@pytest.mark.timeout(JOB_SECONDS + 60)
def test_a_machine_is_installed_and_boots_from_its_disk(flake: Flake, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "systems", "install", "--json"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=JOB_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert list(result["stages"]) == [stage.name.lower() for stage in InstallStage]
    assert result["toplevel"] == str(
        flake.build(f"nixosConfigurations.{INSTALLED}.config.system.build.toplevel")
    )
    assert DISK_SERIAL in result["disk"]
    assert list(tmp_path.iterdir()) == []
