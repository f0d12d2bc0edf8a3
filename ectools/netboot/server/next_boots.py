"""What a node that runs starts next by itself, by kexec: files, kernel arguments, and the token of that boot.

    GET /next?boot=TOKEN            what it would start if it did now; nothing is changed by it
    GET /next?boot=TOKEN&take=yes   likewise, and the boot begins: the arguments have its token

The token is that of the boot that runs, and leads to one boot: once that one was seen, or the machine has
asked for another script, it leads to none (409). Lines of ``name value``: ``release`` and ``system``,
``kernel`` and each ``initrd`` (SHA-256, bytes, and the path below the boot server's URL), ``boot`` where one
begins, each ``argument`` of the kernel, and ``end``. 409 is for what takes firmware and iPXE, which the text
says.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ectools import log
from ectools.errors import EcError
from ectools.netboot.boot_files.scripts.checked import ScriptError, check_base_url, check_kernel_argument
from ectools.netboot.boot_files.scripts.reporting import BOOT_PARAMETER, NEXT_NAME, ScriptBoot
from ectools.netboot.boot_files.scripts.systems import build_systems
from ectools.netboot.boots.register import SpentTokenError
from ectools.netboot.fleet.model import NodeTarget
from ectools.netboot.http.webroot import RejectedError
from ectools.netboot.release.store import ReleaseBusyError
from ectools.netboot.server.machine_scripts import find_init

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from ectools.netboot.boot_files.scripts.systems import ScriptSystem
    from ectools.netboot.boots.model import NodeBoot
    from ectools.netboot.boots.register import BootRegister
    from ectools.netboot.fleet.assignment import Assignment
    from ectools.netboot.http.handler import RequestInfo
    from ectools.netboot.release.manifest import Release
    from ectools.netboot.server.leases import ReleaseLeases
    from ectools.netboot.server.node_assignments import NodeAssignments
    from ectools.netboot.server.policy import ServingPolicy

_log = log.Log(__name__)

_SEGMENTS = (NEXT_NAME.encode(),)
# Of iPXE: the name of an image of its, and what somebody has typed at it.
_OF_IPXE = ("initrd=", "${cmdline}")


class NextBoots:
    """The answers of one boot server. ``assignments`` knows who asks; ``find_release`` as it has it."""

    def __init__(
        self,
        boots: BootRegister,
        *,
        assignments: NodeAssignments,
        leases: ReleaseLeases,
        find_release: Callable[[Assignment], Awaitable[str | None]],
        name_client: Callable[[RequestInfo], str],
    ) -> None:
        self._boots = boots
        self._assignments = assignments
        self._leases = leases
        self._find_release = find_release
        self._name_client = name_client

    @staticmethod
    def is_asked(info: RequestInfo) -> bool:
        """Whether a request is about the next boot, and not about a file of that name."""
        return info.segments == _SEGMENTS and BOOT_PARAMETER in info.query

    async def answer(self, info: RequestInfo, policy: ServingPolicy) -> bytes:
        """The lines. Raises RejectedError: 400, 403, 404, 409, 429, 500, 503."""
        boot, node, takes = self._assignments.identify(info)
        try:
            self._boots.need_last(boot)
        except SpentTokenError as error:
            raise RejectedError(409, error.message) from error
        assignment = self._assignments.assign(node, takes=takes)
        if assignment.boot is not NodeTarget.NETWORK or assignment.once:
            raise RejectedError(409, "what this node boots next takes its firmware")
        release = await self._take_release(assignment)
        try:
            system = _find_system(policy, assignment, release, boot)
            arguments = _list_arguments(system, assignment)
            base_url = check_base_url(policy.settings.base_url)
        except ScriptError as error:
            raise RejectedError(409, error.message) from error
        self._leases.keep(release.id)
        lines = [
            f"release {release.id}",
            f"system {system.system.name}",
            *_list_files(release, system),
        ]
        # Who looks and does not boot (HEAD) begins nothing.
        if takes and info.method == "GET":
            begun, token = await self._begin(
                info, boot, assignment, release=release, system=system.system.name, arguments=arguments
            )
            script = ScriptBoot(
                id=begun.id, token=token, within=assignment.healthy_within, units=assignment.health_units
            )
            arguments = (*arguments, *script.build_arguments(base_url, release.id))
            lines.append(f"boot {begun.id}")
        return "".join(
            f"{line}\n" for line in (*lines, *(f"argument {a}" for a in arguments), "end")
        ).encode()

    async def _take_release(self, assignment: Assignment) -> Release:
        """The release that a node starts, held for a while for it. Raises RejectedError."""
        release_id = await self._find_release(assignment)
        if release_id is None:
            raise RejectedError(409, "the release is not staged here")
        try:
            return await self._leases.take(release_id)
        except ReleaseBusyError as error:
            raise RejectedError(503, "the release is locked at the moment; try again") from error
        except EcError as error:
            _log.error("a release cannot be served", release=release_id, reason=error.message)
            raise RejectedError(500, "the release cannot be served") from error

    async def _begin(
        self,
        info: RequestInfo,
        boot: NodeBoot,
        assignment: Assignment,
        *,
        release: Release,
        system: str,
        arguments: tuple[str, ...],
    ) -> tuple[NodeBoot, str]:
        begun, token = await self._boots.begin(
            machine=boot.machine,
            node=assignment.node,
            group=assignment.group,
            release=release.id,
            tag=release.tag,
            system=system,
            store_path=find_init(arguments),
            client=self._name_client(info),
            within=assignment.healthy_within,
            after=boot.id,
        )
        _log.info("a node boots by kexec", node=assignment.node, boot=begun.id, release=release.id)
        return begun, token


def _list_files(release: Release, system: ScriptSystem) -> Iterator[str]:
    for number, file in enumerate(system.files):
        record = release.files[file]
        kind = "initrd" if number else "kernel"
        yield f"{kind} {record.sha256} {record.size} /releases/{release.id}/{file}"


def _find_system(
    policy: ServingPolicy, assignment: Assignment, release: Release, boot: NodeBoot
) -> ScriptSystem:
    """What the fleet names, else the system that runs, else the release's only one. Raises ScriptError."""
    names = [each.name for each in release.systems]
    wanted = assignment.system
    if wanted is None:
        wanted = boot.system if boot.system in names else names[0] if len(names) == 1 else None
    if wanted is None:
        raise ScriptError(f"{release.title} has no system {boot.system}, which is the one that runs")
    for argument in assignment.kernel_arguments:
        check_kernel_argument(argument)
    (system, *_) = build_systems(policy.settings, release, only=wanted, more=assignment.kernel_arguments)
    if system.is_protected:
        raise ScriptError("the kernel or the initrd is among protectedFiles, whose token no node has")
    return system


def _list_arguments(system: ScriptSystem, assignment: Assignment) -> tuple[str, ...]:
    """The kernel's arguments without iPXE. Raises ScriptError for what iPXE alone can say."""
    arguments = tuple(each for each in system.arguments if not each.startswith(_OF_IPXE))
    unknown = next((each for each in arguments if "${" in each), None)
    if unknown is not None:
        raise ScriptError(f"{assignment.node}: the kernel's argument {unknown} has a variable of iPXE's")
    return arguments
