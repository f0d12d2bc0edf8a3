"""What every test can ask for: a tool that must be there, a nixpkgs, and settings for nix without a network.

A tool that is missing skips a test with one loud line, and fails it under ``CI=true``: a green run in
continuous integration has run everything.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def give_up(reason: str) -> NoReturn:
    """Skip the test because the machine lacks something; fail it in continuous integration."""
    if os.environ.get("CI") == "true":
        pytest.fail(f"MISSING ON THIS MACHINE: {reason}", pytrace=False)
    pytest.skip(f"MISSING ON THIS MACHINE: {reason}")


def require_tool(name: str, hint: str) -> str:
    """The absolute path of a program on PATH; ``hint`` says how to install it where it is missing."""
    found = shutil.which(name)
    if found is None:
        give_up(f"{name} is not on PATH; {hint}")
    return found


@pytest.fixture(scope="session", name="require_tool")
def require_tool_fixture() -> Callable[[str, str], str]:
    """``require_tool(name, hint)`` for tests that do not import this file."""
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
    """A nixpkgs tree: ``$NIXPKGS``, or whatever ``<nixpkgs>`` means on this machine."""
    hint = "set NIXPKGS to a nixpkgs tree, or add the channel"
    given = os.environ.get("NIXPKGS")
    if given is None:
        finder = require_tool("nix-instantiate", "install nix (Debian: nix-bin)")
        done = subprocess.run(
            [finder, "--find-file", "nixpkgs"], env=nix_env, capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            give_up(f"no nixpkgs on NIX_PATH; {hint}")
        given = done.stdout.strip()
    tree = Path(given).resolve()
    if not (tree / "lib" / "default.nix").is_file():
        give_up(f"{tree} is not a nixpkgs tree (it has no lib/default.nix); {hint}")
    return tree
