"""The demo of rollouts, as a user runs it: four machines, a good release, a bad one, and nothing left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.boot_binaries import find_ipxe
from support.guests import find_processes
from support.needs import give_up, require_root, require_tool

from ectools.demo.rollout.fleet_host import BROKEN_UNIT, DEMO_MACHINES, DemoRelease

pytestmark = [pytest.mark.qemu, pytest.mark.netns, pytest.mark.full]

PART_SECONDS = 900
"""Each of the demo's four parts is one or three boots of an emulated machine, 25 s each on a quiet host."""


@pytest.fixture(autouse=True)
def _tools() -> None:
    require_root("makes network namespaces")
    require_tool("qemu-system-x86_64", "install qemu-system-x86")
    require_tool("dnsmasq", "install dnsmasq (Debian: dnsmasq-base)")
    find_ipxe("trixie")
    if not Path("/dev/net/tun").exists():
        give_up("there is no /dev/net/tun")


@pytest.mark.timeout(4 * PART_SECONDS + 300)
def test_the_good_one_goes_out(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "ectools.cli.main", "demo", "rollout"),
            *("--json", "--timeout", str(PART_SECONDS)),
        ],
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert set(result["seconds"]) == {"boot", "good", "stopped", "back"}
    # The bad one was at one machine, which said what was wrong, and nobody else saw it.
    assert result["reached"] == 1
    assert f"failed: {BROKEN_UNIT}" in result["why"]
    drawn = done.stderr
    for machine in DEMO_MACHINES:
        assert f"✓ {machine}: {DemoRelease.GOOD}: up, healthy" in drawn
    assert drawn.count(f"{DemoRelease.BAD}: boots") == 1
    first, second = (drawn.index(f"{name} is open") for name in ("the canary's wave", "wave 1"))
    assert first < second < drawn.index(f"the rollout of {DemoRelease.GOOD} is done")
    assert list(tmp_path.iterdir()) == []
    assert find_processes(str(tmp_path)) == []
