"""What every test can ask for: a tool that must be there, a nixpkgs, and settings for nix without a network.

See support/needs.py for what happens where one is missing.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from support import golden
from support.needs import give_up, require_tool

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ROOT = Path(__file__).resolve().parent.parent

# A machine with other work is slow for a moment; what takes too long is seen by the whole run's time.
settings.register_profile("local", deadline=None, suppress_health_check=[HealthCheck.too_slow])
if settings.default.deadline is not None:
    settings.load_profile("local")


def pytest_addoption(parser: pytest.Parser) -> None:
    """``--update-golden``."""
    parser.addoption("--update-golden", action="store_true", help="write the golden files anew")


def pytest_configure(config: pytest.Config) -> None:
    """Tell the comparisons whether they are to write."""
    golden.UPDATE = bool(config.getoption("--update-golden"))


@pytest.fixture(scope="session", name="require_tool")
def require_tool_fixture() -> Callable[[str, str], str]:
    """``require_tool(name, hint)``: the path of a program, or the end of the test."""
    return require_tool


@pytest.fixture(scope="session")
def nix_env() -> Mapping[str, str]:
    """This process's environment, with nix's settings for tests: offline, and building without a daemon."""
    lines = ["experimental-features = nix-command flakes", "substituters ="]
    if os.geteuid() == 0:
        # Root without a daemon builds as itself, unsandboxed: user namespaces are not everywhere.
        lines += ["build-users-group =", "sandbox = false"]
    return {**os.environ, "NIX_CONFIG": "\n".join(lines)}


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
