"""What a node boots, derived and never typed, and why: by its own settings, its group's, or neither.

What somebody has said of it for a while comes before both: to boot once before a hold, which somebody else
may have had reasons for, and which is in force again afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ectools.netboot.fleet.install import (
    FIRST_ORDER,
    NOTHING_SAID,
    build_install_plan,
    describe_plan,
    name_order,
)
from ectools.netboot.fleet.model import NodeGroup, NodeTarget, UnknownPolicy

if TYPE_CHECKING:
    from ectools.netboot.fleet.install import InstallPlan
    from ectools.netboot.fleet.model import Fleet, Node
    from ectools.netboot.fleet.override import NodeOverride
    from ectools.netboot.protocols import StockBinary

IMPLICIT = NodeGroup(name="")
"""What a node without a group is in, and a machine that no node is: the current release, by architecture."""


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """What a machine boots. ``node`` and ``group`` None: none of a name.

    ``release`` is a tag, an id or ``channel:NAME``, None the current one; ``system`` None: the one for its
    architecture;
    ``boot_binary`` None: the one that all get. ``healthy_within``: seconds from its script to a healthy
    report; ``health_units``: units that are active then. ``refused``: it is told that it is not known, and
    left to its firmware. ``origins``: the name of each value → the option, below ``fleet``, that says so, or
    who has said so for a while; a value that none says has none. ``once``: it is for one boot. ``install``:
    what it installs, where that is what it boots. ``installs``: the name of the installed system that is on
    its disk, or comes there, None: the only one that its release has.
    """

    node: str | None
    group: str | None
    boot: NodeTarget
    system: str | None
    release: str | None
    boot_binary: StockBinary | None
    kernel_arguments: tuple[str, ...]
    healthy_within: int
    health_units: tuple[str, ...]
    refused: bool
    origins: dict[str, str]
    once: bool = False
    install: InstallPlan | None = None
    installs: str | None = None

    @property
    def goes_on_from_disk(self) -> bool:
        """Whether ``installs`` is what the node goes on to: it boots the disk on which that is."""
        return self.boot is NodeTarget.DISK


@dataclass(frozen=True, kw_only=True, slots=True)
class LedRelease:
    """The release to which a rollout leads a node: its id, and what is named as its origin."""

    id: str
    origin: str


def assign(
    fleet: Fleet, node: Node, override: NodeOverride | None = None, led: LedRelease | None = None
) -> Assignment:
    """What a node of the fleet boots; ``override`` is what is said of it for a while, which goes first."""
    assignment = _assign_by_fleet(fleet, node)
    if led is not None:
        origins = {**assignment.origins, "release": led.origin}
        assignment = replace(assignment, release=led.id, origins=origins)
    if override is not None:
        assignment = _override(assignment, override)
    return _plan_install(fleet, node, assignment, override)


def describe_assignment(assignment: Assignment) -> dict[str, Any]:
    """An assignment as JSON, by the names of the options."""
    return {
        "group": assignment.group,
        "boot": assignment.boot.value,
        "system": assignment.system,
        "release": assignment.release,
        "bootBinary": assignment.boot_binary,
        "kernelArguments": list(assignment.kernel_arguments),
        "healthyWithin": assignment.healthy_within,
        "healthUnits": list(assignment.health_units),
        **({} if assignment.install is None else {"install": describe_plan(assignment.install)}),
        **({"installs": assignment.installs} if assignment.goes_on_from_disk else {}),
        "origins": assignment.origins,
    }


def _override(assignment: Assignment, override: NodeOverride) -> Assignment:
    origins = dict(assignment.origins)
    if (once := override.once) is not None:
        origins["boot"] = _name_origin("boot once", once.by, once.at)
        if once.release is not None:
            origins["release"] = origins["boot"]
        release = assignment.release if once.release is None else once.release
        return replace(assignment, boot=once.boot, release=release, origins=origins, once=True)
    if (hold := override.standing_hold) is not None:
        origins["boot"] = _name_origin("held", hold.by, hold.at)
        return replace(assignment, boot=NodeTarget.HOLD, origins=origins)
    install = override.install
    if install is not None and install.done:
        # What the fleet says of a node that is there already is not done to it a second time.
        is_again = assignment.boot is NodeTarget.INSTALL
        if is_again or (install.leads and assignment.boot is NodeTarget.NETWORK):
            origins["boot"] = _name_origin("installed", None, install.at)
            return replace(assignment, boot=NodeTarget.DISK, origins=origins)
    return assignment


def _plan_install(
    fleet: Fleet, node: Node, assignment: Assignment, override: NodeOverride | None
) -> Assignment:
    """The same with what is installed, where the node is to be."""
    if assignment.boot is not NodeTarget.INSTALL:
        return assignment
    group = IMPLICIT if node.group is None else fleet.groups[node.group]
    once = None if override is None else override.once
    plan = build_install_plan(
        node.install.over(group.install), FIRST_ORDER if once is None else name_order(once.at)
    )
    said = [
        f"{where}.install"
        for where, settings in ((f"groups.{group.name}", group.install), (f"nodes.{node.name}", node.install))
        if settings != NOTHING_SAID
    ]
    origins = {**assignment.origins, **({"install": ", ".join(said)} if said else {})}
    return replace(assignment, install=plan, healthy_within=plan.within, origins=origins)


def _name_origin(what: str, by: str | None, at: float) -> str:
    """``held by alice since 2026-11-29T11:12:00Z``."""
    when = datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return f"{what}{'' if by is None else f' by {by}'} since {when}"


def _assign_by_fleet(fleet: Fleet, node: Node) -> Assignment:
    group = IMPLICIT if node.group is None else fleet.groups[node.group]
    of_group, of_node = f"groups.{group.name}", f"nodes.{node.name}"
    origins = {
        name: f"{of_group}.{name}"
        for name, value in (
            ("system", group.system),
            ("release", group.release),
            ("bootBinary", group.boot_binary),
        )
        if value is not None
    }
    if group.channel is not None:
        origins["release"] = f"{of_group}.channel"
    boot = group.boot
    if group is not IMPLICIT:
        origins |= {name: f"{of_group}.{name}" for name in ("boot", "healthyWithin")}
    for where, install in ((of_group, group.install), (of_node, node.install)):
        if install.system is not None:
            origins["installs"] = f"{where}.install.system"
    if group.health_units:
        origins["healthUnits"] = f"{of_group}.healthUnits"
    if node.boot is not None:
        boot, origins["boot"] = node.boot, f"{of_node}.boot"
    if node.hold:
        boot, origins["boot"] = NodeTarget.HOLD, f"{of_node}.hold"
    sources = [
        f"{where}.kernelArguments"
        for where, arguments in ((of_group, group.kernel_arguments), (of_node, node.kernel_arguments))
        if arguments
    ]
    if sources:
        origins["kernelArguments"] = ", ".join(sources)
    return Assignment(
        node=node.name,
        group=node.group,
        boot=boot,
        system=group.system,
        release=group.wanted,
        boot_binary=group.boot_binary,
        kernel_arguments=(*group.kernel_arguments, *node.kernel_arguments),
        healthy_within=group.healthy_within,
        health_units=group.health_units,
        refused=False,
        origins=origins,
        installs=node.install.over(group.install).system,
    )


def assign_unknown(fleet: Fleet) -> Assignment:
    """What a machine boots that no node is."""
    boot = NodeTarget.NETWORK if fleet.unknown is UnknownPolicy.DEFAULT else NodeTarget.HOLD
    return Assignment(
        node=None,
        group=None,
        boot=boot,
        system=None,
        release=None,
        boot_binary=None,
        kernel_arguments=(),
        healthy_within=IMPLICIT.healthy_within,
        health_units=(),
        refused=fleet.unknown is UnknownPolicy.REFUSE,
        origins={"boot": "unknown"},
    )
