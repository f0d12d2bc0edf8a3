"""What somebody has said of a node for a while, beside the fleet: that it is held, or boots something once.

Kept in the state store below ``overrides/``, as JSON::

    {"hold": {"at": 1.5, "by": "alice", "why": null},
     "once": {"boot": "network", "release": "boot-v1", "at": 2.5, "by": "alice",
              "given": null, "boot_id": null},
     "install": {"order": "first", "at": 3.5, "done": true, "leads": true, ...}}
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from ectools.errors import InputError
from ectools.netboot.fleet.install import FIRST_ORDER, NodeInstall, name_order, parse_install
from ectools.netboot.fleet.model import NodeTarget
from ectools.netboot.state.decode import (
    MAX_LONG_TEXT,
    need_mapping,
    read_text,
    read_text_if_any,
    read_time,
    read_time_if_any,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

ONCE_TARGETS = (NodeTarget.NETWORK, NodeTarget.DISK, NodeTarget.INSTALL)
"""What a node can boot once: to boot nothing once would be a hold that nobody ends."""


MAX_WHY = 200
"""Characters of a reason."""


def check_why(why: str) -> None:
    """Raises InputError for what is no reason that others can be shown."""
    if not (len(why) <= MAX_WHY and why.isprintable()):
        raise InputError(f"why: is not one line of at most {MAX_WHY} characters")


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeHold:
    """A node boots nothing until it is released. ``at``: Unix seconds; ``by`` None: nobody knows who."""

    at: float
    by: str | None = None
    why: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class BootOnce:
    """What a node boots at its next boot, and at that alone. ``release``: a tag or an id, None its own.

    ``given``: Unix seconds at which its script was given, None: it has not asked yet. ``boot_id``: the boot
    that this began, None where it boots no release.
    """

    boot: NodeTarget
    at: float
    release: str | None = None
    by: str | None = None
    given: float | None = None
    boot_id: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeOverride:
    """All that is said of one node for a while, and what was installed on it."""

    hold: NodeHold | None = None
    once: BootOnce | None = None
    install: NodeInstall | None = None

    @property
    def is_empty(self) -> bool:
        return self == NodeOverride()

    @property
    def leads(self) -> bool:
        """Whether the node boots something else for it than the fleet says."""
        is_led = self.install is not None and self.install.leads
        return is_led or self.hold is not None or self.once is not None

    def released(self) -> NodeOverride:
        """What is left of it where the node is to boot what the fleet says: that it was installed."""
        install = None if self.install is None else replace(self.install, leads=False)
        return NodeOverride(install=install)


def end_install(override: NodeOverride, install: NodeInstall) -> NodeOverride:
    """``install`` has ended well: the node boots from its disk, unless its order was taken back meanwhile."""
    once = override.once
    is_ordered = once is not None and name_order(once.at) == install.order
    leads = is_ordered or (once is None and install.order == FIRST_ORDER)
    done = replace(install, done=True, leads=leads)
    return replace(override, install=done, once=None if is_ordered else once)


def encode_override(override: NodeOverride) -> dict[str, Any]:
    """The override as the store keeps it."""
    return asdict(override)


def parse_override(value: Mapping[str, Any]) -> NodeOverride:
    """The override of an entry. Raises ValueError for what this program would not write."""
    hold, once, install = (value.get(name) for name in ("hold", "once", "install"))
    try:
        if not {"hold", "once"} <= value.keys():
            raise ValueError("hold and once are not there")
        return NodeOverride(
            hold=None if hold is None else _parse_hold(need_mapping(hold, "hold")),
            once=None if once is None else _parse_once(need_mapping(once, "once")),
            install=None if install is None else parse_install(need_mapping(install, "install")),
        )
    except ValueError as error:
        raise ValueError(f"no override: {error}") from error


def _parse_hold(raw: Mapping[str, Any]) -> NodeHold:
    return NodeHold(
        at=read_time(raw, "at"),
        by=read_text_if_any(raw, "by"),
        why=read_text_if_any(raw, "why", most=MAX_LONG_TEXT),
    )


def _parse_once(raw: Mapping[str, Any]) -> BootOnce:
    return BootOnce(
        boot=NodeTarget(read_text(raw, "boot")),
        at=read_time(raw, "at"),
        release=read_text_if_any(raw, "release"),
        by=read_text_if_any(raw, "by"),
        given=read_time_if_any(raw, "given"),
        boot_id=read_text_if_any(raw, "boot_id"),
    )
