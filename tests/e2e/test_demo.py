"""The demo, as a user runs it: its exit status is the guest's word, and it leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from support.guests import find_processes, open_way, wait_until
from support.needs import require_tool

from ectools.demo.stages import DemoStage

pytestmark = [pytest.mark.qemu]

BOOT_SECONDS = 280


@pytest.fixture(autouse=True)
def _tools(tmp_path: Path) -> None:
    open_way(tmp_path)  # to the guest's user, where root starts the demo
    require_tool("qemu-system-x86_64", "install qemu-system-x86")
    require_tool("apt-get", "the demo's payload is made from Debian's packages")


def start_demo(directory: Path, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "ectools.cli.main", "demo", *arguments],
        cwd=directory,
        env={**os.environ, "TMPDIR": str(directory)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_guest_comes_up_the_docs_are_written_and_nothing_is_left(tmp_path: Path) -> None:
    demo = start_demo(tmp_path, "--json", "--timeout", str(BOOT_SECONDS))
    out, err = demo.communicate(timeout=BOOT_SECONDS + 120)
    assert demo.returncode == 0, err
    result: dict[str, Any] = json.loads(out)
    times = list(result["stages"].values())
    assert set(result["stages"]) == {stage.name.lower() for stage in DemoStage}
    assert times == sorted(times)
    assert "services.every-channel.ipxe-qemu" in err
    assert (tmp_path / result["docs"]).is_file()
    assert [entry.name for entry in tmp_path.iterdir()] == ["option-docs"]
    assert find_processes(str(tmp_path)) == []


def test_a_guest_that_is_not_up_in_time_is_a_failure_that_leaves_nothing(tmp_path: Path) -> None:
    demo = start_demo(tmp_path, "--timeout", "1.5")
    out, err = demo.communicate(timeout=BOOT_SECONDS)
    assert (demo.returncode, out) == (1, "")
    assert "the guest did not come up: 1.5 s went by" in err
    assert "not reached" in err
    assert list(tmp_path.iterdir()) == []
    assert find_processes(str(tmp_path)) == []


def test_a_demo_that_is_told_to_end_takes_its_guest_with_it(tmp_path: Path) -> None:
    demo = start_demo(tmp_path)
    wait_for_guest(demo, tmp_path)
    demo.send_signal(signal.SIGTERM)
    demo.communicate(timeout=BOOT_SECONDS)
    assert demo.returncode == 143
    assert find_processes(str(tmp_path)) == []


def test_a_demo_that_is_killed_takes_its_guest_with_it(tmp_path: Path) -> None:
    """The runner too, which has become another user where root starts the demo."""
    demo = start_demo(tmp_path)
    wait_for_guest(demo, tmp_path)
    demo.kill()
    demo.communicate(timeout=BOOT_SECONDS)
    wait_until(lambda: find_processes(str(tmp_path)) == [], "runner, server and guest have ended")


def wait_for_guest(demo: subprocess.Popen[str], directory: Path) -> None:
    def runs() -> bool:
        assert demo.poll() is None
        return any("qemu-system" in line for line in find_processes(str(directory)))

    wait_until(runs, "QEMU runs")


def test_a_kept_guest_runs_on_until_it_is_stopped(tmp_path: Path) -> None:
    demo = start_demo(tmp_path, "--json", "--keep", "--timeout", str(BOOT_SECONDS))
    out, err = demo.communicate(timeout=BOOT_SECONDS + 120)
    assert demo.returncode == 0, err
    result = json.loads(out)
    try:
        assert Path(result["folder"], "runner.log").is_file()
        assert any("qemu-system" in line for line in find_processes(str(tmp_path)))
    finally:
        os.kill(result["pid"], signal.SIGTERM)
    deadline = time.monotonic() + 120
    while find_processes(str(tmp_path)):
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_a_payload_without_a_kernel_is_refused(tmp_path: Path) -> None:
    demo = start_demo(tmp_path, "--payload", str(tmp_path))
    _, err = demo.communicate(timeout=60)
    assert demo.returncode == 2
    assert f"{tmp_path}/kernel: no such file" in err
