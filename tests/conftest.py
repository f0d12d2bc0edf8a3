"""What every test can ask for: a tool that must be there, a nixpkgs, and settings for nix without a network.

See support/needs.py for what happens where one is missing.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from support import golden, reaper
from support.buildable import buildable_nixpkgs, building_env, offline_environment
from support.needs import give_up, require_root, require_tool

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from xdist.workermanage import WorkerController

__all__ = ["buildable_nixpkgs", "building_env"]

ROOT = Path(__file__).resolve().parent.parent

# A machine with other work is slow at any time: no example of a property has to be quick.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--update-golden``, ``--update-pictures``."""
    parser.addoption("--update-golden", action="store_true", help="write the golden files anew")
    parser.addoption("--update-pictures", action="store_true", help="take docs/images/*.png anew")


def pytest_configure(config: pytest.Config) -> None:
    """Go below a reaper, where this run is not yet; tell the comparisons whether they are to write."""
    if reaper.MARK not in os.environ:
        config.pluginmanager.getplugin("capturemanager").suspend_global_capture(in_=True)
        reaper.replace_process([sys.executable, *sys.orig_argv[1:]])
    golden.UPDATE = bool(config.getoption("--update-golden"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that boot guests first, whole systems before all: none is what a run waits for at its end."""
    booting = {item.path for item in items if item.get_closest_marker("qemu")}
    items.sort(key=lambda item: ("systems" not in item.path.parts, item.path not in booting))


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: WorkerController, error: object) -> None:
    """Of a worker that was killed, kill what its tests had started: the run goes on without it."""
    if error:
        run, worker = node.workerinput["testrunuid"], node.workerinput["workerid"]
        reaper.kill_marked({"PYTEST_XDIST_TESTRUNUID": run, "PYTEST_XDIST_WORKER": worker})


@pytest.fixture(scope="session", name="require_tool")
def require_tool_fixture() -> Callable[[str, str], str]:
    """``require_tool(name, hint)``: the path of a program, or the end of the test."""
    return require_tool


@pytest.fixture(scope="session")
def root() -> None:
    """Root's rights: acts as other users, or in their directories."""
    require_root("acts as other users")


@pytest.fixture(scope="session")
def nix_env() -> Mapping[str, str]:
    """``offline_environment`` for tests."""
    return offline_environment()


@pytest.fixture(scope="session")
def nixpkgs(nix_env: Mapping[str, str]) -> Path:
    """A nixpkgs tree: ``$NIXPKGS``, else what ``<nixpkgs>`` means on this machine, else the flake lock's.

    Where none can be had, which takes a network and is no fault of the machine, the test is skipped even in
    continuous integration; the run's last lines say so.
    """
    require_tool("nix-instantiate", "install nix (Debian: nix-bin)")
    given = os.environ.get("NIXPKGS") or _find_nixpkgs(nix_env)
    if given is None:
        pytest.skip(
            "NO NIXPKGS HERE: set NIXPKGS to a tree, add a channel, or let nix fetch the flake's lock"
        )
    tree = Path(given).resolve()
    if not (tree / "lib" / "default.nix").is_file():
        give_up(f"{tree} is not a nixpkgs tree: it has no lib/default.nix")
    return tree


def _find_nixpkgs(nix_env: Mapping[str, str]) -> str | None:
    locked = json.loads((ROOT / "flake.lock").read_text())["nodes"]["nixpkgs"]["locked"]
    reference = "github:{owner}/{repo}/{rev}".format(**locked)
    once = ["--option", "connect-timeout", "5", "--option", "download-attempts", "1"]
    for argv in (
        ["nix-instantiate", "--find-file", "nixpkgs"],
        ["nix", "eval", "--raw", *once, "--expr", f'(builtins.getFlake "{reference}").outPath'],
    ):
        with contextlib.suppress(subprocess.TimeoutExpired):
            done = subprocess.run(argv, env=nix_env, capture_output=True, text=True, check=False, timeout=300)
            if done.returncode == 0:
                return done.stdout.strip()
    return None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what could not run, and why, in one line a reason: nobody scrolls up for a skip.

    Before that, what a test has to tell beside that it passed: its property ``summary``.
    """
    for report in terminalreporter.stats.get("passed", []):
        for name, text in report.user_properties:
            if name == "summary":
                terminalreporter.write_line(text)
    skipped: Counter[str] = Counter()
    for report in terminalreporter.stats.get("skipped", []):
        skipped[report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)] += 1
    for reason, count in skipped.most_common():
        terminalreporter.write_line(
            f"COULD NOT RUN: {count} tests: {reason.removeprefix('Skipped: ')}", yellow=True
        )
