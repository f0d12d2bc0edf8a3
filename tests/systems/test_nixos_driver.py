"""The flake's VM tests by the NixOS test driver, as a user starts them, with a nixpkgs that builds here."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

pytestmark = [pytest.mark.nix, pytest.mark.qemu]

ROOT = Path(__file__).parents[2]
VMTEST = [sys.executable, "-m", "ectools.cli.main", "vmtest"]
TESTS = [
    "vm-runner",
    # Without KVM, a guest of the test's machine is emulated by what is emulated itself.
    *(
        pytest.param(name, marks=pytest.mark.full)
        for name in ("vm-forge", "vm-ipxe-qemu", "vm-netboot", "vm-node")
    ),
]


@pytest.fixture
def env(buildable_nixpkgs: Path, building_env: Mapping[str, str]) -> dict[str, str]:
    return {**building_env, "NIXPKGS": str(buildable_nixpkgs)}


@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize("name", TESTS)
def test_it_passes(name: str, env: dict[str, str], record_property: Callable[[str, object], None]) -> None:
    """Where nothing that it is made of has changed since it passed, nix runs it no second time."""
    done = subprocess.run(
        [*VMTEST, name, "--json"], cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True, check=False
    )
    (outcome,) = json.loads(done.stdout)
    assert (done.returncode, outcome["verdict"]) == (0, "passed"), (
        outcome["reason"],
        outcome["consoles"],
        outcome["log"],
    )
    assert outcome["known"] or outcome["subtests"]
    assert all(each["failure"] is None and each["seconds"] is not None for each in outcome["subtests"])
    if not outcome["known"]:
        took = f"{outcome['seconds']:.0f} s, {len(outcome['subtests'])} subtests"
        record_property("summary", f"{name}: {took}")


@pytest.mark.full
@pytest.mark.timeout(3600)
def test_an_interrupt_leaves_no_machine(env: dict[str, str], tmp_path: Path) -> None:
    """Neither QEMU nor the switch between the machines, which the driver starts, outlive Ctrl-C."""
    # Another derivation than the one that may have passed already.
    flake = tmp_path / "flake"
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", ROOT, flake], check=True)
    test = flake / "nix/tests/node.nix"
    test.write_text(test.read_text().replace('name = "every-channel-node"', f'name = "{tmp_path.name}"', 1))
    argv = [*VMTEST, "vm-node", "--flake", f"git+file://{flake}"]
    with subprocess.Popen(argv, env=env, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "QEMU running" in line:
                break
        assert find_machines(tmp_path.name)
        process.send_signal(signal.SIGINT)
        process.stderr.read()
        assert process.wait(60) == 130
    end = time.monotonic() + 60
    while left := find_machines(tmp_path.name):
        assert time.monotonic() < end, left
        time.sleep(0.1)


def find_machines(name: str) -> list[str]:
    """The command lines of processes that work in the build's directory, which is named after the test."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            directory = str((process / "cwd").readlink())
        except OSError:
            continue
        if name in directory or (name in words and "vde_switch" in words):
            found.append(words)
    return found
