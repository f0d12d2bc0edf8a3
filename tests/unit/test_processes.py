"""Children: their streams and ends are told, and none is left."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ectools import processes
from ectools.capabilities import Capability
from ectools.processes import (
    ProcessError,
    ProgramMissingError,
    describe_exit,
    find_program,
    launch,
    run,
    start,
    start_async,
    stop,
    stop_async,
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


def shell(script: str) -> list[str]:
    return ["/bin/sh", "-c", script]


def test_a_child_has_the_directory_and_the_environment_that_it_is_given(tmp_path: Path) -> None:
    done = run(shell('pwd; echo "$NAME"'), cwd=tmp_path, env={"NAME": "value"})
    assert done.stdout == f"{tmp_path}\nvalue\n"


def test_without_an_input_a_child_reads_an_end() -> None:
    assert run(["/bin/cat"], timeout=60).stdout == ""


def test_what_is_no_text_is_replaced() -> None:
    assert run(shell(r"printf 'a\377b'")).stdout == "a\N{REPLACEMENT CHARACTER}b"


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo out; echo err >&2; exit 3", "exit status 3: err"),
        ("echo out; exit 3", "exit status 3: out"),
        ("exit 3", "exit status 3"),
        ("kill -KILL $$", "killed by SIGKILL"),
    ],
)
def test_a_failure_says_what_the_child_said_last(script: str, message: str) -> None:
    with pytest.raises(ProcessError) as caught:
        run(shell(script))
    assert caught.value.message == f"/bin/sh -c {script!r}: {message}"


def test_past_its_time_what_it_said_is_kept() -> None:
    with pytest.raises(ProcessError) as caught:
        run(shell("echo out; echo err >&2; exec sleep 600"), timeout=0.3)
    assert "still running after 0.3 s; killed" in caught.value.message
    assert (caught.value.stdout, caught.value.stderr, caught.value.returncode) == ("out\n", "err\n", None)
    assert caught.value.argv[0] == "/bin/sh"


def test_an_interruption_leaves_no_child(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    communicate, pids = subprocess.Popen.communicate, []

    def interrupt(self: subprocess.Popen[str], *arguments: object, **more: object) -> object:
        if not pids:
            pids.append(self.pid)
            raise KeyboardInterrupt
        return communicate(self, *arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(subprocess.Popen, "communicate", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(["/bin/sleep", "600"])
    with pytest.raises(ProcessLookupError):
        os.kill(pids[0], 0)


def test_a_hint_may_be_given_for_a_program(tmp_path: Path) -> None:
    with pytest.raises(ProgramMissingError) as caught:
        find_program("no-such-program", hint="install it")
    assert (caught.value.hint, caught.value.argv) == ("install it", ("no-such-program",))
    with pytest.raises(ProgramMissingError) as caught:
        find_program("no-such-program")
    assert "PATH" in str(caught.value.hint)
    assert find_program("/bin/sh") == "/bin/sh"


@pytest.mark.parametrize("asynchronous", [False, True])
def test_what_is_no_program_is_named(asynchronous: bool, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no program")
    (tmp_path / "file").chmod(0o755)

    async def start_it(argv: list[str]) -> None:
        async with start_async(argv):
            raise AssertionError("it is started")

    def attempt(argv: list[str]) -> None:
        if asynchronous:
            asyncio.run(start_it(argv))
        else:
            launch(argv)

    with pytest.raises(ProcessError, match="file: cannot be started: Exec format error"):
        attempt([str(tmp_path / "file")])
    with pytest.raises(ProgramMissingError, match="missing: program not found"):
        attempt([str(tmp_path / "missing")])


@pytest.mark.parametrize("new_session", [False, True])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_child_has_the_descriptors_and_the_session_that_it_is_given(
    asynchronous: bool, new_session: bool, tmp_path: Path
) -> None:
    ours, theirs = os.pipe()
    file = tmp_path / "out"
    argv = shell(f'echo "$NAME" > /proc/self/fd/{theirs}; exec sleep 600')
    more = {"env": {"NAME": "value", "PATH": os.environ["PATH"]}, "new_session": new_session}

    def look(pid: int) -> None:
        assert select.select([ours], [], [], 60)[0], "it said nothing"
        assert os.read(ours, 100) == b"value\n"
        assert (os.getpgid(pid) == pid) is new_session

    async def start_it() -> None:
        async with start_async(argv, pass_fds=[theirs], **more) as child:  # type: ignore[arg-type]
            look(child.pid)
        assert child.returncode == -signal.SIGTERM

    if asynchronous:
        asyncio.run(start_it())
    else:
        with file.open("wb") as out, start(argv, pass_fds=[theirs], stdout=out, **more) as child:  # type: ignore[arg-type]
            look(child.pid)
        assert child.returncode == -signal.SIGTERM
    os.close(ours)
    os.close(theirs)


STUBBORN = "trap '' TERM; sleep 600 & echo $!; wait; wait"
"""A child that does not end when it is asked to, and has one of its own; it says that one's number."""


def test_one_that_does_not_end_is_killed_with_its_children() -> None:
    with start(shell(STUBBORN), stdout=subprocess.PIPE, term_seconds=0.1) as child:
        assert child.stdout is not None
        grandchild = int(child.stdout.readline())
        child.stdout.close()
    assert child.returncode == -signal.SIGKILL
    wait_until_gone(grandchild)

    async def start_it() -> int:
        async with start_async(shell(STUBBORN), stdout=subprocess.PIPE, term_seconds=0.1) as child:
            assert child.stdout is not None
            grandchild = int(await child.stdout.readline())
        assert child.returncode == -signal.SIGKILL
        return grandchild

    wait_until_gone(asyncio.run(start_it()))


def test_without_a_session_of_its_own_the_child_alone_is_killed() -> None:
    with start(shell(STUBBORN), stdout=subprocess.PIPE, term_seconds=0.1, new_session=False) as child:
        assert child.stdout is not None
        grandchild = int(child.stdout.readline())
        child.stdout.close()
    assert child.returncode == -signal.SIGKILL
    os.kill(grandchild, signal.SIGKILL)


def test_one_that_has_ended_is_sent_nothing_and_its_status_stays() -> None:
    child = launch(["/bin/true"])
    child.wait()
    assert child.stdin is None
    assert stop(child, term_seconds=60) == 0

    async def run_it() -> int:
        async with start_async(shell("exit 3")) as child:
            await child.wait()
            return await stop_async(child, term_seconds=60)

    assert asyncio.run(run_it()) == 3


def test_the_kernel_ends_a_child_when_its_parent_is_killed() -> None:
    source = (
        "import asyncio, os\n"
        "from ectools.processes import start_async\n"
        "async def main():\n"
        "    async with start_async(['/bin/sleep', '600']) as child:\n"
        "        print(child.pid, flush=True)\n"
        "        os.kill(os.getpid(), 9)\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=False)
    assert done.returncode == -signal.SIGKILL
    wait_until_gone(int(done.stdout))


def test_a_child_is_granted_capabilities_before_it_is_bound_to_its_parent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    did: list[object] = []
    monkeypatch.setattr(processes, "build_grant", lambda *granted: lambda: did.append(granted))
    monkeypatch.setattr(processes, "_build_end_with_parent", lambda: lambda: did.append("bound"))
    processes._build_preparation((Capability.NET_ADMIN,))()
    processes._build_preparation(())()
    assert did == [(Capability.NET_ADMIN,), "bound", "bound"]


def test_a_child_leads_a_session_unless_it_is_told_not_to() -> None:
    for new_session in ({}, {"new_session": True}, {"new_session": False}):
        child = launch(["/bin/sleep", "600"], **new_session)
        try:
            assert (os.getsid(child.pid) == child.pid) is new_session.get("new_session", True)
        finally:
            assert stop(child, term_seconds=60) == -signal.SIGTERM
