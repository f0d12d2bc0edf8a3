"""One process by ``run_nix``: what comes back, limits met exactly, and each way in which it fails."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest

import pynix_eval_shim as shim
from pynix_eval_shim import Limits, process


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

    def test_what_the_caller_takes_out_is_not_kept(self) -> None:
        seen: list[bytes] = []
        watch = process.Watch(
            on_stderr=seen.append, keep_stderr=lambda chunk: chunk.replace(b"x", b"").replace(b"\n", b"")
        )
        limits = Limits(seconds=60.0, output_bytes=3)
        finished = self.run("echo abx >&2; echo xx >&2; echo xc >&2", limits=limits, watch=watch)
        assert (finished.stderr, b"".join(seen)) == (b"abc", b"abx\nxx\nxc\n")

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
        # An error that somebody keeps holds the process with its pipes.
        with pytest.raises(shim.OutputTooLargeError) as kept:
            self.run("echo x", limits=Limits(seconds=60.0, output_bytes=0))
        assert count() == before
        assert kept.value.argv


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


class HandledError(BaseException):
    """What a handler of a signal raises."""


def test_a_signal_within_the_start_ends_what_was_started(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[subprocess.Popen[bytes]] = []
    popen = subprocess.Popen

    def handle(_number: int, _frame: object) -> None:
        raise HandledError

    def make(*words: object, **options: object) -> subprocess.Popen[bytes]:
        """The signal comes after the fork."""
        made.append(popen(*words, **options))  # type: ignore[call-overload]
        os.kill(os.getpid(), signal.SIGTERM)
        return made[0]

    monkeypatch.setattr(subprocess, "Popen", make)
    before = signal.signal(signal.SIGTERM, handle)
    try:
        with pytest.raises(HandledError):
            process.run_nix(["sleep", "600"], limits=Limits())
    finally:
        signal.signal(signal.SIGTERM, before)
    assert made[0].returncode == -signal.SIGKILL
