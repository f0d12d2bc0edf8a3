"""What a node that runs is to boot next, for those that follow their group's release without being told.

    GET /assignment?boot=TOKEN            what it would get if it asked now; nothing is changed by it
    GET /assignment?boot=TOKEN&take=yes   a rollout may give it the release; the node boots again at once

The token is that of the boot that runs, which its kernel's arguments hold. The answer is lines of
``name=value``, for a shell: ``node``, ``group`` and its ``slots`` (empty where it has none), ``state`` of the
boot, ``boot`` (network, disk, hold or install), ``system`` (the name of the one that runs), ``runs`` and
``release`` (ids; ``release`` is empty where none is staged, or where it has no system for this node, as
``why`` says then). A node boots again where ``boot`` is network and ``release`` another than ``runs``.

A node that boots from its disk is told two lines more: ``installed``, the store path that it is to run, and
``cache``, from where. Both are empty where the release has no such system, and ``why`` says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ectools.errors import EcError, cut
from ectools.netboot.boot_files.scripts.reporting import ASSIGNMENT_NAME, BOOT_PARAMETER
from ectools.netboot.fleet.assignment import assign
from ectools.netboot.fleet.model import NodeTarget
from ectools.netboot.http.slots import share_of
from ectools.netboot.http.webroot import RejectedError
from ectools.netboot.release.installed_systems import NoInstalledSystemError
from ectools.netboot.server.rate_limit import RateLimit
from ectools.netboot.server.unknown_tokens import UnknownTokens

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ectools.netboot.boots.model import NodeBoot
    from ectools.netboot.boots.register import BootRegister
    from ectools.netboot.fleet.assignment import Assignment
    from ectools.netboot.fleet.live import LiveFleet
    from ectools.netboot.fleet.model import Node
    from ectools.netboot.http.handler import RequestInfo
    from ectools.netboot.rollout.live import LiveRollouts

ASKED_SECONDS = 1800.0
"""In which it is kept once that a system that runs asks what is next; where a rollout waits less, oftener."""
_SEGMENTS = (ASSIGNMENT_NAME.encode(),)
_TAKE = "take"


class NodeAssignments:
    """The answers of one boot server.

    ``find_release`` gives the id of the release that an assignment means, None where it is not staged;
    ``find_installed`` the store path of the installed system and its cache, of an assignment, a release and
    the name of the node's system; ``has_successor`` whether the node would find its system in a release that
    it goes to from a boot; ``base_url`` this server's;
    ``name_client`` the address of who asks; ``clock`` seconds that only grow.
    """

    def __init__(
        self,
        boots: BootRegister,
        *,
        live: LiveFleet,
        rollouts: LiveRollouts,
        find_release: Callable[[Assignment], Awaitable[str | None]],
        find_installed: Callable[[Assignment, str, str], Awaitable[tuple[str, str]]],
        has_successor: Callable[[Assignment, str, NodeBoot], Awaitable[bool]],
        base_url: Callable[[], str],
        name_client: Callable[[RequestInfo], str],
        is_cut_off: Callable[[], bool] | None = None,
        clock: Callable[[], float],
    ) -> None:
        self._boots = boots
        self._unknown = UnknownTokens(is_cut_off=is_cut_off, clock=clock, has_read=lambda: boots.is_loaded)
        self._live = live
        self._rollouts = rollouts
        self._find_release = find_release
        self._find_installed = find_installed
        self._has_successor = has_successor
        self._base_url = base_url
        self._name_client = name_client
        self._strangers = RateLimit(burst=16, per_second=1, clock=clock)
        self._nodes = RateLimit(burst=16, per_second=1, clock=clock)

    @staticmethod
    def is_asked(info: RequestInfo) -> bool:
        """Whether a request is about an assignment, and not about a file of that name."""
        return info.segments == _SEGMENTS and BOOT_PARAMETER in info.query

    def identify(self, info: RequestInfo) -> tuple[NodeBoot, Node, bool]:
        """The boot whose token asks, its node, and whether it takes.

        Raises RejectedError: 400, 403, 404, 429.
        """
        tokens, takes = info.query.getall(BOOT_PARAMETER, []), info.query.getall(_TAKE, [])
        boot = self._boots.find_by_token(tokens[0]) if len(tokens) == 1 else None
        if boot is None:
            if not self._strangers.take(share_of(self._name_client(info))):
                raise RejectedError(429, "too many ask who may not; come later")
            if len(tokens) == 1 and self._unknown.may_be_known_later(tokens[0]):
                raise RejectedError(503, "the token is not known here as yet; ask again")
            raise RejectedError(403, "the token is unknown")
        if not self._nodes.take(boot.token_hash):
            raise RejectedError(429, "this boot has asked too often; come later")
        if takes not in ([], ["yes"]):
            raise RejectedError(400, "expected take=yes, or nothing")
        node = self._live.fleet.nodes.get(boot.node or "")
        if node is None:
            raise RejectedError(404, "the fleet has no name for this machine")
        self._rollouts.hear(node.name)
        self._boots.note_asking(boot, period=self._find_period(node))
        return boot, node, bool(takes)

    def _find_period(self, node: Node) -> float:
        """How often it is kept that a node asks, for other hosts and for after a start: four times before it
        would be taken for off.
        """
        rollout = self._rollouts.rollouts.get(node.group or "")
        if rollout is None or rollout.has_ended:
            return ASKED_SECONDS
        return min(ASKED_SECONDS, rollout.plan.off_after / 4)

    def assign(self, node: Node, *, takes: bool) -> Assignment:
        """What a node boots: with ``takes`` what it has been given, else what it would get."""
        led = self._rollouts.lead(node) if takes else self._rollouts.preview(node)
        return assign(self._live.fleet, node, self._live.get_override(node.name), led)

    async def answer(self, info: RequestInfo) -> bytes:
        """The lines. Raises RejectedError: 400, 403, 404, 429, 503."""
        boot, node, takes = self.identify(info)
        # Who looks and does not boot (HEAD) takes nothing.
        targets = (NodeTarget.NETWORK, NodeTarget.DISK)
        if takes and info.method == "GET" and self._live.assign(node).boot in targets:
            await self._offer(boot, node)
        assignment = self.assign(node, takes=takes)
        release = await self._find_release(assignment)
        why = {}
        if not await self._is_served(boot, assignment, release):
            # It would boot into a screen that says so, and wait there.
            release, why = None, {"why": "what is next has no system for this node"}
        group = self._live.fleet.groups.get(node.group or "")
        lines = {
            "node": node.name,
            "group": node.group or "",
            "slots": "" if group is None or group.slots is None else group.slots,
            "state": boot.state.value,
            "boot": assignment.boot.value,
            "system": boot.system,
            "runs": boot.release,
            "release": release or "",
            **why,
            **(await self._describe_disk(boot, assignment, release)),
        }
        return "".join(f"{name}={value}\n" for name, value in lines.items()).encode()

    async def runs_next(self, boot: NodeBoot, release: str) -> bool:
        """Whether a release is what a boot's node is led to on its disk, and brings the system that runs.

        Raises RejectedError: 503.
        """
        node = self._live.fleet.nodes.get(boot.node or "")
        if node is None or boot.report is None:
            return False
        assignment = self.assign(node, takes=True)
        if await self._find_release(assignment) != release:
            return False
        disk = await self._describe_disk(boot, assignment, release)
        return disk.get("installed", "") == boot.report.system

    async def _offer(self, boot: NodeBoot, node: Node) -> None:
        """A rollout may give the node its release, where that can be served here: else it takes no place."""
        if not self._rollouts.may_be_offered(node):
            return
        offered = self.assign(node, takes=False)
        release = await self._find_release(offered)
        if release is None or not await self._is_served(boot, offered, release):
            return
        disk = await self._describe_disk(boot, offered, release)
        if "why" not in disk:
            await self._rollouts.offer(node.group or "", node.name)

    async def _is_served(self, boot: NodeBoot, assignment: Assignment, release: str | None) -> bool:
        """Whether a node that boots from the network would find its system in a release, if there is one."""
        if assignment.boot is not NodeTarget.NETWORK or release in (None, boot.release):
            return True
        assert release is not None  # noqa: S101 - just looked at
        return await self._has_successor(assignment, release, boot)

    async def _describe_disk(
        self, boot: NodeBoot, assignment: Assignment, release: str | None
    ) -> dict[str, str]:
        """What a node that boots from its disk is to have there; of others nothing."""
        if assignment.boot is not NodeTarget.DISK or release is None:
            return {}
        try:
            system, cache = await self._find_installed(assignment, release, boot.system)
        except NoInstalledSystemError as error:
            return {"installed": "", "cache": "", "why": cut(error.message)}
        except EcError as error:
            raise RejectedError(503, "the release cannot be read at the moment; ask again") from error
        return {"installed": system, "cache": f"{self._base_url()}/{cache}"}
