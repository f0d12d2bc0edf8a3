"""A nix process from its start to its end, the only place that starts one.

Output is capped while it is read; a nix, with all of its process group, has ended when the call returns.
"""

from __future__ import annotations

import contextlib
import errno
import os
import selectors
import signal
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, cast

from pynix_eval_shim.errors import (
    DataError,
    NixError,
    NixMissingError,
    NixTimeoutError,
    OutputTooLargeError,
    Report,
    StoppedError,
)

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from pynix_eval_shim.limits import Limits

_CHUNK = 1 << 16
_POLL_SECONDS = 0.2
_NO_COLLECTOR = "GC_DONT_GC"
"""Set to anything, it keeps Boehm's collector from running (its README.environment)."""
STDERR_KEPT = 1 << 16
ASK_SECONDS = 5.0
"""How long a nix that builds may take to stop its builders, once the time is up."""


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A nix that ended by itself. ``returncode`` is negative where a signal killed it."""

    argv: tuple[str, ...]
    returncode: int
    stdout: bytes
    stderr: bytes


@dataclass(frozen=True, kw_only=True)
class Watch:
    """A caller that follows a run: ``on_stderr`` gets standard error as it comes, ``stop`` ends it once set.

    ``keep_stderr`` gets it as well, and what it returns is all that is kept of it. What either raises ends
    the run too, and is passed on.
    """

    on_stderr: Callable[[bytes], None] | None = None
    keep_stderr: Callable[[bytes], bytes] | None = None
    stop: threading.Event | None = None

    def take_stderr(self, chunk: bytes) -> bytes:
        """The part of ``chunk`` that is kept, once the caller has seen it."""
        if self.on_stderr is not None:
            self.on_stderr(chunk)
        return chunk if self.keep_stderr is None else self.keep_stderr(chunk)


def run_nix(
    argv: Sequence[str],
    *,
    limits: Limits,
    stdin: bytes = b"",
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    ask_seconds: float = 0.0,
    watch: Watch | None = None,
) -> Finished:
    """Run ``argv`` to its end within ``limits``.

    Past a limit the process group is killed: with SIGKILL at once, because an evaluation may ignore any other
    signal for seconds; or, where ``ask_seconds`` is positive, with SIGTERM first and SIGKILL that much later,
    so that nix can stop its builders, which lead process groups of their own. Raises NixMissingError,
    NixTimeoutError, OutputTooLargeError, StoppedError.

    A nix that crashes runs once more without its garbage collector, in the time that is left: where it is
    linked with Boehm's as that is released (Debian's), a collection crashes that begins while sources are
    added to the store (https://github.com/NixOS/nix/issues/4919). ``watch`` sees what both have said.
    """
    deadline = time.monotonic() + limits.seconds

    def run(env: Mapping[str, str] | None) -> Finished:
        return _run_once(
            argv,
            limits=limits,
            deadline=deadline,
            stdin=stdin,
            env=env,
            cwd=cwd,
            ask_seconds=ask_seconds,
            watch=watch or Watch(),
        )

    finished = run(env)
    given = os.environ if env is None else env
    if finished.returncode != -signal.SIGSEGV or _NO_COLLECTOR in given:
        return finished
    return run({**given, _NO_COLLECTOR: "1"})


def _run_once(
    argv: Sequence[str],
    *,
    limits: Limits,
    deadline: float,
    stdin: bytes,
    env: Mapping[str, str] | None,
    cwd: Path | None,
    ask_seconds: float,
    watch: Watch,
) -> Finished:
    with _as_file(stdin) as source, ThreadPoolExecutor(max_workers=1) as starter:
        # In a thread, where no handler of a signal runs: one that raises (KeyboardInterrupt) in the middle of
        # Popen, after the fork, would leave a child that nobody has.
        starting = starter.submit(_start, argv, source, env, cwd)
        outputs = {"stdout": bytearray(), "stderr": bytearray()}
        try:
            child = starting.result()
            _limit_memory(child.pid, limits.memory_bytes)
            excess = _read(child, outputs, limits, deadline, watch)
        finally:
            if starting.exception() is None:
                _stop(starting.result(), ask_seconds)
                _close(starting.result())
    if excess is not None:
        raise _excess(excess, argv, limits, bytes(outputs["stderr"]))
    return Finished(
        argv=tuple(argv),
        returncode=child.returncode,
        stdout=bytes(outputs["stdout"]),
        stderr=bytes(outputs["stderr"]),
    )


def _as_file(stdin: bytes) -> BinaryIO:
    """``stdin`` as a temporary file: a pipe would have to be written while two others are read."""
    try:
        source = cast("BinaryIO", tempfile.TemporaryFile())  # noqa: SIM115  (the caller closes it)
        source.write(stdin)
        source.seek(0)
    except OSError as error:
        raise no_room(error) from error
    return source


def no_room(error: OSError) -> NixError:
    """The error of a temporary file that could not be made or written."""
    return NixError(
        f"no temporary file for nix: {error}", hint="free some space, or set TMPDIR to another directory"
    )


def _start(
    argv: Sequence[str], source: BinaryIO, env: Mapping[str, str] | None, cwd: Path | None
) -> subprocess.Popen[bytes]:
    if cwd is not None and not os.path.isdir(cwd):  # noqa: PTH112  (False, not an error, for a NUL in the name)
        raise NixError(f"{cwd}: no such directory to run nix in")
    try:
        return subprocess.Popen(
            argv,
            stdin=source,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=env,
            cwd=cwd,
            start_new_session=True,
        )
    except ValueError as error:
        raise DataError(
            f"{argv[0]}: an argument or the environment cannot be handed over: {error}"
        ) from error
    except FileNotFoundError as error:
        raise NixMissingError(f"{argv[0]}: program not found", hint="install nix") from error
    except PermissionError as error:
        if cwd is not None and not os.access(cwd, os.X_OK):
            raise NixError(f"{cwd}: this user may not enter the directory to run nix in") from error
        raise NixMissingError(f"{argv[0]}: cannot be started: {error.strerror}") from error
    except OSError as error:
        hint = "code for an installable has to fit into an argument" if error.errno == errno.E2BIG else None
        raise NixError(f"{argv[0]}: cannot be started: {error.strerror}", hint=hint) from error


def _limit_memory(pid: int, memory_bytes: int | None) -> None:
    """Cap the address space from outside: nothing has to run between fork and exec, which threads forbid.

    A lower cap that is in force stays.
    """
    import resource

    if memory_bytes is None or not hasattr(resource, "prlimit"):
        return
    with contextlib.suppress(ProcessLookupError):
        caps = (memory_bytes, *resource.prlimit(pid, resource.RLIMIT_AS))
        cap = min(each for each in caps if each != resource.RLIM_INFINITY)
        resource.prlimit(pid, resource.RLIMIT_AS, (cap, cap))


def _read(
    child: subprocess.Popen[bytes],
    outputs: dict[str, bytearray],
    limits: Limits,
    deadline: float,
    watch: Watch,
) -> str | None:
    """Fill ``outputs`` until the child has ended; returns the limit that was hit, by name, or `stop`."""
    with selectors.DefaultSelector() as selector:
        for name, stream in (("stdout", child.stdout), ("stderr", child.stderr)):
            assert stream is not None  # noqa: S101  (both were asked for; this tells the type checker)
            selector.register(stream.fileno(), selectors.EVENT_READ, name)
        ended = False
        while selector.get_map():
            left = deadline - time.monotonic()
            if left <= 0:
                return "seconds"
            if watch.stop is not None and watch.stop.is_set():
                return "stop"
            if not ended and child.poll() is not None:
                ended = True
                # What it left behind would hold the pipes open; only what is in them is still of interest.
                _kill_group(child)
            ready = selector.select(0 if ended else min(left, _POLL_SECONDS))
            if ended and not ready:
                break
            for key, _ in ready:
                chunk = os.read(key.fd, _CHUNK)
                if not chunk:
                    selector.unregister(key.fd)
                outputs[key.data] += watch.take_stderr(chunk) if key.data == "stderr" else chunk
                if len(outputs[key.data]) > limits.output_bytes:
                    return str(key.data)
    try:
        child.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return "seconds"
    return None


def _stop(child: subprocess.Popen[bytes], ask_seconds: float) -> None:
    """End the child where it has not ended, and all that it started in its group; reap it."""
    if ask_seconds > 0 and child.poll() is None:
        child.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(ask_seconds)
    _kill_group(child)
    child.wait()


def _kill_group(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)


def _close(child: subprocess.Popen[bytes]) -> None:
    for stream in (child.stdout, child.stderr):
        if stream is not None:
            stream.close()


def _excess(limit: str, argv: Sequence[str], limits: Limits, stderr: bytes) -> NixError:
    report = Report(argv=tuple(argv), stderr=stderr[-STDERR_KEPT:].decode("utf-8", "replace"))
    if limit == "seconds":
        return NixTimeoutError(
            f"nix was still running after {limits.seconds:g} s and was killed", report=report
        )
    if limit == "stop":
        return StoppedError("nix was stopped by its caller", report=report)
    stream = "standard output" if limit == "stdout" else "standard error"
    return OutputTooLargeError(
        f"nix wrote more than {limits.output_bytes} bytes to {stream} and was killed", report=report
    )


def describe_signal(returncode: int) -> str | None:
    """The signal's name where one ended the process, also where a shell between passed it on; else None."""
    number = -returncode if returncode < 0 else returncode - 128
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name
    return None
