"""The stages of a boot, recognised in the log of the runner (one JSON object a line)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


class DemoStage(StrEnum):
    """In the order in which they come; the value is what a person reads."""

    SERVER = "the boot HTTP server answers"
    QEMU = "QEMU runs"
    SCRIPT = "iPXE has the boot script"
    KERNEL = "iPXE has the kernel"
    INITRD = "iPXE has the initrd"
    LINUX = "Linux starts"
    UP = "the guest says that it is up"


_REQUESTS = {"/netboot.ipxe": DemoStage.SCRIPT, "/kernel": DemoStage.KERNEL, "/initrd": DemoStage.INITRD}


def recognise_stage(record: Mapping[str, Any], *, mark: str) -> DemoStage | None:
    """The stage that a log record tells of. ``mark`` is the line that only this run's guest can print."""
    match record:
        case {"event": "boot HTTP server is ready"}:
            return DemoStage.SERVER
        case {"event": "the guest runs"}:
            return DemoStage.QEMU
        case {"event": "request", "method": "GET", "status": 200, "path": str(path)}:
            return _REQUESTS.get(path)
        case {"event": "console", "line": str(line)} if "Linux version" in line:
            return DemoStage.LINUX
        case {"event": "console", "line": str(line)} if mark in line:
            return DemoStage.UP
    return None


def find_remark(record: Mapping[str, Any]) -> str | None:
    """What a person should know of a record that is no stage: a warning or an error of the runner's own."""
    match record:
        case {"event": "qemu"}:
            return None  # QEMU's words; the runner says what they mean
        case {"level": "warning" | "error", "event": str(event), "reason": str(reason)}:
            return f"{event}: {reason}"
        case {"level": "warning" | "error", "event": str(event)}:
            return event
    return None


def parse_record(line: bytes) -> dict[str, Any]:
    """A log line as an object; one that is not JSON (a traceback, QEMU's own words) as an event."""
    try:
        record = json.loads(line)
    except ValueError:
        record = None
    return record if isinstance(record, dict) else {"event": line.decode("utf-8", "replace").rstrip()}


@dataclass
class Timeline:
    """When each stage was reached, in seconds from the start; a stage counts once.

    ``stages`` are in the order in which they come.
    """

    stages: type[StrEnum] = DemoStage
    reached: dict[StrEnum, float] = field(default_factory=dict)

    def note(self, stage: StrEnum, seconds: float) -> bool:
        """Whether this is the first time."""
        if stage in self.reached:
            return False
        self.reached[stage] = seconds
        return True

    @property
    def next(self) -> StrEnum | None:
        """The first stage that has not been reached; None where the last one was."""
        return next((stage for stage in self.stages if stage not in self.reached), None)

    @property
    def width(self) -> int:
        """The columns of the longest title."""
        return max(map(len, self.stages))

    def duration(self, stage: StrEnum) -> float:
        """Seconds from the last stage reached before ``stage`` to it."""
        at = self.reached[stage]
        return at - max((other for other in self.reached.values() if other < at), default=0.0)

    def by_name(self) -> dict[str, float]:
        """Lower-case name of each stage → seconds, for programs."""
        return {stage.name.lower(): round(seconds, 3) for stage, seconds in self.reached.items()}
