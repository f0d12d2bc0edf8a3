"""Children: their streams and ends are told, and none is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ectools.processes import (
    ProcessError,
    ProgramMissingError,
    describe_exit,
    find_program,
    run,
    start,
)


def python(program: str) -> list[str]:
    return [sys.executable, "-c", program]


def test_run_returns_both_streams_and_passes_its_input() -> None:
    done = run(python("import sys; print(sys.stdin.read()); print('talk', file=sys.stderr)"), stdin="in")
    assert (done.stdout, done.stderr) == ("in\n", "talk\n")


def test_a_failure_carries_argv_status_and_streams() -> None:
    argv = python("import sys; print('half'); sys.exit('what went wrong')")
    with pytest.raises(ProcessError, match="exit status 1: what went wrong") as caught:
        run(argv)
    assert caught.value.argv == tuple(argv)
    assert (caught.value.returncode, caught.value.stdout) == (1, "half\n")


def test_past_its_time_a_child_is_killed_with_what_it_started(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    program = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(pid_file)!r}, 'w').write(str(child.pid)); time.sleep(600)"
    )
    with pytest.raises(ProcessError, match="still running after 2 s; killed"):
        run(python(program), timeout=2)
    wait_until_gone(int(pid_file.read_text()))


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            return
        if state == "Z":
            return
        assert time.monotonic() < deadline, f"{pid} still runs"
        time.sleep(0.05)


def test_a_missing_program_and_one_that_may_not_run_are_named(tmp_path: Path) -> None:
    with pytest.raises(ProgramMissingError, match="no-such-program: program not found"):
        run(["no-such-program"])
    with pytest.raises(ProgramMissingError, match="no-such-program: program not found"):
        find_program("no-such-program")
    (tmp_path / "file").write_text("")
    with pytest.raises(ProcessError, match="cannot be started: Permission denied"):
        run([str(tmp_path / "file")])


@pytest.mark.parametrize(
    ("returncode", "words"),
    [(0, "exit status 0"), (3, "exit status 3"), (-9, "killed by SIGKILL"), (-99, "killed by signal 99")],
)
def test_an_end_in_words(returncode: int, words: str) -> None:
    assert describe_exit(returncode) == words


@pytest.mark.parametrize("stubborn", [False, True])
def test_a_started_child_ends_with_its_block(stubborn: bool) -> None:
    ignore = "signal.signal(signal.SIGTERM, signal.SIG_IGN);" if stubborn else ""
    program = f"import signal, time; {ignore} print('ready', flush=True); time.sleep(600)"
    with start(python(program), stdout=subprocess.PIPE, term_seconds=1) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        assert os.getpgid(child.pid) == child.pid
        child.stdout.close()
    assert child.returncode == -(signal.SIGKILL if stubborn else signal.SIGTERM)
