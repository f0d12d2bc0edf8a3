"""What a node boots once: given with its script, and used up by one boot.

A machine may ask for its script again before it has booted: its firmware has timed out, the server was
started anew, a file broke off. It gets the same then. Over the network the order is used up when its boot has
fetched all that it boots from, has ended, or should have reported since the script was first given; from the
disk, where nothing more is heard of it, when the machine asks again later than iPXE would by itself. An
installation is not used up by a boot: it is over when the node says that its disk boots.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ectools import log
from ectools.netboot.boots.model import STAGES, BootState, NodeStage
from ectools.netboot.fleet.model import NodeTarget

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ectools.netboot.boots.model import NodeBoot
    from ectools.netboot.fleet.live import LiveFleet
    from ectools.netboot.fleet.override import BootOnce

_log = log.Log(__name__)

_AT_ONCE = 4
ASKED_AGAIN_SECONDS = 30.0
"""In which a machine that boots from its disk may ask for the same script again."""


def is_used_up(once: BootOnce, newest: NodeBoot | None, *, now: float) -> bool:
    """Whether an order has been carried out; ``newest`` is the node's newest boot, ``now`` Unix seconds."""
    if once.given is None or once.boot is NodeTarget.INSTALL:
        return False
    if once.boot is not NodeTarget.NETWORK:
        return now > once.given + ASKED_AGAIN_SECONDS
    if newest is None or newest.id != once.boot_id or newest.state is not BootState.BOOTING:
        return True
    return STAGES.index(newest.last_stage) >= STAGES.index(NodeStage.INITRD) or (
        now > once.given + newest.within
    )


class BootOrders:
    """The orders of one fleet. ``latest``: subject → its newest boot; ``clock`` gives Unix seconds."""

    def __init__(
        self,
        fleet: LiveFleet,
        latest: Callable[[], Mapping[str, NodeBoot]],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._fleet = fleet
        self._latest = latest
        self._clock = clock

    async def settle(self, node: str) -> None:
        """End the node's order, if it is used up; for before the node is told what it boots."""
        override = self._fleet.get_override(node)
        once = None if override is None else override.once
        if once is not None and is_used_up(once, self._latest().get(node), now=self._clock()):
            await self._fleet.end_once(node, once)

    async def give(self, node: str, *, boot_id: str | None) -> None:
        """The node is about to get its script, by its order if it has one; ``boot_id``: what that begins."""
        override = self._fleet.get_override(node)
        once = None if override is None else override.once
        if once is not None and (once.given is None or once.boot_id != boot_id):
            await self._fleet.note_given(node, once, boot_id=boot_id)
            _log.info("a node boots once", node=node, what=once.boot.value, release=once.release, by=once.by)

    async def sweep(self) -> None:
        """End what is used up, whether its node asks again or not; a few at a time, as a disk may hang."""
        now, latest = self._clock(), self._latest()
        orders = self._fleet.list_orders()
        ended = [node for node, once in orders.items() if is_used_up(once, latest.get(node), now=now)]
        for node in ended[:_AT_ONCE]:
            await self._fleet.end_once(node, orders[node])
