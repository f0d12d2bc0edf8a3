"""The NixOS test driver's machines, as far as the scripts in nix/tests use them, over machines that are here.

See nixos/lib/test-driver in nixpkgs for what each method promises. The switch to a specialisation stands in,
because another distribution has none (support/switch.py).
"""

from __future__ import annotations

import contextlib
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from support.activation import Hosts
from support.machine import Machine

# A specialisation's, or the one of the system without any.
_SWITCH = re.compile(
    r"/run/(?:booted|current)-system/(?:specialisation/([\w-]+)/)?bin/switch-to-configuration test"
)


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


class SystemdMachine(DriverMachine):
    """A machine with a systemd of its own; ``hosts`` are its systems by specialisation."""

    def __init__(self, machine: Machine, hosts: Hosts) -> None:
        super().__init__(self.activate)
        self._machine, self._hosts = machine, hosts

    def call(self, script: str) -> tuple[int, str]:
        done = self._machine.execute(["bash", "-c", script])
        return done.status, done.stdout + done.stderr

    def report(self) -> str:
        return self._machine.report(None)

    def activate(self, specialisation: str) -> None:
        """Go over to one of its systems, to the end of all that this starts."""
        self._hosts.activate(self._machine, specialisation)
        self._machine.wait(
            lambda: "No jobs" in self._machine.run("systemctl", "list-jobs"), "everything is started"
        )


def run_test_script(script: str, machines: Mapping[str, Any], report: Callable[[], str]) -> None:
    """Run a test's script to its end; ``report`` explains a step that fails."""
    passed: list[str] = []

    @contextlib.contextmanager
    def subtest(name: str) -> Iterator[None]:
        try:
            yield
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}\n{report()}") from error
        passed.append(name)

    exec(compile(script, "testScript", "exec"), {**machines, "subtest": subtest})
    assert len(passed) == script.count("with subtest(") > 0
