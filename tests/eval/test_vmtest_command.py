"""``ectools vmtest`` as a program: what it prints where, how it ends, and what it leaves."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.needs import require_tool
from support.vmtests import assert_no_builder, make_source

from pynix_eval_shim import Nix

pytestmark = pytest.mark.nix

ECTOOLS = [sys.executable, "-m", "ectools.cli.main"]


@dataclass(frozen=True)
class Place:
    """A flake, and the environment in which its tests run."""

    flake: str
    env: dict[str, str]

    def argv(self, *arguments: str) -> list[str]:
        return [*ECTOOLS, "vmtest", "--flake", self.flake, "--memory", "2000", *arguments]

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.argv(*arguments), env=self.env, capture_output=True, text=True, check=False, timeout=300
        )


@pytest.fixture
def place(tmp_path: Path) -> Place:
    program = require_tool("nix", "install nix (Debian: nix-bin)")
    store = f"local?store={tmp_path}/store&state={tmp_path}/state&log={tmp_path}/log"
    source = make_source(tmp_path, Nix(program=program, store=store, offline=True))
    config = ["substituters =", "sandbox = false", "builders ="]
    if os.geteuid() == 0:
        config.append("build-users-group =")
    return Place(source.flake, {**os.environ, "NIX_REMOTE": store, "NIX_CONFIG": "\n".join(config)})


def test_results_on_stdout_and_the_log_on_stderr(place: Place) -> None:
    done = place.run("passes")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("passed     vm-passes  ")
    assert "vm-passes | subtest: boots\n" in done.stderr
    assert "vm-passes |   machine: must succeed: true\n" in done.stderr
    assert "Linux version" not in done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    again = place.run("passes", "--quiet")
    assert (again.returncode, again.stderr) == (0, "")
    assert "it passed before" in again.stdout


def test_a_failure_shows_the_console_and_where_the_whole_log_is(place: Place) -> None:
    done = place.run("fails")
    assert done.returncode == 1
    assert "the subtest 'serves <all> \"of\" it' failed: Shell command failed" in done.stdout
    assert "vm-fails: the end of machine's console:\nvm-fails |   kernel panic\n" in done.stderr
    assert "nix log /" in done.stderr
    verbose = place.run("fails", "--verbose")
    assert verbose.stderr.count("machine # kernel panic") == 1


def test_json_and_junit(place: Place, tmp_path: Path) -> None:
    done = place.run("fails", "passes", "needs-feature", "--json", "--junit", str(tmp_path / "report.xml"))
    assert done.returncode == 1
    found = {each["name"]: each for each in json.loads(done.stdout)}
    assert [each["verdict"] for each in found.values()] == ["failed", "passed", "skipped"]
    assert found["vm-fails"]["subtests"][1]["failure"] == "Shell command failed"
    assert ET.parse(tmp_path / "report.xml").getroot().get("skipped") == "1"


def test_the_list(place: Place) -> None:
    done = place.run("--list", "--json")
    assert done.returncode == 0, done.stderr
    listed = {each["name"]: each for each in json.loads(done.stdout)}
    can_run = ["fails", "hangs", "large", "meets-left", "meets-right", "needs-broken", "passes"]
    assert [name for name, each in listed.items() if each["canRun"]] == [f"vm-{name}" for name in can_run]
    assert "a-feature-of-no-machine" in listed["vm-needs-feature"]["reason"]
    assert listed["vm-passes"]["memoryMiB"] == 600
    lines = place.run("--list", "large", "placeholder").stdout.splitlines()
    assert lines[0] == "vm-large  8000 MiB, 300 s  can run here"
    assert lines[1].startswith("vm-placeholder  600 MiB, 300 s  cannot: a placeholder")


@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (["needs-feature", "passes"], 3, "a-feature-of-no-machine"),
        (["large"], 3, "the budget is 2000 MiB"),
        (["throws"], 1, "not today"),
        (["hangs", "--timeout", "0.5"], 1, "still running after 0.5 s"),
        (["no-such-test"], 2, "there are: vm-aborts"),
        (["--jobs", "0"], 2, "jobs"),
        (["--flake", "path:/no/such/flake"], 3, "path:/no/such/flake, or an input of it, cannot be had"),
    ],
)
def test_the_exit_status_tells(place: Place, arguments: list[str], status: int, says: str) -> None:
    done = place.run(*arguments)
    assert done.returncode == status, done.stderr
    assert says in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_without_nix_nothing_can_run(place: Place, tmp_path: Path) -> None:
    env = {**place.env, "PATH": str(tmp_path)}
    done = subprocess.run(place.argv("passes"), env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "cannot be run here" in done.stderr
    assert shutil.which("nix") is not None


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_ends_the_tests_and_their_builders(
    place: Place, tmp_path: Path, number: signal.Signals, status: int
) -> None:
    with subprocess.Popen(
        place.argv("hangs"), env=place.env, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == "vm-hangs | subtest: waits\n"
        process.send_signal(number)
        assert process.wait(60) == status
        assert "Traceback" not in process.stderr.read()
    assert_no_builder(tmp_path)
