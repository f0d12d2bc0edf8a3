"""The HTTP server with the oldest direct dependencies that pyproject.toml allows, and with the newest.

What the environment of the other tests holds depends on the day when it was made.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from support.needs import give_up
from support.nested import build_environment, short_directory

ROOT = Path(__file__).parent.parent.parent
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

# Of the development tools, those that these tests need: others share dependencies with the project.
TOOLS = ("hypothesis", "pytest", "pytest-timeout", "pytest-xdist")

pytestmark = [pytest.mark.full, pytest.mark.timeout(1800)]


@pytest.fixture
def directory() -> Iterator[Path]:
    with short_directory() as made:
        yield made


def test_http_with_the_oldest_dependencies_that_are_allowed(directory: Path) -> None:
    check_http(find_oldest_python(), list_lower_bounds(), directory)


def test_http_with_the_newest_dependencies(directory: Path) -> None:
    check_http(sys.executable, [], directory)


def list_lower_bounds() -> list[str]:
    """A line of pip's constraints for each direct dependency."""
    lines = []
    for line in PROJECT["dependencies"]:
        needed = Requirement(line)
        (lowest,) = [each.version for each in needed.specifier if each.operator == ">="]
        marker = "" if needed.marker is None else f"; {needed.marker}"
        lines.append(f"{needed.name}=={lowest}{marker}")
    return lines


def find_oldest_python() -> str:
    """The oldest Python that the project runs on: releases of its time have no wheels for later ones."""
    version = PROJECT["requires-python"].removeprefix(">=")
    if sys.version_info[:2] == tuple(int(part) for part in version.split(".")):
        return sys.executable
    found = shutil.which(f"python{version}")
    if found is None:
        give_up(f"python{version} is not on PATH; the oldest dependencies are tested with it")
    return found


def check_http(python: str, constraints: list[str], directory: Path) -> None:
    """Run the HTTP tests in an environment of their own, all in it as new as the constraints allow."""
    subprocess.run([python, "-m", "venv", directory / "venv"], check=True)
    own = str(directory / "venv/bin/python")
    (directory / "constraints").write_text("".join(f"{line}\n" for line in constraints))
    newest = ["--upgrade", "--upgrade-strategy", "eager", "--constraint", str(directory / "constraints")]
    tools = [line for line in PROJECT["optional-dependencies"]["dev"] if Requirement(line).name in TOOLS]
    installed = run(own, "-m", "pip", "install", "--quiet", *newest, *tools, "--editable", str(ROOT))
    if installed.returncode != 0:
        if run(own, "-m", "pip", "index", "versions", "aiohttp").returncode != 0:
            give_up("no index of Python packages answers: HTTP was tested with one set of versions alone")
        pytest.fail(f"cannot be installed: {constraints}\n{installed.stderr[-4000:]}", pytrace=False)
    # Not the fuzzer: it counts what it manages in its time.
    modules = sorted(str(path) for path in ROOT.glob("tests/e2e/test_http_*.py") if "fuzz" not in path.name)
    tests = ["-m", "not full", "tests/unit/netboot/http", *modules]
    done = run(own, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "2", "--dist", "loadfile", *tests)
    if done.returncode != 0:
        held = run(own, "-m", "pip", "freeze").stdout
        pytest.fail(f"{done.stdout[-20000:]}\n{done.stderr[-4000:]}\n{held}", pytrace=False)


def run(python: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    binaries = Path(python).parent
    env = build_environment(binaries.parent.parent)
    env["PATH"] = f"{binaries}:{env['PATH']}"
    argv = [python, *arguments]
    return subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
