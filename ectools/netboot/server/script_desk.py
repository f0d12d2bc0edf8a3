"""The second stage, for each who asks: the shared script, or a machine's own, with which its boot begins."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ectools import log
from ectools.errors import EcError
from ectools.netboot.boot_files.scripts.checked import ScriptError
from ectools.netboot.fleet.assignment import assign
from ectools.netboot.fleet.model import NodeTarget
from ectools.netboot.http.handler import Resource
from ectools.netboot.http.slots import share_of
from ectools.netboot.http.webroot import RejectedError
from ectools.netboot.protocols import PROBE_NAME
from ectools.netboot.release.installed_systems import NoInstalledSystemError, find_root, find_update
from ectools.netboot.release.store import ReleaseBusyError, ReleaseGoneError
from ectools.netboot.release.systems import has_successor
from ectools.netboot.release.tags import ReleaseTags
from ectools.netboot.server.boot_orders import BootOrders
from ectools.netboot.server.machine_scripts import (
    MachineLog,
    build_unbooted,
    build_waiting,
    find_store_path,
    find_system,
    name_subject,
)
from ectools.netboot.server.rate_limit import RateLimit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ectools.netboot.boots.model import NodeBoot
    from ectools.netboot.boots.register import BootRegister
    from ectools.netboot.fleet.assignment import Assignment
    from ectools.netboot.fleet.live import LiveFleet
    from ectools.netboot.http.handler import RequestInfo
    from ectools.netboot.http.responses import Delivery
    from ectools.netboot.release.manifest import Release
    from ectools.netboot.release.store import ReleaseStore
    from ectools.netboot.rollout.live import LiveRollouts
    from ectools.netboot.server.boot_tracker import BootTracker
    from ectools.netboot.server.leases import ReleaseLeases
    from ectools.netboot.server.policy import Asked, ServingPolicy

_log = log.Log(__name__)

UNNAMED_AT_ONCE = 1024
"""Boots of machines without a name that one address may begin: a relay's may be a whole site's."""
UNNAMED_PER_SECOND = 4.0
"""And so many after that."""


@dataclass(frozen=True, kw_only=True)
class CurrentRelease:
    """The release that is served now; ``script`` is the shared one, made by ``policy``."""

    release: Release
    script: bytes
    policy: ServingPolicy


def is_probe(info: RequestInfo) -> bool:
    """Whether it asks as ``ectools netboot probe`` does, which boots nothing. A liar is not counted."""
    return info.headers.get("User-Agent") == PROBE_NAME


class ScriptDesk:
    """The scripts of one boot server. ``need_current`` raises RejectedError where nothing is served as yet.

    ``boots`` None: nobody asks what becomes of a boot. ``live`` None: the fleet is the policy's. ``rollouts``
    lead its groups.
    """

    def __init__(
        self,
        store: ReleaseStore,
        leases: ReleaseLeases,
        *,
        nodes: BootTracker,
        boots: BootRegister | None,
        live: LiveFleet | None,
        rollouts: LiveRollouts | None,
        need_current: Callable[[], Awaitable[CurrentRelease]],
        name_client: Callable[[RequestInfo], str],
        clock: Callable[[], float],
        wall_clock: Callable[[], float],
    ) -> None:
        self._store = store
        self._leases = leases
        self._nodes = nodes
        self._boots = boots
        self._live = live
        self._rollouts = rollouts
        self._orders = (
            None
            if live is None or boots is None
            else BootOrders(live, latest=lambda: boots.latest, clock=wall_clock)
        )
        self._need_current = need_current
        self._name_client = name_client
        self._machine_log = MachineLog(clock=clock)
        self._unnamed = RateLimit(burst=UNNAMED_AT_ONCE, per_second=UNNAMED_PER_SECOND, clock=clock)
        self._told = RateLimit(burst=1, per_second=1 / 3600, clock=clock)
        self._tags = ReleaseTags(store)

    async def find(self, info: RequestInfo, policy: ServingPolicy) -> Resource:
        """The script that ``info`` asks for. Raises RejectedError, ScriptError."""
        asked = await self._identify(info, policy)
        reports = asked is not None and self._begins_boot(info, asked) and self._may_begin(info, asked)
        fleet = policy.fleet if self._live is None else self._live.fleet
        if fleet.is_empty and not reports:
            current = await self._need_current()
            return self._give(info, current.script, current.release)
        if asked is None:
            return Resource(target=policy.question)
        if asked.found.is_torn:
            self._machine_log.tell("a machine is known as several nodes", asked, claims=asked.found.claims)
        if not asked.assignment.boot.is_over_network:
            self._tell_unbooted(asked)
            await self._give_order(info, asked, boot_id=None)
            return _as_script(build_unbooted(policy, asked))
        release = await self._find_assigned(asked)
        if release is None:
            asked, release = await self._fall_back(asked)
        try:
            if release is None:
                raise ScriptError(f"the release {asked.assignment.release} is not staged here")
            script = policy.scripts.find(policy, asked, release, reports=reports)
            store_path = await self._find_store_path(policy, asked, release)
        except (ScriptError, NoInstalledSystemError) as error:
            self._machine_log.tell("a node cannot boot what it should", asked, reason=error.message)
            return _as_script(build_waiting(policy, asked, why=error.message))
        plan = asked.assignment.install
        node = asked.assignment.node
        if not reports:
            return self._give(info, policy.scripts.fill(script, node=node), release, node=node)
        boot, token = await self._begin(info, policy, asked, release, store_path=store_path)
        await self._give_order(info, asked, boot_id=boot.id)
        order = None if plan is None else plan.order
        filled = policy.scripts.fill(script, node=node, boot_id=boot.id, token=token, order=order)
        return self._give(info, filled, release, node=node, boot=boot)

    async def find_release(self, assignment: Assignment) -> str | None:
        """The id of the release that an assignment means; None where it is not staged. Raises RejectedError.

        Nothing is held for it: who asks does not boot yet.
        """
        if assignment.release is None:
            return (await self._need_current()).release.id
        return await asyncio.to_thread(self._tags.find_id, assignment.release)

    async def find_installed(self, assignment: Assignment, release_id: str, system: str) -> tuple[str, str]:
        """What a node on a disk is to run of a release, a store path, and its cache, a path on this server.

        ``system``: the name of the release's system that the node came by. Raises NoInstalledSystemError;
        EcError: the release cannot be read.
        """
        release = await self._leases.take(release_id)
        directory = self._store.directory(release_id)
        root, cache = await asyncio.to_thread(find_update, directory, release, system, assignment.installs)
        return root, f"releases/{release_id}/{cache}"

    async def has_successor(self, assignment: Assignment, release_id: str, boot: NodeBoot) -> bool:
        """Whether a node that goes from what it runs to another release would find its system there.

        Raises RejectedError. Nothing is held for it.
        """
        try:
            release, running = await asyncio.gather(
                asyncio.to_thread(self._store.find, release_id),
                asyncio.to_thread(self._store.find, boot.release),
            )
        except EcError as error:
            raise RejectedError(503, "the release cannot be read at the moment; ask again") from error
        runs = () if running is None else running.systems
        own = next((each for each in runs if each.name == boot.system), None)
        return release is not None and has_successor(release.systems, assignment.system, own)

    async def sweep(self) -> None:
        """End the orders that were carried out."""
        if self._orders is not None:
            await self._orders.sweep()

    async def _identify(self, info: RequestInfo, policy: ServingPolicy) -> Asked | None:
        """Who asks, and what it boots, where what it was to boot once is behind it."""
        asked = policy.identify(info.query, self._live)
        if asked is None or not self._begins_boot(info, asked):
            return asked
        if asked.assignment.once:
            assert self._orders is not None  # noqa: S101 - of a fleet that is live
            await self._orders.settle(asked.assignment.node or "")
            asked = policy.identify(info.query, self._live)
        if asked is None or not await self._offer(policy, asked):
            return asked
        return policy.identify(info.query, self._live)

    async def _offer(self, policy: ServingPolicy, asked: Asked) -> bool:
        """Whether a rollout of the node's group has been asked, which may have given it another release.

        What cannot be served here is not offered: the node goes on with what it has, and takes no place.
        """
        node, assignment = asked.found.node, asked.assignment
        if self._rollouts is None or self._live is None or node is None or assignment.once:
            return False
        if not assignment.boot.is_over_network or not self._rollouts.may_be_offered(node):
            return False
        led, override = self._rollouts.preview(node), self._live.get_override(node.name)
        offered = replace(asked, assignment=assign(self._live.fleet, node, override, led))
        try:
            release = await self._find_assigned(offered)
            if release is None:
                raise ScriptError(f"the release {offered.assignment.release} is not staged here")
            policy.scripts.find(policy, offered, release, reports=True)
            await self._find_store_path(policy, offered, release)
        except (ScriptError, NoInstalledSystemError) as error:
            self._machine_log.tell(
                "a node is not led on: it could not be served", asked, reason=error.message
            )
            return False
        await self._rollouts.offer(node.group or "", node.name)
        return True

    async def _fall_back(self, asked: Asked) -> tuple[Asked, Release | None]:
        """What a node boots that a rollout leads to a release which another boot host has staged, and this
        one has not: what it ran before, where that is here.
        """
        node, assignment = asked.found.node, asked.assignment
        if self._rollouts is None or node is None or assignment.once:
            return asked, None
        if assignment.boot is not NodeTarget.NETWORK:
            return asked, None
        for release_id in self._rollouts.list_fallbacks(node):
            origin = f"{assignment.origins['release']}; {assignment.release} is not staged here"
            fallen = replace(
                asked,
                assignment=replace(
                    assignment, release=release_id, origins={**assignment.origins, "release": origin}
                ),
            )
            release = await self._find_assigned(fallen)
            if release is not None:
                reason = f"the release {assignment.release} is not staged here"
                self._machine_log.tell("a node boots what it ran before", asked, reason=reason)
                return fallen, release
        return asked, None

    async def _give_order(self, info: RequestInfo, asked: Asked, *, boot_id: str | None) -> None:
        if self._orders is not None and asked.assignment.once and self._begins_boot(info, asked):
            await self._orders.give(asked.assignment.node or "", boot_id=boot_id)

    def _begins_boot(self, info: RequestInfo, asked: Asked) -> bool:
        """Whether a machine asks for its script, and not somebody who looks at it."""
        known = self._boots is not None and name_subject(asked) is not None
        return known and info.method == "GET" and not is_probe(info)

    def _may_begin(self, info: RequestInfo, asked: Asked) -> bool:
        """Whether a machine's boot is remembered. Who has no name can have as many as there are MACs: what
        is above the bound boots all the same, and tells nobody of it.
        """
        assignment, client = asked.assignment, share_of(self._name_client(info))
        if assignment.node is not None or not assignment.boot.is_over_network or self._unnamed.take(client):
            return True
        if self._told.take(client):
            _log.warning(
                "machines without a name boot too often from one address: these boots are not remembered",
                client=client,
                hint="a machine that is in the fleet is always remembered",
            )
        return False

    async def _find_store_path(self, policy: ServingPolicy, asked: Asked, release: Release) -> str | None:
        """The system that is to report: the one that is booted, or is installed.

        Raises NoInstalledSystemError where the release has not the latter.
        """
        system, plan = find_system(policy, asked, release), asked.assignment.install
        if plan is None:
            return find_store_path(asked, system)
        if system is None:
            raise NoInstalledSystemError("which system installs this machine cannot be told: name one")
        directory = self._store.directory(release.id)
        return await asyncio.to_thread(find_root, directory, release, system, plan.system)

    async def _begin(
        self,
        info: RequestInfo,
        policy: ServingPolicy,
        asked: Asked,
        release: Release,
        *,
        store_path: str | None,
    ) -> tuple[NodeBoot, str]:
        assert self._boots is not None  # noqa: S101 - ``_begins_boot`` has looked
        assignment, system = asked.assignment, find_system(policy, asked, release)
        client = self._name_client(info)
        return await self._boots.begin(
            machine=name_subject(asked) or "",
            node=assignment.node,
            group=assignment.group,
            release=release.id,
            tag=release.tag,
            system="" if system is None else system.name,
            store_path=store_path,
            order=None if assignment.install is None else assignment.install.order,
            client=client,
            within=assignment.healthy_within,
            seen=self._nodes.find_seen(client, asked.machine.mac),
        )

    def _tell_unbooted(self, asked: Asked) -> None:
        if asked.assignment.node is None and not asked.found.is_torn:
            refused = asked.assignment.refused
            self._machine_log.tell("a machine that no node is asks what to boot", asked, refused=refused)

    async def _find_assigned(self, asked: Asked) -> Release | None:
        """The release that a machine boots, held for it; None where it is not staged."""
        wanted = asked.assignment.release
        if wanted is None:
            return (await self._need_current()).release
        release_id = await self.find_release(asked.assignment)
        try:
            return None if release_id is None else await self._leases.take(release_id)
        except ReleaseGoneError:
            return None
        except ReleaseBusyError as error:
            raise RejectedError(503, "the release is locked at the moment; try again") from error
        except EcError as error:
            _log.error("a release cannot be served", release=release_id, reason=error.message)
            raise RejectedError(500, "the release cannot be served") from error

    def _give(
        self,
        info: RequestInfo,
        script: bytes,
        release: Release,
        *,
        node: str | None = None,
        boot: NodeBoot | None = None,
    ) -> Resource:
        client = self._name_client(info)

        def on_complete(delivery: Delivery) -> None:
            if not is_probe(info):
                boot_id = None if boot is None else boot.id
                self._nodes.script(client, release, delivery, node=node, boot=boot_id)

        # Who has its script will come for its files.
        self._leases.keep(release.id)
        return Resource(target=script, is_private=boot is not None, on_complete=on_complete)


def _as_script(text: str) -> Resource:
    return Resource(target=text.encode("ascii"))
