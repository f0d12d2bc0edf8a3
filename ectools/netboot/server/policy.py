"""What a boot server serves by: what its settings, its tokens and its fleet come to; a reload replaces it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ectools.netboot.boot_files.layout import build_filenames, list_boot_names
from ectools.netboot.boot_files.scripts.unbooted import build_question
from ectools.netboot.fleet.assignment import assign, assign_unknown
from ectools.netboot.fleet.machine import parse_machine
from ectools.netboot.fleet.model import Fleet
from ectools.netboot.fleet.roster import Roster
from ectools.netboot.server.access import Access
from ectools.netboot.server.machine_scripts import BootedScripts
from ectools.netboot.server.metrics_nodes import NodeFigures

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ectools.netboot.fleet.assignment import Assignment
    from ectools.netboot.fleet.live import LiveFleet
    from ectools.netboot.fleet.machine import Machine
    from ectools.netboot.fleet.roster import Found
    from ectools.netboot.protocols import Binary
    from ectools.netboot.settings.model import NetbootSettings


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A machine that asks what to boot; ``found`` says which node it is, if any."""

    machine: Machine
    found: Found
    assignment: Assignment


@dataclass(frozen=True, kw_only=True)
class ServingPolicy:
    """``token`` is what scripts send, ``boot_files`` are the names, by segments, that are served of the TFTP
    directory. ``found``: the boot binaries there that no setting has named. ``question`` is the script for a
    machine that has not said who it is.
    """

    settings: NetbootSettings
    access: Access
    token: str | None
    boot_files: frozenset[tuple[bytes, ...]]
    found: tuple[Binary, ...]
    question: bytes
    fleet: Fleet
    roster: Roster
    figures: NodeFigures
    scripts: BootedScripts = field(default_factory=BootedScripts, compare=False)

    @classmethod
    def build(
        cls, settings: NetbootSettings, tokens: tuple[str, ...], fleet: Fleet | None = None
    ) -> ServingPolicy:
        """It looks at files: off an event loop that serves. Raises ScriptError: no script names the host."""
        names = build_filenames(settings)
        token = tokens[0] if tokens else None
        fleet = fleet or Fleet()
        return cls(
            settings=settings,
            access=Access(settings, tokens),
            token=token,
            boot_files=frozenset(tuple(name.encode().split(b"/")) for name in list_boot_names(settings)),
            found=tuple(
                binary
                for binary in sorted(settings.ipxe.looked_for)
                # Unlike Path.is_file, False where this user may not look: the TFTP server says why.
                if os.path.isfile(settings.tftp_dir / names[binary])  # noqa: PTH113
            ),
            question=build_question(settings, token).encode("ascii"),
            fleet=fleet,
            roster=Roster(fleet),
            figures=NodeFigures(fleet),
        )

    def identify(self, query: Mapping[str, str], live: LiveFleet | None = None) -> Asked | None:
        """Who asks for the second stage, and what it boots; None where it has not said who it is.

        ``live``: the fleet as it has been changed since, and what is said of nodes for a while.
        """
        machine = parse_machine(query)
        if machine is None:
            return None
        fleet, roster = (self.fleet, self.roster) if live is None else (live.fleet, live.roster)
        found = roster.find(machine)
        if found.node is None:
            assignment = assign_unknown(fleet)
        else:
            assignment = assign(fleet, found.node) if live is None else live.assign(found.node)
        return Asked(machine=machine, found=found, assignment=assignment)
