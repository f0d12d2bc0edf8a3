"""The NixOS test driver's machines, as far as the scripts in nix/tests use them, over machines that are here.

See nixos/lib/test-driver in nixpkgs for what each method promises.
"""

from __future__ import annotations

import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable

# A specialisation's, or the one that the machine was booted with.
_SWITCH = re.compile(r"/run/booted-system/(?:specialisation/([\w-]+)/)?bin/switch-to-configuration test")


class DriverMachine(ABC):
    """A machine with a shell. ``switch`` goes over to a specialisation; "" is the system without one."""

    def __init__(self, switch: Callable[[str], None]) -> None:
        self._switch = switch

    @abstractmethod
    def call(self, script: str) -> tuple[int, str]:
        """Exit status of a script of bash, and what it printed."""

    @abstractmethod
    def report(self) -> str:
        """What helps to understand a failure."""

    def start(self) -> None:  # noqa: B027 - not abstract: it runs already
        """It runs already."""

    def execute(self, command: str) -> tuple[int, str]:
        if (wanted := _SWITCH.fullmatch(command)) is not None:
            self._switch(wanted[1] or "")
            return 0, ""
        return self.call(f"set -euo pipefail; {command}")

    def succeed(self, command: str) -> str:
        status, output = self.execute(command)
        assert status == 0, f"{command}: {status}\n{output}\n{self.report()}"
        return output

    def fail(self, command: str) -> str:
        status, output = self.execute(command)
        assert status != 0, f"{command}: unexpectedly succeeded\n{output}\n{self.report()}"
        return output

    def wait_until_succeeds(self, command: str, timeout: int = 900) -> str:
        deadline = time.monotonic() + timeout
        while True:
            status, output = self.execute(command)
            if status == 0:
                return output
            assert time.monotonic() < deadline, f"{command}: not within {timeout} s\n{self.report()}"
            time.sleep(0.5)

    def wait_for_unit(self, unit: str) -> None:
        self.wait_until_succeeds(f"systemctl is-active {unit}")
