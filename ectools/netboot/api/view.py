"""What the boot server gives to whoever looks at it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from ectools.netboot.api.releases import StagedReleases
    from ectools.netboot.boots.model import NodeBoot
    from ectools.netboot.fleet.live import LiveFleet
    from ectools.netboot.rollout.live import LiveRollouts
    from ectools.netboot.state.interface import StateStore


class Boots(Protocol):
    """The boots that are remembered; ``subject`` is a node's name, or what a machine is known by."""

    @property
    def latest(self) -> Mapping[str, NodeBoot]:
        """Subject → its newest boot, of those that came last."""
        ...

    async def list_boots(self, subject: str, *, limit: int = 20) -> Sequence[NodeBoot]:
        """The boots of one subject, the newest first. Raises StateError."""
        ...

    async def find(self, boot_id: str) -> NodeBoot | None:
        """The boot of that id; None where none is remembered. Raises StateError."""
        ...

    def changes(self) -> AsyncIterator[NodeBoot | None]:
        """Each boot as it changes; None: some were missed, and all are looked at again."""
        ...


@dataclass(frozen=True, kw_only=True)
class FleetView:
    """``health`` gives the fields of the health report, ``metrics`` the figures as Prometheus reads them.

    ``hosts`` gives a row for each boot host that shares the store, and ``pin`` keeps a release, by its id,
    from being collected; they raise EcError. ``title`` is what the host is called on the page. ``clock``
    gives Unix seconds. ``reload_error``: why the settings that were read last are not in force; None: they
    are.
    """

    fleet: LiveFleet
    rollouts: LiveRollouts
    boots: Boots
    store: StateStore
    releases: StagedReleases
    hosts: Callable[[], Awaitable[Sequence[Mapping[str, Any]]]]
    pin: Callable[[str], Awaitable[None]]
    health: Callable[[], Awaitable[Mapping[str, Any]]]
    metrics: Callable[[], str]
    title: str
    clock: Callable[[], float]
    reload_error: Callable[[], str | None] = lambda: None
