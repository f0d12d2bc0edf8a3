"""What the runner's children may do and are told: none of its capabilities, none of its secrets."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ectools.errors import EcError
from ectools.notify import SOCKET_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Mapping

# <linux/prctl.h> and <linux/capability.h>
_PR_CAPBSET_DROP = 24
_PR_SET_NO_NEW_PRIVS = 38
_PR_CAP_AMBIENT = 47
_PR_CAP_AMBIENT_CLEAR_ALL = 4
_CAP_DAC_OVERRIDE = 1
_CAP_SETPCAP = 8
_CAPABILITIES = 64


def confine_children() -> None:
    """From now on no program that this process starts gets or gains a capability; the process keeps its own.

    It needs them for the macvtap link, at the start and at the end. Not by setpriv(1), which calls
    capset(2): the unit's system call filter denies that one. To root, execve(2) would give everything back:
    so its bounding set goes as well, all but the right to read and write the files of the service's user.
    """
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    if _effective_capabilities() & 1 << _CAP_SETPCAP:
        for capability in range(_CAPABILITIES):
            # What is past the kernel's last one is an error, and nothing to drop.
            if capability != _CAP_DAC_OVERRIDE and not _call_prctl(_PR_CAPBSET_DROP, capability):
                break


def _prctl(option: int, argument: int) -> None:
    if not _call_prctl(option, argument):
        reason = os.strerror(ctypes.get_errno())
        raise EcError(f"the children's capabilities cannot be given up: prctl({option}): {reason}")


def _call_prctl(option: int, argument: int) -> bool:
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    return bool(prctl(option, *(ctypes.c_ulong(value) for value in (argument, 0, 0, 0))) == 0)


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
