"""Run a command of which nothing is left, however it ends: ``python reaper.py COMMAND…``.

Three processes. The first, which was started, hands signals on and ends with the command's status. Its
child, the reaper, has a session of its own, so that what is sent to the first one's process group does not
reach it. The command is the reaper's child. Whichever of them is killed, with SIGKILL too, all that the
command has started ends.

As root, the reaper is process 1 of a PID namespace: when it ends, the kernel kills all processes in there
(pid_namespaces(7)). With the last of them ends a mount namespace, and with that its mounts, the network
namespaces that ``ip netns`` has named in it, their links and their tables.

Other users can have none of these, nor can their tests. Their reaper is a subreaper (PR_SET_CHILD_SUBREAPER,
prctl(2)): a process whose parent has ended becomes its child. It kills its children until there are none.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

MARK = "EC_REAPED"
"""Set in the command's environment: below a reaper none other is needed."""

HANDED_ON = frozenset({signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM})
_PARENT_IS_GONE = signal.SIGUSR1
_AWAITED = HANDED_ON | {signal.SIGCHLD, _PARENT_IS_GONE}
_KILL_SECONDS = 10.0
# Where programs keep a file for each namespace or container; it would outlive what it stands for.
_OWN_DIRECTORIES = (Path("/run/netns"), Path("/run/systemd/nspawn"))

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # <linux/prctl.h>
_CLONE_NEWNS, _CLONE_NEWPID = 0x20000, 0x20000000  # <linux/sched.h>
# MS_NOSUID | MS_NODEV | MS_NOEXEC, and for all mounts below (<linux/mount.h>).
_MS_SAFE, _MS_REC, _MS_PRIVATE = 2 | 4 | 8, 0x4000, 0x40000


def replace_process(command: Sequence[str]) -> NoReturn:
    """Become the first process, with ``command`` below it."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, __file__, *command])


def kill_marked(marks: Mapping[str, str]) -> None:
    """Kill every process that has these variables in its environment, and those below it."""
    marked = find_marked(marks)
    for pid in {*marked, *(below for each in marked for below in find_descendants(each))}:
        with contextlib.suppress(OSError):
            os.kill(pid, signal.SIGKILL)


def find_marked(marks: Mapping[str, str]) -> list[int]:
    """The processes that were started with these variables in their environment."""
    wanted = {f"{name}={value}".encode() for name, value in marks.items()}
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended, or is another user's
            if wanted <= set((directory / "environ").read_bytes().split(b"\0")):
                found.append(int(directory.name))
    return found


def find_children(pid: int) -> list[int]:
    """The processes that a process has for children; none where it has ended."""
    with contextlib.suppress(OSError):
        listings = Path(f"/proc/{pid}/task").glob("*/children")
        return [int(word) for listing in listings for word in listing.read_text().split()]
    return []


def find_descendants(pid: int) -> list[int]:
    """The children of a process, and theirs."""
    children = find_children(pid)
    return [*children, *(below for child in children for below in find_descendants(child))]


def run(command: Sequence[str]) -> int:
    """The command's exit status, or 128 and the signal that ended it."""
    os.environ[MARK] = "1"
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _AWAITED)
    first = os.pidfd_open(os.getpid())
    isolated = _enter_namespaces()
    # Where there is no namespace to end with the reaper, its children become ours.
    _call("prctl", _PR_SET_CHILD_SUBREAPER, 1)
    reaper = os.fork()
    if reaper == 0:
        status = 1
        try:
            status = _reap(command, first, isolated=isolated, mask=before)
        finally:
            os._exit(status)
    while (status := _find_status(reaper)) is None:
        received = signal.sigwaitinfo(_AWAITED).si_signo
        if received in HANDED_ON:
            os.kill(reaper, received)
    _kill_children()
    return status


def _enter_namespaces() -> bool:
    """Whether children are in a PID namespace of their own, and this process in a mount namespace."""
    try:
        _call("unshare", _CLONE_NEWNS)
        _call("mount", b"none", b"/", None, _MS_REC | _MS_PRIVATE, None)
        for directory in _OWN_DIRECTORIES:
            directory.mkdir(parents=True, exist_ok=True)
            _call("mount", b"none", bytes(directory), b"tmpfs", _MS_SAFE, b"mode=755")
        _call("unshare", _CLONE_NEWPID)
    except OSError:
        return False
    return True


def _reap(command: Sequence[str], first: int, *, isolated: bool, mask: Iterable[int]) -> int:
    os.setsid()
    _call("prctl", _PR_SET_PDEATHSIG, _PARENT_IS_GONE)
    if select.select([first], [], [], 0)[0]:
        return 1  # it ended before it could have been told
    if isolated:
        _call("mount", b"proc", b"/proc", b"proc", _MS_SAFE, None)
    else:
        _call("prctl", _PR_SET_CHILD_SUBREAPER, 1)
    child = os.fork()
    if child == 0:
        try:
            os.setpgid(0, 0)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            os.execvp(command[0], command)
        except OSError as error:
            print(f"{command[0]}: {error.strerror}", file=sys.stderr)
        finally:
            os._exit(127)
    while (status := _find_status(child)) is None:
        received = signal.sigwaitinfo(_AWAITED).si_signo
        if received == _PARENT_IS_GONE:
            status = 128 + signal.SIGKILL
            break
        if received in HANDED_ON:
            # As a terminal does it: to all of the command that have not made groups of their own.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, received)
    if not isolated:
        _kill_children()
    return status


def _find_status(awaited: int) -> int | None:
    """The status of a child; None as long as it runs. Takes in all others that have ended."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return None
        if pid == 0:
            return None
        if pid == awaited:
            code = os.waitstatus_to_exitcode(status)
            return code if code >= 0 else 128 - code


def _kill_children() -> None:
    """Kill the children, and theirs, which become ours; what cannot be killed is waited for, a while."""
    end = time.monotonic() + _KILL_SECONDS
    while (left := find_descendants(os.getpid())) and time.monotonic() < end:
        for pid in left:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        _find_status(0)
        time.sleep(0.01)


def _call(name: str, *arguments: object) -> None:
    """A function of libc that returns 0. Raises OSError."""
    if getattr(_libc, name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
