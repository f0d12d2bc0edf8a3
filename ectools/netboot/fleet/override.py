"""What somebody has said of a node for a while, beside the fleet: that it is held, or boots something once.

Kept in the state store below ``overrides/``, as JSON::

    {"hold": {"at": 1.5, "by": "alice", "why": null},
     "once": {"boot": "network", "release": "boot-v1", "at": 2.5, "by": "alice",
              "given": null, "boot_id": null},
     "install": {"order": "first", "at": 3.5, "done": true, "leads": true, ...}}

Each of the three is read for itself. What cannot be read, as a later version may have put it, takes nothing
else away, stays as it stands, and lets no node boot that is held, or erase what is installed on it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeGuard

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
    from collections.abc import Callable, Mapping

ONCE_TARGETS = (NodeTarget.NETWORK, NodeTarget.DISK, NodeTarget.INSTALL)
"""What a node can boot once: to boot nothing once would be a hold that nobody ends."""
MAX_WHY = 200
"""Characters of a reason."""
_UNREADABLE = "cannot be read by this version"


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
    """All that is said of one node for a while, and what was installed on it.

    ``unread``: what stands in the entry and cannot be read, by its name, which is written back as it is;
    ``since``: when it was put there, Unix seconds.
    """

    hold: NodeHold | None = None
    once: BootOnce | None = None
    install: NodeInstall | None = None
    unread: Mapping[str, Any] = field(default_factory=dict, hash=False)
    since: float = field(default=0.0, compare=False)

    @property
    def is_empty(self) -> bool:
        return self == NodeOverride()

    @property
    def leads(self) -> bool:
        """Whether the node boots something else for it than the fleet says, here or at a later version's."""
        is_led = self.install is not None and self.install.leads
        return is_led or self.hold is not None or self.once is not None or "once" in self.unread

    @property
    def is_unclear(self) -> bool:
        """Whether it is not known what was installed on the node, which may not be installed anew, then."""
        return self.install is None and "install" in self.unread

    @property
    def standing_hold(self) -> NodeHold | None:
        """Why the node boots nothing, unless it boots something once; None: it is not held."""
        if self.hold is None and self.is_unclear:
            return NodeHold(at=self.since, why=f"what was installed on it {_UNREADABLE}")
        return self.hold

    def say(self, **parts: Any) -> NodeOverride:
        """The same with ``hold``, ``once`` or ``install`` in place of what stood there, read or not."""
        unread = {name: raw for name, raw in self.unread.items() if name not in parts}
        return replace(self, **parts, unread=unread)

    def released(self) -> NodeOverride:
        """What is left of it where the node is to boot what the fleet says: that it was installed."""
        left = self.say(hold=None, once=None)
        if left.install is None or "install" in left.unread:
            return left
        return left.say(install=replace(left.install, leads=False))


def begin_install(override: NodeOverride, install: NodeInstall) -> NodeOverride:
    """``install`` is about to write to its disk; the same where that, or its end, was said before."""
    before = override.install
    if _is_of_one_boot(before, install) and (before.done or before.disk == install.disk):
        return override
    return override.say(install=install)


def end_install(override: NodeOverride, install: NodeInstall) -> NodeOverride:
    """``install`` has ended well: the node boots from its disk, unless its order was taken back meanwhile.

    The same where that was said before: its answer was lost, and whatever was said since counts.
    """
    before, once = override.install, override.once
    if _is_of_one_boot(before, install) and before.done:
        return override
    is_ordered = once is not None and name_order(once.at) == install.order
    leads = is_ordered or (once is None and install.order == FIRST_ORDER)
    ended = override.say(install=replace(install, done=True, leads=leads))
    return ended.say(once=None) if is_ordered else ended


def encode_override(override: NodeOverride) -> dict[str, Any]:
    """The override as the store keeps it."""
    parts = {name: getattr(override, name) for name in _PARSERS}
    return {
        **{name: None if part is None else asdict(part) for name, part in parts.items()},
        **override.unread,
    }


def parse_override(
    value: Mapping[str, Any],
    problems: list[str],
    *,
    changed: float = 0.0,
    known: NodeOverride | None = None,
) -> NodeOverride:
    """The override of an entry, last ``changed`` at that time (Unix seconds).

    For a hold and an installation that cannot be read there is what was ``known`` before. Where nothing was,
    the node is held: it could be one that is held, or one whose disk would be erased.
    """
    if not value.keys() & _PARSERS.keys():
        problems.append(f"none of {', '.join(_PARSERS)} is there")
        before = known or _hold_unread(changed)
        return replace(before, hold=before.standing_hold, unread=dict(value))
    parts: dict[str, Any] = {}
    unread = {name: raw for name, raw in value.items() if name not in _PARSERS and raw is not None}
    for name, parse in _PARSERS.items():
        if (raw := value.get(name)) is not None:
            try:
                parts[name] = parse(need_mapping(raw, name))
            except ValueError as error:
                problems.append(f"{name}: {error}")
                unread[name] = raw
    if "hold" in unread:
        parts["hold"] = (known and known.hold) or _hold_unread(changed).hold
    if "install" in unread and known is not None:
        parts["install"] = known.install
    return NodeOverride(**parts, unread=unread, since=changed)


def _hold_unread(at: float) -> NodeOverride:
    return NodeOverride(hold=NodeHold(at=at, why=f"what is said of it {_UNREADABLE}"))


def _is_of_one_boot(before: NodeInstall | None, install: NodeInstall) -> TypeGuard[NodeInstall]:
    return before is not None and (before.order, before.boot_id) == (install.order, install.boot_id)


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


_PARSERS: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
    "hold": _parse_hold,
    "once": _parse_once,
    "install": parse_install,
}
