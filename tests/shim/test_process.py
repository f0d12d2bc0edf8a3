"""Hard limits, and a nix that misbehaves: killed whole, read no further than allowed, named for its deed."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import pynix_eval_shim as shim
from pynix_eval_shim import Limits, Nix, process

if TYPE_CHECKING:
    from collections.abc import Callable

# Runs for ever in any nix; what it allocates is collected.
ENDLESS = """
  let loop = n: builtins.foldl' (sum: each: sum + each) n (builtins.genList (x: x) 1000);
  in builtins.foldl' (sum: each: loop sum) 0 (builtins.genList (x: x) 100000000)
"""


def processes_with(mark: str) -> list[str]:
    """The command lines of the processes that carry ``mark`` in their arguments or their environment."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            arguments, environment = (
                (directory / "cmdline").read_bytes(),
                (directory / "environ").read_bytes(),
            )
        except OSError:
            continue
        if directory.name != str(os.getpid()) and mark.encode() in arguments + environment:
            found.append(arguments.decode("utf-8", "replace"))
    return found


def wait_until(condition: Callable[[], bool], seconds: float = 30.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.nix
class TestNixWithinLimits:
    def test_an_endless_evaluation_is_killed(self, nix: Nix) -> None:
        mark = f"mark-{uuid.uuid4()}"
        marked = Nix(program=nix.program, options=nix.options, env={**os.environ, "SHIM_MARK": mark})
        with pytest.raises(shim.NixTimeoutError) as caught:
            shim.evaluate(ENDLESS, limits=Limits(seconds=1.0), nix=marked)
        assert "1 s" in caught.value.message
        assert caught.value.argv
        assert wait_until(lambda: not processes_with(mark)), processes_with(mark)

    def test_an_endless_build_is_killed_with_its_builder(self, private_store: Nix) -> None:
        mark = f"mark-{uuid.uuid4()}"
        expression = """{ system, mark }: derivation {
          name = "endless"; inherit system; builder = "/bin/sh";
          args = [ "-c" "while :; do :; done # ${mark}" ];
        }"""
        data = {"system": shim.probe(nix=private_store).system, "mark": mark}
        caught: list[shim.NixError] = []

        def build() -> None:
            try:
                shim.build(
                    expression, data=data, limits=Limits(seconds=5.0, memory_bytes=None), nix=private_store
                )
            except shim.NixError as error:
                caught.append(error)

        thread = threading.Thread(target=build)
        thread.start()
        started = wait_until(lambda: any("while :" in line for line in processes_with(mark)), seconds=5.0)
        thread.join()
        assert started
        assert type(caught[0]) is shim.NixTimeoutError
        assert wait_until(lambda: not processes_with(mark)), processes_with(mark)

    def test_output_is_read_up_to_its_limit(self, nix: Nix) -> None:
        with pytest.raises(shim.OutputTooLargeError, match="100000 bytes to standard output"):
            shim.evaluate("builtins.genList toString 1000000", limits=Limits(output_bytes=100_000), nix=nix)

    def test_talk_is_read_up_to_its_limit(self, nix: Nix) -> None:
        expression = (
            "builtins.foldl' (n: _: builtins.trace (toString n) (n + 1)) 0 (builtins.genList (x: x) 100000)"
        )
        with pytest.raises(shim.OutputTooLargeError, match="100000 bytes to standard error"):
            shim.evaluate(expression, limits=Limits(output_bytes=100_000), nix=nix)

    def test_limits_hold_for_each_of_many_threads(self, nix: Nix) -> None:
        results: dict[int, object] = {}

        def work(number: int) -> None:
            results[number] = shim.evaluate("n: n + 1", data=number, nix=nix)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert results == {number: number + 1 for number in range(6)}


@pytest.fixture
def fake(tmp_path: Path) -> Callable[[str], Nix]:
    """A program that stands in for nix: a shell script."""

    def write(script: str) -> Nix:
        for name in ("nix", "nix-instantiate"):
            path = tmp_path / name
            path.write_text(f"#!/bin/sh\n{script}\n")
            path.chmod(0o755)
        return Nix(program=str(tmp_path / "nix"))

    return write


class TestMisbehaviour:
    def test_nothing_called_nix(self) -> None:
        with pytest.raises(shim.NixMissingError, match="no-such-nix: program not found"):
            shim.evaluate("1", nix=Nix(program="no-such-nix"))

    def test_nothing_on_path(self, tmp_path: Path) -> None:
        with pytest.raises(shim.NixMissingError) as caught:
            shim.probe(nix=Nix(env={"PATH": str(tmp_path)}))
        assert caught.value.hint is not None

    def test_nix_without_nix_instantiate(self, fake: Callable[[str], Nix], tmp_path: Path) -> None:
        nix = fake("exit 0")
        (tmp_path / "nix-instantiate").unlink()
        lonely = Nix(program=nix.program, env={"PATH": str(tmp_path)})
        with pytest.raises(shim.NixMissingError, match="nix-instantiate"):
            shim.evaluate("1", nix=lonely)

    @pytest.mark.parametrize("name", ["gone", "nix", "a\0b"])
    def test_a_directory_that_is_not_there(
        self, fake: Callable[[str], Nix], tmp_path: Path, name: str
    ) -> None:
        with pytest.raises(shim.NixError, match="no such directory"):
            shim.evaluate("1", cwd=tmp_path / name, nix=fake("echo 1"))

    def test_a_program_by_a_relative_path_and_another_directory(
        self, fake: Callable[[str], Nix], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        fake("echo 77")
        (tmp_path / "other").mkdir()
        monkeypatch.chdir(tmp_path)
        assert shim.evaluate("1", cwd=tmp_path / "other", nix=Nix(program="./nix")) == 77

    def test_a_lower_cap_on_memory_stays(self, fake: Callable[[str], Nix]) -> None:
        kept, lowered = 3 << 30, 2 << 30
        # The cap is set on a child that runs already: a real nix takes longer to load, a script does not.
        wait = f"for i in 1 2 3 4 5 6 7 8 9; do [ $(ulimit -v) = {kept >> 10} ] || break; sleep 0.2; done"
        nix = fake(f"{wait}; ulimit -v")
        program = (
            "import resource; from pynix_eval_shim import *; "
            f"resource.setrlimit(resource.RLIMIT_AS, ({kept}, {kept})); "
            f"nix = Nix(program={nix.program!r}); "
            f"caps = (8 << 30, {lowered}, None); "
            "print([evaluate('1', limits=Limits(memory_bytes=cap), nix=nix) for cap in caps])"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
        assert done.stdout.strip() == str([kept >> 10, lowered >> 10, kept >> 10]), done.stderr

    def test_no_room_for_a_temporary_file(
        self, fake: Callable[[str], Nix], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        nix = fake("echo 1")
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
        for target in ({"expression": "1"}, {"installable": "path:/x#y", "data": "x" * 200_000}):
            with pytest.raises(shim.NixError) as caught:
                shim.evaluate(**target, nix=nix)
            assert "TMPDIR" in str(caught.value.hint)

    def test_a_version_that_never_ends(self, fake: Callable[[str], Nix]) -> None:
        with pytest.raises(shim.OutputTooLargeError):
            shim.probe(nix=fake("while :; do echo nix; done"))
        with pytest.raises(shim.NixMissingError, match="does not tell its version"):
            shim.probe(nix=fake(r"printf '\\377\\n'"))

    def test_the_programs_interpreter_is_missing(self, tmp_path: Path) -> None:
        for name in ("nix", "nix-instantiate"):
            (tmp_path / name).write_text("#!/no/such/interpreter\n")
            (tmp_path / name).chmod(0o755)
        with pytest.raises(shim.NixMissingError):
            shim.evaluate("1", nix=Nix(program=str(tmp_path / "nix")))

    def test_killed_by_the_system(self, fake: Callable[[str], Nix]) -> None:
        with pytest.raises(shim.OutOfMemoryError, match="SIGKILL"):
            shim.evaluate("1", nix=fake("kill -KILL $$"))

    def test_a_crash_is_named(self, fake: Callable[[str], Nix]) -> None:
        with pytest.raises(shim.NixError, match="killed by SIGSEGV: last words"):
            shim.evaluate("1", nix=fake("echo last words >&2; kill -SEGV $$"))

    def test_a_silent_failure(self, fake: Callable[[str], Nix]) -> None:
        with pytest.raises(shim.NixError, match="exit status 7"):
            shim.evaluate("1", nix=fake("exit 7"))

    def test_partial_output_of_a_failure_is_not_a_value(self, fake: Callable[[str], Nix]) -> None:
        with pytest.raises(shim.NixError, match="broke"):
            shim.evaluate("1", nix=fake("printf 1; echo 'error: broke' >&2; exit 1"))

    def test_sigterm_is_not_enough(self, fake: Callable[[str], Nix]) -> None:
        nix = fake("trap '' TERM; while :; do sleep 1; done")
        began = time.monotonic()
        with pytest.raises(shim.NixTimeoutError):
            process.run_nix([nix.find("nix")], limits=Limits(seconds=0.5), ask_seconds=0.5)
        assert time.monotonic() - began < 30

    def test_what_it_leaves_behind_does_not_hold_the_call(self, fake: Callable[[str], Nix]) -> None:
        mark = f"mark-{uuid.uuid4()}"
        nix = fake(f"sh -c 'while :; do sleep 1; done # {mark}' & echo 5")
        assert shim.evaluate("1", limits=Limits(seconds=60.0), nix=nix) == 5
        assert wait_until(lambda: not processes_with(mark))

    @pytest.mark.parametrize("diagnostics", [">/dev/null 2>&1", "", ">&2"])
    def test_what_it_leaves_behind_is_ended(self, fake: Callable[[str], Nix], diagnostics: str) -> None:
        mark = f"mark-{uuid.uuid4()}"
        nix = fake(f"sh -c 'while :; do echo 1; sleep 0.05; done # {mark}' {diagnostics} </dev/null & exit 3")
        began = time.monotonic()
        with pytest.raises(shim.NixError, match="exit status 3"):
            shim.evaluate("1", limits=Limits(seconds=60.0), nix=nix)
        assert time.monotonic() - began < 50
        assert wait_until(lambda: not processes_with(mark))

    def test_a_line_that_is_not_utf8(self, fake: Callable[[str], Nix]) -> None:
        with pytest.raises(shim.NixError, match="bad \ufffd byte"):
            shim.evaluate("1", nix=fake(r"printf 'error: bad \377 byte\n' >&2; exit 1"))


class TestRun:
    """One process, by ``run_nix`` itself."""

    def run(self, script: str, *, limits: Limits = Limits(seconds=60.0), **more: Any) -> process.Finished:  # noqa: B008
        return process.run_nix(["/bin/sh", "-c", script], limits=limits, **more)

    def test_all_that_came_back(self, tmp_path: Path) -> None:
        script = "cat; pwd; echo $A >&2; exit 3"
        finished = self.run(script, stdin=b"in\n", env={"A": "b", "PATH": "/usr/bin:/bin"}, cwd=tmp_path)
        assert finished == process.Finished(
            argv=("/bin/sh", "-c", script), returncode=3, stdout=f"in\n{tmp_path}\n".encode(), stderr=b"b\n"
        )
        assert self.run("cat").stdout == b""
        assert self.run("kill -TERM $$").returncode == -15

    def test_output_may_have_just_as_many_bytes_as_allowed(self) -> None:
        limits = Limits(seconds=60.0, output_bytes=10)
        finished = self.run("printf 0123456789; printf 9876543210 >&2", limits=limits)
        assert (finished.stdout, finished.stderr) == (b"0123456789", b"9876543210")
        for redirection, stream in (("", "standard output"), (" >&2", "standard error")):
            with pytest.raises(shim.OutputTooLargeError, match=f"more than 10 bytes to {stream}"):
                self.run(f"printf 0123456789x{redirection}", limits=limits)

    def test_more_than_a_pipe_holds_on_both(self) -> None:
        finished = self.run("head -c 300000 /dev/zero; head -c 400000 /dev/zero >&2")
        assert (len(finished.stdout), len(finished.stderr)) == (300000, 400000)

    def test_a_limit_is_reported_with_the_end_of_what_was_said(self) -> None:
        script = f"head -c {1 << 16} /dev/zero | tr '\\0' a >&2; printf end >&2; head -c 200000 /dev/zero"
        with pytest.raises(shim.OutputTooLargeError) as caught:
            self.run(f"{script}; sleep 100", limits=Limits(seconds=60.0, output_bytes=100_000))
        assert caught.value.argv[0] == "/bin/sh"
        assert len(caught.value.stderr) <= 1 << 16
        if caught.value.stderr.endswith("end"):
            assert caught.value.stderr == "a" * ((1 << 16) - 3) + "end"

    def test_nothing_that_is_silent_lives_past_its_time(self) -> None:
        with pytest.raises(shim.NixTimeoutError, match=r"still running after 0\.25 s and was killed"):
            self.run("exec >/dev/null 2>&1; exec sleep 100", limits=Limits(seconds=0.25))

    @pytest.mark.parametrize(("ask_seconds", "asked"), [(60.0, True), (0.0, False)])
    def test_a_nix_that_is_asked_ends_its_own_way(
        self, tmp_path: Path, ask_seconds: float, asked: bool
    ) -> None:
        script = f"trap 'echo > {tmp_path}/asked; exit' TERM; echo >&2; while :; do sleep 0.05; done"
        with pytest.raises(LookupError):
            self.run(script, ask_seconds=ask_seconds, watch=process.Watch(on_stderr=interrupt))
        assert (tmp_path / "asked").exists() is asked

    def test_a_caller_who_has_stopped_already(self) -> None:
        stop = threading.Event()
        stop.set()
        with pytest.raises(shim.StoppedError, match="stopped by its caller") as caught:
            self.run("sleep 100", watch=process.Watch(stop=stop))
        assert caught.value.argv == ("/bin/sh", "-c", "sleep 100")

    def test_only_standard_error_is_heard_and_whole(self) -> None:
        heard: list[bytes] = []
        finished = self.run(
            "echo out; echo one >&2; echo two >&2", watch=process.Watch(on_stderr=heard.append)
        )
        assert b"".join(heard) == finished.stderr == b"one\ntwo\n"

    def test_no_descriptor_is_left_open(self) -> None:
        def count() -> int:
            return len(os.listdir("/proc/self/fd"))

        self.run("exit 0")
        before = count()
        self.run("exit 0")
        with pytest.raises(shim.NixMissingError):
            process.run_nix(["/no/such/program"], limits=Limits())
        with pytest.raises(shim.OutputTooLargeError):
            self.run("echo x", limits=Limits(seconds=60.0, output_bytes=0))
        assert count() == before


def interrupt(_chunk: bytes) -> None:
    raise LookupError


class TestStart:
    def start(self, *argv: str, cwd: Path | None = None) -> shim.NixError:
        with pytest.raises(shim.NixError) as caught:
            process.run_nix(argv, limits=Limits(seconds=60.0), cwd=cwd)
        return caught.value

    def test_a_program_that_is_not_there(self) -> None:
        error = self.start("/no/such/program")
        assert type(error) is shim.NixMissingError
        assert error.message == "/no/such/program: program not found"
        assert error.hint == "install nix"

    def test_a_program_that_may_not_be_run(self, tmp_path: Path) -> None:
        (tmp_path / "nix").touch(mode=0o644)
        error = self.start(str(tmp_path / "nix"))
        assert type(error) is shim.NixMissingError
        assert error.message == f"{tmp_path}/nix: cannot be started: Permission denied"

    def test_a_directory_that_may_not_be_entered(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def popen(*_arguments: Any, **_options: Any) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(subprocess, "Popen", popen)
        monkeypatch.setattr(os, "access", lambda path, mode: (path, mode) != (tmp_path, os.X_OK))
        error = self.start("nix", cwd=tmp_path)
        assert type(error) is shim.NixError
        assert error.message == f"{tmp_path}: this user may not enter the directory to run nix in"
        assert type(self.start("nix", cwd=Path("/"))) is shim.NixMissingError

    def test_arguments_that_are_too_long(self) -> None:
        error = self.start("/bin/true", "x" * (128 << 10))
        assert type(error) is shim.NixError
        assert "Argument list too long" in error.message
        assert "installable" in str(error.hint)

    def test_a_program_that_is_no_program(self, tmp_path: Path) -> None:
        (tmp_path / "nix").write_bytes(b"\x7fELF")
        (tmp_path / "nix").chmod(0o755)
        error = self.start(str(tmp_path / "nix"))
        assert type(error) is shim.NixError
        assert "cannot be started: Exec format error" in error.message
        assert error.hint is None

    def test_an_argument_with_a_nul(self) -> None:
        error = self.start("/bin/true", "a\0b")
        assert type(error) is shim.DataError
        assert error.message.startswith("/bin/true: an argument or the environment cannot be handed over")

    def test_a_full_disk(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def full() -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(tempfile, "TemporaryFile", full)
        error = self.start("/bin/true")
        assert error.message == "no temporary file for nix: [Errno 28] No space left on device"
        assert "TMPDIR" in str(error.hint)


class TestMemory:
    def test_no_cap_and_a_process_that_is_gone(self) -> None:
        process._limit_memory(os.getpid(), None)
        child = subprocess.Popen(["/bin/true"])
        child.wait()
        process._limit_memory(child.pid, 1 << 30)

    @pytest.mark.parametrize(
        ("asked", "soft", "hard", "cap"),
        [
            (5, -1, -1, 5),
            (5, 3, -1, 3),
            (5, 7, 9, 5),
            (5, 3, 4, 3),
            (-1, -1, 4, 4),
        ],
    )
    def test_the_lowest_cap_holds(
        self, monkeypatch: pytest.MonkeyPatch, asked: int, soft: int, hard: int, cap: int
    ) -> None:
        set_to = []

        def prlimit(pid: int, what: int, caps: tuple[int, int] | None = None) -> tuple[int, int]:
            assert (pid, what) == (77, resource.RLIMIT_AS)
            if caps is not None:
                set_to.append(caps)
            return soft, hard

        monkeypatch.setattr(resource, "prlimit", prlimit)
        process._limit_memory(77, asked)
        assert set_to == [(cap, cap)]
