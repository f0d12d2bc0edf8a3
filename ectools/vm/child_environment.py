"""The environment of the runner's children: without what is the runner's alone."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from ectools.notify import SOCKET_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Mapping


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
