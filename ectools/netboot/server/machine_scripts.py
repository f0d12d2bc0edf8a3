"""The second stage for one machine of a fleet, made as it asks; and what the log says of those that wait."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from ectools import log
from ectools.netboot.boot_files.scripts.second_stage import build_netboot
from ectools.netboot.boot_files.scripts.unbooted import build_disk, build_hold, build_refusal
from ectools.netboot.fleet.model import NodeTarget

if TYPE_CHECKING:
    from collections.abc import Callable

    from ectools.netboot.release.manifest import Release
    from ectools.netboot.server.policy import Asked, ServingPolicy

_log = log.Log(__name__)

# A machine that is held asks every half minute, for as long as nobody names it.
_AGAIN_SECONDS = 3600.0
_MAX_MACHINES = 4096


def name_machine(asked: Asked) -> str:
    """What a screen calls it."""
    name = asked.assignment.node
    return f"a machine of no name ({asked.machine})" if name is None else f"{name} ({asked.machine})"


def build_booted(policy: ServingPolicy, asked: Asked, release: Release) -> str:
    """The script of a machine that boots ``release``. Raises ScriptError where that has nothing for it."""
    assignment = asked.assignment
    return build_netboot(
        policy.settings,
        release,
        policy.token,
        system=assignment.system,
        build=asked.machine.build,
        arguments=assignment.kernel_arguments,
        title=assignment.node or "",
    )


def build_unbooted(policy: ServingPolicy, asked: Asked) -> str:
    """The script of a machine that boots no release. Raises ScriptError."""
    assignment, name = asked.assignment, name_machine(asked)
    if assignment.boot is NodeTarget.DISK:
        return build_disk(why=[f"{name} boots from its disk"])
    if asked.found.is_torn:
        claims = ", ".join(f"{key} is {node}'s" for key, node in sorted(asked.found.claims.items()))
        why = [f"{name} is known as several nodes of the fleet: {claims}"]
    elif assignment.node is None:
        why = [f"the fleet has no node that is this machine: {asked.machine}"]
    else:
        why = [f"{name} is held"]
    if assignment.refused:
        return build_refusal(why=[*why, "it boots nothing from here"])
    return build_hold(policy.settings, policy.token, why=why)


def build_waiting(policy: ServingPolicy, asked: Asked, *, why: str) -> str:
    """The script of a machine whose release cannot be booted as yet. Raises ScriptError."""
    return build_hold(policy.settings, policy.token, why=[f"{name_machine(asked)}: {why}"])


class MachineLog:
    """What is logged of machines that do not boot: once an hour each, however often it asks."""

    def __init__(self, *, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._told: OrderedDict[tuple[str, str], float] = OrderedDict()

    def tell(self, event: str, asked: Asked, **fields: Any) -> None:
        """A line at the level of a warning, unless there was the same of this machine within the hour."""
        machine, now = str(asked.machine), self._clock()
        told = self._told.get((event, machine))
        if told is not None and now - told < _AGAIN_SECONDS:
            return
        self._told[event, machine] = now
        self._told.move_to_end((event, machine))
        if len(self._told) > _MAX_MACHINES:
            self._told.popitem(last=False)
        _log.warning(event, machine=machine, node=asked.assignment.node, **fields)
