"""``./dev`` in a checkout of its own, with programs that only note that they were called."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent

# Stands in for the interpreter: makes environments of empty programs, and passes all else on to the real one.
PYTHON = """#!/bin/sh
[ "$1 $2" = "-m venv" ] || exec {python} "$@"
echo venv >> {log}
for directory; do :; done
rm -rf "$directory"; mkdir -p "$directory/bin"
for program in python ruff mypy lint-imports ectools; do
  printf '#!/bin/sh\\necho %s "$@" >> {log}\\n' "$program" > "$directory/bin/$program"
  chmod +x "$directory/bin/$program"
done
"""


@pytest.fixture
def checkout(tmp_path: Path, require_tool: Callable[[str, str], str]) -> Path:
    git = require_tool("git", "install git")
    directory = tmp_path / "a checkout"
    directory.mkdir()
    for name in ("dev", "pyproject.toml"):
        shutil.copy(ROOT / name, directory)
    (directory / "a file.nix").write_text("{ }\n")
    subprocess.run([git, "init", "--quiet"], cwd=directory, check=True)
    subprocess.run([git, "add", "."], cwd=directory, check=True)
    python = tmp_path / "python3"
    python.write_text(PYTHON.format(python=sys.executable, log=tmp_path / "log"))
    python.chmod(0o755)
    return directory


def run_dev(directory: Path, *arguments: str) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """What ``./dev`` did, and the programs that it called to make the environment."""
    log = directory.parent / "log"
    log.write_text("")
    done = subprocess.run(
        [directory / "dev", *arguments],
        env={**os.environ, "PYTHON": str(directory.parent / "python3")},
        capture_output=True,
        text=True,
        check=False,
    )
    made = [line.split()[0] for line in log.read_text().splitlines() if line.startswith(("venv", "python"))]
    return done, made


def test_the_environment_is_made_where_it_has_to_be(checkout: Path) -> None:
    done, made = run_dev(checkout, "lint")
    assert (done.returncode, made) == (0, ["venv", "python"]), done.stderr
    assert run_dev(checkout, "lint")[1] == []
    with (checkout / "pyproject.toml").open("a") as file:
        file.write("# a change\n")
    assert run_dev(checkout, "lint")[1] == ["python"]
    # Its programs name the directory in which they were installed.
    moved = checkout.rename(checkout.with_name("moved"))
    assert run_dev(moved, "lint")[1] == ["venv", "python"]


def test_lint_reads_the_nix_files(checkout: Path, require_tool: Callable[[str, str], str]) -> None:
    require_tool("nix-instantiate", "install nix (Debian: nix-bin)")
    (checkout / "a file.nix").write_text("{ a = ; }\n")
    done, _ = run_dev(checkout, "lint")
    assert done.returncode != 0
    assert "syntax error" in done.stderr


def test_a_word_that_is_no_command_is_bad_usage(checkout: Path) -> None:
    done, made = run_dev(checkout, "tset")
    assert (done.returncode, made, done.stdout) == (2, [], "")
    assert "usage: ./dev" in done.stderr
