"""Boots of a register, begun as a boot server begins them when it gives a node its script."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ectools.netboot.boots.model import NodeBoot
    from ectools.netboot.boots.register import BootRegister


async def begin_boot(
    boots: BootRegister,
    node: str | None,
    release: str,
    *,
    group: str = "g",
    system: str = "s",
    within: float = 600,
    machine: str | None = None,
) -> tuple[NodeBoot, str]:
    """The boot and its token. ``machine`` None: it is known by a serial number, which is its name."""
    return await boots.begin(
        machine=machine or f"serial {node}",
        node=node,
        group=group,
        release=release,
        tag=None,
        system=system,
        client="192.0.2.1",
        within=within,
    )
