"""The rollouts of a boot server that nobody reports to, and that withdraws nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ectools.netboot.rollout.live import LiveRollouts

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.fleet_api import MemoryStore

    from ectools.netboot.fleet.model import Fleet


async def _list_no_boots(_: str) -> list[Any]:
    return []


async def _withdraw_nothing(_: str) -> None:
    return None


def make_rollouts(
    store: MemoryStore, fleet: Fleet, *, clock: Callable[[], float], **options: Any
) -> LiveRollouts:
    """Of ``fleet``, whose nodes are not held; ``options`` are further ones of LiveRollouts."""
    return LiveRollouts(
        store,
        fleet=lambda: fleet,
        held=lambda _: False,
        latest=dict,
        list_boots=_list_no_boots,
        withdraw=_withdraw_nothing,
        clock=clock,
        **options,
    )
