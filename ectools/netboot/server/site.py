"""The router of the boot server: which path leads to which file, and of which release.

    /netboot.ipxe               the second script, made for the current release; of a fleet, for each machine
    /releases/<id>/<file>       a file of that release; of several systems, below the directory of its name
    /<file>                     a file of the current release
    /autoexec.ipxe, /<binary>, /<directory>/<extra file>
                                the boot files of the TFTP directory, which come before a release's files

``current`` is looked at for each request, so a release that was staged is served at once. Where it cannot be,
the one before stays. A thread looks, so that a lock or a disk holds up nobody but who wants to know.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ectools import log
from ectools.errors import EcError
from ectools.ipxe.language import NETBOOT_NAME
from ectools.netboot.boot_files.scripts.checked import ScriptError
from ectools.netboot.boot_files.scripts.reporting import BOOT_PARAMETER
from ectools.netboot.boot_files.scripts.second_stage import build_netboot
from ectools.netboot.boots.model import NodeStage
from ectools.netboot.fleet.model import NodeTarget
from ectools.netboot.http.handler import Resource
from ectools.netboot.http.webroot import RejectedError
from ectools.netboot.protocols import PROBE_NAME
from ectools.netboot.release.manifest import ID_PATTERN
from ectools.netboot.release.store import ReleaseBusyError, ReleaseGoneError
from ectools.netboot.release.systems import find_unserved
from ectools.netboot.release.tags import ReleaseTags
from ectools.netboot.server.access import RELEASES
from ectools.netboot.server.boot_orders import BootOrders
from ectools.netboot.server.boot_tracker import BootTracker
from ectools.netboot.server.leases import ReleaseLeases
from ectools.netboot.server.machine_scripts import (
    MachineLog,
    build_unbooted,
    build_waiting,
    find_store_path,
    find_system,
    name_subject,
)
from ectools.netboot.server.node_reports import NodeReports
from ectools.timers import Guard

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ectools.netboot.boots.model import NodeBoot
    from ectools.netboot.boots.register import BootRegister
    from ectools.netboot.fleet.live import LiveFleet
    from ectools.netboot.http.admission import Standing
    from ectools.netboot.http.handler import RequestInfo
    from ectools.netboot.http.responses import Delivery
    from ectools.netboot.release.manifest import Release
    from ectools.netboot.release.store import ReleaseStore
    from ectools.netboot.server.policy import Asked, ServingPolicy

_log = log.Log(__name__)

_LOOK_SECONDS = 5.0
# An older first stage is of a boot that came to nothing.
_FIRST_STAGE_SECONDS = 600.0
# A report is the watchdog's too, which a disk that hangs must not starve (``HttpServer.check_itself``).
_LOOK_SECONDS_OF_REPORT = 2.0
# What the root answers where a file that the release's manifest lists is gone, closed or broken.
_NOT_THERE = frozenset({403, 404, 500})


@dataclass(frozen=True, kw_only=True)
class _Current:
    release: Release
    script: bytes
    policy: ServingPolicy


def _warn_of_unserved(release: Release, policy: ServingPolicy) -> None:
    """Machines that are let in, and shown by the boot script that there is nothing for them.

    Those that nobody has asked for are no warning: a distribution installs their binary beside the others.
    """
    systems = {each.name: each.architecture for each in release.systems}
    found = find_unserved(release.systems, policy.found)
    if found:
        _log.info(
            "the release has no system for machines whose boot binary was found on this host: they are told"
            " so, and boot nothing",
            release=release.id,
            machines=[binary.value for binary in found],
            systems=systems,
        )
    unserved = find_unserved(release.systems, policy.settings.ipxe.offered)
    if unserved:
        _log.warning(
            "the release has no system for machines that are let in: they are told so, and boot nothing",
            release=release.id,
            machines=[binary.value for binary in unserved],
            systems=systems,
            hint="stage one for them too (release.systems, or --tarball once more), or unset ipxe.*File",
        )


class BootSite:
    """The router of one store. ``details`` gives further fields of the health report.

    ``boots`` is what boots are written into; None: nobody asks what becomes of one. ``live`` is the policy's
    fleet, as it is changed while it is used.
    """

    def __init__(
        self,
        store: ReleaseStore,
        policy: ServingPolicy,
        *,
        clock: Callable[[], float] = time.monotonic,
        details: Callable[[], Mapping[str, Any]] = dict,
        boots: BootRegister | None = None,
        live: LiveFleet | None = None,
    ) -> None:
        self._store = store
        self._policy = policy
        self._live = live
        self._orders = (
            None if live is None or boots is None else BootOrders(live, latest=lambda: boots.latest)
        )
        self._set_fleet()
        self._details = details
        self._leases = ReleaseLeases(store, clock=clock)
        self._current: _Current | None = None
        self._reported_error: str | None = None
        self._looking: asyncio.Task[None] | None = None
        self.guard = Guard("looks at what is current", clock=clock)
        self._boots = boots
        self.nodes = BootTracker(clock=clock, see=(lambda *_: None) if boots is None else boots.see)
        self.reports = (
            None if boots is None else NodeReports(boots, name_client=self._name_client, clock=clock)
        )
        self._machine_log = MachineLog(clock=clock)
        self._tags = ReleaseTags(store)

    def check(self, info: RequestInfo) -> None:
        """The access check. Raises RejectedError (403)."""
        self._policy.access.check(info)

    def classify(self, ip: str) -> Standing:
        """What is known of a client by its address, before its request."""
        return self._policy.access.classify(ip)

    def set_policy(self, policy: ServingPolicy) -> None:
        """From now on; downloads in flight go on. Raises EcError where the script cannot be made by them."""
        if self._current is not None:
            self._current = self._build(self._current.release, policy)
        self._policy = policy
        self._set_fleet()

    def _set_fleet(self) -> None:
        if self._live is not None:
            file = self._policy.settings.fleet.file
            where = "the settings" if file is None else f"the settings or {file}"
            self._live.set_base(self._policy.fleet, self._policy.roster, where=where)

    async def find(self, info: RequestInfo) -> Resource:
        match info.segments:
            case (name,) if name == NETBOOT_NAME.encode():
                return await self._find_script(info)
            case _ if self.reports is not None and self.reports.is_asked(info):
                return Resource(target=await self.reports.mark(info), is_private=True)
            case segments if segments in self._policy.boot_files:
                return self._find_boot_file(info, segments)
            case (first, release_id, *rest) if first == RELEASES and rest:
                return await self._find_release_file(info, release_id, tuple(rest))
        current = await self._need_current()
        return self._find_file(info, current.release, info.segments)

    async def report(self) -> Mapping[str, Any]:
        release = await self.refresh(seconds=_LOOK_SECONDS_OF_REPORT)
        return {
            "release": None if release is None else release.id,
            "tag": None if release is None else release.tag,
            "systems": {} if release is None else {each.name: each.architecture for each in release.systems},
            "boots": self.nodes.boots,
            **self._details(),
        }

    async def refresh(self, *, seconds: float = _LOOK_SECONDS) -> Release | None:
        """The release that is served now, after a look at what is current; None where there is none.

        A look that does not end within ``seconds``, because the disk hangs, leaves what is known in force.
        """
        # A look that began before this request may have seen what was current before it: then one more.
        for _ in range(2):
            ours = self._looking is None
            looking = self._looking = self._looking or asyncio.create_task(self._look())
            done, _ = await asyncio.wait({looking}, timeout=seconds)
            if ours or not done:
                break
        return self.release

    @property
    def release(self) -> Release | None:
        """The release that was current at the last look."""
        return None if self._current is None else self._current.release

    async def sweep(self) -> None:
        """End the leases of releases that nobody uses any more, and the orders that were carried out."""
        if self._orders is not None:
            await self._orders.sweep()
        release = await self.refresh()
        self._leases.sweep(current=None if release is None else release.id)

    def close(self) -> None:
        self._leases.close()

    async def _look(self) -> None:
        try:
            release_id = await asyncio.to_thread(self._store.find_link_id, "current")
            if release_id is None:
                self._current = None
            elif self._current is None or self._current.release.id != release_id:
                await self._switch(release_id)
            self._reported_error = None
        except EcError as error:
            self._report_error(error)
        except Exception as error:
            # Nobody asks this task how it ended.
            self.guard.report(error)
        finally:
            self._looking = None

    async def _switch(self, release_id: str) -> None:
        before = self._current
        release = await self._leases.take(release_id)
        self._current = self._build(release, self._policy)
        release = self._current.release
        _log.info(
            "a release is served",
            release=release.id,
            tag=release.tag,
            before=None if before is None else before.release.id,
            systems=[each.name for each in release.systems],
        )

    def _build(self, release: Release, policy: ServingPolicy) -> _Current:
        script = build_netboot(policy.settings, release, policy.token).encode("ascii")
        _warn_of_unserved(release, policy)
        return _Current(release=release, script=script, policy=policy)

    def _report_error(self, error: EcError) -> None:
        if error.message != self._reported_error:
            self._reported_error = error.message
            serving = None if self._current is None else self._current.release.id
            _log.error("the current release cannot be served", reason=error.message, serving=serving)

    async def _need_current(self) -> _Current:
        await self.refresh()
        if self._current is None:
            reason = (
                "no release is staged yet" if self._reported_error is None else "the release cannot be served"
            )
            raise RejectedError(503, f"{reason}; try again")
        return self._current

    async def _find_script(self, info: RequestInfo) -> Resource:
        policy = self._policy
        asked = await self._identify(info)
        reports = asked is not None and self._begins_boot(info, asked)
        fleet = policy.fleet if self._live is None else self._live.fleet
        if fleet.is_empty and not reports:
            current = await self._need_current()
            return self._give(info, current.script, current.release)
        if asked is None:
            return Resource(target=policy.question)
        if asked.assignment.boot is not NodeTarget.NETWORK:
            self._tell_unbooted(asked)
            await self._give_order(info, asked, boot_id=None)
            return _as_script(build_unbooted(policy, asked))
        release = await self._find_assigned(asked)
        try:
            if release is None:
                raise ScriptError(f"the release {asked.assignment.release} is not staged here")
            script = policy.scripts.find(policy, asked, release, reports=reports)
        except ScriptError as error:
            self._machine_log.tell("a node cannot boot what it should", asked, reason=error.message)
            return _as_script(build_waiting(policy, asked, why=error.message))
        node = asked.assignment.node
        if not reports:
            return self._give(info, policy.scripts.fill(script, node=node), release, node=node)
        boot, token = await self._begin(info, asked, release)
        await self._give_order(info, asked, boot_id=boot.id)
        filled = policy.scripts.fill(script, node=node, boot_id=boot.id, token=token)
        return self._give(info, filled, release, node=node, boot=boot)

    async def _identify(self, info: RequestInfo) -> Asked | None:
        """Who asks, and what it boots, where what it was to boot once is behind it."""
        asked = self._policy.identify(info.query, self._live)
        if asked is None or not asked.assignment.once or not self._begins_boot(info, asked):
            return asked
        assert self._orders is not None  # noqa: S101 - of a fleet that is live
        await self._orders.settle(asked.assignment.node or "")
        return self._policy.identify(info.query, self._live)

    async def _give_order(self, info: RequestInfo, asked: Asked, *, boot_id: str | None) -> None:
        if self._orders is not None and asked.assignment.once and self._begins_boot(info, asked):
            await self._orders.give(asked.assignment.node or "", boot_id=boot_id)

    def _begins_boot(self, info: RequestInfo, asked: Asked) -> bool:
        """Whether a machine asks for its script, and not somebody who looks at it."""
        known = self._boots is not None and name_subject(asked) is not None
        return known and info.method == "GET" and not _is_probe(info)

    async def _begin(self, info: RequestInfo, asked: Asked, release: Release) -> tuple[NodeBoot, str]:
        assert self._boots is not None  # noqa: S101 - ``_begins_boot`` has looked
        assignment, system = asked.assignment, find_system(self._policy, asked, release)
        client = self._name_client(info)
        loaded = self.nodes.find_first_stage(client)
        recent = loaded is not None and loaded < _FIRST_STAGE_SECONDS
        return await self._boots.begin(
            machine=name_subject(asked) or "",
            node=assignment.node,
            group=assignment.group,
            release=release.id,
            tag=release.tag,
            system="" if system is None else system.name,
            store_path=find_store_path(asked, system),
            client=client,
            within=assignment.healthy_within,
            seen={NodeStage.FIRST_STAGE: loaded} if loaded is not None and recent else {},
        )

    def _tell_unbooted(self, asked: Asked) -> None:
        if asked.found.is_torn:
            self._machine_log.tell("a machine is known as several nodes", asked, claims=asked.found.claims)
        elif asked.assignment.node is None:
            refused = asked.assignment.refused
            self._machine_log.tell("a machine that no node is asks what to boot", asked, refused=refused)

    async def _find_assigned(self, asked: Asked) -> Release | None:
        """The release that a machine boots, held for it; None where it is not staged."""
        wanted = asked.assignment.release
        if wanted is None:
            return (await self._need_current()).release
        release_id = await asyncio.to_thread(self._tags.find_id, wanted)
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
            if not _is_probe(info):
                boot_id = None if boot is None else boot.id
                self.nodes.script(client, release, delivery, node=node, boot=boot_id)

        # Who has its script will come for its files.
        self._leases.keep(release.id)
        return Resource(target=script, is_private=boot is not None, on_complete=on_complete)

    def _find_boot_file(self, info: RequestInfo, segments: tuple[bytes, ...]) -> Resource:
        client = self._name_client(info)

        def on_complete(delivery: Delivery) -> None:
            if delivery.reached_end and not _is_probe(info):
                self.nodes.first_stage(client, b"/".join(segments).decode())

        directory = self._policy.settings.tftp_dir.name.encode()
        return Resource(target=(directory, *segments), on_complete=on_complete)

    async def _find_release_file(
        self, info: RequestInfo, release_id: bytes, name: tuple[bytes, ...]
    ) -> Resource:
        text = release_id.decode("ascii", "replace")
        if not ID_PATTERN.fullmatch(text):
            raise RejectedError(404, "not found")
        try:
            release = await self._leases.take(text)
        except ReleaseGoneError as error:
            raise RejectedError(404, "not found") from error
        except ReleaseBusyError as error:
            raise RejectedError(503, "the release is locked at the moment; try again") from error
        except EcError as error:
            _log.error("a release cannot be served", release=text, reason=error.message)
            raise RejectedError(500, "the release cannot be served") from error
        return self._find_file(info, release, name)

    def _find_file(self, info: RequestInfo, release: Release, segments: tuple[bytes, ...]) -> Resource:
        name = release.find_file(b"/".join(segments).decode("utf-8", "replace"))
        if name is None:
            raise RejectedError(404, "not found")
        self._policy.access.check_file(info, release.name_in_archive(name))
        self._leases.begin(release.id)
        client = self._name_client(info)

        def on_complete(delivery: Delivery) -> None:
            self._leases.end(release.id)
            if delivery.status in _NOT_THERE:
                _log.error(
                    "a file of a release cannot be served",
                    release=release.id,
                    file=name,
                    status=delivery.status,
                    hint="`ectools netboot releases verify` compares what is on the disk",
                )
            if not _is_probe(info):
                self.nodes.file(client, release, name, delivery, boot=info.query.get(BOOT_PARAMETER))

        below = name.encode().split(b"/")
        return Resource(target=(RELEASES, release.id.encode(), *below), on_complete=on_complete)

    def _name_client(self, info: RequestInfo) -> str:
        return str(self._policy.access.find_client(info) or "unknown")


def _as_script(text: str) -> Resource:
    return Resource(target=text.encode("ascii"))


def _is_probe(info: RequestInfo) -> bool:
    """Whether it asks as ``ectools netboot probe`` does, which boots nothing. A liar is not counted."""
    return info.headers.get("User-Agent") == PROBE_NAME
