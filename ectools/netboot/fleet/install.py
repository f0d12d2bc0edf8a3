"""What a node installs, and onto which of its disks: ``install`` of a group and of a node; what came of it.

An installation has a name, its order, which stays the same over all the boots that it takes.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from ectools.netboot.state.decode import read_flag, read_text, read_text_if_any, read_time

if TYPE_CHECKING:
    from collections.abc import Mapping

INSTALL_WITHIN = 3600
"""Seconds from the script to the report of the installed system, where nothing else is said."""
FIRST_ORDER = "first"
"""The order of a node that the fleet itself says is to be installed, and which was not yet."""


class HostKeys(StrEnum):
    """What becomes of the SSH host keys that are on the disk."""

    KEEP = "keep"
    MAKE = "make"


@dataclass(frozen=True, kw_only=True, slots=True)
class DiskChoice:
    """Which disk: by its name below ``/dev/disk/by-id``, by its serial number, or the only one of at least
    ``min_gib``. None of them: the only disk.
    """

    id: str | None = None
    serial: str | None = None
    min_gib: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class InstallSettings:
    """What one option ``install`` says; None: nothing."""

    system: str | None = None
    disk: DiskChoice | None = None
    erase: bool | None = None
    host_keys: HostKeys | None = None
    within: int | None = None

    def over(self, other: InstallSettings) -> InstallSettings:
        """What both say, this one going first. A disk is chosen by one of them, as a whole."""
        said = {each.name: getattr(self, each.name) for each in fields(self)}
        return replace(other, **{name: value for name, value in said.items() if value is not None})


NOTHING_SAID = InstallSettings()


@dataclass(frozen=True, kw_only=True, slots=True)
class InstallPlan:
    """What a node installs at its next boot. ``system`` None: the only one that its release has."""

    order: str
    system: str | None = None
    disk: DiskChoice = field(default_factory=DiskChoice)
    erase: bool = False
    host_keys: HostKeys = HostKeys.KEEP
    within: int = INSTALL_WITHIN


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeInstall:
    """An installation that has begun to write, or has ended. ``at``: Unix seconds of its last step.

    ``disk`` is the node's own name of what it writes to; ``system`` a store path. ``done``: the disk boots.
    ``leads``: the node boots from its disk for that, whatever release it would get over the network.
    ``credential``: the SHA-256 of what the system on the disk shows, None: it has nothing to show.
    ``next_credential``: of the one that it was given last, and has not shown yet.
    """

    order: str
    at: float
    boot_id: str
    disk: str
    system: str
    release: str
    done: bool = False
    leads: bool = False
    credential: str | None = None
    next_credential: str | None = None

    def accepts(self, shown: str) -> bool:
        """Whether a credential of that SHA-256 is the node's."""
        return self.done and shown in (self.credential, self.next_credential)

    def renew(self, shown: str, given: str) -> NodeInstall:
        """The same once ``shown`` was shown and ``given`` is given for it, both SHA-256.

        Until that one is shown, its answer may have been lost: what was shown stays good.
        """
        return replace(self, credential=shown, next_credential=given)


def build_install_plan(settings: InstallSettings, order: str) -> InstallPlan:
    """What is installed, defaults filled in."""
    said = {each.name: getattr(settings, each.name) for each in fields(settings)}
    return InstallPlan(order=order, **{name: value for name, value in said.items() if value is not None})


def name_order(at: float) -> str:
    """The order of a node that somebody has told to install once, at that time (Unix seconds)."""
    return f"once-{round(at * 1000)}"


def describe_plan(plan: InstallPlan) -> dict[str, Any]:
    """A plan as JSON, by the names of the options."""
    disk = plan.disk
    return {
        "system": plan.system,
        "disk": {"id": disk.id, "serial": disk.serial, "minGiB": disk.min_gib},
        "erase": plan.erase,
        "hostKeys": plan.host_keys.value,
        "within": plan.within,
    }


def parse_install(value: Mapping[str, Any]) -> NodeInstall:
    """What the store has of an installation. Raises ValueError."""
    return NodeInstall(
        order=read_text(value, "order"),
        at=read_time(value, "at"),
        boot_id=read_text(value, "boot_id"),
        disk=read_text(value, "disk"),
        system=read_text(value, "system"),
        release=read_text(value, "release"),
        done=read_flag(value, "done"),
        leads=read_flag(value, "leads"),
        credential=read_text_if_any(value, "credential"),
        next_credential=read_text_if_any(value, "next_credential"),
    )
