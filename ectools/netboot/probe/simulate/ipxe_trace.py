"""The trace of a script: files, notes, what it boots, and its end."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ectools.netboot.probe.simulate.requested_file import RequestedFile


class ScriptEnd(StrEnum):
    """How a script ends, as ``report`` tells it."""

    BOOT = "boots a kernel"
    PROGRAM = "starts another program"
    MENU = "waits for a person"
    SHELL = "ends in a shell"
    REBOOT = "restarts the machine"
    LOCAL = "boots from another device"
    HELD = "boots nothing: the fleet says so"
    DONE = "ends without booting"
    FAILED = "fails"
    ENDLESS = "tries for ever"


@dataclass(frozen=True, kw_only=True)
class KernelBoot:
    """A kernel as a script boots it; the files are URIs."""

    kernel: str
    arguments: str
    initrds: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Mismatch:
    """A file that is not what the script expects, by its SHA-256."""

    uri: str
    digest: str
    expected: str


@dataclass(kw_only=True)
class ScriptTrace:
    """The trace of a script and of those that it chained; ``used`` are the variables that it read.

    ``lacks``: the ``${buildarch}`` (or i386-efi) that the second stage has no system for, where it says so.
    """

    files: list[RequestedFile] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)
    boot: KernelBoot | None = None
    mismatches: list[Mismatch] = field(default_factory=list)
    lacks: str | None = None

    def add_file(self, file: RequestedFile) -> None:
        if file not in self.files:
            self.files.append(file)

    def add_note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)
