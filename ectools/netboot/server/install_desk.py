"""What machines are told that install, and what becomes of the fleet for what they say.

A machine installs by the order that its boot was begun for, while that is in force, and for itself alone.
Before it writes to a disk it says to which one, which is kept: a machine that is killed may go on with it,
whatever it looks like by then. Once its disk boots, that is kept too, and it is not installed again.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from ectools.netboot.boots.installing import InstallRefusedError, advance
from ectools.netboot.boots.model import InstallStep
from ectools.netboot.boots.register import ReportError
from ectools.netboot.fleet.install import NodeInstall
from ectools.netboot.fleet.machine import normalize_keys
from ectools.netboot.fleet.roster import find_claimed
from ectools.netboot.release.binary_cache import CACHE_NAME

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ectools.netboot.boots.installing import InstallWord
    from ectools.netboot.boots.model import NodeBoot
    from ectools.netboot.boots.register import BootRegister
    from ectools.netboot.fleet.install import InstallPlan
    from ectools.netboot.fleet.live import LiveFleet


class InstallDesk:
    """The installations of one boot server. ``clock`` gives Unix seconds."""

    def __init__(
        self, boots: BootRegister, fleet: LiveFleet, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._boots = boots
        self._fleet = fleet
        self._clock = clock

    async def receive(self, token: str, word: InstallWord, *, base_url: str) -> tuple[NodeBoot, bytes]:
        """The boot, and what its machine is answered: the plan, where it asks for it. ``base_url``: ours.

        Raises ReportError, InstallRefusedError; StateError, EcError: it may say it again.
        """
        boot = self._boots.find_reporting(token)
        if boot is None:
            raise ReportError("the installation's token is unknown, or its time is over")
        newest = self._boots.latest.get(boot.subject)
        if newest is None or newest.id != boot.id:
            # Else what it says of its order would stand in place of what a later boot is at.
            raise InstallRefusedError("its machine has asked for another boot since")
        said = advance(boot, word)
        answer = b"ok\n"
        if word.step is InstallStep.BEGIN:
            plan = self._need_order(boot)
            self._check_machine(boot, word.known_by)
            answer = self._write_plan(boot, plan, base_url)
        elif word.step is InstallStep.PARTITION and word.error is None:
            self._need_order(boot)
            await self._note(said, done=False)
        elif word.step is InstallStep.DONE:
            await self._note(said, done=True)
        return await self._boots.install(token, word), answer

    def _need_order(self, boot: NodeBoot) -> InstallPlan:
        """What the fleet says now. Raises InstallRefusedError where it has changed its mind since."""
        node = self._fleet.fleet.nodes.get(boot.node or "")
        plan = None if node is None else self._fleet.assign(node).install
        if plan is None or boot.install is None or plan.order != boot.install.order:
            raise InstallRefusedError("its node is not to be installed any more, or by another order")
        return plan

    def _check_machine(self, boot: NodeBoot, known_by: Iterable[tuple[str, str]]) -> None:
        """Whether the machine is the node's, by all that it says of itself."""
        names = find_claimed(self._fleet.roster, normalize_keys(known_by))
        if names != {boot.node}:
            others = ", ".join(sorted(names)) or "no node"
            raise InstallRefusedError(f"the machine that came with its token is {others}")

    def _write_plan(self, boot: NodeBoot, plan: InstallPlan, base_url: str) -> bytes:
        """Lines of a word and its value, as nix/modules/ec-install.sh reads them."""
        begun = self._find_begun(boot, plan)
        lines = {
            "node": boot.node,
            "order": plan.order,
            "system": boot.store_path,
            "cache": f"{base_url}/releases/{boot.release}/{CACHE_NAME}",
            "disk-id": plan.disk.id,
            "disk-serial": plan.disk.serial,
            "disk-min-bytes": None if plan.disk.min_gib is None else plan.disk.min_gib << 30,
            "erase": "yes" if plan.erase else "no",
            "host-keys": plan.host_keys.value,
            "begun": None if begun is None else begun.disk,
        }
        return "".join(f"{name} {value}\n" for name, value in lines.items() if value is not None).encode()

    def _find_begun(self, boot: NodeBoot, plan: InstallPlan) -> NodeInstall | None:
        """What the same order was at when the machine was killed, if it had begun to write."""
        override = self._fleet.get_override(boot.node or "")
        install = None if override is None else override.install
        return install if install is not None and install.order == plan.order and not install.done else None

    async def _note(self, boot: NodeBoot, *, done: bool) -> None:
        install = boot.install
        if boot.node is None or install is None or install.disk is None or boot.store_path is None:
            raise InstallRefusedError("it does not say what it writes to")
        noted = NodeInstall(
            order=install.order,
            at=self._clock(),
            boot_id=boot.id,
            disk=install.disk,
            system=boot.store_path,
            release=boot.release,
            done=done,
            # The system on the disk has the token of the boot that installed it.
            credential=boot.token_hash if done else None,
        )
        await self._fleet.note_install(boot.node, noted)
