"""The trace of one architecture: its stages, its outcome, its faults."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from ectools.netboot.kernel import KERNELS_BY_BUILD
from ectools.netboot.probe.faults import BootFault, FaultCode, Severity
from ectools.netboot.probe.simulate.fetcher import FetchState
from ectools.netboot.probe.simulate.requested_file import RequestedFile, Role
from ectools.netboot.protocols import find_build

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ectools.netboot.probe.clients.client import Client
    from ectools.netboot.probe.simulate.choose import Choice
    from ectools.netboot.probe.simulate.ipxe_trace import KernelBoot, ScriptEnd
    from ectools.netboot.protocols import Architecture

_REFUSED = (
    "give the client's network access (httpAllowedCIDRs), and see that autoexec.ipxe sends the token that is"
    " in chainTokenFile: ectools netboot ipxe writes it anew"
)


class BootOutcome(StrEnum):
    """``NOT_OFFERED``: nobody offers this client anything. ``UNKNOWN``: it cannot be told from here."""

    BOOTS = "boots"
    NOT_OFFERED = "not offered"
    STOPS = "stops"
    UNKNOWN = "unknown"


@dataclass(kw_only=True)
class BootStage:
    """One stage: what it heard, what it chose, what it loads, and how its script ends where it has one."""

    client: Client
    choice: Choice
    files: list[RequestedFile] = field(default_factory=list)
    end: ScriptEnd | None = None


@dataclass(kw_only=True)
class BootTrace:
    """The stages of one architecture's boot, and what came of them."""

    architecture: Architecture
    stages: list[BootStage] = field(default_factory=list)
    outcome: BootOutcome = BootOutcome.STOPS
    boot: KernelBoot | None = None
    faults: list[BootFault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add_fault(
        self,
        code: FaultCode,
        message: str,
        *,
        severity: Severity = Severity.ERROR,
        remedy: str | None = None,
    ) -> None:
        """Add a fault of the present stage, unless it is there already."""
        client = self.stages[-1].client
        fault = BootFault(code=code, message=message, client=client, severity=severity, remedy=remedy)
        if fault not in self.faults:
            self.faults.append(fault)

    def add_missing(self, file: RequestedFile, *, severity: Severity = Severity.ERROR) -> None:
        """Add the fault of a file that was not got."""
        fetched = file.fetched
        if fetched.state is FetchState.UNKNOWN:
            self.notes.append(f"{fetched.shown}: {fetched.detail}")
            self.outcome = BootOutcome.UNKNOWN
            return
        over_tftp = fetched.protocol == "tftp"
        if fetched.fault is not None:
            code = fetched.fault
        elif fetched.state is FetchState.SILENT:
            code = FaultCode.TFTP_SILENT if over_tftp else FaultCode.HTTP_SILENT
        elif file.role is Role.KERNEL:
            code = FaultCode.KERNEL_MISSING
        elif file.role is Role.INITRD:
            code = FaultCode.INITRD_MISSING
        else:
            code = FaultCode.FILE_MISSING_TFTP if over_tftp else FaultCode.FILE_MISSING_HTTP
        message = f"{fetched.shown}: {fetched.detail}"
        remedy = _REFUSED if fetched.state is FetchState.REFUSED else fetched.remedy
        self.add_fault(code, message, severity=severity, remedy=remedy)

    def runs_kernel(self, files: Iterable[RequestedFile]) -> bool:
        """Whether the kernel that is booted, one of ``files``, is for this machine, as far as can be told.

        Else that is a fault.
        """
        booted = None if self.boot is None else self.boot.kernel
        runs = KERNELS_BY_BUILD[find_build(self.architecture.binary)]
        for file in files:
            kernel = None if file.contents is None else file.contents.kernel
            if file.fetched.uri == booted and kernel is not None and kernel not in runs:
                self.add_fault(
                    FaultCode.FOREIGN_KERNEL,
                    f"{file.fetched.shown} is a kernel for {kernel}: a client of architecture"
                    f" {self.architecture.number} ({self.architecture.name}) cannot run it",
                )
                return False
        return True

    def add_unreadable(self, file: RequestedFile) -> None:
        """Add the fault of a file that is there, and no script."""
        what = file.contents.text if file.contents is not None else "nothing"
        self.add_fault(
            FaultCode.SCRIPT_UNREADABLE, f"{file.fetched.shown} is {what}, where iPXE expects a script"
        )

    def add_wrong_architecture(self, file: RequestedFile) -> None:
        """Add the fault of a file that is there, and does not run on this machine."""
        what = file.contents.text if file.contents is not None else "nothing"
        self.add_fault(
            FaultCode.WRONG_ARCHITECTURE,
            f"{file.fetched.shown} is {what}: a client of architecture {self.architecture.number}"
            f" ({self.architecture.name}) cannot start it",
        )
