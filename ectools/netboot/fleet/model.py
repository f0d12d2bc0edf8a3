"""What a fleet is: the frozen form of ``services.every-channel.netboot.fleet``, and of the fleet file."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from ectools.netboot.fleet.install import NOTHING_SAID, InstallSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ectools.netboot.protocols import StockBinary


CHANNEL_PREFIX = "channel:"
"""What a release's name begins with that a channel leads to: no tag has a colon (git-check-ref-format(1))."""
HEALTHY_WITHIN = 600
"""Seconds that a boot has for its report where no group says otherwise."""


class UnknownPolicy(StrEnum):
    """What a machine gets that no node is."""

    DEFAULT = "default"
    HOLD = "hold"
    REFUSE = "refuse"


class NodeTarget(StrEnum):
    """What a machine boots: a release, what its firmware finds next, nothing as yet, or a release that
    installs it.
    """

    NETWORK = "network"
    DISK = "disk"
    HOLD = "hold"
    INSTALL = "install"

    @property
    def is_over_network(self) -> bool:
        """Whether a release is booted."""
        return self in (NodeTarget.NETWORK, NodeTarget.INSTALL)


@dataclass(frozen=True, kw_only=True, slots=True)
class Match:
    """What a machine is known by, normalized (``ectools.netboot.fleet.machine``); any of it is enough."""

    macs: tuple[str, ...] = ()
    uuid: str | None = None
    serial: str | None = None
    asset: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeGroup:
    """What nodes have in common. ``release`` is a tag or an id, None what ``channel`` leads to; where that is
    None too, the current one.

    ``system`` None: the one for a machine's architecture; ``boot_binary`` None: the one that all machines
    get. ``healthy_within``: seconds from a boot's script to
    its healthy report; ``health_units``: units that are active then. ``slots``: how many may be away at a
    time to boot again, None: nobody asks here.
    """

    name: str
    system: str | None = None
    release: str | None = None
    channel: str | None = None
    boot: NodeTarget = NodeTarget.NETWORK
    boot_binary: StockBinary | None = None
    kernel_arguments: tuple[str, ...] = ()
    healthy_within: int = HEALTHY_WITHIN
    health_units: tuple[str, ...] = ()
    slots: int | None = None
    install: InstallSettings = NOTHING_SAID

    @property
    def wanted(self) -> str | None:
        """The name of its release: a tag, an id, or ``channel:NAME``; None for the current one."""
        return self.release if self.channel is None else f"{CHANNEL_PREFIX}{self.channel}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Node:
    """A machine with a name. ``group`` None: of no group; ``boot`` None: its group's.

    ``kernel_arguments`` come after the group's, ``install`` goes before it.
    """

    name: str
    match: Match
    group: str | None = None
    boot: NodeTarget | None = None
    kernel_arguments: tuple[str, ...] = ()
    hold: bool = False
    install: InstallSettings = NOTHING_SAID


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """Groups and nodes by their names. Nothing of it contradicts itself; see ``build``."""

    unknown: UnknownPolicy = UnknownPolicy.DEFAULT
    groups: Mapping[str, NodeGroup] = field(default_factory=dict)
    nodes: Mapping[str, Node] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """Whether every machine is treated alike."""
        return not self.nodes and self.unknown is UnknownPolicy.DEFAULT
