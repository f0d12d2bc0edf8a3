"""``./dev mutate`` on a small project: real tests, in copies of it, and nothing is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.needs import require_tool

from . import judge
from .__main__ import main
from .choose import Chosen
from .judge import Verdict
from .mutants import find_mutants, mutated_text
from .runner import Runner

CODE = """\
def is_full(count: int) -> bool:
    return count >= 3


def is_empty(count: int) -> bool:
    return not count


def in_a_child(count: int) -> bool:
    return not count


def unused(count: int) -> int:
    return -count
"""

TESTS = """\
import subprocess
import sys

from ectools.limits import is_empty, is_full


def test_full() -> None:
    assert is_full(3)
    assert not is_full(2)


def test_empty() -> None:
    assert not is_empty(5)


def test_of_what_is_broken() -> None:
    assert is_full(-1)


def test_in_a_child() -> None:
    program = "from ectools.limits import in_a_child; raise SystemExit(in_a_child(0))"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 1
"""


def make_project(root: Path, code: str = CODE, tests: str = TESTS) -> Path:
    require_tool("git", "install git")
    files = {
        "ectools/__init__.py": "",
        "ectools/limits.py": code,
        "tests/unit/test_limits.py": tests,
        ".gitignore": "/.cache/\n__pycache__/\n",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    subprocess.run(["git", "init", "-q", str(root)], check=True)
    return root


def start(project: Path, *arguments: str, tmp: Path, **env: str) -> subprocess.Popen[str]:
    tmp.mkdir()
    return subprocess.Popen(
        [sys.executable, "-m", "mutation", *arguments],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "TMPDIR": str(tmp), **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def state(project: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(project)): path.read_bytes()
        for path in project.rglob("*")
        if path.is_file() and not {".git", ".cache"} & set(path.relative_to(project).parts)
    }


def test_a_run(tmp_path: Path) -> None:
    project = make_project(tmp_path / "p")
    before = state(project)
    run = start(project, "--json", "../out.json", "ectools", tmp=tmp_path / "tmp")
    out, err = run.communicate(timeout=300)
    assert run.returncode == 1, err
    found = json.loads((tmp_path / "out.json").read_text())
    verdicts = {(one["mutant"]["line"], one["after"]): one["verdict"] for one in found["faults"]}
    assert verdicts == {
        (2, "return count > 3"): "killed",
        (2, "return count >= 4"): "killed",
        (2, "return None"): "killed",
        (6, "return count"): "killed",
        (6, "return None"): "survived",
        (10, "return count"): "killed",
        (10, "return None"): "killed",
        (14, "return +count"): "not covered",
        (14, "return None"): "not covered",
    }
    killers = {one["killer"] for one in found["faults"] if one["verdict"] == "killed"}
    assert killers == {f"tests/unit/test_limits.py::test_{name}" for name in ("full", "empty", "in_a_child")}
    assert "ectools/limits.py:6 return (covered by 1 tests)\n  - return not count\n  + return None\n" in out
    assert out.endswith("\n9 faults: 6 killed, 1 survived, 2 not covered; 66.7 % noticed\n")
    name = "tests/unit/test_limits.py::test_of_what_is_broken"
    assert f"left out, because it fails without a fault: {name}\n" in err
    assert state(project) == before
    assert list((tmp_path / "tmp").iterdir()) == []
    (measured,) = (project / ".cache" / "mutate").glob("*/ectools/result.json")
    assert len(json.loads(measured.read_text())["seconds"]) == 3

    # What is measured is not measured again, and the floor decides.
    run = start(project, "--sample", "1", "--floor", "0", "ectools", tmp=tmp_path / "again")
    out, err = run.communicate(timeout=300)
    assert (run.returncode, out.splitlines()[-1].split(":")[0]) == (0, "1 faults"), err


def test_tests_that_fail_without_a_fault_end_the_run(tmp_path: Path) -> None:
    project = make_project(tmp_path / "p", tests="def test_no() -> None:\n    assert 1 > 2\n")
    run = start(project, "--sample", "1", "ectools", tmp=tmp_path / "tmp")
    out, err = run.communicate(timeout=300)
    assert (run.returncode, out) == (1, "")
    assert "tests/unit: fails without a fault: tests/unit/test_limits.py::test_no" in err
    assert list((tmp_path / "tmp").iterdir()) == []


def test_code_that_is_not_the_copys_is_told(tmp_path: Path) -> None:
    project = make_project(
        tmp_path / "p", tests="import ectools.limits\n\n\ndef test_it() -> None:\n    pass\n"
    )
    # As an editable installation would, if it were looked at first.
    (project / "tests" / "unit" / "conftest.py").write_text(
        f"import sys\n\nsys.path.insert(0, {str(project)!r})\nimport ectools.limits\n"
    )
    run = start(project, "--sample", "1", "ectools", tmp=tmp_path / "tmp")
    _, err = run.communicate(timeout=300)
    assert run.returncode == 1
    assert "expected exit status 0 without a fault, and another with one in ectools/__init__.py" in err


STARTED = """\
import os
import subprocess
import sys
import time
from pathlib import Path


def test_long() -> None:
    import ectools.limits

    sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
    child = subprocess.Popen(sleep, start_new_session=True)
    Path(os.environ["STARTED"]).write_text(f"{child.pid} {os.getpid()}")
    time.sleep(600)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all(tmp_path: Path, number: signal.Signals) -> None:
    project = make_project(tmp_path / "p", tests=STARTED)
    run = start(project, "ectools", tmp=tmp_path / "tmp", STARTED=str(tmp_path / "started"))
    pids = wait_for_pids(tmp_path / "started", run)
    run.send_signal(number)
    assert run.wait(60) != 0
    run.communicate()
    wait_for_ends(pids)
    assert list((tmp_path / "tmp").iterdir()) == []


def test_pytest_is_killed_with_the_run(tmp_path: Path) -> None:
    project = make_project(tmp_path / "p", tests=STARTED)
    run = start(project, "ectools", tmp=tmp_path / "tmp", STARTED=str(tmp_path / "started"))
    child, pytests = wait_for_pids(tmp_path / "started", run)
    run.kill()
    run.communicate()
    os.kill(child, signal.SIGKILL)
    wait_for_ends([pytests])


def wait_for_pids(path: Path, run: subprocess.Popen[str]) -> list[int]:
    while run.poll() is None:
        if path.exists() and (text := path.read_text()):
            return [int(pid) for pid in text.split()]
        time.sleep(0.05)
    pytest.fail(run.communicate()[1])


def wait_for_ends(pids: list[int]) -> None:
    """Until these processes have ended: who was killed is there a moment longer. Alone they take 600 s."""
    until = time.monotonic() + 60
    while any(is_running(pid) for pid in pids):
        assert time.monotonic() < until
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    """Whether a process is there, and has not ended unseen by a parent that waits for nobody."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_run_that_ends_leaves_no_child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STARTED", str(tmp_path / "started"))
    project = make_project(tmp_path / "p", tests=STARTED.replace("    time.sleep(600)\n", ""))
    (tmp_path / "work").mkdir()
    ran = Runner(tmp_path / "work").run(project, ["tests"], tests=None, limit=120.0, env={})
    assert (ran.status, list(ran.seconds)) == (0, ["tests/unit/test_limits.py::test_long"]), ran.text
    wait_for_ends([int(pid) for pid in (tmp_path / "started").read_text().split()])


def test_a_fault_that_has_no_end_is_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "def drain(left: int) -> None:\n    while left > 0:\n        left -= 1\n"
    tests = "from ectools.limits import drain\n\n\ndef test_drain() -> None:\n    drain(3)\n"
    project = make_project(tmp_path / "p", code, tests)
    (endless,) = (one for one in find_mutants(project, "ectools/limits.py") if one.operator == "statement")
    monkeypatch.setattr(judge, "_LEAST_TEST_SECONDS", 0.5)
    (tmp_path / "work").mkdir()
    name = "tests/unit/test_limits.py::test_drain"
    judged = judge.judge(
        Runner(tmp_path / "work"),
        endless,
        base=project,
        text=mutated_text(project, endless) or "",
        chosen=Chosen(near=[name], far=[]),
        seconds={name: 0.0},
    )
    assert (judged.verdict, judged.killer) == (Verdict.TIMEOUT, name)
    assert (project / "ectools" / "limits.py").read_text() == code


def test_a_list_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(make_project(tmp_path / "p"))
    found = CliRunner().invoke(main, ["--list", "ectools"])
    assert (found.exit_code, found.stdout.count("\n  + ")) == (0, 9)
    assert not (tmp_path / "p" / ".cache").exists()


@pytest.mark.parametrize("arguments", [["ectools/none.py"], ["tests"], ["--sample", "0"], ["--floor", "101"]])
def test_bad_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str]) -> None:
    monkeypatch.chdir(make_project(tmp_path / "p"))
    assert CliRunner().invoke(main, arguments).exit_code == 2
