"""A node on a disk, led to what it runs already, or while that is on trial: follow-installed.sh alone."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

MODULES = Path(__file__).parents[2] / "nix/modules"
SYSTEM = f"/nix/store/{'a' * 32}-system"
OTHER = f"/nix/store/{'b' * 32}-system"
# An assignment to what runs, as far as follow-installed.sh asks.
STAY = """
set -euo pipefail
boot=disk group=g slots='' runs=r-next release=r-first system=s boot_token=t reason='' status=403
state=$1 FOLLOW_SIGNATURE=$2 FOLLOW_RUNNING=$3 FOLLOW_DIRECTORY=$FOLLOW_STATE
answer="installed=$4
cache=http://h/c"
say() { echo "says $*"; }
ask() {
  status=403
  false
}
ask_assignment() { :; }
fetch() { false; }
for each in node/files node/requests follow-trust follow-installed; do source "$MODULES/$each.sh"; done
learn_own() { :; }
systemctl() { echo "$PROVING"; }
make_copied() { [ -z "$again" ] || make_ready; }
find_running() { echo "$FOLLOW_RUNNING"; }
for _ in 1 2; do
  if is_wanted; then
    is_trusted && make_copied && echo "boots${again:+ again}"
  else
    echo stays
  fi
done
"""


@pytest.mark.parametrize(
    ("state", "signature", "known", "told", "found"),
    [
        # It went back, and is told by its own name once it boots again: not where that would be the same.
        ("unhealthy", "", f"{SYSTEM} r-first", True, ["boots again", "boots again"]),
        ("failed", "openssl", f"{SYSTEM} r-first", True, ["boots again", "boots again"]),
        ("unhealthy", "", f"{SYSTEM} r-next", True, ["says <4>stays as it is (same)", "stays", "stays"]),
        ("unhealthy", "", f"{SYSTEM}s r-first", True, ["says <4>stays as it is (same)", "stays", "stays"]),
        ("unhealthy", "", f"{SYSTEM} r-first", False, ["says <4>stays as it is (same)", "stays", "stays"]),
        # Once, and not at each question.
        ("healthy", "", f"{SYSTEM} r-next", True, ["says <4>what runs is r-first's", "stays", "stays"]),
        # Nobody is told of a release that its publisher has not signed.
        ("healthy", "openssl", f"{SYSTEM} r-next", True, ["says <4>what runs is said", "stays", "stays"]),
    ],
)
def test_what_is_said_of_what_runs(
    tmp_path: Path, state: str, signature: str, known: str, told: bool, found: list[str]
) -> None:
    (tmp_path / "systems").write_text(f"{known}\n")
    if not told:
        (tmp_path / "fell-back").touch()
    assert_said(run(tmp_path, state, signature), found)


@pytest.mark.parametrize(
    ("pending", "name", "proving", "found"),
    [
        (f"{SYSTEM} r-first boot nixos-1.next", "nixos-1.next+1-1", "inactive", ["stays", "stays"]),
        # It is not counted any more: it is becoming the machine's system, or could not.
        (f"{SYSTEM} r-first boot nixos-1.next", "nixos-1.next", "activating", ["stays", "stays"]),
        (f"{SYSTEM} r-first boot nixos-1.next", "nixos-1.next", "failed", ["boots", "boots"]),
        # Left by an update whose system was never started: that one is no trial of what runs.
        (f"{SYSTEM}s r-first boot nixos-1.next", "nixos-1.next+1-1", "inactive", ["boots", "boots"]),
        ("", "nixos-1", "activating", ["boots", "boots"]),
        (None, "nixos-1", "activating", ["boots", "boots"]),
    ],
)
def test_nobody_goes_on_from_what_is_on_trial(
    tmp_path: Path, pending: str | None, name: str, proving: str, found: list[str]
) -> None:
    (tmp_path / "loader/entries").mkdir(parents=True)
    (tmp_path / f"loader/entries/{name}.conf").touch()
    if pending is not None:
        (tmp_path / "pending").write_text(f"{pending}\n")
    assert_said(run(tmp_path, "healthy", "", installed=OTHER, proving=proving), found)


def run(
    directory: Path, state: str, signature: str, *, installed: str = SYSTEM, proving: str = "inactive"
) -> list[str]:
    """What a node says of two assignments to ``installed``, whose boot is in ``state``."""
    done = subprocess.run(
        ["bash", "-c", STAY, "follow", state, signature, SYSTEM, installed],
        env={
            "PATH": os.environ["PATH"],
            "MODULES": str(MODULES),
            "FOLLOW_STATE": str(directory),
            "FOLLOW_ESP": str(directory),
            "FOLLOW_TRIES": "2",
            "PROVING": proving,
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.splitlines()


def assert_said(lines: list[str], found: list[str]) -> None:
    assert len(lines) == len(found), lines
    assert all(line.startswith(start) for line, start in zip(lines, found, strict=True)), lines
