"""The one place that starts processes: argv lists, never a shell, and no child outlives its block."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ectools.capabilities import build_grant
from ectools.errors import EcError
from ectools.interrupts import hold_signals

if TYPE_CHECKING:
    import asyncio
    from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import IO

    from ectools.capabilities import Capability


_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


class ProcessError(EcError):
    """A child failed: its argv, its directory, how it ended, and both of its streams."""

    def __init__(
        self,
        message: str,
        *,
        argv: Sequence[str],
        returncode: int | None = None,
        stdout: str = "",
        stderr: str = "",
        hint: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.argv = tuple(argv)
        self.returncode = returncode
        self.stdout = stdout
        self.stderr = stderr


class ProgramMissingError(ProcessError):
    """The program is not installed, or not on PATH."""


@dataclass(frozen=True)
class Completed:
    """A child that ended with status 0."""

    stdout: str
    stderr: str


def find_program(name: str, *, hint: str | None = None) -> str:
    """The absolute path of a program on PATH (a name with a slash is taken as it is)."""
    found = shutil.which(name)
    if found is None:
        raise ProgramMissingError(
            f"{name}: program not found", argv=[name], hint=hint or "install it, or put its directory on PATH"
        )
    return found


def describe_exit(returncode: int) -> str:
    """`exit status 3`, or `killed by SIGKILL`."""
    if returncode >= 0:
        return f"exit status {returncode}"
    with contextlib.suppress(ValueError):
        return f"killed by {signal.Signals(-returncode).name}"
    return f"killed by signal {-returncode}"


def run(
    argv: Sequence[str],
    *,
    timeout: float | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
) -> Completed:
    """Run ``argv`` to its end and return its streams, decoded as UTF-8 with replacement.

    ``timeout`` is in seconds; past it the child's whole process group is killed. Raises ProgramMissingError,
    or ProcessError when the status is not 0 or the time is up.
    """
    try:
        with (
            hold_signals() as release,
            subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=cwd,
                env=env,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,
            ) as child,
        ):
            try:
                release()
                stdout, stderr = child.communicate(stdin, timeout=timeout)
            except BaseException as error:
                kill_group(child)
                stdout, stderr = child.communicate()
                if isinstance(error, subprocess.TimeoutExpired):
                    raise ProcessError(
                        f"{shlex.join(argv)}: still running after {timeout} s; killed",
                        argv=argv,
                        stdout=stdout,
                        stderr=stderr,
                    ) from error
                raise
    except FileNotFoundError as error:
        raise ProgramMissingError(f"{argv[0]}: program not found", argv=argv) from error
    except PermissionError as error:
        raise ProcessError(f"{argv[0]}: cannot be started: {error.strerror}", argv=argv) from error
    if child.returncode != 0:
        last = stderr.strip() or stdout.strip()
        raise ProcessError(
            f"{shlex.join(argv)}: {describe_exit(child.returncode)}" + (f": {last}" if last else ""),
            argv=argv,
            returncode=child.returncode,
            stdout=stdout,
            stderr=stderr,
        )
    return Completed(stdout, stderr)


def launch(
    argv: Sequence[str],
    *,
    stdin: int | IO[bytes] | None = subprocess.DEVNULL,
    stdout: int | IO[bytes] | None = None,
    stderr: int | IO[bytes] | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    pass_fds: Sequence[int] = (),
    new_session: bool = True,
    end_with_parent: bool = False,
) -> subprocess.Popen[bytes]:
    """A child that is the caller's to stop, or to leave running. ``start`` is for all others.

    ``end_with_parent``: the kernel kills the child when we die.
    """
    try:
        return subprocess.Popen(
            argv,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=env,
            cwd=cwd,
            pass_fds=pass_fds,
            start_new_session=new_session,
            preexec_fn=_build_end_with_parent() if end_with_parent else None,  # noqa: PLW1509 - see there
        )
    except FileNotFoundError as error:
        raise ProgramMissingError(f"{argv[0]}: program not found", argv=argv) from error
    except OSError as error:
        raise ProcessError(f"{argv[0]}: cannot be started: {error.strerror}", argv=argv) from error


@contextlib.contextmanager
def start(
    argv: Sequence[str],
    *,
    stdin: int | IO[bytes] | None = subprocess.DEVNULL,
    stdout: int | IO[bytes] | None = None,
    stderr: int | IO[bytes] | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    pass_fds: Sequence[int] = (),
    new_session: bool = True,
    term_seconds: float = 5.0,
) -> Iterator[subprocess.Popen[bytes]]:
    """A child for the length of the block. At its end: SIGTERM, ``term_seconds``, then SIGKILL to its group.

    ``new_session=False`` keeps the child in the terminal's foreground group, so that a person can type to it.
    """
    with hold_signals() as release:
        child = launch(
            argv,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=env,
            cwd=cwd,
            pass_fds=pass_fds,
            new_session=new_session,
        )
        try:
            release()
            yield child
        finally:
            stop(child, term_seconds=term_seconds)


@contextlib.asynccontextmanager
async def start_async(
    argv: Sequence[str],
    *,
    stdin: int | None = subprocess.DEVNULL,
    stdout: int | None = None,
    stderr: int | None = None,
    env: Mapping[str, str] | None = None,
    pass_fds: Sequence[int] = (),
    new_session: bool = True,
    term_seconds: float = 5.0,
    capabilities: Collection[Capability] = (),
) -> AsyncIterator[asyncio.subprocess.Process]:
    """``start`` for asyncio: the same block, the same end. The kernel kills the child when we die.

    ``capabilities`` are those of ours that the child gets; without them it is not root and gets none.
    """
    import asyncio

    try:
        child = await asyncio.create_subprocess_exec(
            *argv,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=env,
            pass_fds=pass_fds,
            start_new_session=new_session,
            preexec_fn=_build_preparation(capabilities),
        )
    except FileNotFoundError as error:
        raise ProgramMissingError(f"{argv[0]}: program not found", argv=argv) from error
    except OSError as error:
        raise ProcessError(f"{argv[0]}: cannot be started: {error.strerror}", argv=argv) from error
    try:
        yield child
    finally:
        await stop_async(child, term_seconds=term_seconds)


def _build_preparation(capabilities: Collection[Capability]) -> Callable[[], None]:
    """What a child does before it becomes its program."""
    end_with_parent = _build_end_with_parent()
    if not capabilities:
        return end_with_parent
    grant = build_grant(*capabilities)

    def prepare() -> None:
        grant()
        end_with_parent()

    return prepare


def _build_end_with_parent() -> Callable[[], None]:
    """PR_SET_PDEATHSIG of prctl(2), for a child.

    It runs between fork and exec, where another thread's locks stay held for ever: so all it needs is
    looked up here.
    """
    import ctypes

    prctl, arguments = ctypes.CDLL(None).prctl, (_PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))
    getppid, leave, parent = os.getppid, os._exit, os.getpid()

    def end_with_parent() -> None:
        prctl(*arguments)
        if getppid() != parent:
            leave(1)  # it died before the kernel was told

    return end_with_parent


async def stop_async(child: asyncio.subprocess.Process, *, term_seconds: float) -> int:
    """``stop`` for asyncio."""
    import asyncio

    if child.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            child.terminate()
        try:
            async with asyncio.timeout(term_seconds):
                await child.wait()
        except TimeoutError:
            kill_group(child)
    return await child.wait()


def stop(child: subprocess.Popen[bytes], *, term_seconds: float) -> int:
    """Ask, wait, kill; returns the status. A signal whose handler raises while it waits kills at once."""
    if child.poll() is None:
        child.terminate()
        try:
            child.wait(term_seconds)
        except subprocess.TimeoutExpired:
            kill_group(child)
        except BaseException:
            kill_group(child)
            child.wait()
            raise
    return child.wait()


def kill_group(child: subprocess.Popen[bytes] | subprocess.Popen[str] | asyncio.subprocess.Process) -> None:
    """SIGKILL the child's process group where it leads one, so that nothing it started is left; else it."""
    with contextlib.suppress(ProcessLookupError):
        if os.getpgid(child.pid) == child.pid:
            os.killpg(child.pid, signal.SIGKILL)
        else:
            child.kill()
