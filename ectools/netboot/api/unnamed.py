"""The machines that have booted and are no node: in one place, for all lists of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ectools.netboot.fleet.machine import parse_keys

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ectools.netboot.boots.model import NodeBoot
    from ectools.netboot.fleet.live import LiveFleet
    from ectools.netboot.fleet.roster import Found


def list_unnamed(fleet: LiveFleet, latest: Mapping[str, NodeBoot]) -> Iterator[str]:
    """Those of the subjects of ``latest`` that are no node."""
    return (subject for subject, boot in latest.items() if is_unnamed(fleet, subject, boot))


def is_unnamed(fleet: LiveFleet, subject: str, boot: NodeBoot) -> bool:
    """Whether that is a machine without a name. One that was given a name since is that node."""
    return subject not in fleet.fleet.nodes and find_claims(fleet, boot).node is None


def find_claims(fleet: LiveFleet, boot: NodeBoot) -> Found:
    """What the fleet knows of a boot's machine by now: it may be known as several nodes."""
    return fleet.roster.find_by_keys(parse_keys(boot.machine))
