"""The way of one architecture: its stages, how it ends, and what is wrong with it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from ectools.netboot.probe.faults import Code, Fault, Severity
from ectools.netboot.probe.simulate.fetcher import State
from ectools.netboot.probe.simulate.requested_file import Load, Role

if TYPE_CHECKING:
    from ectools.netboot.probe.clients.client import Client
    from ectools.netboot.probe.simulate.choose import Choice
    from ectools.netboot.probe.simulate.ipxe_trace import Boot, End
    from ectools.netboot.protocols import Architecture

_REFUSED = (
    "give the client's network access (httpAllowedCIDRs), and see that autoexec.ipxe sends the token that is"
    " in chainTokenFile: ectools netboot ipxe writes it anew"
)


class Outcome(StrEnum):
    """``NOT_OFFERED``: nobody offers this client anything. ``UNKNOWN``: it cannot be told from here."""

    BOOTS = "boots"
    NOT_OFFERED = "not offered"
    STOPS = "stops"
    UNKNOWN = "unknown"


@dataclass(kw_only=True)
class Step:
    """One stage: what it heard, what it chose, what it loads, and how its script ends where it has one."""

    client: Client
    choice: Choice
    loads: list[Load] = field(default_factory=list)
    end: End | None = None


@dataclass(kw_only=True)
class Walk:
    """The way of one architecture."""

    architecture: Architecture
    steps: list[Step] = field(default_factory=list)
    outcome: Outcome = Outcome.STOPS
    boot: Boot | None = None
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add_fault(
        self,
        code: Code,
        message: str,
        *,
        severity: Severity = Severity.ERROR,
        remedy: str | None = None,
    ) -> None:
        """Tell it of the present stage, once."""
        client = self.steps[-1].client
        fault = Fault(code=code, message=message, client=client, severity=severity, remedy=remedy)
        if fault not in self.faults:
            self.faults.append(fault)

    def tell_missing(self, load: Load, *, severity: Severity = Severity.ERROR) -> None:
        """A file that was not got."""
        fetched = load.fetched
        if fetched.state is State.UNKNOWN:
            self.notes.append(f"{fetched.shown}: {fetched.detail}")
            self.outcome = Outcome.UNKNOWN
            return
        over_tftp = fetched.protocol == "tftp"
        if fetched.state is State.SILENT:
            code = Code.TFTP_SILENT if over_tftp else Code.HTTP_SILENT
        elif load.role is Role.KERNEL:
            code = Code.KERNEL_MISSING
        elif load.role is Role.INITRD:
            code = Code.INITRD_MISSING
        else:
            code = Code.FILE_MISSING_TFTP if over_tftp else Code.FILE_MISSING_HTTP
        message = f"{fetched.shown}: {fetched.detail}"
        self.add_fault(
            code, message, severity=severity, remedy=_REFUSED if fetched.state is State.REFUSED else None
        )

    def tell_unreadable(self, load: Load) -> None:
        """A file that is there, and no script."""
        what = load.contents.text if load.contents is not None else "nothing"
        self.add_fault(Code.SCRIPT_UNREADABLE, f"{load.fetched.shown} is {what}, where iPXE expects a script")

    def tell_wrong_architecture(self, load: Load) -> None:
        """A file that is there, and does not run on this machine."""
        what = load.contents.text if load.contents is not None else "nothing"
        self.add_fault(
            Code.WRONG_ARCHITECTURE,
            f"{load.fetched.shown} is {what}: a client of architecture {self.architecture.number}"
            f" ({self.architecture.name}) cannot start it",
        )
