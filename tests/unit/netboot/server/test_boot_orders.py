"""What a node boots once: given once, again where it asks again, and used up by one boot."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from support.fleet_api import CURRENT, NOW, Api, make_boot

from ectools.netboot.boots.model import BootState, NodeBoot, NodeStage
from ectools.netboot.fleet.model import NodeTarget
from ectools.netboot.fleet.override import BootOnce
from ectools.netboot.server.boot_orders import ASKED_AGAIN_SECONDS, BootOrders, is_used_up
from ectools.netboot.state.interface import StateError

ORDER = BootOnce(boot=NodeTarget.NETWORK, at=NOW, given=NOW, boot_id="b1")


def boot(*stages: NodeStage, boot_id: str = "b1", **fields: Any) -> NodeBoot:
    return make_boot(id=boot_id, stages=dict.fromkeys((NodeStage.SCRIPT, *stages), NOW), **fields)


@pytest.mark.parametrize(
    ("newest", "after", "used_up"),
    [
        (boot(), 1, False),
        (boot(NodeStage.KERNEL), 1, False),  # its initrd broke off: it asks again for both
        (boot(NodeStage.KERNEL, NodeStage.INITRD), 1, True),
        (boot(NodeStage.LOADED), 1, True),  # from a mirror: nothing else is seen of it
        (boot(NodeStage.RUNNING), 1, True),
        (boot(state=BootState.FAILED), 1, True),
        (boot(), 600, False),
        (boot(), 601, True),  # a release that nobody can load is not tried for ever
        (boot(boot_id="b2"), 1, True),  # another boot has begun since, which was not the order's
        (None, 1, True),
    ],
)
def test_over_the_network(newest: NodeBoot | None, after: float, used_up: bool) -> None:
    assert is_used_up(ORDER, newest, now=NOW + after) is used_up


def test_from_the_disk() -> None:
    order = BootOnce(boot=NodeTarget.DISK, at=NOW, given=NOW)
    assert not is_used_up(order, None, now=NOW + ASKED_AGAIN_SECONDS)
    assert is_used_up(order, None, now=NOW + ASKED_AGAIN_SECONDS + 1)


def test_what_was_not_given_waits() -> None:
    order = BootOnce(boot=NodeTarget.DISK, at=NOW)
    assert not is_used_up(order, None, now=NOW + 1e9)


async def ask(api: Api, orders: BootOrders, boot_id: str) -> tuple[str, str | None]:
    """What a machine is given, as the boot server does it."""
    await orders.settle("nuc-07")
    assignment = api.fleet.assign(api.fleet.need("nuc-07"))
    is_network = assignment.boot is NodeTarget.NETWORK
    if is_network:
        api.boots.note(make_boot(id=boot_id, stages={NodeStage.SCRIPT: api.now}))
    await orders.give("nuc-07", boot_id=boot_id if is_network else None)
    return assignment.boot.value, assignment.release


def test_one_boot_uses_it_up_however_often_its_script_is_asked_for() -> None:
    async def scenario() -> None:
        api = Api()
        orders = BootOrders(api.fleet, lambda: api.boots.latest, clock=lambda: api.now)
        await api.fleet.hold("nuc-07", by="a")
        await api.fleet.boot_once("nuc-07", NodeTarget.NETWORK, by="a", release="boot-v1")
        await orders.sweep()
        for number in range(3):
            api.now += 1
            assert await ask(api, orders, f"b{number}") == ("network", "boot-v1")
        await orders.sweep()
        assert api.fleet.list_orders().keys() == {"nuc-07"}
        loaded = {NodeStage.SCRIPT: api.now, NodeStage.KERNEL: api.now, NodeStage.INITRD: api.now}
        api.boots.note(make_boot(id="b2", stages=loaded))
        await orders.sweep()
        assert api.fleet.list_orders() == {}
        assert await ask(api, orders, "b3") == ("hold", None)
        await api.fleet.release("nuc-07", by="a")
        assert await ask(api, orders, "b4") == ("network", None)
        assert CURRENT.tag == api.boots.latest["nuc-07"].tag

    asyncio.run(scenario())


def test_a_store_that_is_away_makes_it_neither_lost_nor_endless() -> None:
    async def scenario() -> None:
        api = Api()
        orders = BootOrders(api.fleet, lambda: api.boots.latest, clock=lambda: api.now)
        await api.fleet.boot_once("nuc-07", NodeTarget.DISK, by="a")
        api.store.error = StateError("it is away")
        assert await ask(api, orders, "b1") == ("disk", None)
        assert await ask(api, orders, "b1") == ("disk", None)
        api.now += ASKED_AGAIN_SECONDS + 1
        assert await ask(api, orders, "b1") == ("network", None)

    asyncio.run(scenario())
