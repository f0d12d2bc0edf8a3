"""How children are started: without the runner's capabilities, and not outliving it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ectools.processes import find_program
from ectools.vm.notify import SOCKET_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_CAP_DAC_OVERRIDE = 1 << 1
_CAP_SETPCAP = 1 << 8


def build_confined_argv(argv: Sequence[str], *, setpriv: str, capabilities: int) -> list[str]:
    """``argv`` behind setpriv(1). ``capabilities`` is the caller's effective set, as in capabilities(7).

    Nothing is inherited and nothing can be gained. Where the caller is root, execve(2) would give
    everything back, so the bounding set goes too, all but the right to read the files of the service's
    user. The kernel kills the child when the runner dies, so that a runner that was killed leaves no guest.
    """
    bounding = []
    if capabilities & _CAP_SETPCAP:
        kept = ",+dac_override" if capabilities & _CAP_DAC_OVERRIDE else ""
        bounding = [f"--bounding-set=-all{kept}"]
    return [
        setpriv,
        "--no-new-privs",
        "--ambient-caps=-all",
        "--inh-caps=-all",
        *bounding,
        "--pdeathsig=KILL",
        "--",
        *argv,
    ]


def confine(argv: Sequence[str]) -> list[str]:
    """``argv`` behind setpriv(1), for this process. Raises ProgramMissingError where it is not installed."""
    setpriv = find_program("setpriv", hint="install util-linux, which has it")
    return build_confined_argv(argv, setpriv=setpriv, capabilities=_effective_capabilities())


def _effective_capabilities() -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0


def child_environment() -> Mapping[str, str]:
    """This process's environment for a child: it cannot speak to the service manager, and finds this package.

    The interpreter's search path is handed on, because a wrapper may have set it inside this process only.
    """
    environment = {
        key: value
        for key, value in os.environ.items()
        if key not in {SOCKET_VARIABLE, "WATCHDOG_USEC", "WATCHDOG_PID", "CREDENTIALS_DIRECTORY"}
    }
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    return environment
