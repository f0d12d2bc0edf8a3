"""Kinds of files, by their first bytes."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from ectools.ipxe.language import is_script
from ectools.netboot.kernel import find_kernel_architecture, find_machine
from ectools.netboot.protocols import Binary, load_protocols

if TYPE_CHECKING:
    from ectools.netboot.kernel import KernelArchitecture
    from ectools.netboot.protocols import Architecture

_EBC = 0x0EBC
_MACHINES = {
    0x014C: "x86 UEFI",
    0x8664: "x64 UEFI",
    0xAA64: "ARM 64-bit UEFI",
    0x01C0: "ARM 32-bit UEFI",
    0x01C2: "ARM 32-bit UEFI",
    0x01C4: "ARM 32-bit UEFI",
    _EBC: "EFI byte code",
}


class ContentKind(StrEnum):
    """The kinds that are told apart; the value is what people read."""

    EMPTY = "an empty file"
    UEFI = "a UEFI program"
    LINUX = "a Linux kernel"
    SCRIPT = "an iPXE script"
    PAGE = "a web page"
    OTHER = "a program or data"


@dataclass(frozen=True, kw_only=True)
class Contents:
    """A file's kind. ``machine`` is a UEFI program's, as PE numbers it; ``kernel`` what a kernel is for."""

    kind: ContentKind
    machine: int | None = None
    kernel: KernelArchitecture | None = None

    @property
    def text(self) -> str:
        """``a UEFI program for x64 UEFI``."""
        if self.machine is None:
            return self.kind.value
        name = _MACHINES.get(self.machine, f"machine {self.machine:#06x}")
        return f"{self.kind} for {name}"

    @property
    def is_ipxe_script(self) -> bool:
        return self.kind is ContentKind.SCRIPT

    def runs_on(self, architecture: Architecture) -> bool:
        """Whether a client of the architecture can start it."""
        expected = load_protocols().binaries[architecture.binary].pe_machine
        if architecture.binary is Binary.BIOS:
            return self.kind is ContentKind.OTHER
        return self.machine is not None and self.machine in (expected, _EBC)


def identify_contents(head: bytes) -> Contents:
    """The kind of a file that begins with ``head``."""
    if not head:
        return Contents(kind=ContentKind.EMPTY)
    if is_script(head):
        return Contents(kind=ContentKind.SCRIPT)
    machine = find_machine(head)
    # A kernel's setup header, https://docs.kernel.org/arch/x86/boot.html; it may be a UEFI program as well.
    if head[0x202:0x206] == b"HdrS" or head[0x38:0x3C] == b"ARM\x64":
        return Contents(kind=ContentKind.LINUX, machine=machine, kernel=find_kernel_architecture(head))
    if machine is not None:
        return Contents(kind=ContentKind.UEFI, machine=machine, kernel=find_kernel_architecture(head))
    if head[:512].lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return Contents(kind=ContentKind.PAGE)
    return Contents(kind=ContentKind.OTHER)
