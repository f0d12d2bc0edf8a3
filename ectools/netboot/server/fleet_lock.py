"""FleetLock (https://coreos.github.io/zincati/development/fleetlock/protocol/): who may boot again now.

    POST /v1/pre-reboot      a slot of the client's group, for as long as it is away
    POST /v1/steady-state    the slot is given back; that nobody had one is no error

The body is ``{"client_params": {"id": ID, "group": GROUP}}``, the header ``fleet-lock-protocol: true`` has to
be there. Any other status than 200 has ``{"kind", "value"}``. A group is one of the fleet, and its ``slots``
say how many may be away; the id is whatever tells a client from others. As the protocol has no rights, who is
let in on the clients' network may take a slot, and give back another's: it holds up boots that are asked for,
never one that a machine does by itself.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, NoReturn

from ectools import log
from ectools.errors import show_list
from ectools.netboot.http.slots import share_of
from ectools.netboot.http.webroot import RejectedError
from ectools.netboot.rollout.slots import SLOTS, SlotsTakenError
from ectools.netboot.server.rate_limit import RateLimit
from ectools.netboot.state.entries import is_key
from ectools.netboot.state.interface import StateError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ectools.netboot.fleet.model import Fleet
    from ectools.netboot.http.handler import RequestInfo
    from ectools.netboot.rollout.slots import GroupSlots

_log = log.Log(__name__)

PRE_REBOOT, STEADY_STATE = (b"v1", b"pre-reboot"), (b"v1", b"steady-state")
_HEADER = "fleet-lock-protocol"
_ID = re.compile(r"[!-~]{1,128}")


class FleetLock:
    """The two endpoints. ``fleet`` gives the fleet in force, ``clock`` seconds that only grow."""

    max_bytes = 1024

    def __init__(
        self,
        slots: GroupSlots,
        *,
        fleet: Callable[[], Fleet],
        name_client: Callable[[RequestInfo], str],
        clock: Callable[[], float],
    ) -> None:
        self._slots = slots
        self._fleet = fleet
        self._name_client = name_client
        self._clients = RateLimit(burst=32, per_second=2, clock=clock)

    def bound(self, info: RequestInfo) -> int:  # noqa: ARG002 - the same at each of its paths
        """Bytes of the largest body that is taken."""
        return self.max_bytes

    def is_for(self, info: RequestInfo) -> bool:
        """Whether a body may be sent to this path."""
        return info.segments in (PRE_REBOOT, STEADY_STATE)

    def admit(self, info: RequestInfo) -> None:
        """A body that is about to come. Raises RejectedError: 400, 429."""
        if info.headers.getall(_HEADER, []) != ["true"]:
            _reject(400, "bad_header", f"the header {_HEADER}: true has to be there")
        if not self._clients.take(share_of(self._name_client(info))):
            _reject(429, "too_many_requests", "this address asks too often; come later")

    async def receive(self, info: RequestInfo, body: bytes) -> bytes:
        """The answer, which is empty. Raises RejectedError: 400, 404, 409, 503."""
        holder, group = _parse(body)
        taking = info.segments == PRE_REBOOT
        found = self._fleet().groups.get(group)
        most = None if found is None else found.slots
        try:
            if taking:
                if most is None:
                    _reject(404, "unknown_group", f"{group[:80]}: the fleet has no such group with slots")
                changed = await self._slots.take(group, holder, most=most, find_group=self._find_group)
            else:
                if not is_key(SLOTS + group):
                    _reject(404, "unknown_group", f"{group[:80]}: the fleet has no such group")
                changed = await self._free(group, holder)
                if not changed and found is None:
                    _reject(404, "unknown_group", f"{group[:80]}: the fleet has no such group")
        except SlotsTakenError as error:
            _reject(409, "all_slots_taken", f"{error.message}, by {show_list(error.holders)}")
        except StateError:
            _reject(503, "unkept", "it cannot be kept at the moment; ask again")
        if changed:
            words = "a slot is taken" if taking else "a slot is given back"
            _log.info(words, group=group, id=holder, client=self._name_client(info))
        return b""

    async def _free(self, group: str, holder: str) -> bool:
        """Whether it had a slot. A node gives back those of other groups too, which it was in before, and
        whether its own has slots or none.
        """
        groups = [group]
        if self._find_group(holder) is not None:
            groups += [each for each in await self._slots.list_groups(holder) if each != group]
        return any([await self._slots.free(each, holder) for each in groups])

    def _find_group(self, name: str) -> str | None:
        node = self._fleet().nodes.get(name)
        return None if node is None else node.group or ""


def _parse(body: bytes) -> tuple[str, str]:
    """A client's id and its group. Raises RejectedError (400)."""
    try:
        parameters: Any = json.loads(body)["client_params"]
        holder, group = parameters["id"], parameters["group"]
    except (ValueError, TypeError, KeyError, RecursionError):
        _reject(400, "bad_body", 'expected {"client_params": {"id": ID, "group": GROUP}}')
    if not isinstance(holder, str) or not isinstance(group, str) or _ID.fullmatch(holder) is None:
        _reject(400, "bad_body", "id: 1 to 128 characters of ASCII without blanks; group: a name")
    return holder, group


def _reject(status: int, kind: str, value: str) -> NoReturn:
    raise RejectedError(status, value, document={"kind": kind, "value": value})
