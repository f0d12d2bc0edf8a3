"""Machines that boot from their disk: who they are without a boot script, and the boots that they begin.

    POST /disk-boot?node=NAME&token=CREDENTIAL    it has booted; the answer has the words to report by
    POST /disk-update?token=TOKEN                 how far it is with the next release, by its boot's token

What is sent stands in ``ectools.netboot.boots.disk``; the answer to the first is two lines::

    credential <what it shows at its next boot>
    arguments every_channel.report=… every_channel.release=… …

The first credential is the token of the boot that installed the disk; shown by the first boot from there, it
begins none, since that is still the same boot. A credential is good for one boot. The one before stays good
until its successor is shown, since the answer may have been lost on the way to the disk. So of two machines
that have the same, as a copied disk makes them, one is refused at its next boot, and the log names the node.
"""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING

from ectools import log
from ectools.errors import EcError, InputError
from ectools.netboot.boot_files.scripts.reporting import DISK_BOOT_NAME, DISK_UPDATE_NAME, ScriptBoot
from ectools.netboot.boots.disk import MAX_DISK_BYTES, parse_disk_word, parse_update
from ectools.netboot.boots.memory import hash_token
from ectools.netboot.boots.model import BootState, BootUpdate, UpdateStep
from ectools.netboot.boots.register import ReportError
from ectools.netboot.fleet.machine import normalize_keys
from ectools.netboot.fleet.roster import find_claimed
from ectools.netboot.http.slots import share_of
from ectools.netboot.http.webroot import RejectedError
from ectools.netboot.server.rate_limit import RateLimit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ectools.netboot.boots.disk import DiskWord
    from ectools.netboot.boots.model import NodeBoot
    from ectools.netboot.boots.register import BootRegister
    from ectools.netboot.fleet.install import NodeInstall
    from ectools.netboot.fleet.live import LiveFleet
    from ectools.netboot.fleet.override import NodeOverride
    from ectools.netboot.http.handler import RequestInfo

_log = log.Log(__name__)

_BOOT, _UPDATE = (DISK_BOOT_NAME.encode(),), (DISK_UPDATE_NAME.encode(),)
_NODE, _TOKEN = "node", "token"
_CREDENTIAL_BYTES = 24
_UNBOOTED = (
    "its firmware or boot loader starts the system before each time (`bootctl status` there says which)"
)
_REFUSED = "the credential is unknown, or was used before"


class SpentError(EcError):
    """A credential has been used since it was admitted."""


class DiskDesk:
    """The machines of one boot server that boot from their disk.

    ``name_client`` gives the address of who asks, ``base_url`` the boot server's, ``clock`` seconds that only
    grow, ``wall_clock`` Unix seconds; ``runs_next`` whether a release is what a boot's node is led to, and
    brings the system that runs, None where nobody is led.
    """

    max_bytes = MAX_DISK_BYTES

    def __init__(
        self,
        boots: BootRegister,
        live: LiveFleet,
        *,
        name_client: Callable[[RequestInfo], str],
        base_url: Callable[[], str],
        runs_next: Callable[[NodeBoot, str], Awaitable[bool]] | None = None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._boots = boots
        self._live = live
        self._name_client = name_client
        self._base_url = base_url
        self._runs_next = runs_next
        self._wall_clock = wall_clock
        self._strangers = RateLimit(burst=16, per_second=1, clock=clock)
        self._nodes = RateLimit(burst=16, per_second=0.5, clock=clock)

    def bound(self, info: RequestInfo) -> int:  # noqa: ARG002 - the same at each of its paths
        """Bytes of the largest body that is taken."""
        return self.max_bytes

    def is_for(self, info: RequestInfo) -> bool:
        """Whether a body may be sent to this path."""
        return info.segments in (_BOOT, _UPDATE)

    def admit(self, info: RequestInfo) -> None:
        """A body that is about to come. Raises RejectedError: 403, 429, 503."""
        if not (self._boots.is_loaded and self._live.is_loaded):
            # Who is refused by mistake comes again late, and a boot that begins now ends none of before.
            raise RejectedError(503, "what is known of earlier boots is not read as yet; say it again")
        token = _get_one(info, _TOKEN)
        name, client = _get_one(info, _NODE), self._name_client(info)
        if info.segments == _BOOT and self._is_unread(name):
            # What it shows may be good, and would be written over with what is known here.
            raise RejectedError(503, "a later version has kept what is on this disk; say it again, or there")
        install = None if info.segments == _UPDATE else self._find_install(name)
        if info.segments == _UPDATE:
            is_known = self._boots.find_by_token(token) is not None
        else:
            is_known = install is not None and install.accepts(hash_token(token))
        if not is_known:
            if not self._strangers.take(share_of(client)):
                raise RejectedError(429, "too many ask who may not; come later")
            if install is not None and install.credential is not None:
                _tell_refused(name, client)
            raise RejectedError(403, _REFUSED)
        if not self._nodes.take(hash_token(token)):
            raise RejectedError(429, "this machine has asked too often; come later")

    async def receive(self, info: RequestInfo, body: bytes) -> bytes:
        """The answer to what was admitted. Raises RejectedError: 400, 403, 503."""
        client = self._name_client(info)
        try:
            if info.segments == _UPDATE:
                return await self._note_update(info.query[_TOKEN], body, client)
            word = parse_disk_word(body)
            return await self._begin(info.query[_NODE], info.query[_TOKEN], word, client)
        except RejectedError:
            raise
        except InputError as error:
            raise RejectedError(400, error.message) from error
        except (ReportError, SpentError) as error:
            raise RejectedError(403, _REFUSED) from error
        except EcError as error:
            raise RejectedError(503, "it cannot be kept at the moment; say it again") from error

    def _is_unread(self, name: str) -> bool:
        override = self._live.get_override(name)
        return override is not None and "install" in override.unread

    def _find_install(self, name: str) -> NodeInstall | None:
        """What is on a node's disk, of a node that the fleet has."""
        override = self._live.get_override(name) if name in self._live.fleet.nodes else None
        return None if override is None else override.install

    async def _begin(self, name: str, shown: str, word: DiskWord, client: str) -> bytes:
        keys = normalize_keys(word.known_by)
        claimed = find_claimed(self._live.roster, keys)
        if claimed != {name}:
            _log.warning(
                "a system on a disk is refused: the machine is another one",
                node=name,
                machine=", ".join(sorted(claimed)) or "no node",
                client=client,
            )
            raise SpentError(f"the machine that came with the credential of {name} is another one")
        credential = secrets.token_urlsafe(_CREDENTIAL_BYTES)
        # In this order: a boot server that is killed in between is shown the same credential again.
        await self._renew(name, hash_token(shown), hash_token(credential))
        assignment = self._live.assign(self._live.need(name))
        latest = self._boots.latest.get(name)
        if latest is not None and _is_first(latest, shown):
            boot, token = latest, shown
        else:
            boot, token = await self._boots.begin(
                machine=" ".join(keys[0]),
                node=name,
                group=assignment.group,
                release=word.release,
                tag=None,
                system="" if latest is None else latest.system,
                store_path=word.system,
                client=client,
                within=assignment.healthy_within,
                from_disk=True,
            )
        if word.unbooted is not None:
            update = BootUpdate(
                release=word.unbooted, step=UpdateStep.ENTRY, at=self._wall_clock(), error=_UNBOOTED
            )
            boot = await self._boots.note_update(token, update)
        _tell(boot, word, client)
        words = ScriptBoot(
            id=boot.id, token=token, within=assignment.healthy_within, units=assignment.health_units
        ).build_arguments(self._base_url(), boot.release)
        return f"credential {credential}\narguments {' '.join(words)}\n".encode()

    async def _renew(self, name: str, shown: str, given: str) -> None:
        """Raises SpentError, and EcError where it cannot be kept."""

        def renew(now: NodeOverride) -> NodeOverride:
            if now.install is None or "install" in now.unread or not now.install.accepts(shown):
                raise SpentError(f"{name}: the credential was used meanwhile")
            return now.say(install=now.install.renew(shown, given))

        await self._live.change(name, renew)

    async def _note_update(self, token: str, body: bytes, client: str) -> bytes:
        update = parse_update(body, now=self._wall_clock())
        if update.stays:
            await self._check_same(token, update.release)
        boot = await self._boots.note_update(token, update)
        fields = {"node": boot.node, "client": client, "release": update.release, "step": update.step.value}
        if update.stays:
            _log.info("a node on a disk runs another release by the same system", **fields)
        elif update.error is None:
            _log.info("a node on a disk goes on to another release", **fields)
        else:
            _log.warning("a node on a disk cannot go on", **fields, reason=update.error)
        return b"ok\n"

    async def _check_same(self, token: str, release: str) -> None:
        """That a boot counts for a release that it was not begun for is not believed of the node alone.

        Raises RejectedError: 403, 503.
        """
        boot = self._boots.find_by_token(token)
        if boot is None or self._runs_next is None or not await self._runs_next(boot, release):
            raise RejectedError(403, "that release is not what this node is led to, or brings another system")


def _tell_refused(name: str, client: str) -> None:
    _log.warning(
        "a system on a disk is refused: what it shows was used before, or is none of the node's",
        node=name,
        client=client,
        hint="a disk that was copied, or put back, is installed again: `ectools fleet boot-once"
        f" {name} install`",
    )


def _get_one(info: RequestInfo, name: str) -> str:
    """The one value of a parameter; "" where there is none, or several."""
    values = info.query.getall(name, [])
    return values[0] if len(values) == 1 else ""


def _is_first(boot: NodeBoot, shown: str) -> bool:
    """Whether the boot that installed a disk goes on, from the disk."""
    is_installing = boot.install is not None and boot.state is not BootState.HEALTHY
    return is_installing and boot.token_hash == hash_token(shown)


def _tell(boot: NodeBoot, word: DiskWord, client: str) -> None:
    fields = {"node": boot.node, "client": client, "boot": boot.id, "release": boot.release}
    if word.unbooted is not None:
        _log.warning(
            "a node boots, and not what it was to go on to", **fields, wanted=word.unbooted, reason=_UNBOOTED
        )
    elif word.runs == word.system:
        _log.info("a node has booted from its disk", **fields, system=word.runs)
    else:
        _log.warning(
            "a node has gone back to the system before", **fields, system=word.runs, tried=word.system
        )
