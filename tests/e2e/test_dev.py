"""``./dev`` in a checkout of its own, with programs that only note that they were called."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PYTEST = "pytest -n 2 --dist loadfile --no-loadscope-reorder -m not full"

# Stands in for the interpreter: makes environments of empty programs, and passes all else on to the real one.
PYTHON = """#!/bin/sh
[ "$1 $2" = "-m venv" ] || exec {python} "$@"
echo venv >> {log}
for directory; do :; done
rm -rf "$directory"; mkdir -p "$directory/bin"
for program in python ruff mypy lint-imports ectools pytest coverage; do
  printf '#!/bin/sh\\necho %s "$*" >> {log}\\necho noise of %s >&2\\n' "$program" "$program" \\
    > "$directory/bin/$program"
  printf 'case "%s $*" in $FAILING) exit 7;; esac\\n' "$program" >> "$directory/bin/$program"
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


def run_dev(
    directory: Path, *arguments: str, failing: str = ""
) -> tuple[subprocess.CompletedProcess[str], list[str]]:
    """What ``./dev`` did, and the programs that it called to make the environment.

    ``failing``: the pattern (of sh) of the argv that ends with status 7.
    """
    log = directory.parent / "log"
    log.write_text("")
    done = subprocess.run(
        [directory / "dev", *arguments],
        env={**os.environ, "PYTHON": str(directory.parent / "python3"), "FAILING": failing},
        capture_output=True,
        text=True,
        check=False,
    )
    made = [line.split()[0] for line in read_log(directory) if line.startswith(("venv", "python"))]
    return done, made


def read_log(directory: Path) -> list[str]:
    """The programs that ``./dev`` called, each with its arguments."""
    return (directory.parent / "log").read_text().splitlines()


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


@pytest.mark.parametrize("demo", [("demo",), ("demo", "netboot", "--keep")])
def test_a_demo_installs_what_it_needs_and_says_no_more(
    checkout: Path, require_tool: Callable[[str, str], str], demo: tuple[str, ...]
) -> None:
    for program in ("qemu-system-x86_64", "qemu-img", "dnsmasq", "ip", "nsenter"):
        require_tool(program, "the demo's own needs")
    done, _ = run_dev(checkout, *demo)
    assert done.returncode == 0, done.stderr
    install = "python -m pip install --quiet --disable-pip-version-check --no-input -e ."
    assert read_log(checkout) == ["venv", install, f"ectools {' '.join(demo)}"]
    assert done.stderr.splitlines() == [
        *("dev: making .venv", "dev: installing into .venv"),
        "noise of ectools",
    ]
    # The development tools come when they are wanted, and stay.
    run_dev(checkout, "lint")
    assert f"{install}[dev]" in read_log(checkout)
    run_dev(checkout, *demo)
    assert read_log(checkout) == [f"ectools {' '.join(demo)}"]


def test_an_installation_that_fails_is_told_with_its_words(checkout: Path) -> None:
    done, _ = run_dev(checkout, "lint", failing="python*")
    assert done.returncode == 7
    assert done.stderr.splitlines() == [
        *("dev: making .venv", "dev: installing into .venv"),
        "noise of python",
    ]
    # And it is tried again.
    assert run_dev(checkout, "lint")[1] == ["python"]


def test_lint_reads_the_nix_files(checkout: Path, require_tool: Callable[[str, str], str]) -> None:
    require_tool("nix-instantiate", "install nix (Debian: nix-bin)")
    (checkout / "a file.nix").write_text("{ a = ; }\n")
    done, _ = run_dev(checkout, "lint")
    assert done.returncode != 0
    assert "syntax error" in done.stderr


def test_a_word_that_is_no_command_is_bad_usage(checkout: Path) -> None:
    done, made = run_dev(checkout, "tset")
    assert (done.returncode, made, done.stdout) == (2, [], "")
    assert done.stderr.startswith("dev: there is no command tset\nusage: ./dev")


@pytest.mark.parametrize(
    ("failing", "failed"),
    [
        ("", []),
        ("pytest*--cov*", ["tests/unit tests/shim"]),
        ("pytest*--ignore=tests/unit*", ["the other tests"]),
        ("coverage*", ["the floor of coverage"]),
        ("pytest*", ["tests/unit tests/shim", "the other tests"]),
    ],
)
def test_each_part_of_the_tests_runs_and_counts(checkout: Path, failing: str, failed: list[str]) -> None:
    done, _ = run_dev(checkout, "test", failing=failing)
    assert done.returncode == (7 if failed else 0), done.stderr
    assert [line for line in done.stderr.splitlines() if "FAILED" in line] == [
        f"dev: FAILED: {name}" for name in failed
    ]
    called = [line for line in read_log(checkout) if line.startswith(("pytest", "coverage"))]
    kept = "-o cache_dir=.pytest_cache/part"
    assert called == [
        f"{PYTEST} --cov --cov-report= --cov-fail-under=0 tests/unit tests/shim {kept}",
        f"{PYTEST} tests --ignore=tests/unit --ignore=tests/shim {kept}",
        "coverage report --format=total",
    ]


def test_what_is_given_to_pytest_is_all_that_runs(checkout: Path) -> None:
    done, _ = run_dev(checkout, "test", "tests/unit/test_log.py", "-k", "json")
    assert done.returncode == 0, done.stderr
    called = [line for line in read_log(checkout) if line.startswith(("pytest", "coverage"))]
    assert called == [f"{PYTEST} tests/unit/test_log.py -k json"]


# Fails in the first part of the tests, and where that runs again as often as it is told to.
UNSTEADY = """#!/bin/sh
echo pytest "$*" >> "$LOG"
case "$*" in
  *--last-failed*) exit "$AGAIN" ;;
  *--ignore=*) exit 0 ;;
esac
mkdir -p .pytest_cache/part/v/cache
echo "$NAMES" > .pytest_cache/part/v/cache/lastfailed
exit 1
"""


@pytest.mark.parametrize(("count", "again", "status"), [(1, 0, 0), (3, 0, 0), (3, 1, 1), (4, 0, 1)])
def test_a_few_that_failed_run_once_more_alone(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, count: int, again: int, status: int
) -> None:
    names = [f"tests/unit/test_{number}.py::test_it" for number in range(count)]
    run_dev(checkout, "lint")
    for name, text in {"pytest": UNSTEADY, "python": f'#!/bin/sh\nexec {sys.executable} "$@"\n'}.items():
        (checkout / ".venv/bin" / name).write_text(text)
    monkeypatch.setenv("LOG", str(checkout.parent / "log"))
    monkeypatch.setenv("NAMES", json.dumps(dict.fromkeys(names, True)))
    monkeypatch.setenv("AGAIN", str(again))
    done, _ = run_dev(checkout, "test")
    assert done.returncode == status, done.stderr
    alone = [line for line in read_log(checkout) if "--last-failed" in line]
    assert [line.endswith("-n 0 --no-cov --last-failed") for line in alone] == [True] * (count <= 3)
    said = [line for line in done.stderr.splitlines() if "UNSTEADY" in line or "FAILED" in line]
    unsteady = f"dev: UNSTEADY, failed beside others and passed alone: {' '.join(names)}"
    assert said == ["dev: FAILED: tests/unit tests/shim" if status else unsteady]
