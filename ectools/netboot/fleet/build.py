"""Options that the schema accepts → a fleet that can be used, or all that is wrong with it.

A fleet comes in parts: the options of the module, and the fleet file. Each is read by itself; what
contradicts itself is looked for in the whole. The defaults are the model's, which are the schema's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ectools.ipxe.language import goes_on, is_argument
from ectools.names import show_path
from ectools.netboot.fleet.install import DiskChoice, HostKeys, InstallSettings
from ectools.netboot.fleet.machine import list_keys, normalize_mac, normalize_text, normalize_uuid
from ectools.netboot.fleet.model import (
    HEALTHY_WITHIN,
    Fleet,
    Match,
    Node,
    NodeGroup,
    NodeTarget,
    UnknownPolicy,
)
from ectools.netboot.protocols import StockBinary
from ectools.suggest import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from ectools.parsing import Problems

MAX_UNITS_LENGTH = 512
"""Characters of a group's health units and the commas between them; x86's command line has 2,047 for all."""

# As the module has it: a host name's label that may have dots and underscores.
_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class FleetPart:
    """What one source says. ``unknown`` None: nothing.

    ``where`` names the source in messages; ``prefix`` is put before the options' names. ``problems`` has what
    cannot be used of it.
    """

    where: str
    prefix: str = field(compare=False)
    problems: Problems = field(compare=False, repr=False)
    unknown: UnknownPolicy | None
    groups: Mapping[str, NodeGroup]
    nodes: Mapping[str, Node]


def build_part(raw: Mapping[str, Any], problems: Problems, *, where: str, prefix: str = "") -> FleetPart:
    """What ``raw`` says, of whose keys ``unknown``, ``groups`` and ``nodes`` are looked at."""
    builder = _Builder(problems, prefix)
    unknown = raw.get("unknown")
    return FleetPart(
        where=where,
        prefix=prefix,
        problems=problems,
        unknown=None if unknown is None else UnknownPolicy(unknown),
        groups={name: builder.build_group(name, each) for name, each in raw.get("groups", {}).items()},
        nodes={name: builder.build_node(name, each) for name, each in raw.get("nodes", {}).items()},
    )


def join_parts(parts: Sequence[FleetPart], *, is_whole: bool = True) -> Fleet:
    """The fleet of all parts, those before winning. What contradicts itself is put into the parts' problems.

    ``is_whole``: there is no further part, in which a node's group could be.
    """
    _find_twice(parts)
    groups = {name: group for part in reversed(parts) for name, group in part.groups.items()}
    nodes = {name: node for part in reversed(parts) for name, node in part.nodes.items()}
    said = [part.unknown for part in parts if part.unknown not in (None, UnknownPolicy.DEFAULT)]
    if is_whole:
        for part in parts:
            _find_missing_groups(part, groups)
    _find_ambiguous(parts)
    return Fleet(unknown=said[0] if said else UnknownPolicy.DEFAULT, groups=groups, nodes=nodes)


class _Builder:
    def __init__(self, problems: Problems, prefix: str) -> None:
        self._problems = problems
        self._prefix = prefix

    def build_group(self, name: str, raw: Mapping[str, Any]) -> NodeGroup:
        self._check_name("groups", name)
        binary, slots = raw.get("bootBinary"), raw.get("slots")
        if raw.get("release") is not None and raw.get("channel") is not None:
            self._add(("groups", name, "channel"), raw["channel"], "set beside release", "one of the two")
        return NodeGroup(
            name=name,
            system=raw.get("system"),
            release=raw.get("release"),
            channel=raw.get("channel"),
            boot=NodeTarget(raw.get("boot", NodeTarget.NETWORK)),
            boot_binary=None if binary is None else StockBinary(binary),
            kernel_arguments=self._check_arguments(("groups", name), raw),
            healthy_within=int(raw.get("healthyWithin", HEALTHY_WITHIN)),
            health_units=self._check_units(("groups", name), raw),
            slots=None if slots is None else int(slots),
            install=self._build_install(("groups", name), raw),
        )

    def build_node(self, name: str, raw: Mapping[str, Any]) -> Node:
        self._check_name("nodes", name)
        match = self._build_match(name, raw.get("match", {}))
        boot = raw.get("boot")
        return Node(
            name=name,
            match=match,
            group=raw.get("group"),
            boot=None if boot is None else NodeTarget(boot),
            kernel_arguments=self._check_arguments(("nodes", name), raw),
            hold=raw.get("hold", False),
            install=self._build_install(("nodes", name), raw),
        )

    def _build_install(self, place: Sequence[str | int], raw: Mapping[str, Any]) -> InstallSettings:
        said: Mapping[str, Any] = raw.get("install", {})
        keys, disk = said.get("hostKeys"), said.get("disk", {})
        choice = DiskChoice(id=disk.get("id"), serial=disk.get("serial"), min_gib=disk.get("minGiB"))
        named = [name for name, value in disk.items() if value is not None]
        if len(named) > 1:
            message = f"is chosen by {' and by '.join(named)}, which may be two disks"
            self._add((*place, "install", "disk"), dict(disk), message, "one of id, serial and minGiB")
        return InstallSettings(
            system=said.get("system"),
            disk=choice if named else None,
            erase=said.get("erase"),
            host_keys=None if keys is None else HostKeys(keys),
            within=None if (within := said.get("within")) is None else int(within),
        )

    def _build_match(self, name: str, raw: Mapping[str, Any]) -> Match:
        place = ("nodes", name, "match")
        texts = {
            kind: self._normalize((*place, kind), raw.get(kind), rule, expected)
            for kind, rule, expected in (
                ("uuid", normalize_uuid, "a machine's own UUID: 6f1c2d3e-0000-4000-8000-020000123456"),
                ("serial", normalize_text, "a machine's own serial number"),
                ("asset", normalize_text, "a machine's own asset tag"),
            )
        }
        macs = [
            self._normalize((*place, "mac", index), mac, normalize_mac, "a NIC's own address")
            for index, mac in enumerate(raw.get("mac", ()))
        ]
        if not macs and all(raw.get(kind) is None for kind in texts):
            message = "says nothing that the machine is known by"
            self._add(place, {}, message, "one of mac, uuid, serial and asset")
        return Match(macs=tuple(dict.fromkeys(mac for mac in macs if mac is not None)), **texts)

    def _normalize(
        self, place: Sequence[str | int], value: str | None, rule: Callable[[str], str | None], expected: str
    ) -> str | None:
        normal = None if value is None else rule(value)
        if value is not None and normal is None:
            self._add(place, value, "tells no machine from others", expected)
        return normal

    def _check_name(self, kind: str, name: str) -> None:
        if _NAME.fullmatch(name) is None:
            message = "is no name that scripts, metrics and messages can hold"
            self._add((kind, name), name, message, "letters, digits and . _ - within, 63 at most: nuc-07")

    def _check_arguments(self, place: Sequence[str | int], raw: Mapping[str, Any]) -> tuple[str, ...]:
        arguments: list[str] = raw.get("kernelArguments", [])
        for index, argument in enumerate(arguments):
            if not is_argument(argument) or goes_on(argument):
                message = "cannot stand in a boot script"
                expected = "printable ASCII without blanks, a backslash at its end, or ${ec-…}"
                self._add((*place, "kernelArguments", index), argument, message, expected)
        return tuple(arguments)

    def _check_units(self, place: Sequence[str | int], raw: Mapping[str, Any]) -> tuple[str, ...]:
        units: list[str] = raw.get("healthUnits", [])
        if len(",".join(units)) > MAX_UNITS_LENGTH:
            message = "too long for a kernel's command line"
            expected = f"at most {MAX_UNITS_LENGTH} characters with their commas; a target may want them all"
            self._add((*place, "healthUnits"), units, message, expected)
        return tuple(dict.fromkeys(units))

    def _add(self, place: Iterable[str | int], value: Any, message: str, expected: str) -> None:
        self._problems.add(show_path(place, self._prefix), value, message, expected)


def _find_twice(parts: Sequence[FleetPart]) -> None:
    """A name that two parts have, or a policy: which one was meant cannot be told."""
    first, *rest = parts
    for part in rest:
        for kind in ("groups", "nodes"):
            for name in getattr(part, kind):
                if name in getattr(first, kind):
                    message = f"is in {first.where} too"
                    part.problems.add(show_path((kind, name), part.prefix), name, message, "one of the two")
        if part.unknown is not None and first.unknown not in (None, UnknownPolicy.DEFAULT, part.unknown):
            message = f'is "{first.unknown}" in {first.where}'
            part.problems.add(show_path(("unknown",), part.prefix), part.unknown, message, "one of the two")


def _find_missing_groups(part: FleetPart, groups: Mapping[str, NodeGroup]) -> None:
    hints: dict[str, str] = {}  # many nodes may be in a group whose name is wrong
    for node in part.nodes.values():
        if node.group is not None and node.group not in groups:
            if node.group not in hints:
                known = did_you_mean(node.group, groups)
                hints[node.group] = known or f"the groups are: {', '.join(groups) or 'none'}"
            option = show_path(("nodes", node.name, "group"), part.prefix)
            part.problems.add(option, node.group, "is no group of the fleet", hints[node.group])


def _find_ambiguous(parts: Sequence[FleetPart]) -> None:
    """What two nodes are known by: a machine would be both."""
    known: dict[tuple[str, str], tuple[Node, FleetPart]] = {}
    for part in parts:
        for node in part.nodes.values():
            for key in list_keys(node.match):
                other, where = known.setdefault(key, (node, part))
                if other.name == node.name:
                    continue
                option = show_path(("nodes", node.name, "match", key[0]), part.prefix)
                of = show_path(("nodes", other.name), where.prefix)
                shown = of if where is part else f"{of} in {where.where}"
                part.problems.add(option, key[1], f"is what {shown} is known by too", "each machine once")
