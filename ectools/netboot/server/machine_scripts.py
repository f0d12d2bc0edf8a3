"""The second stage for one machine of a fleet, made as it asks; and what the log says of those that wait."""

from __future__ import annotations

import re
import secrets
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from ectools import log
from ectools.ipxe.language import goes_on
from ectools.netboot.boot_files.scripts.checked import ScriptError, check_kernel_argument
from ectools.netboot.boot_files.scripts.reporting import ScriptBoot
from ectools.netboot.boot_files.scripts.second_stage import build_netboot
from ectools.netboot.boot_files.scripts.unbooted import build_disk, build_hold, build_refusal
from ectools.netboot.fleet.machine import list_keys
from ectools.netboot.fleet.model import NodeTarget
from ectools.netboot.kernel import KERNELS_BY_BUILD
from ectools.netboot.release.systems import choose_system

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ectools.netboot.release.manifest import Release, System
    from ectools.netboot.server.policy import Asked, ServingPolicy

_log = log.Log(__name__)

# In a script that is not filled yet: nobody can have put them into a setting.
_NODE, _ARGUMENTS, _ID, _TOKEN, _ORDER = (secrets.token_hex(16) for _ in range(5))
_MAX_SCRIPTS = 256
_INIT = re.compile(r"init=(/nix/store/[^/]+)/init")
# A machine that is held asks every half minute, for as long as nobody names it.
_AGAIN_SECONDS = 3600.0
_MAX_MACHINES = 4096


def name_machine(asked: Asked) -> str:
    """What a screen calls it."""
    name = asked.assignment.node
    return f"a machine of no name ({asked.machine})" if name is None else f"{name} ({asked.machine})"


def name_subject(asked: Asked) -> str | None:
    """What a machine's boots are known by where it has no name: the first of its keys; None: it has none.

    Of one that is known as several nodes it is all of them, which say so for as long as the boot is kept.
    """
    if asked.found.is_torn:
        return str(asked.machine)
    key = next(list_keys(asked.machine), None)
    return None if key is None else " ".join(key)


class BootedScripts:
    """The scripts of machines that boot a release: one is made for all that boot alike, and filled for each.

    It belongs to one policy, whose settings and token are in them.
    """

    def __init__(self) -> None:
        self._made: OrderedDict[tuple[object, ...], str] = OrderedDict()

    def find(self, policy: ServingPolicy, asked: Asked, release: Release, *, reports: bool) -> str:
        """The script for ``fill``; ``reports``: it says what becomes of its boot.

        Raises ScriptError where the release has nothing for the machine.
        """
        assignment, own = asked.assignment, asked.assignment.kernel_arguments
        for argument in own:
            check_kernel_argument(argument)
        if own and goes_on(own[-1]):
            raise ScriptError(f"{own[-1]!r}: a kernel's last argument ends in a backslash")
        # A machine may say what it likes; what is not known makes no other script.
        build = asked.machine.build if asked.machine.build in KERNELS_BY_BUILD else None
        health = (assignment.healthy_within, assignment.health_units)
        installs = assignment.install is not None
        parts = (assignment.system, build, assignment.node is None, bool(own), installs)
        key = (release.id, *parts, *(health if reports else ()))
        made = self._made.get(key)
        if made is None:
            within, units = health
            made = self._made[key] = build_netboot(
                policy.settings,
                release,
                policy.token,
                system=assignment.system,
                build=build,
                arguments=(_ARGUMENTS,) if own else (),
                title="" if assignment.node is None else _NODE,
                boot=_build_boot(within, units, installs=installs) if reports else None,
            )
            if len(self._made) > _MAX_SCRIPTS:
                self._made.popitem(last=False)
        return made.replace(_ARGUMENTS, " ".join(own))

    @staticmethod
    def fill(
        script: str, *, node: str | None, boot_id: str = "", token: str = "", order: str | None = None
    ) -> bytes:
        """A found script for one machine, and one boot of it."""
        filled = script.replace(_NODE, node or "").replace(_ID, boot_id).replace(_TOKEN, token)
        return filled.replace(_ORDER, order or "").encode("ascii")


def _build_boot(within: int, units: tuple[str, ...], *, installs: bool) -> ScriptBoot:
    return ScriptBoot(id=_ID, token=_TOKEN, within=within, units=units, order=_ORDER if installs else None)


def find_system(policy: ServingPolicy, asked: Asked, release: Release) -> System | None:
    """The system of ``release`` that a machine is given; None where that cannot be told."""
    systems, wanted = release.systems, asked.assignment.system
    if wanted is not None:
        return next((each for each in systems if each.name == wanted), None)
    return choose_system(systems, asked.machine.build or "", policy.settings.release.systems)


def find_store_path(asked: Asked, system: System | None) -> str | None:
    """The NixOS system that the kernel is told to start: the last ``init=`` counts, as with the kernel."""
    return find_init((*(() if system is None else system.boot.arguments), *asked.assignment.kernel_arguments))


def find_init(arguments: Sequence[str]) -> str | None:
    """The NixOS system that ``arguments`` start: of several the last one, as with the kernel."""
    found = [_INIT.fullmatch(each) for each in arguments if each.startswith("init=")]
    return found[-1][1] if found and found[-1] is not None else None


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
