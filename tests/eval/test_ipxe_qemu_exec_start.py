"""The built unit's own ExecStart, started on this machine: its guest boots with the checked settings."""

from __future__ import annotations

import shlex
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.guests import Runner, open_to_guest, require_qemu, stage
from support.hosts import merge
from support.unit_files import read_unit

pytestmark = [pytest.mark.nix, pytest.mark.qemu]


def test_the_built_exec_start_boots_a_guest(build_host: Callable[..., Path], tmp_path: Path) -> None:
    require_qemu()
    root = stage(tmp_path / "root", cmdline="ec.mark=built-unit")
    state = tmp_path / "state"
    (state / "tftp").mkdir(parents=True)  # tmpfiles' work
    open_to_guest({"stateDir": str(state)}, tmp_path)
    options: dict[str, Any] = merge(
        {"stateDir": str(state), "memoryMiB": 256, "vcpus": 1, "disk": {"size": "64M"}},
        {"enableKvm": False, "machine": "q35,accel=tcg", "cpu": "max"},
        # The placeholder packages of a nixpkgs for evaluation have no iPXE: QEMU's own runs the plain script.
        {"boot": {"userNet": {"model": "virtio-net-pci", "bootFile": None}}},
        # This process's user has no filter: that one's unit is tried in test_units_on_systemd_loopback.py.
        {"boot": {"userNet": {"hostLoopback": "all"}}},
        {"boot": {"http": {"root": str(root), "port": 0}}},
    )
    unit = read_unit(build_host("unit", options) / "every-channel-ipxe-qemu.service")
    (exec_start,) = unit["ExecStart"]
    environment = dict(shlex.split(line)[0].split("=", 1) for line in unit["Environment"])
    process = subprocess.Popen(
        shlex.split(exec_start),
        cwd=unit["WorkingDirectory"][0],
        # EC_PYTHON: which Python runs the programs, where nixpkgs' packages are placeholders.
        env={**environment, "EC_PYTHON": sys.executable, "HOME": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    runner = Runner(process)
    reader = threading.Thread(target=runner.read, daemon=True)
    reader.start()
    try:
        runner.wait_up("built-unit")
        assert (state / "disk.qcow2").is_file()
        runner.terminate()
        assert runner.wait() == 0, runner.report()
    finally:
        process.kill()
        process.wait()
        reader.join(30)
