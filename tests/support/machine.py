"""A Debian system that its own systemd has booted, behind one way to run a command in it.

Two kinds: in QEMU (support/machine_qemu.py), with a kernel of its own; and in a container
(support/machine_nspawn.py), which is up in a second and shares this machine's kernel. Both throw away at the
end what was written.
"""

from __future__ import annotations

import json
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

COMMAND_SECONDS = 300
WAIT_SECONDS = 240
"""For what takes seconds on a quiet machine; this one emulates, and may be loaded."""

DIES_WITH_TESTS = ["setpriv", "--pdeathsig", "TERM", "--"]
"""Before a machine's argv: it ends with the process that started it, however that ends."""

T = TypeVar("T")


class MachineError(AssertionError):
    """The machine did not come up, or died; the message ends with its console."""


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    status: int
    stdout: str
    stderr: str


class Machine(ABC):
    """A booted machine; the kinds differ in how a command gets there."""

    @abstractmethod
    def execute(self, argv: Sequence[str], stdin: str = "") -> Done:
        """Run a command as root to its end, at most COMMAND_SECONDS (status 124)."""

    @abstractmethod
    def read_console(self) -> str:
        """What the machine's console has shown."""

    @property
    @abstractmethod
    def has_kernel(self) -> bool:
        """Whether the kernel is the machine's own: its modules, its control groups, a reboot."""

    def run(self, *argv: str, stdin: str = "", check: bool = True) -> str:
        """Standard output of a command; its failure is the test's where ``check`` is set."""
        done = self.execute(argv, stdin)
        assert not check or done.status == 0, f"{argv}: {done.status}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def shell(self, script: str, *words: str, stdin: str = "", check: bool = True) -> str:
        """Standard output of a script of sh, with ``words`` as ``$1`` and so on."""
        return self.run("sh", "-c", script, "sh", *words, stdin=stdin, check=check)

    def write(self, path: str, text: str, *, mode: str = "0644") -> None:
        """Write a file, and make its directory where it is missing."""
        self.run("install", "-D", f"--mode={mode}", "/dev/stdin", path, stdin=text)

    def show(self, unit: str, *properties: str) -> dict[str, str]:
        """Properties of a unit by name."""
        lines = self.run("systemctl", "show", "-p", ",".join(properties), unit).splitlines()
        return dict(line.split("=", 1) for line in lines)

    def journal(self, unit: str, *, this_run: bool = False) -> str:
        """What a unit, or only its present run, has said, and systemd about it, without their prefixes."""
        which = ["--unit", unit]
        if this_run:
            run = self.show(unit, "InvocationID")["InvocationID"]
            which = [f"_SYSTEMD_INVOCATION_ID={run}"]
        self.run("journalctl", "--sync")  # what was said before now is in it, whatever journald is behind
        return self.run("journalctl", *which, "--output=cat", "--no-pager")

    def entries(self, unit: str, *, this_run: bool = False) -> list[dict[str, Any]]:
        """The lines of a unit's log that are JSON."""
        lines = self.journal(unit, this_run=this_run).splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def wait(
        self, holds: Callable[[], T], what: str, *, unit: str | None = None, seconds: float = WAIT_SECONDS
    ) -> T:
        """The first true value of ``holds``; the failure shows ``unit``'s journal."""
        deadline = time.monotonic() + seconds
        while not (found := holds()):
            assert time.monotonic() < deadline, f"not within {seconds} s: {what}\n{self.report(unit)}"
            time.sleep(0.2)
        return found

    def wait_active(self, unit: str, *, seconds: float = WAIT_SECONDS) -> None:
        """Until a unit is active; a failed one will not be."""

        def is_active() -> bool:
            state = self.show(unit, "ActiveState")["ActiveState"]
            assert state != "failed", f"{unit} failed\n{self.report(unit)}"
            return state == "active"

        self.wait(is_active, f"{unit} is active", unit=unit, seconds=seconds)

    def wait_ended(self, unit: str) -> None:
        """Until a unit that runs to its end has done so, well."""
        self.wait(
            lambda: self.show(unit, "ActiveState")["ActiveState"] in ("inactive", "failed"), f"{unit} ended"
        )
        assert self.show(unit, "Result")["Result"] == "success", self.report(unit)

    def report(self, unit: str | None) -> str:
        """The last lines of a unit's journal, or of all of it, and of the console: for a failure."""
        which = ["--unit", unit] if unit else []
        journal = self.execute(["journalctl", *which, "--no-pager", "--lines=60"]).stdout
        return f"--- journal\n{journal[-6000:]}\n--- console\n{self.read_console()[-2000:]}"
