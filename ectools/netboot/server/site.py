"""The router of the boot server: which path leads to which file, and of which release.

    /netboot.ipxe               the second script, made for the current release; of a fleet, for each machine
    /releases/<id>/<file>       a file of that release; of several systems, below the directory of its name
    /disk-boot, /disk-update    what a node says that has booted from its disk
    /report, /assignment, /next what a node says of its boot, and asks about its next one
    /channels/<name>            the signed pointer of a channel that is followed
    /<file>                     a file of the current release
    /autoexec.ipxe, /<binary>, /<directory>/<extra file>
                                the boot files of the TFTP directory, which come before a release's files

``current`` is looked at for each request, so a release that was staged is served at once. Where it cannot be,
the one before stays. A thread looks, so that a lock or a disk holds up nobody but who wants to know.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from ectools import log
from ectools.errors import EcError
from ectools.ipxe.language import NETBOOT_NAME
from ectools.netboot.boot_files.scripts.reporting import BOOT_PARAMETER
from ectools.netboot.boot_files.scripts.second_stage import build_netboot
from ectools.netboot.http.handler import Resource
from ectools.netboot.http.webroot import RejectedError
from ectools.netboot.release.manifest import ID_PATTERN
from ectools.netboot.release.store import ReleaseBusyError, ReleaseGoneError
from ectools.netboot.release.systems import find_unserved
from ectools.netboot.server.access import RELEASES
from ectools.netboot.server.boot_tracker import BootTracker
from ectools.netboot.server.disk_desk import DiskDesk
from ectools.netboot.server.fleet_lock import FleetLock
from ectools.netboot.server.install_desk import InstallDesk
from ectools.netboot.server.leases import ReleaseLeases
from ectools.netboot.server.next_boots import NextBoots
from ectools.netboot.server.node_assignments import NodeAssignments
from ectools.netboot.server.node_questions import NodeQuestions
from ectools.netboot.server.node_reports import NodeReports
from ectools.netboot.server.receivers import Receivers
from ectools.netboot.server.script_desk import CurrentRelease, ScriptDesk, is_probe
from ectools.timers import Guard

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ectools.netboot.boots.register import BootRegister
    from ectools.netboot.fleet.live import LiveFleet
    from ectools.netboot.http.admission import Standing
    from ectools.netboot.http.handler import Receiver, RequestInfo
    from ectools.netboot.http.responses import Delivery
    from ectools.netboot.release.manifest import Release
    from ectools.netboot.release.store import ReleaseStore
    from ectools.netboot.rollout.live import LiveRollouts
    from ectools.netboot.rollout.slots import GroupSlots
    from ectools.netboot.server.policy import ServingPolicy

_log = log.Log(__name__)

_LOOK_SECONDS = 5.0
# A report is the watchdog's too, which a disk that hangs must not starve (``HttpServer.check_itself``).
_LOOK_SECONDS_OF_REPORT = 2.0
# What the root answers where a file that the release's manifest lists is gone, closed or broken.
_NOT_THERE = frozenset({403, 404, 500})


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
    fleet, as it is changed while it is used, ``rollouts`` what leads its groups, and ``slots`` how many of
    each may be away. ``is_cut_off`` is as in ``UnknownTokens``. ``receiver`` takes what clients send.
    """

    def __init__(
        self,
        store: ReleaseStore,
        policy: ServingPolicy,
        *,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        details: Callable[[], Mapping[str, Any]] = dict,
        boots: BootRegister | None = None,
        live: LiveFleet | None = None,
        rollouts: LiveRollouts | None = None,
        slots: GroupSlots | None = None,
        is_cut_off: Callable[[], bool] | None = None,
    ) -> None:
        self._store = store
        self._policy = policy
        self._live = live
        self._set_fleet()
        self._details = details
        self._leases = ReleaseLeases(store, clock=clock)
        self._current: CurrentRelease | None = None
        self._reported_error: str | None = None
        self._looking: asyncio.Task[None] | None = None
        self.guard = Guard("looks at what is current", clock=clock)
        self.nodes = BootTracker(clock=clock, see=(lambda *_: None) if boots is None else boots.see)
        self.reports = (
            None
            if boots is None
            else NodeReports(
                boots,
                name_client=self._name_client,
                installs=None if live is None else InstallDesk(boots, live, clock=wall_clock),
                base_url=lambda: self._policy.settings.base_url,
                is_cut_off=is_cut_off,
                clock=clock,
            )
        )
        self._scripts = ScriptDesk(
            store,
            self._leases,
            nodes=self.nodes,
            boots=boots,
            live=live,
            rollouts=rollouts,
            need_current=self._need_current,
            name_client=self._name_client,
            clock=clock,
            wall_clock=wall_clock,
        )
        self._questions = NodeQuestions(store, self.reports)
        self.receiver: Receiver | None = self.reports
        runs_next = None
        if boots is not None and live is not None and rollouts is not None:
            assignments = NodeAssignments(
                boots,
                live=live,
                rollouts=rollouts,
                find_release=self._scripts.find_release,
                is_cut_off=is_cut_off,
                find_installed=self._scripts.find_installed,
                has_successor=self._scripts.has_successor,
                base_url=lambda: self._policy.settings.base_url,
                name_client=self._name_client,
                clock=clock,
            )
            runs_next = assignments.runs_next
            next_boots = NextBoots(
                boots,
                assignments=assignments,
                leases=self._leases,
                find_release=self._scripts.find_release,
                name_client=self._name_client,
            )
            self._questions.lead(assignments, next_boots)
        if self.reports is not None and live is not None and slots is not None:
            lock = FleetLock(slots, fleet=lambda: live.fleet, name_client=self._name_client, clock=clock)
            assert boots is not None  # noqa: S101 - there are reports
            disks = DiskDesk(
                boots,
                live,
                name_client=self._name_client,
                base_url=lambda: self._policy.settings.base_url,
                runs_next=runs_next,
                clock=clock,
                wall_clock=wall_clock,
            )
            self.receiver = Receivers([self.reports, lock, disks])

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
                return await self._scripts.find(info, self._policy)
            case _ if (told := await self._questions.answer(info, self._policy)) is not None:
                return Resource(target=told, is_private=True)
            case _ if (pointer := await self._questions.find_pointer(info)) is not None:
                return Resource(target=pointer)
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
        await self._scripts.sweep()
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

    def _build(self, release: Release, policy: ServingPolicy) -> CurrentRelease:
        script = build_netboot(policy.settings, release, policy.token).encode("ascii")
        _warn_of_unserved(release, policy)
        return CurrentRelease(release=release, script=script, policy=policy)

    def _report_error(self, error: EcError) -> None:
        if error.message != self._reported_error:
            self._reported_error = error.message
            serving = None if self._current is None else self._current.release.id
            _log.error("the current release cannot be served", reason=error.message, serving=serving)

    async def _need_current(self) -> CurrentRelease:
        await self.refresh()
        if self._current is None:
            reason = (
                "no release is staged yet" if self._reported_error is None else "the release cannot be served"
            )
            raise RejectedError(503, f"{reason}; try again")
        return self._current

    def _find_boot_file(self, info: RequestInfo, segments: tuple[bytes, ...]) -> Resource:
        client = self._name_client(info)

        def on_complete(delivery: Delivery) -> None:
            if delivery.reached_end and not is_probe(info):
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
        return self._find_file(info, release, name, is_immutable=True)

    def _find_file(
        self,
        info: RequestInfo,
        release: Release,
        segments: tuple[bytes, ...],
        *,
        is_immutable: bool = False,
    ) -> Resource:
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
            if not is_probe(info):
                self.nodes.file(client, release, name, delivery, boot=info.query.get(BOOT_PARAMETER))

        below = name.encode().split(b"/")
        return Resource(
            target=(RELEASES, release.id.encode(), *below),
            # A cache would give it to those who have no token.
            is_immutable=is_immutable and not self._policy.access.is_protected(release.name_in_archive(name)),
            on_complete=on_complete,
        )

    def _name_client(self, info: RequestInfo) -> str:
        return str(self._policy.access.find_client(info) or "unknown")
